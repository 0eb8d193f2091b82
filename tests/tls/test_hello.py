"""The server name is read as OpenSSL reads it, from whatever arrives."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tls.hello import MALFORMED, MAX_BYTES, NOT_TLS, TOO_LARGE, read_hello

LABEL = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789", min_size=1, max_size=20)
NAMES = st.lists(LABEL, min_size=2, max_size=4).map(".".join).filter(lambda name: not name[-1].isdigit())


def hello_of(name: str | None, *, alpn: int = 0) -> bytes:
    """A ClientHello of OpenSSL's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols([f"p{number}" for number in range(alpn)])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def in_records(hello: bytes, size: int) -> bytes:
    """The same message, cut into records of `size` bytes."""
    message = hello[5:]
    pieces = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2) + piece for piece in pieces)


@settings(max_examples=60)
@given(NAMES)
def test_the_name_is_found_in_lower_case(name: str) -> None:
    """Wherever the message is cut into records."""
    hello = hello_of(name)
    assert read_hello(hello).name == name.lower()
    assert read_hello(in_records(hello, 50)).name == name.lower()


def test_no_name_is_empty() -> None:
    """As for clients that connect to an address."""
    assert read_hello(hello_of(None)) == (0, "", "")
    assert read_hello(hello_of("127.0.0.1")).name == ""


@pytest.mark.parametrize("size", [7, 100, 16384])
def test_a_part_asks_for_more_until_it_is_whole(size: int) -> None:
    """Never for less than there is, and never beyond what will come: else it would wait for ever."""
    whole = in_records(hello_of("shop.test", alpn=40), size)
    for end in range(len(whole)):
        part = read_hello(whole[:end])
        assert part.error == ""
        assert end < part.wanted <= len(whole)
    assert read_hello(whole).wanted == 0


@settings(max_examples=300)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_answered(data: bytes, tls: bool) -> None:
    """With a name, a refusal or a need for more; never with an exception."""
    hello = read_hello(b"\x16\x03\x01" + data if tls else data)
    assert hello.wanted > len(data) or hello.error or hello.wanted == 0


@settings(max_examples=300)
@given(st.data())
def test_a_changed_hello_gives_no_other_name_than_openssl(data: st.DataObject) -> None:
    """Where the two readings differ, the handshake must end: so a name we give is one OpenSSL gives too."""
    hello = bytearray(hello_of("shop.test"))
    at = data.draw(st.integers(5, len(hello) - 1))
    hello[at] = data.draw(st.integers(0, 255))
    ours = read_hello(bytes(hello))
    if ours.error or ours.wanted:
        return
    seen: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _, name, __: seen.append(name)  # type: ignore[assignment]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(bytes(hello))
    with contextlib.suppress(ssl.SSLError):
        context.wrap_bio(incoming, outgoing, server_side=True).do_handshake()
    if seen:
        assert ours.name == (seen[0] or "").lower()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", NOT_TLS),
        (b"\x80\x2e\x01\x00\x02", NOT_TLS),
        (b"\x16\x03\x01\x00\x00", MALFORMED),
        (b"\x16\x02\x01\x00\x10", MALFORMED),
        (b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", MALFORMED),
        (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", MALFORMED),
        (b"\x16\x03\x01\x00\x04\x01\xff\xff\xff", TOO_LARGE),
        (b"\x16\x03\x01\xff\xff", TOO_LARGE),
    ],
)
def test_what_is_no_hello_is_refused(data: bytes, expected: object) -> None:
    """By its first bytes, without waiting for more."""
    assert read_hello(data) == expected


def test_a_hello_has_a_size() -> None:
    """A client cannot make us keep more."""
    pieces = in_records(b"\x16\x03\x01\x00\x00" + b"\x01\x00\x3f\xff" + bytes(17000), 1000)
    assert read_hello(pieces[:MAX_BYTES]) in (TOO_LARGE, MALFORMED)
