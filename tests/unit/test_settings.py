"""Settings come from the environment, and a bad one says what to write instead."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from ekiben.__main__ import main
from ekiben.parsers import Address
from ekiben.settings import Settings, SettingsError, help_table, variable


def test_without_any_variable_everything_has_its_default() -> None:
    settings = Settings.from_environ({})
    assert settings == Settings()
    assert settings.namespaces == ()
    assert settings.metrics_address == Address("0.0.0.0", 9090)
    assert settings.identity


def test_every_variable_is_read() -> None:
    settings = Settings.from_environ(
        {
            "EKIBEN_NAMESPACES": "shop, lab,shop",
            "EKIBEN_SELECTOR": "shard in (a, b), !legacy",
            "EKIBEN_WORKERS": "8",
            "EKIBEN_MAX_CONCURRENT_ROLLOUTS": "5",
            "EKIBEN_MAX_CONCURRENT_ROLLOUTS_PER_NAMESPACE": "2",
            "EKIBEN_METRICS_ADDRESS": "127.0.0.1:9100",
            "EKIBEN_PROBES_ADDRESS": "[::1]:0",
            "EKIBEN_LOG_LEVEL": "DEBUG",
            "EKIBEN_LOG_FORMAT": "text",
            "EKIBEN_LEADER_ELECTION": "true",
            "EKIBEN_LEASE_NAMESPACE": "ekiben-system",
            "EKIBEN_LEASE_NAME": "ekiben.shop",
            "EKIBEN_IDENTITY": "ekiben-0",
            "EKIBEN_RESYNC": "1h30m",
            "EKIBEN_WATCH_STALENESS": "200s",
            "EKIBEN_STOP_GRACE": "0s",
        }
    )
    assert settings == Settings(
        namespaces=("shop", "lab"),
        selector="shard in (a, b), !legacy",
        workers=8,
        max_concurrent_rollouts=5,
        max_concurrent_rollouts_per_namespace=2,
        metrics_address=Address("127.0.0.1", 9100),
        probes_address=Address("::1", 0),
        log_level="debug",
        log_format="text",
        leader_election=True,
        lease_namespace="ekiben-system",
        lease_name="ekiben.shop",
        identity="ekiben-0",
        resync=5400.0,
        watch_staleness=200.0,
        stop_grace=0.0,
    )


def test_every_field_can_be_set_and_is_in_the_help() -> None:
    for item in fields(Settings):
        name = variable(item.name)
        described = re.search(rf"^  {name}\b.*\n      \S.*\.$", help_table(), re.MULTILINE)
        assert described, f"{name} is not described"


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("EKIBEN_NAMESPACES", "shop,Lab_1", "lower case letters"),
        ("EKIBEN_POD_ALLOW", "hostPath,hostNetwork", "any of privileged"),
        ("EKIBEN_POD_SERVICE_ACCOUNTS", "trainer,Bad_One", "dashes and dots"),
        ("EKIBEN_SELECTOR", "shard in (a", "shard in (a,b)"),
        ("EKIBEN_WORKERS", "0", "from 1 to 64"),
        ("EKIBEN_MAX_CONCURRENT_ROLLOUTS", "-1", "0 for no limit"),
        ("EKIBEN_WORKERS", "many", "from 1 to 64"),
        ("EKIBEN_CALL_HOSTS", "http://prometheus", "no host"),
        ("EKIBEN_KEDA_TRIGGERS", "kafka,RabbitMQ", "no type of a trigger"),
        ("EKIBEN_KEDA_TRIGGERS", "*kafka", "no type of a trigger"),
        ("EKIBEN_SECRET_NAMESPACES", "Shop", "no namespace"),
        ("EKIBEN_METRICS_ADDRESS", "9090", "host:port"),
        ("EKIBEN_METRICS_ADDRESS", "0.0.0.0:99999", "host:port"),
        ("EKIBEN_LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("EKIBEN_LOG_FORMAT", "xml", "json, text"),
        ("EKIBEN_LEADER_ELECTION", "yes", "true or false"),
        ("EKIBEN_LEASE_NAME", "Ekiben!", "dashes and dots"),
        ("EKIBEN_IDENTITY", "x" * 129, "at most 128"),
        ("EKIBEN_NAMESPACE", "shop", "write EKIBEN_NAMESPACES"),
        ("EKIBEN_LOGLEVEL", "debug", "write EKIBEN_LOG_LEVEL"),
        ("EKIBEN_RESYNC", "10", "90s, 5m"),
        ("EKIBEN_RESYNC", "1s", "from 10s"),
        ("EKIBEN_WATCH_STALENESS", "60s", "from 150s"),
    ],
)
def test_a_bad_value_names_the_variable_and_the_remedy(name: str, value: str, remedy: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ({name: value})
    sentence = str(caught.value)
    assert sentence.startswith(f"{name}={value!r}: ")
    assert remedy in sentence
    assert "\n" not in sentence


def test_a_services_own_variables_are_no_settings_of_ours() -> None:
    # Kubernetes sets these beside Services called `ekiben` and `ekiben-metrics`.
    injected = {
        "EKIBEN_SERVICE_HOST": "10.96.0.7",
        "EKIBEN_PORT": "tcp://10.96.0.7:9090",
        "EKIBEN_METRICS_PORT": "tcp://10.96.0.8:9090",
        "EKIBEN_METRICS_SERVICE_HOST": "10.96.0.8",
    }
    assert Settings.from_environ(injected) == Settings()


def test_a_bad_setting_ends_the_process_with_2_and_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EKIBEN_WORKERS", "none")
    assert main([]) == 2
    assert capsys.readouterr().err == "EKIBEN_WORKERS='none': write a whole number from 1 to 64\n"


def test_an_unknown_argument_ends_the_process_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--workers=8"])
    assert ended.value.code == 2
    assert "--workers=8" in capsys.readouterr().err


def test_help_says_what_this_is_and_lists_the_variables(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "BentoML models on Kubernetes" in text
    assert "EKIBEN_WORKERS (default 8)" in text
