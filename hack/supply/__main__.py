"""`python -m supply`: list what our images are made of, and what is known against it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "build" / "sbom"
LOCKS = {"operator": "requirements/operator.txt", "iris": "serving/iris/requirements.txt"}
TOOLS = "requirements/audit.txt"
UNKNOWN = "unknown"


class SupplyError(Exception):
    """What can't be listed or looked up, as a sentence."""


def environment(lock: str) -> Path:
    """Make an environment of exactly what a lock file names, once per content of it; return its folder."""
    text = (ROOT / lock).read_bytes()
    folder = ROOT / ".local" / "supply" / hashlib.sha256(text).hexdigest()[:16]
    if not (folder / "complete").exists():
        click.echo(f"installing {lock}", err=True)
        venv.create(folder, with_pip=True, clear=True)
        pip = (folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check")
        run(*pip, "install", "--no-deps", "--require-hashes", "-r", ROOT / lock)
        (folder / "complete").touch()
    return folder


def run(*command: str | Path) -> str:
    """Run a command and return what it says; SupplyError where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise SupplyError(f"{Path(command[0]).name} failed: {lines[-1]}")
    return done.stdout


def licences(bill: dict[str, Any]) -> dict[str, str]:
    """Return the licence of each component as its metadata states it, by "name version"."""
    found = {}
    for component in bill.get("components", ()):
        stated = [
            choice.get("expression") or choice["license"].get("id") or choice["license"].get("name")
            for choice in component.get("licenses", ())
        ]
        # A classifier such as "License :: OSI Approved :: MIT License" says it in its last part.
        words = dict.fromkeys(
            str(text).rpartition(":: ")[2].strip().split("\n")[0] for text in stated if text
        )
        found[f"{component['name']} {component['version']}"] = ", ".join(words) or UNKNOWN
    return dict(sorted(found.items()))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """List what our images are made of, and what is known against it."""


@cli.command()
def sbom() -> None:
    """Write CycloneDX bills of the images' Python parts and the operator's licences into build/sbom."""
    OUT.mkdir(parents=True, exist_ok=True)
    tool = environment(TOOLS) / "bin" / "cyclonedx-py"
    shape = ("--output-reproducible", "--of", "JSON", "-o")
    image = environment(LOCKS["operator"])
    run(tool, "environment", image / "bin" / "python", *shape, OUT / "operator.cdx.json")
    run(tool, "requirements", ROOT / LOCKS["iris"], *shape, OUT / "iris.cdx.json")
    bill = json.loads((OUT / "operator.cdx.json").read_text())
    installer = ("pip ", "setuptools ")
    table = {name: text for name, text in licences(bill).items() if not name.startswith(installer)}
    rows = "".join(f"| {name} | {text} |\n" for name, text in table.items())
    (OUT / "licences.md").write_text(f"| Component | Licence |\n|---|---|\n{rows}")
    for path in sorted(OUT.iterdir()):
        click.echo(path.relative_to(ROOT))
    if nameless := [name for name, text in table.items() if text == UNKNOWN]:
        raise SupplyError(f"no licence is stated by {', '.join(nameless)}: look it up before you ship it")


@cli.command()
def audit() -> None:
    """Compare every pinned version with the advisories; exit 1 where one is known, or none could be read."""
    tool = environment(TOOLS) / "bin" / "pip-audit"
    options = ("--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json", "-r")
    holes, unread = [], []
    for name, lock in LOCKS.items():
        # Its exit status says the same of holes, and nothing of what it could not read.
        done = subprocess.run([tool, *options, ROOT / lock], cwd=ROOT, capture_output=True, check=False)
        try:
            pins = json.loads(done.stdout)["dependencies"]
        except ValueError:
            raise SupplyError(f"pip-audit failed: {done.stderr.decode().strip()[-300:]}") from None
        unread += [pin["name"] for pin in pins if "skip_reason" in pin]
        holes += [
            f"{name}: {pin['name']} {pin['version']} has {hole['id']}, mended in"
            f" {', '.join(hole['fix_versions']) or 'no version'}"
            for pin in pins
            for hole in pin.get("vulns", ())
        ]
        click.echo(f"{name}: {len(pins)} pins of {lock}")
    for hole in holes:
        click.echo(hole)
    if holes:
        raise SupplyError("pins with known holes (above): run `make lock`")
    if unread:
        raise SupplyError(
            f"the advisories of {len(unread)} pins could not be read, {unread[0]}'s among them: run this"
            " where the package index answers for advisories too"
        )


def main() -> None:
    """Run a command; what the caller can mend is one sentence and exit code 1."""
    try:
        cli()
    except SupplyError as error:
        click.echo(f"supply: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
