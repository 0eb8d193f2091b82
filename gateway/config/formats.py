"""Fields that hold text with `%OPERATORS%`.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.fields import Problem
from gateway.http.format import FormatError, parse

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_format(text: str, at: tuple[str | int, ...]) -> Iterator[Problem]:
    """The problem of a format string, if it has one; `at` is where it stands."""
    try:
        parse(text)
    except FormatError as error:
        yield Problem("GW044", str(error), at)
