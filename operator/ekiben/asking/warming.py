"""Warm a pod up: call its API so often, one call after the other, and see that it has become quick enough.

The pod may be hostile: no redirect is followed, no more of an answer is read than is needed to see its end,
and nothing of what it says goes anywhere but, cut short, into the status.
"""

from __future__ import annotations

import asyncio
from time import perf_counter

import aiohttp

from ekiben.asking.asker import Means, UnansweredError
from ekiben.core.warming import WARMUP_FAILED, WARMUP_REFUSED, WarmUpCall
from ekiben.kube.store import Key

LARGEST = 4 * 1024 * 1024
_EXCERPT = 80


async def warm_up(means: Means, key: Key, call: WarmUpCall) -> None:
    """Make the calls; raises UnansweredError with the reason why the pod is not warm."""
    took: list[float] = []
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "ekiben-warmup"},
        timeout=aiohttp.ClientTimeout(total=call.call_timeout),
    ) as session:
        for _ in range(call.requests):
            began = perf_counter()
            await _call(session, call)
            took.append(perf_counter() - began)
    slowest = max(took[-max(len(took) // 3, 1) :])
    if call.max_latency is not None and slowest > call.max_latency:
        raise UnansweredError(
            f"after {call.requests} calls an answer to {_named(call)} still takes {slowest:.1g} s,"
            f" more than {call.max_latency:g} s",
            WARMUP_FAILED,
        )


async def _call(session: aiohttp.ClientSession, call: WarmUpCall) -> None:
    """Make one call; raises UnansweredError unless it is answered 2xx."""
    host = f"[{call.ip}]" if ":" in call.ip else call.ip
    url = f"http://{host}:{call.port}{call.path}"
    body = call.body.encode() if call.method == "POST" else None
    headers = {"Content-Type": call.content_type} if body is not None else {}
    try:
        async with session.request(
            call.method, url, data=body, headers=headers, allow_redirects=False
        ) as answer:
            said = await _read(answer)
    except TimeoutError:
        raise UnansweredError(
            f"no answer to {_named(call)} within {call.call_timeout:g} s", WARMUP_FAILED
        ) from None
    except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError) as problem:
        raise UnansweredError(f"can't be called at {url}: {type(problem).__name__}") from None
    if answer.status >= 500:
        raise UnansweredError(f"answers {answer.status} to {_named(call)}{said}", WARMUP_FAILED)
    if not 200 <= answer.status < 300:
        raise UnansweredError(
            f"answers {answer.status} to {_named(call)}{said}: correct rollout.warmup", WARMUP_REFUSED
        )


async def _read(answer: aiohttp.ClientResponse) -> str:
    """Read an answer to its end, or to the limit; return how it begins, as words for people."""
    begin, size = b"", 0
    async for part in answer.content.iter_any():
        begin = (begin + part)[:_EXCERPT]
        size += len(part)
        if size > LARGEST:
            answer.close()
            break
    text = begin.decode(errors="replace").strip()
    return f" ({text!r})" if text and not 200 <= answer.status < 300 else ""


def _named(call: WarmUpCall) -> str:
    return f"{call.method} {call.path}"
