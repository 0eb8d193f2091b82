"""The chunked coding: strict, bounded, the same however it arrives, and never laxer than llhttp."""

from __future__ import annotations

import httptools
import hypothesis.strategies as st
import pytest
from hypothesis import example, given, settings

from gateway.server.body import Chunked
from gateway.server.limits import Limits
from gateway.server.refusal import Refused

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
PIECES = st.lists(
    st.sampled_from(
        [
            b"5\r\nhello\r\n", b"0\r\n", b"\r\n", b"1\r\nx\r\n", b"A;n=v\r\n0123456789\r\n", b'a;n="q;\\"r"\r\n0123456789\r\n',
            b"0;x\r\n", b"X: y\r\n", b"X:\r\n", b"Host: b\r\n", b"00000005\r\nhello\r\n", b" ", b"\t", b";", b"=", b"\r", b"\n", b'"',
            b"\\", b"5", b"f", b"g", b"-1", b"+", b"0x1", b"\x00", b"\x80", b":", b"x y: z\r\n", b" folded\r\n",
        ]
    ),
    max_size=10,
).map(b"".join)  # fmt: skip


def decode(pieces: list[bytes], limits: Limits | None = None) -> tuple[bytes, bool, bytes]:
    """Body, whether it ended, and what is left of the last piece."""
    chunked, body, rest = Chunked(limits or Limits()), [], b""
    for index, piece in enumerate(pieces):
        used = chunked.feed(piece, 0, body)
        rest = piece[used:]
        if chunked.done:
            rest += b"".join(pieces[index + 1 :])
            break
    return b"".join(body), chunked.done, rest


class LlhttpBody:
    """What llhttp makes of a chunked body."""

    def __init__(self) -> None:
        self.body = b""
        self.done = False

    def on_body(self, piece: bytes) -> None:
        self.body += piece

    def on_message_complete(self) -> None:
        self.done = True


@settings(max_examples=400)
@given(PIECES | st.binary(max_size=30))
@example(b"5\r\nhello\r\n0\r\n\r\n")
def test_what_is_accepted_llhttp_accepts_with_the_same_body(data: bytes) -> None:
    """Never laxer: two readers of one stream have to agree on where a request ends."""
    try:
        body, done, rest = decode([data])
    except Refused:
        return
    if not done:
        return
    theirs = LlhttpBody()
    httptools.HttpRequestParser(theirs).feed_data(HEAD + data[: len(data) - len(rest)])
    assert (theirs.body, theirs.done) == (body, True)


@settings(max_examples=400)
@given(PIECES, st.sampled_from([Limits(), Limits(chunk_extension_bytes=3, trailer_bytes=5)]))
def test_delivery_makes_no_difference(data: bytes, limits: Limits) -> None:
    """Byte by byte or at once."""

    def outcome(pieces: list[bytes]) -> object:
        try:
            return decode(pieces, limits)
        except Refused as refused:
            return refused.refusal.reason

    assert outcome([data]) == outcome([data[i : i + 1] for i in range(len(data))])


def test_the_rest_belongs_to_the_next_request() -> None:
    """What follows the last line is not touched."""
    assert decode([b"2\r\nhi\r\n0\r\n\r\nGET /"]) == (b"hi", True, b"GET /")


@pytest.mark.parametrize(("size", "refused"), [(1024 + 15, False), (1024 + 15 + 1, True)])
def test_a_chunk_extension_has_room_for_a_kibibyte(size: int, refused: bool) -> None:
    """CVE-2024-22019; a size line may be as long as the longest size and the longest extension."""
    line = b"1;" + b"a" * (size - 2) + b"\r\n"
    if refused:
        with pytest.raises(Refused, match="chunk_extension_too_long"):
            decode([line])
    else:
        assert decode([line, b"x\r\n0\r\n\r\n"]) == (b"x", True, b"")


def test_many_trailers_are_counted_together() -> None:
    """Lines that are each short enough still have one limit."""
    limits = Limits(trailer_bytes=20)
    assert decode([b"0\r\n" + b"a: b\r\n" * 3 + b"\r\n"], limits)[1]
    with pytest.raises(Refused, match="trailers_too_large"):
        decode([b"0\r\n" + b"a: b\r\n" * 4 + b"\r\n"], limits)
