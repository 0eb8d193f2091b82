"""Response heads: what passes, what is ours, what is refused."""

from __future__ import annotations

import pytest

from gateway.server.response import HAS_DATE, HAS_SERVER, WANTS_CLOSE, render


@pytest.mark.parametrize("status", range(200, 600))
def test_every_status_from_200_to_599_has_a_line(status: int) -> None:
    """With the registered phrase, or none (F10: others crash on unknown ones)."""
    head, _, _ = render(status, [])
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r" not in head


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 999])
def test_other_statuses_are_refused(status: int) -> None:
    """They are no final responses."""
    with pytest.raises(RuntimeError, match="not from 200 to 599"):
        render(status, [])


def test_names_become_lower_case_and_values_stay_as_they_are() -> None:
    """Latin-1 and blanks inside a value included."""
    head, _, _ = render(200, [(b"X-Name", b"caf\xe9  \tx"), (b"x-name", b"")])
    assert head == b"HTTP/1.1 200 OK\r\nx-name: caf\xe9  \tx\r\nx-name: "


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\x00b", b"a\x0bb", b"a\x7fb", b"\r\n"])
def test_a_value_that_would_break_the_head_is_refused(value: bytes) -> None:
    """Response splitting."""
    with pytest.raises(RuntimeError, match="value"):
        render(200, [(b"x", b"ok"), (b"x", value)])


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\n", b"caf\xe9", b"a\x00"])
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    """Every time, not only the first."""
    for _ in range(2):
        with pytest.raises(RuntimeError, match="name"):
            render(200, [(name, b"x")])


def test_framing_and_persistence_are_the_connections_affair() -> None:
    """Hop-by-hop headers of the application do not reach the wire."""
    headers = [
        (b"Transfer-Encoding", b"chunked"),
        (b"Connection", b"keep-alive, x"),
        (b"Keep-Alive", b"timeout=5"),
    ]
    assert render(200, headers) == (b"HTTP/1.1 200 OK", None, 0)


@pytest.mark.parametrize(
    ("value", "has"), [(b"close", WANTS_CLOSE), (b"x, Close", WANTS_CLOSE), (b"closed", 0)]
)
def test_connection_close_is_a_wish_the_connection_is_told_of(value: bytes, has: int) -> None:
    """As a word of a list."""
    assert render(200, [(b"connection", value)])[2] == has


def test_date_and_server_of_the_application_are_kept_and_told_of() -> None:
    """So that nobody adds a second one."""
    head, _, has = render(200, [(b"Date", b"x"), (b"server", b"y")])
    assert head == b"HTTP/1.1 200 OK\r\ndate: x\r\nserver: y"
    assert has == HAS_DATE | HAS_SERVER


def test_one_length_is_kept() -> None:
    """Of two equal ones; it is told as a number."""
    head, length, _ = render(200, [(b"Content-Length", b"5"), (b"content-length", b"5")])
    assert (head, length) == (b"HTTP/1.1 200 OK\r\ncontent-length: 5", 5)


@pytest.mark.parametrize("values", [[b"5", b"6"], [b"-1"], [b"5, 5"], [b""], [b"1" * 19]])
def test_a_length_that_is_none_is_refused(values: list[bytes]) -> None:
    """Two different ones, and everything that is not digits."""
    with pytest.raises(RuntimeError, match="Content-Length"):
        render(200, [(b"content-length", value) for value in values])


def test_204_has_no_length_and_304_keeps_it() -> None:
    """RFC 9110 8.6: a 304 may tell the length of what it does not send."""
    assert render(204, [(b"content-length", b"5")]) == (b"HTTP/1.1 204 No Content", None, 0)
    assert render(304, [(b"content-length", b"5")])[1] == 5
