"""Which files a configuration consists of, and whether their content changed.

Lifetime: config. Reading files is far cheaper than parsing them, and a watched directory stirs often.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from gateway.config.files import expand, identity
from gateway.config.yaml import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


class Content(NamedTuple):
    """What files held when they were looked at."""

    digest: str
    """What `load` calls digest."""
    unread: tuple[str, ...] = ()
    """Files that cannot be read or are too large; they are in no digest."""


def look(paths: Iterable[Path]) -> Content:
    """What `load` would find at these paths now, without parsing anything."""
    total, unread = sha256(), []
    seen: set[str] = set()
    for file in _files(paths):
        real = identity(file)
        if real in seen:
            continue
        seen.add(real)
        content = _read(file)
        if content is None:
            unread.append(str(file))
        else:
            total.update(b"%d:" % len(content) + content)
    return Content(total.hexdigest(), tuple(unread))


def _read(file: Path) -> bytes | None:
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError):
        return None
    return content.decode(errors="replace").encode() if len(content) <= MAX_BYTES else None


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        try:
            files = expand(path)
        except (OSError, ValueError):
            files = [path]  # Reading it fails as well, and counts as unread.
        yield from files
