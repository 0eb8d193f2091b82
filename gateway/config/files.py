"""Which files a configuration is read from.

Lifetime: config; plain functions over the file system.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIXES = frozenset({".yaml", ".yml"})
"""Of the files that are read in a directory."""


def split_paths(text: str) -> list[str]:
    """The paths of `GATEWAY_CONFIG`: joined with the system's path separator."""
    return [part for part in text.split(os.pathsep) if part]


def spread(paths: Sequence[Path | str] | Path | str) -> tuple[Path, ...]:
    """The single paths of what is given: one or several, and a text may join several."""
    every: list[Path] = []
    for path in [paths] if isinstance(paths, str | Path) else paths:
        if isinstance(path, str) and os.pathsep in path and not _exists(path):
            every += map(Path, split_paths(path))
        else:
            every.append(Path(path))
    return tuple(every)


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long for a file name, or with a NUL
        return False


def expand(path: Path) -> list[Path]:
    """The files of a path: those of a directory by name, but not below it. OSError and ValueError as met."""
    if not path.is_dir():
        return [path]
    # Kubernetes mounts a ConfigMap with hidden directories (..data) beside the links to its files.
    return [item for item in sorted(path.iterdir(), key=lambda item: item.name) if counts(item)]


def counts(item: Path) -> bool:
    """Whether an entry of a directory is read."""
    return item.suffix in SUFFIXES and item.name[0] != "." and item.is_file()


def identity(path: Path) -> str:
    """The file itself, by whichever links it is reached: each is read once."""
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):  # a loop of links, or a NUL: opening the file says so
        return str(path)
