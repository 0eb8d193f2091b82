"""Guesses what a misspelt word was meant to be.

Lifetime: config.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(text: str, known: Iterable[str]) -> str | None:
    """`did you mean "reviews"?`, or None when nothing known is near."""
    near = get_close_matches(text, sorted(set(known)), 1)
    return f'did you mean "{near[0]}"?' if near else None
