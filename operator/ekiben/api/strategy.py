"""The fields of the API that say which way a new revision takes."""

from __future__ import annotations

from typing import Literal

Strategy = Literal["Canary", "BlueGreen"]
