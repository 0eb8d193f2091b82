"""Path rewriting: the path that was matched becomes the path that is forwarded.

Lifetime: config.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import re2

from gateway.http.path import escape_literal, has_dot_segment
from gateway.http.reply import Reply, bad_request
from gateway.routing.strings import options

if TYPE_CHECKING:
    from random import Random

    from gateway.config.http_actions import HTTPRewrite, RegexRewrite
    from gateway.config.http_match import HTTPMatchRequest
    from gateway.http.request import Request

Rewrite = Callable[[bytes], bytes]
"""Path without query -> path without query."""

ESCAPED = bad_request("rewritten_path_not_canonical", close=False)
"""Answer when a rewritten path would leave what was matched: `/api../admin` with `/api` rewritten to `/`."""


def compile_rewrite(rewrite: HTTPRewrite | None, match: HTTPMatchRequest | None) -> Rewrite | None:
    """How a route changes the path; None when it does not.

    `uri` replaces the prefix that matched (`/` when there is no path condition), and the whole path of an
    exact or regex match; `uriRegexRewrite` replaces every match of its regex.
    """
    if rewrite is None:
        return None
    if rewrite.uri_regex_rewrite is not None:
        return _substitute(rewrite.uri_regex_rewrite)
    return replace_matched(rewrite.uri, match) if rewrite.uri else None


def replace_matched(text: str, match: HTTPMatchRequest | None) -> Rewrite:
    """Replaces what the match's path condition matched by `text`."""
    replacement = escape_literal(text)
    uri = match.uri if match is not None else None
    if uri is not None and uri.prefix is None and not uri.presence:
        return lambda _: replacement
    matched = len(uri.prefix.encode()) if uri is not None and uri.prefix is not None else 1
    return lambda path: replacement + path[matched:]


def compile_guard(
    rewrite: HTTPRewrite | None, match: HTTPMatchRequest | None
) -> Callable[[Request, Random], Reply | None] | None:
    """A check that refuses requests whose rewritten path some backend could read as another one.

    The canonical path has no dot segment, but cutting a prefix in the middle of a segment can make one, and
    so can a regex. None when that is impossible.
    """
    change = compile_rewrite(rewrite, match)
    if rewrite is None or change is None or (rewrite.uri and _swaps_segments(rewrite.uri, match)):
        return None

    def check(request: Request, _: Random) -> Reply | None:
        path = change(request.path)
        if path.startswith(b"/") and (not has_dot_segment(path) or has_dot_segment(request.path)):
            return None
        return ESCAPED

    return check


def _swaps_segments(text: str, match: HTTPMatchRequest | None) -> bool:
    """Whether `text` replaces whole segments (`/a/` by `/b/`) or the whole path."""
    uri = match.uri if match is not None else None
    if uri is not None and uri.prefix is None and not uri.presence:
        return text.startswith("/")
    prefix = uri.prefix if uri is not None and uri.prefix is not None else "/"
    if not prefix:
        return text.startswith("/")  # It is put in front of a whole path.
    return prefix.endswith("/") and text.startswith("/") and text.endswith("/")


def _substitute(rule: RegexRewrite) -> Rewrite:
    """RE2's GlobalReplace: every match, an empty one right after another match excepted."""
    pattern = re2.compile(rule.match.encode(), options=options(rule.match))
    pieces = _template(rule.rewrite, pattern.groups)

    def rewrite(path: bytes) -> bytes:
        out: list[bytes] = []
        end = 0
        for match in pattern.finditer(path):
            if match.start() == match.end() == end and out:
                continue
            out.append(path[end : match.start()])
            out += [piece if isinstance(piece, bytes) else match.group(piece) or b"" for piece in pieces]
            end = match.end()
        out.append(path[end:])
        return b"".join(out)

    return rewrite


_REFERENCE = re.compile(r"\\(.)")


def _template(text: str, groups: int) -> list[bytes | int]:
    r"""Literal pieces and group numbers: `\0` to `\9` are groups, `\\` a backslash."""
    pieces: list[bytes | int] = []
    for index, piece in enumerate(_REFERENCE.split(text)):
        if index % 2 == 0:
            pieces.append(escape_literal(piece))
        elif piece.isascii() and piece.isdigit():
            pieces.append(int(piece) if int(piece) <= groups else b"")
        else:
            pieces.append(escape_literal(piece))
    return pieces
