"""What the operator counts of its own work: what explains its CPU, and no figure by itself."""

from __future__ import annotations

import urllib.request
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

WORK = {
    "ekiben_reconciles_total": "passes",
    "ekiben_informer_events_total": "watch events",
    "ekiben_pages_read_total": "pages read",
}


def read(url: str) -> Counter[str]:
    """Return how much of each kind of work a process has done."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return count(answer.read().decode())


def count(page: str) -> Counter[str]:
    """Count the work that a page of metrics tells of; bookmarks are none."""
    found: Counter[str] = Counter()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in WORK and sample.labels.get("type") != "BOOKMARK":
                found[WORK[sample.name]] += int(sample.value)
    return found
