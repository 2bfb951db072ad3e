"""How values of settings are written. Each parser raises ValueError, which says what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from ekiben.api.fields import DNS_LABEL_PATTERN, seconds
from ekiben.api.policy import EVERY_ACCOUNT, NAMES
from ekiben.api.selector import parse_selector
from ekiben.api.triggers import EVERY_TRIGGER


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def listed(parse: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    """Read names separated by commas, each once."""

    def parse_all(text: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(parse(part.strip()) for part in text.split(",") if part.strip()))

    return parse_all


def rule(text: str) -> str:
    """Read what podTemplate may ask for."""
    if text not in NAMES:
        raise ValueError(f"{text!r} is nothing that could be allowed; write any of {', '.join(NAMES)}")
    return text


def account(text: str) -> str:
    """Read the name of a ServiceAccount, or that of all."""
    return text if text == EVERY_ACCOUNT else object_name(text)


def trigger(text: str) -> str:
    """Read a type of KEDA's triggers, or * for every one."""
    if text != EVERY_TRIGGER and (len(text) > 63 or not re.match(DNS_LABEL_PATTERN, text)):
        raise ValueError(f"{text!r} is no type of a trigger; write one of KEDA's, such as rabbitmq, or *")
    return text


def host(text: str) -> str:
    """Read a host that may be called."""
    if len(text) > 253 or not re.match(
        r"^([*]|([*][.])?[a-z0-9]([-a-z0-9.]*[a-z0-9])?|\[?[0-9a-f:]+\]?)(:[0-9]{1,5})?$", text
    ):
        raise ValueError(f"{text!r} is no host; write a name, name:port, *.suffix or * in lower case")
    return text


def label(text: str) -> str:
    """Read the name of a namespace."""
    if len(text) > 63 or not re.match(DNS_LABEL_PATTERN, text):
        raise ValueError(f"{text!r} is no namespace; write lower case letters, digits and dashes")
    return text


def selector(text: str) -> str:
    """Read a label selector."""
    parse_selector(text)
    return text


def object_name(text: str) -> str:
    """Read the name of an object."""
    if len(text) > 253 or not re.match(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", text):
        raise ValueError("no name of an object; write lower case letters, digits, dashes and dots")
    return text


def service(text: str) -> str:
    """Read a Service as namespace/name."""
    namespace, slash, name = text.partition("/")
    if not slash:
        raise ValueError("write the Service as namespace/name")
    return f"{label(namespace)}/{object_name(name)}"


def identity(text: str) -> str:
    """Read a name of ours."""
    # The API's own limit of who reports an Event.
    if len(text) > 128 or not text.isprintable():
        raise ValueError("write a name of at most 128 printable characters")
    return text


def count(text: str) -> int:
    """Read how many at once."""
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise ValueError("write a whole number from 1 to 64")
    return int(text)


def limit(text: str) -> int:
    """Read how many at most; 0 for no limit."""
    if not text.isdecimal() or int(text) > 10000:
        raise ValueError("write a whole number from 1 to 10000, or 0 for no limit")
    return int(text)


def address(text: str) -> Address:
    """Read host:port."""
    before, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError("write host:port, for example 0.0.0.0:9090")
    return Address(before.strip("[]") or "0.0.0.0", int(port))


def switch(text: str) -> bool:
    """Read true or false."""
    if text.lower() not in ("true", "false"):
        raise ValueError("write true or false")
    return text.lower() == "true"


def one_of(*words: str) -> Callable[[str], str]:
    """Read one of these words."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"write one of {', '.join(words)}")
        return text.lower()

    return parse


def between(low: float, high: float) -> Callable[[str], float]:
    """Read a duration within these bounds, in seconds."""

    def parse(text: str) -> float:
        value = seconds(text)
        if not low <= value <= high:
            raise ValueError(f"write a duration from {low:g}s to {high:g}s")
        return value

    return parse
