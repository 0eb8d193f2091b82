"""Which files a configuration consists of, and whether their content changed.

Lifetime: config. Reading files is far cheaper than parsing them, and a watched directory stirs often.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.config.load import split_paths
from gateway.config.yaml import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def spread(paths: Sequence[Path | str] | Path | str) -> tuple[Path, ...]:
    """The single paths of what `load` accepts: one or several, a text may join several (`GATEWAY_CONFIG`)."""
    every: list[Path] = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        if isinstance(path, str) and os.pathsep in path and not Path(path).exists():
            every += map(Path, split_paths(path))
        else:
            every.append(Path(path))
    return tuple(every)


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
        real = os.path.realpath(file)
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
            if path.is_dir():
                yield from sorted(
                    (item for item in path.iterdir() if _counts(item)), key=lambda item: item.name
                )
            else:
                yield path
        except (OSError, ValueError):
            yield path  # Reading it fails as well, and counts as unread.


def _counts(item: Path) -> bool:
    return item.suffix in {".yaml", ".yml"} and item.name[0] != "." and item.is_file()
