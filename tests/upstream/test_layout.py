"""What is remembered about the header names of responses."""

from __future__ import annotations

from gateway.upstream.layout import MOST_REMEMBERED, Layouts


def test_values_may_change_where_names_do_not() -> None:
    """One layout serves every head of the same names."""
    layouts = Layouts()

    first = layouts.of([(b"date", b"1"), (b"server", b"a"), (b"content-length", b"5")])
    second = layouts.of([(b"date", b"2"), (b"server", b"b"), (b"content-length", b"7")])

    assert first is second
    assert first is not None
    assert (first.length_at, first.connection_at, first.encoding_at, first.dated) == (2, -1, -1, True)


def test_hop_by_hop_headers_are_not_kept() -> None:
    """What is passed on keeps its order; the connection's own headers and our own are left out."""
    fields = [(b"x-a", b"1"), (b"connection", b"close"), (b"server", b"s"), (b"x-b", b"2")]

    layout = Layouts().of(fields)

    assert layout is not None
    assert list(layout.keep(fields)) == [(b"x-a", b"1"), (b"x-b", b"2")]


def test_heads_of_two_framings_have_no_layout() -> None:
    """They are judged line by line, whether their names were seen before or not."""
    layouts = Layouts()
    fields = [(b"content-length", b"1"), (b"transfer-encoding", b"chunked")]

    assert layouts.of(fields) is None
    assert layouts.of(fields) is None
    assert layouts.of([(b"connection", b"close"), (b"connection", b"x")]) is None


def test_a_backend_cannot_fill_the_memory() -> None:
    """Names that always change do not add up."""
    layouts = Layouts()

    for number in range(MOST_REMEMBERED + 1):
        layouts.of([(b"x-%d" % number, b"")])

    assert len(layouts) == 1
