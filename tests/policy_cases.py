"""Specs that ask for more than the `restricted` Pod Security level gives, and specs that only look so."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

IMAGE = "registry.example.com/proxy:7"
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
HARDENED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


class Case(NamedTuple):
    """A spec, what the chart must allow for it, and what its refusal says."""

    spec: dict[str, Any]
    needs: str
    says: str


def sidecar(**fields: Any) -> dict[str, Any]:
    """Build a podTemplate with one hardened sidecar that has further fields."""
    container = {"name": "proxy", "image": IMAGE, "securityContext": copy.deepcopy(HARDENED)}
    return {"sidecars": [container | fields]}


def context(**fields: Any) -> dict[str, Any]:
    """Build a podTemplate with one sidecar whose securityContext has further fields."""
    return sidecar(securityContext=HARDENED | fields)


def volume(**source: Any) -> dict[str, Any]:
    """Build a podTemplate with one volume."""
    return {"volumes": [{"name": "data", **source}]}


def initial(**fields: Any) -> dict[str, Any]:
    """Build a podTemplate with one initContainer whose securityContext has further fields."""
    return {"initContainers": sidecar(securityContext=HARDENED | fields)["sidecars"]}


def spec(template: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Build a spec."""
    extra = {} if template is None else {"podTemplate": template}
    return {"bento": {"image": "registry.example.com/iris:1.4.2"}, **extra, **fields}


REFUSED: dict[str, Case] = {
    name: Case(spec(template), needs, says)
    for name, (template, needs, says) in {
        "privileged": (
            context(privileged=True, allowPrivilegeEscalation=True),
            "privileged",
            "securityContext.privileged",
        ),
        "privileged init": (
            initial(privileged=True, allowPrivilegeEscalation=True),
            "privileged",
            "securityContext.privileged",
        ),
        "escalation": (
            context(allowPrivilegeEscalation=True),
            "privilegeEscalation",
            "allowPrivilegeEscalation to false",
        ),
        "escalation by silence": (
            sidecar(securityContext={"capabilities": {"drop": ["ALL"]}}),
            "privilegeEscalation",
            "allowPrivilegeEscalation to false",
        ),
        "no security context": (
            {"sidecars": [{"name": "proxy", "image": IMAGE}]},
            "privilegeEscalation",
            "allowPrivilegeEscalation to false",
        ),
        "added capability": (
            context(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE", "SYS_ADMIN"]}),
            "capabilities",
            "capabilities.drop to [ALL]",
        ),
        "kept capabilities": (
            context(capabilities={"drop": ["NET_RAW"]}),
            "capabilities",
            "capabilities.drop to [ALL]",
        ),
        "root by number": (context(runAsUser=0), "root", "runAsUser"),
        "root by permission": (context(runAsNonRoot=False), "root", "runAsNonRoot"),
        "host port": (
            sidecar(ports=[{"containerPort": 80, "hostPort": 80}]),
            "hostPorts",
            "ports[].hostPort",
        ),
        "host of a probe": (
            sidecar(readinessProbe={"httpGet": {"port": 80, "host": "169.254.169.254"}}),
            "hostProbes",
            "host in probes",
        ),
        "host of a hook": (
            sidecar(lifecycle={"postStart": {"tcpSocket": {"port": 80, "host": "10.0.0.1"}}}),
            "hostProbes",
            "host in probes",
        ),
        "seccomp": (context(seccompProfile={"type": "Unconfined"}), "unconfined", "seccompProfile"),
        "apparmor": (context(appArmorProfile={"type": "Unconfined"}), "unconfined", "appArmorProfile"),
        "apparmor by annotation": (
            sidecar()
            | {"annotations": {"container.apparmor.security.beta.kubernetes.io/bento": "unconfined"}},
            "unconfined",
            "podTemplate.annotations",
        ),
        "proc": (context(procMount="Unmasked"), "unconfined", "procMount"),
        "selinux": (context(seLinuxOptions={"type": "spc_t"}), "unconfined", "seLinuxOptions"),
        "windows": (context(windowsOptions={"hostProcess": True}), "unconfined", "windowsOptions"),
        "host path": (volume(hostPath={"path": "/etc"}), "hostPath", "type hostPath"),
        "nfs": (volume(nfs={"server": "10.0.0.1", "path": "/"}), "volumes", "podTemplate.volumes"),
    }.items()
}
# Accounts are no matter of the Pod Security levels.
FOREIGN_ACCOUNT = Case(spec(serviceAccountName="deployer"), "deployer", "serviceAccountName")

ACCEPTED: dict[str, dict[str, Any]] = {
    "image alone": spec(),
    "default account": spec(serviceAccountName="default"),
    "hardened sidecar": spec(sidecar()),
    "usual fields": spec(
        context(
            runAsUser=2000,
            runAsNonRoot=True,
            privileged=False,
            procMount="Default",
            seccompProfile={"type": "Localhost", "localhostProfile": "tight.json"},
            appArmorProfile={"type": "RuntimeDefault"},
            seLinuxOptions={"level": "s0:c123,c456"},
            capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        )
    ),
    "usual ports and probes": spec(
        sidecar(
            ports=[{"containerPort": 80}],
            livenessProbe={"httpGet": {"port": 80}},
            lifecycle={"preStop": {"httpGet": {"port": 80}}},
        )
    ),
    "usual volumes": spec(
        {
            "volumes": [
                {"name": "a", "configMap": {"name": "a"}},
                {"name": "b", "emptyDir": {}},
                {"name": "c", "secret": {"secretName": "c"}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "d"}},
                {"name": "e", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
                {"name": "f", "image": {"reference": IMAGE}},
            ],
            "annotations": {f"{APPARMOR}bento": "runtime/default"},
        }
    ),
}
