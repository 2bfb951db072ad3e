"""What the operator is told from outside: environment variables EKIBEN_*, read once at the start."""

from __future__ import annotations

import ast
import inspect
import os
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any, NamedTuple

from ekiben.api.fields import DNS_LABEL_PATTERN, seconds
from ekiben.api.policy import EVERY_ACCOUNT, NAMES, PodPolicy
from ekiben.api.selector import parse_selector
from ekiben.core.calling import CallPolicy
from ekiben.core.snapshot import Preflight

PREFIX = "EKIBEN_"


class SettingsError(ValueError):
    """A variable that can't be used; the message names it and says what to write instead."""


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


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


def _listed(parse: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """Read names separated by commas, each once."""

    def parse_all(text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parse(part.strip()) for part in text.split(",") if part.strip()))

    return parse_all


def _rule(text: str) -> str:
    if text not in NAMES:
        raise ValueError(f"{text!r} is nothing that could be allowed; write any of {', '.join(NAMES)}")
    return text


def _account(text: str) -> str:
    return text if text == EVERY_ACCOUNT else _object_name(text)


def _host(text: str) -> str:
    if len(text) > 253 or not re.match(
        r"^([*]|([*][.])?[a-z0-9]([-a-z0-9.]*[a-z0-9])?|\[?[0-9a-f:]+\]?)(:[0-9]{1,5})?$", text
    ):
        raise ValueError(f"{text!r} is no host; write a name, name:port, *.suffix or * in lower case")
    return text


def _label(text: str) -> str:
    if len(text) > 63 or not re.match(DNS_LABEL_PATTERN, text):
        raise ValueError(f"{text!r} is no namespace; write lower case letters, digits and dashes")
    return text


def _selector(text: str) -> str:
    parse_selector(text)
    return text


def _object_name(text: str) -> str:
    if len(text) > 253 or not re.match(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", text):
        raise ValueError("no name of an object; write lower case letters, digits, dashes and dots")
    return text


def _service(text: str) -> str:
    namespace, slash, name = text.partition("/")
    if not slash:
        raise ValueError("write the Service as namespace/name")
    return f"{_label(namespace)}/{_object_name(name)}"


def _identity(text: str) -> str:
    # The API's own limit of who reports an Event.
    if len(text) > 128 or not text.isprintable():
        raise ValueError("write a name of at most 128 printable characters")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise ValueError("write a whole number from 1 to 64")
    return int(text)


def _limit(text: str) -> int:
    if not text.isdecimal() or int(text) > 10000:
        raise ValueError("write a whole number from 1 to 10000, or 0 for no limit")
    return int(text)


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError("write host:port, for example 0.0.0.0:9090")
    return Address(host.strip("[]") or "0.0.0.0", int(port))


def _switch(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("write true or false")
    return text.lower() == "true"


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"write one of {', '.join(words)}")
        return text.lower()

    return parse


def _between(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = seconds(text)
        if not low <= value <= high:
            raise ValueError(f"write a duration from {low:g}s to {high:g}s")
        return value

    return parse


_PARSERS: dict[str, Callable[[str], Any]] = {
    "namespaces": _listed(_label),
    "pod_allow": _listed(_rule),
    "pod_service_accounts": _listed(_account),
    "selector": _selector,
    "call_hosts": _listed(_host),
    "secret_namespaces": _listed(_label),
    "preflight": _one_of("none", "quotas", "nodes"),
    "keda": _switch,
    "activator": _service,
    "workers": _count,
    "max_concurrent_rollouts": _limit,
    "max_concurrent_rollouts_per_namespace": _limit,
    "metrics_address": _address,
    "probes_address": _address,
    "log_level": _one_of("debug", "info", "warning", "error"),
    "log_format": _one_of("json", "text"),
    "leader_election": _switch,
    "lease_namespace": _label,
    "lease_name": _object_name,
    "identity": _identity,
    "resync": _between(10, 86400),
    "watch_staleness": _between(150, 3600),
    "stop_grace": _between(0, 300),
}
