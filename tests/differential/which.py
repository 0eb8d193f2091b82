"""Which requests a difference concerns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from differential.play import Ask

if TYPE_CHECKING:
    from collections.abc import Callable


def target_has(pattern: str) -> Callable[[Ask], bool]:
    """Whether the request target matches somewhere."""
    found = re.compile(pattern).search
    return lambda ask: found(ask.target) is not None


def path_has(pattern: str) -> Callable[[Ask], bool]:
    """Whether the part before the query matches somewhere."""
    found = re.compile(pattern).search
    return lambda ask: found(ask.target.partition("?")[0]) is not None


def only_slashes(ask: Ask) -> bool:
    """Whether nothing but two or more slashes is left of the path once its dots are resolved."""
    path = re.sub(r"%2[fF]|%5[cC]|\\", "/", ask.target.partition("?")[0])
    kept: list[str] = []
    path = re.sub(r"%2[eE]", ".", path)
    for piece in path.split("/")[1:]:
        if piece == "..":
            kept = kept[:-1]
        elif piece != ".":
            kept.append(piece)
    if path.rpartition("/")[2] in {".", ".."}:
        kept.append("")
    return len(kept) > 1 and not any(kept)


def sends(*names: str) -> Callable[[Ask], bool]:
    """Whether one of these headers is there."""
    return lambda ask: any(ask.header(name) for name in names)


def head_has(pattern: bytes) -> Callable[[Ask], bool]:
    """Whether the bytes of the request match somewhere."""
    found = re.compile(pattern, re.DOTALL).search
    return lambda ask: found(ask.data) is not None


_HOST = re.compile(r"([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:(?!0+\Z)[0-9]{1,5})?\Z")


def odd_host(ask: Ask) -> bool:
    """Whether the Host is not one `host[:port]`."""
    values = ask.header("host")
    if len(values) != 1 or not _HOST.match(values[0]):
        return True
    port = values[0].rpartition(":")[2]
    return port.isdigit() and int(port) > 65535


def protected(value: str) -> bool:
    words = [word.strip().lower() for word in value.split(",")]
    return any(word.startswith("x-") or word in {"host", "authorization", "cookie"} for word in words)


def raw(head: str) -> Ask:
    return Ask(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
