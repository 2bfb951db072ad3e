"""What one metrics page says, and what a hostile one can't do."""

from __future__ import annotations

import math
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from ekiben.samples.metrics import PAGE_LIMIT, MetricsError, Reading, Wanted, bound, parse, read_page
from unit.samples.bento import REAL_PAGE, Bento

TOTAL = b"bentoml_service_request_total"
LABELS = b'endpoint="/predict",http_response_code="200",runner_name="Iris"'


def test_a_real_page_counts_clients_requests_and_leaves_out_probes_and_docs() -> None:
    reading = parse(REAL_PAGE, "Iris")
    assert reading.codes == {200: 14, 500: 2, 429: 3, 504: 1, 404: 1}
    assert reading.within[math.inf] == 21
    assert reading.within[math.inf] - reading.within[bound(0.3)] == 5


def test_our_parser_agrees_with_prometheus_client_on_the_real_page() -> None:
    probes = {"/", "/readyz", "/livez", "/docs.json"}
    samples = [
        sample
        for family in text_string_to_metric_families(REAL_PAGE.decode())
        for sample in family.samples
        if sample.labels.get("endpoint") not in probes
    ]
    requests = sum(s.value for s in samples if s.name == "bentoml_service_request_total")
    fast = sum(s.value for s in samples if s.name.endswith("_seconds_bucket") and s.labels["le"] == "0.005")
    reading = parse(REAL_PAGE, None)
    assert (requests, fast) == (sum(reading.codes.values()), reading.within[0.005])


@pytest.mark.parametrize(
    "endpoint",
    [
        "/readyz",
        "/livez",
        "/healthz",
        "/metrics",
        "/",
        "/docs.json",
        "/schema.json",
        "/static_content/index.css",
    ],
)
def test_requests_that_no_client_of_the_model_sent_are_not_counted(endpoint: str) -> None:
    bento = Bento()
    bento.serve(7, endpoint=endpoint)
    reading = parse(bento.page(), "Iris")
    assert reading.codes == {}
    assert set(reading.within.values()) == {0}


@pytest.mark.parametrize("endpoint", ["/predict", "/readyz/deep", "/docs", "/metrics2", "/x/livez"])
def test_paths_that_only_look_like_probes_are_counted(endpoint: str) -> None:
    bento = Bento()
    bento.serve(7, endpoint=endpoint)
    assert parse(bento.page(), "Iris").codes == {200: 7}


def test_the_bounds_are_known_before_the_first_request() -> None:
    assert bound(0.3) in parse(Bento().page(), "Iris").within


def test_a_bound_computed_in_floats_finds_its_bucket() -> None:
    computed = 9 * 0.001
    assert computed != 0.009
    assert bound(computed) in parse(Bento(buckets=(0.009, 0.1)).page(), "Iris").within


def test_only_the_buckets_that_are_asked_for_are_read_and_infinity_with_them() -> None:
    everything = parse(REAL_PAGE, "Iris")
    some = parse(REAL_PAGE, "Iris", {0.3})
    assert some.codes == everything.codes
    assert some.within == {key: everything.within[key] for key in (bound(0.3), math.inf)}
    assert parse(REAL_PAGE, "Iris", ()) == Reading(everything.codes, {})


def test_a_page_may_begin_with_any_family_and_end_without_a_line_break() -> None:
    totals = [line for line in REAL_PAGE.split(b"\n") if line.startswith(TOTAL + b"{")]
    assert parse(b"\n".join(totals), "Iris").codes == parse(REAL_PAGE, "Iris").codes
    assert parse(totals[-1] + b"\nother 1", None, ()) == parse(b"other 1\n" + totals[-1], None, ())


def test_only_the_named_service_counts_and_without_a_name_every_one_does() -> None:
    gateway, backend = Bento("Gateway"), Bento("Backend")
    gateway.serve(3)
    backend.serve(5)
    page = gateway.page() + backend.page()
    assert parse(page, "Gateway").codes == {200: 3}
    assert parse(page, None).codes == {200: 8}


def test_a_page_of_other_services_names_them() -> None:
    page = Bento("Gateway").page() + Bento("Backend").page()
    with pytest.raises(
        MetricsError, match=r"serves Backend, Gateway, not Iris: set spec\.bento\.service"
    ) as caught:
        parse(page, "Iris")
    assert caught.value.reason == "ServiceNameMismatch"


@pytest.mark.parametrize(
    "endpoint",
    [
        "/x,runner_name=",
        '/x",runner_name="Evil',
        '/x"} 99\nbentoml_service_request_total{runner_name="Iris"} 99',
        "/back\\slash\\",
        "/line\rfeed\x0b\x0c\x1c\x85\u2028end",
        "/brace{}# 5",
    ],
)
def test_a_path_that_a_client_made_up_stays_one_path(endpoint: str) -> None:
    bento = Bento()
    bento.serve(4, code=404, endpoint=endpoint)
    assert parse(bento.page(), "Iris").codes == {404: 4}
    with pytest.raises(MetricsError, match="serves Iris, not Evil"):
        parse(bento.page(), "Evil")


def test_pages_with_ever_new_long_paths_leave_nothing_in_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(20):
            path = f"/{number}-".encode() + b"x" * 2**20
            page = TOTAL + b"{" + LABELS.replace(b"/predict", path) + b"} 3\n"
            assert parse(page, "Iris").codes == {200: 3}
        assert tracemalloc.get_traced_memory()[0] < 4 * 2**20
    finally:
        tracemalloc.stop()


EVERYTHING = Wanted("Iris", frozenset({0.3}), busy=True, batches=True)


def test_batches_and_the_time_that_requests_took_are_read_only_where_somebody_asks() -> None:
    bento = Bento()
    bento.serve(4, took=0.25)
    bento.serve(9, endpoint="/livez", took=7)
    bento.batch(1, 8, 3)
    found = read_page(bento.page(), EVERYTHING)
    assert (found.busy_ms, found.batches, found.batched) == (1000, 3, 12)
    plain = parse(bento.page(), "Iris", ())
    assert (plain.busy_ms, plain.batches, plain.batched) == (0, 0, 0)


def test_a_page_without_batches_has_none() -> None:
    assert read_page(REAL_PAGE, EVERYTHING).batches == 0
    assert read_page(REAL_PAGE, EVERYTHING).busy_ms > 0


def test_the_requests_to_excluded_paths_and_below_count_for_nothing() -> None:
    bento = Bento()
    for endpoint in ("/internal", "/internal/deep", "/internals", "/predict"):
        bento.serve(2, endpoint=endpoint, took=1.0)
    for exclude in ("/internal", "/internal/"):
        wanted = Wanted("Iris", None, busy=True, exclude=(exclude,))
        found = read_page(bento.page(), wanted)
        left = 4 if exclude == "/internal" else 6
        assert (found.codes, found.within[math.inf], found.busy_ms) == ({200: left}, left, left * 1000)


def test_what_falls_of_the_means_counts_as_nothing_and_is_no_reset() -> None:
    before = Reading({200: 5}, {}, busy_ms=900, batches=5, batched=50)
    delta = Reading({200: 7}, {}, busy_ms=800, batches=1, batched=60).since(before)
    assert delta == Reading({200: 2}, {}, busy_ms=0, batches=0, batched=10)


BUSY = b"bentoml_service_request_duration_seconds_sum"
BATCHES = b"bentoml_service_adaptive_batch_size_count"


@pytest.mark.parametrize("family", [BUSY, BATCHES])
@pytest.mark.parametrize("value", [b"NaN", b"-1", b"+Inf", b"1e300", b"many", b""])
def test_a_hostile_mean_spoils_the_page_only_for_who_asks_for_it(family: bytes, value: bytes) -> None:
    page = TOTAL + b"{" + LABELS + b"} 3\n" + family + b"{" + LABELS + b"} " + value + b"\n"
    assert parse(page, "Iris").codes == {200: 3}
    with pytest.raises(MetricsError) as caught:
        read_page(page, EVERYTHING)
    assert caught.value.reason == "MetricsInvalid"


def test_means_of_bad_utf8_and_of_others_are_nobodys() -> None:
    page = TOTAL + b"{" + LABELS + b"} 3\n"
    page += BATCHES + b'{runner_name="\xff"} 5\n' + BATCHES + b'{runner_name="Other"} 5\n'
    assert read_page(page, EVERYTHING).batches == 0


HOSTILE = {
    "not a number": (TOTAL + b"{" + LABELS + b"} NaN\n", "MetricsInvalid"),
    "negative": (TOTAL + b"{" + LABELS + b"} -1\n", "MetricsInvalid"),
    "infinite": (TOTAL + b"{" + LABELS + b"} +Inf\n", "MetricsInvalid"),
    "huge": (TOTAL + b"{" + LABELS + b"} 1e300\n", "MetricsInvalid"),
    "half a request": (TOTAL + b"{" + LABELS + b"} 0.5\n", "MetricsInvalid"),
    "a word for a number": (TOTAL + b"{" + LABELS + b"} many\n", "MetricsInvalid"),
    "no value": (TOTAL + b"{" + LABELS + b"}\n", "MetricsInvalid"),
    "an open label": (TOTAL + b'{endpoint="/predict} 1\n', "MetricsInvalid"),
    "labels that never end": (TOTAL + b'{a="' + b"\\" * 100_001, "MetricsInvalid"),
    "a bucket without a bound": (
        b"bentoml_service_request_duration_seconds_bucket{" + LABELS + b"} 1\n",
        "MetricsInvalid",
    ),
    "a bucket of NaN": (
        b'bentoml_service_request_duration_seconds_bucket{le="NaN",' + LABELS + b"} 1\n",
        "MetricsInvalid",
    ),
    "an empty page": (b"", "MetricsInvalid"),
    "a page of something else": (b"<html>login</html>", "MetricsInvalid"),
    "a binary page": (bytes(range(256)) * 100, "MetricsInvalid"),
    "a page over 4 MiB": (REAL_PAGE + b"#" * PAGE_LIMIT, "MetricsTooLarge"),
    "no service at all": (TOTAL + b"{} 5\n", "ServiceNameMismatch"),
    "a service that writes to the terminal": (
        TOTAL + b'{runner_name="\x1b[2J\r"} 5\n',
        "ServiceNameMismatch",
    ),
    "a hundred services": (
        b"".join(TOTAL + b'{runner_name="%s%d"} 5\n' % (b"x" * 100, n) for n in range(100)),
        "ServiceNameMismatch",
    ),
    "a service of bad UTF-8": (TOTAL + b'{runner_name="\xff\xfe"} 5\n', "ServiceNameMismatch"),
}


@pytest.mark.parametrize(("page", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_page_is_a_short_sentence_with_a_reason(page: bytes, reason: str) -> None:
    with pytest.raises(MetricsError) as caught:
        parse(page, "Iris")
    assert caught.value.reason == reason
    assert len(caught.value.message) < 700
    assert caught.value.message.isprintable()


def test_bad_utf8_in_a_path_and_an_unknown_status_are_still_requests() -> None:
    page = TOTAL + b'{endpoint="/\xff",http_response_code="what",runner_name="Iris"} 3 1700000000000\n'
    assert parse(page, "Iris").codes == {0: 3}


@given(st.binary(max_size=300), st.integers(0, len(REAL_PAGE)), st.integers(0, 400))
@example(b'{a="\\', 0, 0)
def test_no_page_raises_anything_but_a_metrics_error(junk: bytes, at: int, gone: int) -> None:
    for page in (junk, TOTAL + b"{" + junk, REAL_PAGE[:at] + junk + REAL_PAGE[at + gone :]):
        try:
            reading = parse(page, "Iris")
        except MetricsError:
            continue
        assert all(count >= 0 for count in (*reading.codes.values(), *reading.within.values()))


counts = st.dictionaries(st.sampled_from([200, 404, 429, 500, 503]), st.integers(0, 50), max_size=5)


@given(st.lists(counts, min_size=2, max_size=8))
def test_differences_of_a_growing_counter_add_up_and_one_that_falls_gives_none(
    served: list[dict[int, int]],
) -> None:
    readings, now = [], dict.fromkeys(served[0], 0)
    for more in served:
        now = {code: now.get(code, 0) + more.get(code, 0) for code in now | more}
        readings.append(Reading(dict(now), {math.inf: sum(now.values())}))
    deltas = [after.since(before) for before, after in pairwise(readings)]
    total = sum(sum(delta.codes.values()) for delta in deltas if delta)
    assert None not in deltas
    assert total == sum(readings[-1].codes.values()) - sum(readings[0].codes.values())
    falls = total > 0
    assert (readings[0].since(readings[-1]) is None) == falls
