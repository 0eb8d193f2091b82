"""Which files a configuration consists of, and whether their content changed.

Lifetime: config. Reading files is far cheaper than parsing them, and a watched directory stirs often.
"""

from __future__ import annotations

import time
from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.config.files import expand, identity
from gateway.config.yaml import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


A_MOMENT: Final = 0.5
"""Seconds that a file may be empty until it is meant to be."""


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


def torn(paths: Iterable[Path], digests: Iterable[str]) -> bool:
    """Whether the files were being written while they were read: they hold something else than one of
    `digests` tells, or one is empty since a moment ago, as a file is that is written in place.
    """
    paths = tuple(paths)
    return any(digest != look(paths).digest for digest in digests) or any(map(_just_emptied, _files(paths)))


def _just_emptied(file: Path) -> bool:
    try:
        found = file.stat()
    except (OSError, ValueError):
        return False
    return not found.st_size and abs(time.time() - found.st_mtime) < A_MOMENT


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
