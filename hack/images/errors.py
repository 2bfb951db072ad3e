"""What goes wrong in a way that the caller can mend."""

from __future__ import annotations


class ImageError(Exception):
    """One sentence for the person at the keyboard: what is wrong, and what to do about it."""
