"""Licences as packages state them: as an expression, an id, a name or a classifier, or not at all."""

from __future__ import annotations

from supply.__main__ import licences


def test_each_component_has_its_licence_in_one_line() -> None:
    stated = {
        "b": [{"expression": "Apache-2.0 AND MIT"}],
        "a": [{"license": {"id": "MIT"}}, {"license": {"name": "License :: OSI Approved :: MIT License"}}],
        "c": [{"license": {"name": "BSD\n\nRedistribution and use ..."}}],
        "d": [],
    }
    bill = {
        "components": [{"name": name, "version": "1", "licenses": given} for name, given in stated.items()]
    }
    assert licences(bill) == {
        "a 1": "MIT, MIT License",
        "b 1": "Apache-2.0 AND MIT",
        "c 1": "BSD",
        "d 1": "unknown",
    }
