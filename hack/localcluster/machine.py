"""What a boxed node asks of the machine: Linux, root, disk, and a handful of system packages."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from localcluster.errors import LocalClusterError
from localcluster.progress import say, step

CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
# Command (or CNI plugin) -> the Debian package that has it.
PACKAGES: Mapping[str, str] = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "cni:ptp": "containernetworking-plugins",
    "cni:host-local": "containernetworking-plugins",
    "nft": "nftables",
    "ip": "iproute2",
    "mount": "mount",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
MINIMUM_DISK = 3 << 30
# What stays for the machine itself when the pods take all they may.
_MEMORY_SHARE = 0.85


def check_platform(system: str, uid: int) -> None:
    """Raise unless this is Linux and we are root, which namespaces, cgroups and links need."""
    if system != "Linux":
        raise LocalClusterError(
            f"the local cluster needs Linux and this is {system}: use BACKEND=kind with Docker."
        )
    if uid != 0:
        raise LocalClusterError(
            "the local cluster makes namespaces, cgroups and links: run this as root (sudo)."
        )


def check_machine(folder: Path) -> None:
    """Raise with a remedy where no boxed node can run; install missing Debian packages."""
    be_root()
    check_disk(folder, MINIMUM_DISK)
    ensure_packages()


def be_root() -> None:
    """Raise unless we are root on Linux; see to it that root's commands are found."""
    check_platform(platform.system(), os.geteuid())
    # Root's PATH often lacks the folders where ip and nft live, when it was reached through su or cron.
    path = os.environ.get("PATH", "/usr/bin:/bin")
    if not path.endswith(_SBIN):
        os.environ["PATH"] = f"{path}:{_SBIN}"


def check_disk(folder: Path, needed: int) -> None:
    """Raise where less than `needed` bytes are free on the disk that holds `folder`."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise LocalClusterError(
            f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.1f} GB are needed: "
            "free some space, or set XDG_CACHE_HOME to a larger disk."
        )


def cni_folder() -> Path | None:
    """Return the folder of the CNI plugins, or None."""
    return next((Path(folder) for folder in CNI_FOLDERS if (Path(folder) / "ptp").exists()), None)


def missing_packages() -> list[str]:
    """Return the Debian packages that have what this machine lacks."""
    missing = set()
    for command, package in PACKAGES.items():
        kind, _, plugin = command.rpartition(":")
        if (kind and not any((Path(folder) / plugin).exists() for folder in CNI_FOLDERS)) or (
            not kind and shutil.which(command) is None
        ):
            missing.add(package)
    return sorted(missing)


def ensure_packages() -> None:
    """Install what is missing on Debian and its children; elsewhere raise with the exact command."""
    missing = missing_packages()
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *missing]
    if shutil.which("apt-get") is None:
        raise LocalClusterError(
            f"this machine lacks {', '.join(missing)} (Debian's names): install them; "
            f"on Debian that is `{' '.join(command)}`."
        )
    say(f"installing Debian packages: {' '.join(missing)}")
    with step("apt-get install"):
        if not _apt(command):
            _apt(["apt-get", "update"])
            if not _apt(command):
                raise LocalClusterError(
                    f"packages could not be installed: run `{' '.join(command)}` and see."
                )
    still = missing_packages()
    if still:
        raise LocalClusterError(
            f"{', '.join(still)} was installed but its commands are not found: check PATH."
        )


def _apt(command: list[str]) -> bool:
    # Another apt may be at work, on a fresh machine nearly always.
    options = ["-o", "DPkg::Lock::Timeout=120", "--quiet"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        [command[0], *options, *command[1:]], env=environment, capture_output=True, check=False
    )
    return done.returncode == 0


def machine_memory() -> int:
    """Return how many bytes of memory the machine has."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise LocalClusterError("/proc/meminfo does not say how much memory there is: mount /proc.")


def memory_limit() -> int:
    """Return how many bytes of memory the box may take."""
    return int(machine_memory() * _MEMORY_SHARE)
