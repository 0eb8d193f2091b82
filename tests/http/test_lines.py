"""Header lines that are remembered."""

from __future__ import annotations

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.lines import LONGEST_REMEMBERED, MOST_REMEMBERED, Lines

PIECES = st.lists(
    st.sampled_from(
        [b"a", b"B", b"-", b":", b" ", b"\t", b"\xe9", b"\x00", b"\n", b"\r", b"\x7f", b"(", b'"']
    ),
    max_size=8,
).map(b"".join)


def by_llhttp(line: bytes) -> list[tuple[bytes, bytes]] | None:
    found: list[tuple[bytes, bytes]] = []

    class Callbacks:
        def on_header(self, name: bytes, value: bytes) -> None:
            found.append((name.lower(), value.rstrip(b" \t")))

    try:
        httptools.HttpResponseParser(Callbacks()).feed_data(b"HTTP/1.1 204 X\r\n" + line + b"\r\n\r\n")
    except httptools.HttpParserError:
        return None
    return found


@given(PIECES)
@settings(max_examples=500)
def test_a_line_that_is_taken_apart_is_what_the_parser_makes_of_it(line: bytes) -> None:
    fields = Lines().fields([line])

    assert fields is None or fields == by_llhttp(line)


def test_ordinary_lines_are_taken_apart() -> None:
    lines = [b"Host: a", b"ACCEPT:\t*/* ", b"empty:", b"x-caf: caf\xe9 au lait"]

    expected = [(b"host", b"a"), (b"accept", b"*/*"), (b"empty", b""), (b"x-caf", b"caf\xe9 au lait")]
    known = Lines()
    assert known.fields(lines) == expected
    assert known.fields(lines) == expected


def test_what_is_secret_or_long_is_not_remembered() -> None:
    known = Lines()

    assert known.fields([b"Cookie: a=1", b"Authorization: Bearer x", b"x: " + b"y" * LONGEST_REMEMBERED])
    assert len(known) == 0


def test_the_memory_is_bounded() -> None:
    known = Lines()

    for number in range(MOST_REMEMBERED + 10):
        known.fields([b"x: %d" % number])

    assert len(known) <= MOST_REMEMBERED
