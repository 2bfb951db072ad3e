"""Credentials are found, refreshed, and asked for in one sentence when they are missing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ekiben.kube.client import ApiError, Client
from ekiben.kube.credentials import of_pod
from ekiben.kube.kinds import SERVICE
from unit.cli.world import ENVIRONMENT
from unit.kube.conftest import write_kubeconfig
from unit.kube.list_watch_server import ListWatchServer


@pytest.mark.parametrize(
    "content",
    [None, "", "a: [", "just words", "{}", '{"current-context": "gone", "contexts": [], "clusters": []}'],
)
async def test_a_kubeconfig_that_is_none_is_named_with_the_remedy(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ApiError, match=r"no API server to talk to: .*kubeconfig.*KUBECONFIG") as caught:
        await Client.connect(path)
    assert caught.value.reason == "Config"
    assert ("does not exist" in str(caught.value)) == (content is None)


async def test_the_environment_names_a_kubeconfig(
    url: str, server: ListWatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path / "kubeconfig", url)))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    client = await Client.connect(user_agent="ekiben/test")
    await client.list(SERVICE)
    await client.close()
    assert server.headers[-1]["User-Agent"] == "ekiben/test"


async def test_a_context_that_is_not_there_is_an_error(url: str, tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="elsewhere"):
        await Client.connect(write_kubeconfig(tmp_path / "kubeconfig", url), context="elsewhere")


async def test_a_pod_without_token_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    with pytest.raises(ApiError, match="service account"):
        await Client.connect()


async def test_a_token_that_rotates_is_read_again(
    url: str, server: ListWatchServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    path = write_kubeconfig(tmp_path / "kubeconfig", url, tokenFile=str(token))
    client = await Client.connect(path)
    await client.list(SERVICE)
    token.write_text("second")
    await client.list(SERVICE)
    later = time.monotonic() + 61.0
    monkeypatch.setattr("ekiben.kube.config.monotonic", lambda: later)
    await client.list(SERVICE)
    token.unlink()
    later += 61.0
    with pytest.raises(ApiError) as caught:
        await client.list(SERVICE)
    token.write_text("third")
    await client.list(SERVICE)
    await client.close()
    tokens = [headers["Authorization"] for headers in server.headers]
    assert tokens == ["Bearer first", "Bearer first", "Bearer second", "Bearer third"]
    assert caught.value.reason == "Config"
    assert caught.value.is_retryable


async def test_a_pod_needs_its_two_files_and_reads_the_token_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ekiben.kube.credentials.POD_FOLDER", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "token").write_text("first\n")
    configuration, load = await of_pod()
    assert configuration.host == "https://[fd00::1]:443"
    assert configuration.ssl_ca_cert == str(tmp_path / "ca.crt")
    configuration.refresh_api_key_hook = load
    (tmp_path / "token").write_text("second\n")
    assert await configuration.get_api_key_with_prefix("BearerToken") == "Bearer second"
    (tmp_path / "token").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        await load(configuration)


def test_a_pod_starts_without_the_library_that_reads_kubeconfigs() -> None:
    code = "import sys, ekiben.__main__; sys.exit('kubernetes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False)
    assert done.returncode == 0
