"""A log line says which ModelDeployment it is about, in a form that machines or people can read."""

from __future__ import annotations

import json
import logging

from ekiben import logs

KEY = ("shop", "iris")


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("ekiben.test", logging.WARNING, "here.py", 1, message, args, None)
    made.created = 1_700_000_000.25
    made.__dict__.update(extra)
    return made


def test_json_lines_carry_the_model_that_is_worked_on() -> None:
    with logs.about(KEY):
        line = json.loads(logs.JsonFormatter().format(record("weight %d%%", 25)))
    assert line == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "level": "warning",
        "logger": "ekiben.test",
        "message": "weight 25%",
        "namespace": "shop",
        "name": "iris",
    }


def test_outside_of_a_pass_no_model_is_named() -> None:
    with logs.about(KEY):
        pass
    assert "namespace" not in json.loads(logs.JsonFormatter().format(record("listed")))


def test_what_kopf_says_of_an_object_names_it_too() -> None:
    said = record("patched", k8s_ref={"namespace": "lab", "name": "mnist", "kind": "ModelDeployment"})
    line = json.loads(logs.JsonFormatter().format(said))
    assert (line["namespace"], line["name"]) == ("lab", "mnist")


def test_a_message_of_several_lines_stays_one_json_line_with_its_trace() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError as problem:
        said = record("a bug\nhere", exc_info=(type(problem), problem, problem.__traceback__))
    text = logs.JsonFormatter().format(said)
    assert "\n" not in text
    assert "ValueError: first\nsecond" in json.loads(text)["error"]


def test_text_lines_are_for_people() -> None:
    with logs.about(KEY):
        text = logs.TextFormatter().format(record("promoted"))
    assert text == "2023-11-14T22:13:20.250+00:00 WARNING shop/iris: promoted"
