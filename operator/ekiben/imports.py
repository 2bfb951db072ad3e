"""Import a library without what it would import in passing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(module: str) -> Iterator[None]:
    """Let what is imported inside find that `module` is not installed, unless somebody has imported it."""
    if module in sys.modules:
        yield
        return
    # None is how the import system itself is told so.
    sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[module]
