"""The console's files: a page, a style sheet, modules. Read from the package once, served from memory.

Lifetime: process.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

CONTENT_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Nothing else is served."""
INDEX: Final = "index.html"


class Asset(NamedTuple):
    """One file."""

    content: bytes
    content_type: str


@cache
def assets() -> dict[str, Asset]:
    """Every file by its path below `static`."""
    return dict(_found(files("gateway.admin.console").joinpath("static"), ""))


def _found(folder: Traversable, prefix: str) -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        path = prefix + entry.name
        if entry.is_dir():
            yield from _found(entry, path + "/")
        elif (kind := CONTENT_TYPES.get(path[path.rfind(".") :])) is not None:
            yield path, Asset(entry.read_bytes(), kind)
