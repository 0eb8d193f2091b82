"""Where a request body ends: after so many bytes, or after the last chunk (RFC 9112 6 and 7.1).

Lifetime: request.

Theory. httptools reports neither the length of chunk extensions nor the byte at which a message ends, and
hands out trailers as headers (security.md F1, S35). So bodies are framed here, chunked ones strictly: every
line against one expression, with a limit; extensions and trailers are checked and dropped. A property test
holds the decoder inside llhttp: what it takes, llhttp takes, with the same body.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from gateway.server import refusal
from gateway.server.refusal import Refused

if TYPE_CHECKING:
    from gateway.server.limits import Limits

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
_SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15})(;" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+)*+"
)
"""No blanks around `;` and `=`: RFC 9112 lets them pass for old senders, and nobody sends them."""
_TRAILER_LINE = re.compile(_TOKEN + rb":[\t\x20-\x7e\x80-\xff]*+")
_SIZE_DIGITS = 15

_SIZE, _BODY, _BODY_END, _TRAILERS = range(4)


class Sized:
    """A body of a known number of bytes."""

    __slots__ = ("remaining",)

    def __init__(self, length: int) -> None:
        self.remaining: float = length
        """Bytes still to come."""

    @property
    def done(self) -> bool:
        """The whole body has been read."""
        return not self.remaining

    def feed(self, data: bytes, at: int, body: list[bytes]) -> int:
        """Appends to `body` what belongs to it of `data` from `at` on. Returns where in `data` it stops."""
        end = min(len(data), at + int(self.remaining))
        body.append(data[at:end])
        self.remaining -= end - at
        return end


class Chunked:
    """A chunked body, taken apart however it arrives."""

    __slots__ = ("_left", "_limits", "_line", "_room", "_state", "_trailer_room", "done")

    remaining = math.inf
    """Bytes still to come: nobody knows."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._room = math.inf if limits.request_body_bytes is None else limits.request_body_bytes
        """Body bytes that may still come."""
        self._state = _SIZE
        self._left = 0
        """Bytes of the current chunk that are still to come."""
        self._line = b""
        """The beginning of a line whose end has not come."""
        self._trailer_room = limits.trailer_bytes
        self.done = False
        """The last chunk and the trailer section have been read."""

    def feed(self, data: bytes, at: int, body: list[bytes]) -> int:
        """As that of `Sized`. Raises Refused."""
        while at < len(data):
            if self._state == _BODY:
                piece = data[at : at + self._left]
                body.append(piece)
                at += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._state = _BODY_END
                continue
            line, at = self._read_line(data, at)
            if line is None:
                break
            if self._state == _SIZE:
                self._start_chunk(line)
            elif self._state == _BODY_END:
                if line:
                    raise Refused(refusal.BAD_CHUNK)
                self._state = _SIZE
            elif not line:
                self.done = True
                break
            elif not _TRAILER_LINE.fullmatch(line):
                raise Refused(refusal.BAD_CHUNK)
        return at

    def _start_chunk(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise Refused(refusal.BAD_CHUNK)
        self._left = int(match[1], 16)
        self._room -= self._left
        if self._room < 0:
            raise Refused(refusal.BODY_TOO_LARGE)
        self._state = _BODY if self._left else _TRAILERS

    def _read_line(self, data: bytes, at: int) -> tuple[bytes | None, int]:
        """The next line without its end, or None when that has not come; and where it ends in `data`."""
        begun = self._line
        if begun.endswith(b"\r"):  # split between CR and LF
            if data[at] != 0x0A:
                raise Refused(refusal.BAD_CHUNK)
            line, at = begun[:-1], at + 1
        else:
            end = data.find(b"\r\n", at)
            line = begun + (data[at:end] if end >= 0 else data[at:])
            if end < 0:
                self._check_length(line.removesuffix(b"\r"))
                self._line = line
                return None, len(data)
            at = end + 2
        self._check_length(line)
        self._line = b""
        if self._state == _TRAILERS:
            self._trailer_room -= len(line) + 2
        return line, at

    def _check_length(self, line: bytes) -> None:
        """Raises Refused for a line too long, or with a CR that ends nothing; whichever comes first."""
        if self._state == _SIZE:
            room, refused = self._limits.chunk_extension_bytes + _SIZE_DIGITS, refusal.CHUNK_EXTENSION
        elif self._state == _TRAILERS:
            room, refused = max(self._trailer_room, 0), refusal.TRAILERS_TOO_LARGE
        else:
            room, refused = 0, refusal.BAD_CHUNK
        if b"\r" in line[: room + 1]:
            raise Refused(refusal.BAD_CHUNK)
        if len(line) > room:
            raise Refused(refused)
