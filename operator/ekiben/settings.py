"""What the operator is told from outside: environment variables EKIBEN_*, read once at the start."""

from __future__ import annotations

import ast
import inspect
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from ekiben import parsers
from ekiben.api.policy import PodPolicy
from ekiben.core.calling import CallPolicy
from ekiben.core.snapshot import Preflight
from ekiben.parsers import Address

PREFIX = "EKIBEN_"


class SettingsError(ValueError):
    """A variable that can't be used; the message names it and says what to write instead."""


_METRICS = Address("0.0.0.0", 9090)
_PROBES = Address("0.0.0.0", 8080)


# No variable ends in _PORT or _SERVICE_HOST: Kubernetes itself sets EKIBEN_METRICS_PORT=tcp://... in every
# pod beside a Service called `ekiben-metrics`.
@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings; each field is the variable EKIBEN_<FIELD>."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to serve, separated by commas. Empty: all of them. Gateways are read everywhere."""

    pod_allow: tuple[str, ...] = ()
    """What podTemplate may ask for beyond the restricted level, separated by commas: see docs/security.md."""

    pod_service_accounts: tuple[str, ...] = ()
    """ServiceAccounts that models may run under besides default, separated by commas; * means every one."""

    selector: str = ""
    """Label selector of the ModelDeployments to serve; the others are left to other operators. Empty: all."""

    call_hosts: tuple[str, ...] = ()
    """Hosts that checks and gates may call, with commas: name, name:port, *.suffix or *. Empty: none."""

    secret_namespaces: tuple[str, ...] = ()
    """Namespaces in which Secrets that models name may be read, separated by commas. Empty: none."""

    preflight: Preflight = "none"
    """Where a rollout looks for room before it begins: none, quotas, or nodes too."""

    keda: bool = False
    """Models may be scaled by KEDA; needs rights on its ScaledObjects, see docs/autoscaling.md."""

    keda_triggers: tuple[str, ...] = ()
    """Types of KEDA's triggers that models may name, separated by commas; * means every one. Empty: none."""

    activator: str = ""
    """The activator's Service, as namespace/name: it holds requests to models without pods. Empty: none."""

    workers: int = 8
    """ModelDeployments that are worked on at the same time."""

    max_concurrent_rollouts: int = 0
    """Rollouts that may run at once; the others are queued, see docs/fleet.md. 0: any number."""

    max_concurrent_rollouts_per_namespace: int = 0
    """Rollouts that may run at once in each namespace. 0: any number."""

    metrics_address: Address = _METRICS
    """Where to serve /metrics, as host:port."""

    probes_address: Address = _PROBES
    """Where to serve /healthz and /readyz, as host:port."""

    log_level: str = "info"
    """The least severe messages to log: debug, info, warning or error."""

    log_format: str = "json"
    """How log lines look: json for machines, text for people."""

    leader_election: bool = False
    """Work only while holding the Lease, so that two replicas never work at the same time."""

    lease_namespace: str = "default"
    """Namespace of the Lease."""

    lease_name: str = "ekiben"
    """Name of the Lease; one for each set of operators that serve the same namespaces."""

    identity: str = field(default_factory=socket.gethostname)
    """Who we are, in the Lease and in Events. Default: the host name, which is the pod's name."""

    resync: float = 600.0
    """How often to compare what we know with a fresh list of ModelDeployments, as a duration; jittered."""

    watch_staleness: float = 180.0
    """How long a watch may be silent before we are not ready, as a duration; a new one may be for 120s."""

    stop_grace: float = 20.0
    """How long work in progress may go on after SIGTERM, as a duration."""

    @property
    def pod_policy(self) -> PodPolicy:
        """What models may ask for."""
        return PodPolicy(frozenset(self.pod_allow), frozenset(self.pod_service_accounts))

    @property
    def call_policy(self) -> CallPolicy:
        """Whom checks and gates may call, and with which Secrets."""
        return CallPolicy(frozenset(self.call_hosts), frozenset(self.secret_namespaces))

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the settings; unset and empty variables keep their defaults. Raises SettingsError."""
        _refuse_slips(environ)
        given: dict[str, Any] = {}
        for name, parse in _PARSERS.items():
            text = environ.get(variable(name), "").strip()
            if not text:
                continue
            try:
                given[name] = parse(text)
            except ValueError as problem:
                raise SettingsError(f"{variable(name)}={text!r}: {problem}") from problem
        return cls(**given)


def _refuse_slips(environ: Mapping[str, str]) -> None:
    """Refuse a variable that only looks like one of ours: EKIBEN_NAMESPACE=shop would serve every namespace.

    Others that begin with EKIBEN_ are let be: Kubernetes sets some for Services of such a name.
    """
    ours = [variable(item.name) for item in fields(Settings)]
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in ours and (meant := get_close_matches(name, ours, 1, 0.94)):
            raise SettingsError(f"{name}={environ[name]!r}: there is no such variable; write {meant[0]}")


def variable(name: str) -> str:
    """Name the environment variable of a field."""
    return PREFIX + name.upper()


def help_table() -> str:
    """List every variable with its default and what it means, for `--help`."""
    documented = _field_docs()
    lines = []
    for item in fields(Settings):
        default = "" if item.name == "identity" else _shown(item.default)
        lines.append(f"  {variable(item.name)}" + (f" (default {default})" if default else ""))
        lines.append(f"      {documented[item.name]}")
    return "\n".join(lines)


def _field_docs() -> dict[str, str]:
    """Read the docstrings under the fields, which Python itself throws away."""
    tree = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(tree, ast.ClassDef)
    docs: dict[str, str] = {}
    for above, below in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(above, ast.AnnAssign)
            and isinstance(above.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            docs[above.target.id] = str(below.value.value)
    return docs


def _shown(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}s"
        case tuple() if not isinstance(value, Address):
            return ",".join(value)
        case _:
            return str(value)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "namespaces": parsers.listed(parsers.label),
    "pod_allow": parsers.listed(parsers.rule),
    "pod_service_accounts": parsers.listed(parsers.account),
    "selector": parsers.selector,
    "call_hosts": parsers.listed(parsers.host),
    "secret_namespaces": parsers.listed(parsers.label),
    "preflight": parsers.one_of("none", "quotas", "nodes"),
    "keda": parsers.switch,
    "keda_triggers": parsers.listed(parsers.trigger),
    "activator": parsers.service,
    "workers": parsers.count,
    "max_concurrent_rollouts": parsers.limit,
    "max_concurrent_rollouts_per_namespace": parsers.limit,
    "metrics_address": parsers.address,
    "probes_address": parsers.address,
    "log_level": parsers.one_of("debug", "info", "warning", "error"),
    "log_format": parsers.one_of("json", "text"),
    "leader_election": parsers.switch,
    "lease_namespace": parsers.label,
    "lease_name": parsers.object_name,
    "identity": parsers.identity,
    "resync": parsers.between(10, 86400),
    "watch_staleness": parsers.between(150, 3600),
    "stop_grace": parsers.between(0, 300),
}
