"""Who finds the answer to each kind of question: one module per kind, and this table."""

from __future__ import annotations

from collections.abc import Mapping

from ekiben.asking.asker import Finder
from ekiben.core.asking import Question

FINDERS: Mapping[type[Question], Finder] = {}
