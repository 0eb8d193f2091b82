"""Where values stand in a YAML file: a tree of marks beside the tree of values.

Lifetime: config. A scalar's mark is one int, so that ten thousand routes keep few objects alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.findings import Position
from gateway.config.model import camel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BITS = 22
_MOST = (1 << _BITS) - 1


def pack(line: int, column: int, length: int) -> int:
    """One int for a place; line and column count from 0."""
    return (line << 2 * _BITS) | (min(column, _MOST) << _BITS) | min(length, _MOST)


def unpack(mark: int, path: str) -> Position:
    """The place of a packed mark, counted from 1."""
    line, column, length = mark >> 2 * _BITS, (mark >> _BITS) & _MOST, mark & _MOST
    return Position(path, line + 1, column + 1, max(1, length))


class MapMarks:
    """Marks of a mapping: where it starts, and by key where the key and its value stand."""

    __slots__ = ("items", "keys", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.keys: dict[str, int] = {}
        self.items: dict[str, Mark] = {}


class ListMarks:
    """Marks of a list: where it starts, and where its entries stand."""

    __slots__ = ("items", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.items: list[Mark] = []


Mark = int | MapMarks | ListMarks


def _spelling(keys: Iterable[str], step: str) -> str | None:
    """The key meant by `step`: itself, or the same in the other of camelCase and snake_case."""
    if step in keys:
        return step
    wanted = camel(step)
    return next((key for key in keys if camel(key) == wanted), None)


class Origin:
    """Where a resource comes from, and where each of its fields stands."""

    __slots__ = ("_marks", "path")

    def __init__(self, path: str, marks: Mark) -> None:
        self.path = path
        """The file, as it was named."""
        self._marks = marks

    def __repr__(self) -> str:
        here = self.position()
        return f"<Origin {here.path}:{here.line}>"

    def position(self, *path: str | int) -> Position:
        """Where to point for a field: a scalar itself, the key of a block, or the nearest that exists.

        Fields are named as in the file or as in the model: `position("spec", "http", 0, "per_try_timeout")`.
        """
        return self._find(path, prefer_key=False)

    def key(self, *path: str | int) -> Position:
        """Where the key of a field stands; its parent, when the field is not there."""
        return self._find(path, prefer_key=True)

    def _find(self, path: Sequence[str | int], *, prefer_key: bool) -> Position:
        mark, best = self._marks, None
        for step in path:
            found = _step(mark, step)
            if found is None:
                prefer_key = False
                break
            mark, best = found
        empty = isinstance(mark, int) and not mark & _MOST
        if best is not None and (prefer_key or empty or not isinstance(mark, int)):
            return unpack(best, self.path)
        return unpack(mark if isinstance(mark, int) else mark.start, self.path)


def _step(mark: Mark, step: str | int) -> tuple[Mark, int | None] | None:
    """The mark one step below, and the mark of its key."""
    if isinstance(mark, MapMarks):
        name = _spelling(mark.keys, str(step))
        return None if name is None else (mark.items[name], mark.keys[name])
    if isinstance(mark, ListMarks) and isinstance(step, int) and 0 <= step < len(mark.items):
        return mark.items[step], None
    return None


NOWHERE = Origin("<memory>", pack(0, 0, 0))
"""The origin of resources that were not read from a file."""
