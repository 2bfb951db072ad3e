"""Find out when pods were last asked for anything: one reading of each pod's page."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from ekiben.asking.asker import Means, UnansweredError
from ekiben.core import names
from ekiben.core.idleness import LastRequest, Seen
from ekiben.kube.store import Key
from ekiben.samples.fetch import Fetcher, new_session
from ekiben.samples.metrics import MetricsError, Wanted, last_request, read_page

READ_SECONDS = 3.0
AT_ONCE = 16
# What is counted of a page beside the time of the last request: what is in flight.
_WANTED = Wanted(None, frozenset(), in_flight=True)


async def find_last_request(means: Means, key: Key, question: LastRequest, *, port: int = names.PORT) -> Seen:
    """Read every pod; raises UnansweredError where one can't be read: nobody knows that it is idle."""
    fetcher = Fetcher(port, new_session, AT_ONCE)
    try:
        pages = await asyncio.gather(*(fetcher.read(ip, READ_SECONDS) for _, ip in question.pods))
        seen = [(last_request(page), read_page(page, _WANTED).in_flight) for page in pages]
    except MetricsError as problem:
        raise UnansweredError(f"a pod {problem.message}", problem.reason) from problem
    finally:
        await fetcher.close()
    times = [datetime.fromtimestamp(at, UTC) for at, _ in seen if at is not None]
    return Seen(max(times, default=None), sum(busy for _, busy in seen))
