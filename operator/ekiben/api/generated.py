"""Files that are generated and committed: write them, or with --check tell whether they are current."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[3]


def write_or_check(path: str, text: str, module: str) -> int:
    """Write `text` to `path` in the checkout; with --check on the command line only compare.

    Returns the exit status: 0, or 1 where the committed file is stale or there is no checkout.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=f"Write {path}.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the file is stale")
    check = parser.parse_args().check
    target = CHECKOUT / path
    if not target.parent.is_dir():
        print(f"{Path(path).parent}/ is missing: run this in a checkout of Ekiben", file=sys.stderr)
        return 1
    if target.exists() and target.read_text() == text:
        return 0
    if check:
        print(f"{path} is stale: run `python -m {module}` and commit it", file=sys.stderr)
        return 1
    target.write_text(text)
    print(f"wrote {path}")
    return 0
