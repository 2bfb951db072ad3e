"""A backend that builds nothing, for what happens around building."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class FakeBackend:
    """Writes one line per image, and counts what it was asked for."""

    folder: Path
    name: str = "fake"
    base: str = "base-1"
    built: list[str] = field(default_factory=list)
    saved: int = 0

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def key(self) -> str:
        return self.base

    def check_base(self, image: str, python: str) -> None: ...

    @contextmanager
    def environment(self) -> Iterator[dict[str, str]]:
        yield dict(os.environ)

    def bentoml_options(self) -> list[str]:
        return []

    def build(self, context: Path, dockerfile: Path, image: str) -> None:
        self.built.append(image)

    def save(self, images: Sequence[str], out: Path) -> dict[str, str]:
        self.saved += 1
        out.write_text("\n".join(images))
        return dict.fromkeys(images, f"sha256:{self.saved}")

    def clean(self, images: Sequence[str]) -> None: ...

    def log(self, image: str) -> Path:
        return self.folder / "log"
