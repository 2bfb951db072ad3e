"""What the fleet's bench counts, what its fake pods answer, and how its runs are shown."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ekiben.core import names
from ekiben.samples.metrics import parse
from scale.audit import AuditLog
from scale.fleet import is_at_rest, is_rolled, is_served, model, renamed
from scale.inside import count
from scale.page import draw, render
from scale.pages import LARGE, SMALL, Pages, build_page
from scale.process import cpu_seconds, peak_mib, resident_mib
from scale.summary import BEGIN, END, with_table


def entry(verb: str, resource: str, code: int = 200, subresource: str = "") -> dict[str, Any]:
    about = {"resource": resource, "subresource": subresource}
    return {"verb": verb, "objectRef": about, "responseStatus": {"code": code}}


def test_requests_are_counted_from_a_mark_without_watches_and_leases(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path, "system:serviceaccount:a:b")
    assert audit.since(audit.mark()).counts == {}

    def write(*entries: dict[str, Any]) -> None:
        with audit.path.open("a") as log:
            log.writelines(json.dumps(item) + "\n" for item in entries)

    write(entry("create", "events"))
    mark = audit.mark()
    write(
        entry("update", "modeldeployments", subresource="status"),
        entry("patch", "services", 504),
        entry("get", "services", 404),
        entry("list", "pods"),
        entry("watch", "pods"),
        entry("update", "leases"),
    )
    found = audit.since(mark)
    assert (found.writes, found.gets, found.lists) == (2, 1, 1)
    assert found.per_object(2)["update modeldeployments/status"] == 0.5
    assert dict(found.refused) == {("patch", "services", 504): 1}, "a look-up of a free name is no refusal"
    assert audit.since(0).writes == 3


def test_a_process_is_measured_from_outside() -> None:
    before, end = cpu_seconds(os.getpid()), time.process_time() + 0.05
    while time.process_time() < end:
        pass
    assert cpu_seconds(os.getpid()) > before
    assert 1 < resident_mib(os.getpid()) <= peak_mib(os.getpid())


def test_pages_are_of_the_sizes_that_are_told_and_the_parser_reads_them() -> None:
    for paths, size in ((SMALL, 10_000), (LARGE, 1_000_000)):
        page = build_page(paths).replace(b"@", b"7.0")
        assert 0.9 < len(page) / size < 1.2
        reading = parse(page, "Iris")
        assert reading.codes == {200: 7, 404: paths - 1}
        assert set(reading.within.values()) == {7 + paths - 1}


def test_only_the_newest_image_of_a_model_gets_requests() -> None:
    pages = Pages()

    def pod(image: str, ip: str) -> dict[str, Any]:
        about = {"namespace": "models", "uid": ip, "labels": {names.MODEL: "iris"}}
        return {
            "metadata": about,
            "spec": {"containers": [{"image": image}]},
            "status": {"podIP": ip},
        }

    pages.changed("ADDED", pod("iris:1", "10.128.0.1"))
    assert pages.gets_requests("10.128.0.1")
    pages.changed("ADDED", pod("iris:2", "10.128.0.2"))
    assert not pages.gets_requests("10.128.0.1")
    assert pages.gets_requests("10.128.0.2")
    pages.changed("DELETED", pod("iris:1", "10.128.0.1"))
    assert not pages.knows("10.128.0.1")


def test_children_for_the_floor_have_another_name_and_no_operator_takes_them_for_its_own() -> None:
    labels = {names.MANAGED_BY: names.MANAGER, names.MODEL: "sample"}
    (copy,) = renamed(
        [{"kind": "Service", "metadata": {"name": "sample", "labels": labels}}], "sample", "m-1"
    )
    assert copy["metadata"] == {"name": "m-1", "labels": {names.MANAGED_BY: "bench", names.MODEL: "m-1"}}


def test_what_the_phases_wait_for() -> None:
    image = model("m")["spec"]["bento"]["image"]
    settled = {"type": "Settled", "status": "True", "observedGeneration": 3}
    status = {"stable": {"image": image, "readyReplicas": 2}, "conditions": [settled]}
    assert is_served(1)({"metadata": {"generation": 3}, "status": status})
    assert not is_served(1)({"metadata": {"generation": 4}, "status": status})
    assert not is_served(2)({"metadata": {"generation": 3}, "status": status})
    assert not is_at_rest({"status": {"retiring": [{"revision": "old"}]}})
    counts = {"replicas": 3, "updatedReplicas": 2, "readyReplicas": 2, "observedGeneration": 1}
    assert not is_rolled({"metadata": {"generation": 1}, "status": counts})
    assert is_rolled({"metadata": {"generation": 1}, "status": {**counts, "replicas": 2}})


def test_the_page_shows_every_run_and_the_plot_is_the_same_for_the_same_runs(tmp_path: Path) -> None:
    about = {"cpu": "a CPU", "cpus": 2, "memory_gib": 24, "load": "3.0 2.0 1.0"}
    row = {
        "figure": "operator CPU per object created",
        "value": 20.5,
        "unit": "ms",
        "floor": None,
        "ratio": None,
        "limit": 14,
        "limit_is_on": "value",
        "limit_is_a": "maximum",
        "ok": False,
        "details": ["seen"],
    }
    runs = [
        {"at": "2026-01-01T00:00:00Z", "commit": "abc", "models": size, "machine": about, "rows": [row]}
        for size in (1000, 100)
    ]
    page = render(runs)
    assert page.index("## 100 models") < page.index("## 1,000 models")
    assert "| operator CPU per object created | 20.50 ms |  |  | <= 14 ms | no |" in page
    assert "0 of 1 rows hold, 1 missed." in page
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    draw(first, runs)
    draw(second, runs)
    assert first.read_text() == second.read_text()
    older = {**runs[0], "at": "2025-01-01T00:00:00Z", "commit": "old"}
    shown = with_table(f"before\n{BEGIN}{END}after\n", [older, *runs])
    assert "| figure | limit | 100 models | 1,000 models |\n" in shown
    assert "| operator CPU per object created | <= 14 ms | 20.50 ms (missed) | 20.50 ms (missed) |\n" in shown
    assert "old" not in shown
    assert with_table(shown, runs) == shown
    assert shown.startswith("before\n")
    assert shown.endswith("after\n")
    assert "operator CPU per object created" in first.read_text()


def test_the_work_of_the_operator_is_read_from_its_own_metrics() -> None:
    page = (
        "# TYPE ekiben_reconciles counter\n"
        'ekiben_reconciles_total{result="done"} 7.0\nekiben_reconciles_total{result="gone"} 1.0\n'
        "# TYPE ekiben_informer_events counter\n"
        'ekiben_informer_events_total{kind="pods",type="ADDED"} 5.0\n'
        'ekiben_informer_events_total{kind="pods",type="BOOKMARK"} 9.0\n'
        "# TYPE ekiben_pages_read counter\nekiben_pages_read_total 3.0\n"
    )
    assert count(page) == {"passes": 8, "watch events": 5, "pages read": 3}
