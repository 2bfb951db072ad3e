"""Calls that tenants write: what is sent, what is never sent, and what a hostile server can't do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ekiben.asking.asker import Means, UnansweredError
from ekiben.asking.http import LARGEST, find_answer
from ekiben.core.calling import CallPolicy, HttpAnswer, HttpCall, SecretKey
from ekiben.kube.client import ApiError
from ekiben.kube.kinds import SECRET
from unit.fake_client import FakeClient

KEY = ("shop", "iris")
PASSWORD = "s3cr3t-of-the-shop"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def means(*hosts: str, namespaces: tuple[str, ...] = ("shop",)) -> Means:
    """What finders get: a client with one Secret, and hosts that may be called."""
    client = FakeClient()
    data = {"token": PASSWORD + "\n", "user": "ann", "bad": "a\nb", "ca.crt": "no certificate"}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    client.put(SECRET, {"metadata": {"namespace": "shop", "name": "judge"}, "data": encoded})
    return Means(client, CallPolicy(frozenset(hosts or ("127.0.0.1",)), frozenset(namespaces)))


@contextlib.asynccontextmanager
async def server(handler: Handler, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve one handler on loopback; yields the URL."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"{'https' if context else 'http'}://{host}:{port}"
    finally:
        await runner.cleanup()


async def ok(request: web.Request) -> web.StreamResponse:
    return web.Response(text="fine")


async def refused(call: HttpCall, given: Means | None = None) -> UnansweredError:
    """Make a call that must come to nothing; return why."""
    with pytest.raises(UnansweredError) as why:
        await find_answer(given or means(), KEY, call)
    return why.value


async def test_an_answer_is_told_with_its_status_whatever_that_is() -> None:
    async def teapot(request: web.Request) -> web.StreamResponse:
        return web.Response(status=418, text="short and stout")

    async with server(teapot) as url:
        assert await find_answer(means(), KEY, HttpCall(url=url)) == HttpAnswer(418, b"short and stout")


async def test_what_was_written_is_sent_and_nothing_of_ours() -> None:
    seen: list[tuple[str, str, dict[str, str], str]] = []

    async def note(request: web.Request) -> web.StreamResponse:
        seen.append((request.method, request.path_qs, dict(request.headers), await request.text()))
        return web.Response()

    async with server(note) as url:
        call = HttpCall(
            url=f"{url}/gate?x=1",
            method="POST",
            body='{"a": 1}',
            headers=(("Content-Type", "application/json"),),
            secret_headers=(("X-Token", SecretKey("judge", "token")),),
            basic=(SecretKey("judge", "user"), SecretKey("judge", "token")),
        )
        await find_answer(means(), KEY, call)
        await find_answer(means(), KEY, HttpCall(url=url, bearer=SecretKey("judge", "token")))
    (method, path, headers, body), (_, _, bearer, _) = seen
    assert (method, path, body) == ("POST", "/gate?x=1", '{"a": 1}')
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Token"] == PASSWORD
    basic = base64.b64encode(f"ann:{PASSWORD}".encode()).decode()
    assert headers["Authorization"] == f"Basic {basic}"
    assert bearer["Authorization"] == f"Bearer {PASSWORD}"
    assert {name.lower() for name in bearer} <= {
        *("host", "accept", "accept-encoding", "user-agent", "authorization", "connection")
    }


async def test_no_redirect_is_followed_whoever_asks_for_it() -> None:
    asked: list[str] = []

    async def away(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        raise web.HTTPFound("/elsewhere")

    async with server(away) as url:
        assert (await find_answer(means(), KEY, HttpCall(url=url))).status == 302
    assert asked == ["/"]


async def test_an_answer_without_end_is_cut_off() -> None:
    async def flood(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            for _ in range(10):
                await answer.write(b"x" * LARGEST)
        return answer

    async with server(flood) as url:
        problem = await refused(HttpCall(url=url))
    assert (problem.reason, str(problem)) == ("AnswerTooLarge", "the answer is larger than 1024 KiB")


async def test_nothing_is_inflated() -> None:
    async def bomb(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"not really gzip", headers={"Content-Encoding": "gzip"})

    async with server(bomb) as url:
        assert (await find_answer(means(), KEY, HttpCall(url=url))).body == b"not really gzip"


async def test_a_slow_drip_ends_with_the_time_of_whoever_asks() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b".")
                await asyncio.sleep(0.01)
        return answer

    async with server(drip) as url:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await find_answer(means(), KEY, HttpCall(url=url))


async def test_a_server_that_is_not_there_is_a_problem_and_no_crash() -> None:
    problem = await refused(HttpCall(url="http://127.0.0.1:1/metrics?token=abc"))
    assert str(problem).startswith("http://127.0.0.1:1 can't be asked: ")
    assert "abc" not in str(problem)


NOT_CALLED = {
    "a host that is not listed": (("prometheus.monitoring.svc",), "http://127.0.0.1:9090", "HostForbidden"),
    "no host at all is listed": (("x.invalid",), "http://prometheus:9090", "HostForbidden"),
    "another port": (("127.0.0.1:9090",), "http://127.0.0.1:9091", "HostForbidden"),
    "loopback, though every host is listed": (("*",), "http://127.0.0.1:9090", "HostForbidden"),
    "loopback by name": (("*",), "http://localhost:1", "HostForbidden"),
    "loopback as one number": (("*",), "http://2130706433:1/", "HostForbidden"),
    "loopback in short": (("*",), "http://127.1:1/", "HostForbidden"),
    "loopback in hexadecimal": (("*",), "http://0x7f.1:1/", "HostForbidden"),
    "loopback in IPv6": (("*",), "http://[::1]:1", "HostForbidden"),
    "loopback behind IPv6": (("*",), "http://[::ffff:127.0.0.1]:1", "HostForbidden"),
    "a cloud's metadata": (("*",), "http://169.254.169.254/latest/meta-data/", "HostForbidden"),
    "a cloud's metadata behind NAT64": (("*",), "http://[64:ff9b::a9fe:a9fe]/", "HostForbidden"),
    "the unspecified address": (("*",), "http://0.0.0.0:1/", "HostForbidden"),
    "a file": (("*",), "file:///etc/passwd", "BadURL"),
    "a password in the URL": (("*",), "http://ann:pw@prometheus/", "BadURL"),
    "a line in the URL": (("*",), "http://prometheus/\r\nX: y", "BadURL"),
    "a port that is none": (("*",), "http://prometheus:99999/", "BadURL"),
}


@pytest.mark.parametrize("name", NOT_CALLED)
async def test_who_is_never_called(name: str) -> None:
    hosts, url, reason = NOT_CALLED[name]
    assert (await refused(HttpCall(url=url), means(*hosts))).reason == reason


async def test_who_may_not_be_called_is_told_the_value_to_change() -> None:
    problem = await refused(HttpCall(url="http://prometheus.monitoring:9090"), means("x"))
    assert str(problem) == (
        "host prometheus.monitoring at port 9090 may not be called: list it in the chart value calls.hosts"
    )


def test_listed_hosts() -> None:
    policy = CallPolicy(frozenset({"a.svc", "b.svc:9090", "*.team.svc", "[fd00::1]:80", "fd00::2"}))
    allowed = [
        ("a.svc", 1),
        ("A.svc.", 1),
        ("b.svc", 9090),
        ("x.team.svc", 443),
        ("fd00::1", 80),
        ("fd00::2", 9),
    ]
    assert [policy.allows_host(host, port) for host, port in allowed] == [True] * 6
    others = [("b.svc", 80), ("team.svc", 80), ("evilteam.svc", 80), ("a.svc.evil", 80), ("fd00::1", 81)]
    assert [policy.allows_host(host, port) for host, port in others] == [False] * 5


async def test_secrets_are_read_only_where_the_chart_says_and_the_role_is_named() -> None:
    call = HttpCall(url="http://127.0.0.1:1", bearer=SecretKey("judge", "token"))
    given = means(namespaces=())
    problem = await refused(call, given)
    assert problem.reason == "SecretForbidden"
    assert "list namespace shop in the chart value secrets.namespaces" in str(problem)
    assert isinstance(given.client, FakeClient)
    assert given.client.asked == []

    given = means()
    assert isinstance(given.client, FakeClient)
    given.client.fail("get", SECRET, ApiError(403, "Forbidden", "no"))
    problem = await refused(call, given)
    assert problem.reason == "SecretForbidden"
    assert "create a Role in namespace shop with verb get on secrets, resourceNames [judge]" in str(problem)


BAD_SECRETS = {
    "a Secret that is not there": (SecretKey("nobody", "token"), "SecretMissing"),
    "a key that is not there": (SecretKey("judge", "nothing"), "SecretMissing"),
    "a value of two lines": (SecretKey("judge", "bad"), "BadSecret"),
}


@pytest.mark.parametrize("name", BAD_SECRETS)
async def test_a_secret_that_can_not_be_used_is_named_without_its_value(name: str) -> None:
    secret, reason = BAD_SECRETS[name]
    problem = await refused(HttpCall(url="http://127.0.0.1:1", bearer=secret))
    assert problem.reason == reason
    assert secret.name in str(problem)
    assert "a\nb" not in str(problem)


@pytest.mark.parametrize(
    "header", [("Host", "evil"), ("Content-Length", "3"), ("A B", "c"), ("X", "a\r\nY: b"), ("X", "ä")]
)
async def test_headers_that_change_where_a_request_goes_or_ends_are_not_sent(header: tuple[str, str]) -> None:
    problem = await refused(HttpCall(url="http://127.0.0.1:1", headers=(header,)))
    assert problem.reason == "BadHeader"


async def test_a_secret_never_comes_into_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    async def cut(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    async with server(cut) as url:
        problem = await refused(HttpCall(url=url, bearer=SecretKey("judge", "token")))
    assert PASSWORD not in str(problem) + repr(problem.__context__) + caplog.text


def certificate(folder: Path) -> tuple[ssl.SSLContext, bytes]:
    """Make a server's context for 127.0.0.1, and the bundle that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "prometheus")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    (folder / "cert").write_bytes(pem)
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context, pem


async def test_a_certificate_is_checked_unless_the_tenant_says_otherwise(tmp_path: Path) -> None:
    context, pem = certificate(tmp_path)
    given = means()
    assert isinstance(given.client, FakeClient)
    data = {"ca.crt": base64.b64encode(pem).decode()}
    given.client.put(SECRET, {"metadata": {"namespace": "shop", "name": "trust"}, "data": data})
    async with server(ok, context) as url:
        assert (await refused(HttpCall(url=url), given)).reason == "BadCertificate"
        trusting = HttpCall(url=url, ca=SecretKey("trust", "ca.crt"))
        assert (await find_answer(given, KEY, trusting)).body == b"fine"
        blind = HttpCall(url=url, insecure_skip_verify=True)
        assert (await find_answer(given, KEY, blind)).body == b"fine"
        broken = HttpCall(url=url, ca=SecretKey("judge", "ca.crt"))
        assert (await refused(broken, given)).reason == "BadSecret"


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with server(ok) as url:
        assert (await find_answer(means(), KEY, HttpCall(url=url))).status == 200
