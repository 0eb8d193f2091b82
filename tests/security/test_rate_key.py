"""What tells requests apart, and that clients cannot choose to be somebody else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.routing import request

from gateway.http.peer import Peer
from gateway.http.request import Request
from gateway.security.rate_key import LONGEST, address_key, compile_key


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "::ffff:c000:201", True),
        ("2001:db8::1", "2001:DB8:0:0:ffff::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("2001:db8::1", "192.0.2.1", False),
        ("", "192.0.2.1", False),
        ("unix", "unix", True),
    ],
)
def test_addresses(one: str, other: str, same: bool) -> None:
    """However it is written; of IPv6 the /64, within which one customer may choose (D31)."""
    assert (address_key(one) == address_key(other)) is same


def asked(**more: Any) -> Request:
    """A request, with claims, principal or peer."""
    made = request("/a", {"X-Key": "k"}, client_ip=more.pop("client_ip", "192.0.2.1"))
    for name, value in more.items():
        setattr(made, name, value)
    return made


PEER = Peer(verified=True, principal="cluster.local/ns/default/sa/sleep")


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [
        ("clientAddress", asked(), asked(client_ip="192.0.2.2")),
        ("path", asked(), asked(path=b"/b")),
        ("header:x-KEY", asked(), asked(header_map={b"x-key": b"l"})),
        ("principal", asked(request_principal="i/a"), asked(request_principal="i/b")),
        ("principal", asked(peer=PEER), asked(request_principal=PEER.principal)),
        ("claim:tier", asked(claims={"tier": "a"}), asked(claims={"tier": "b"})),
        ("claim:tier", asked(claims={"tier": "1"}), asked(claims={"tier": None})),
        ("claim:a.b", asked(claims={"a": {"b": 1}}), asked(claims={"a": {"b": 2}})),
        ("claim:l", asked(claims={"l": ["a"]}), asked(claims={"l": ["a", "b"]})),
    ],
)
def test_each_part_tells_requests_apart(part: str, one: Request, other: Request) -> None:
    """And a part alone is the same for the same."""
    key = compile_key([part])

    assert key(one) != key(other)
    assert key(one) == key(one)


def test_the_token_says_more_than_the_certificate() -> None:
    """A principal is the token's; without one the certificate's, if it was verified."""
    key = compile_key(["principal"])

    assert key(asked(peer=PEER, request_principal="i/a")) == key(asked(request_principal="i/a"))
    assert key(asked(peer=PEER)) != key(asked())
    assert key(asked(peer=Peer(principal=PEER.principal))) == key(asked())


@pytest.mark.parametrize("part", ["header:x-none", "principal", "claim:none"])
def test_what_is_missing_is_the_client_s_address(part: str) -> None:
    """To leave something out is no way around a limit."""
    key = compile_key([part])

    assert key(asked()) == key(asked(path=b"/other"))
    assert key(asked()) != key(asked(client_ip="192.0.2.2"))


def test_an_address_in_a_header_is_not_the_client_s() -> None:
    """Nobody spends another's tokens."""
    key = compile_key(["header:x-key"])
    claimed = asked(header_map={b"x-key": address_key("192.0.2.1")})

    assert key(claimed) != key(asked(header_map={}))


def test_nothing_is_one_key() -> None:
    """All requests count together."""
    assert compile_key([])(asked()) == compile_key([])(asked(path=b"/b"))


@settings(max_examples=100)
@given(*(st.tuples(st.binary(max_size=6), st.binary(max_size=6)) for _ in range(2)))
def test_parts_do_not_run_together(one: tuple[bytes, bytes], other: tuple[bytes, bytes]) -> None:
    """`ab` and `c` are not `a` and `bc`."""
    key = compile_key(["path", "header:x"])
    found = [key(asked(path=path, header_map={b"x": value})) for path, value in (one, other)]

    assert (found[0] == found[1]) is (one == other)


def test_keys_are_short() -> None:
    """A client cannot fill the memory with long ones."""
    assert len(compile_key(["path"])(asked(path=b"/" * 10000))) <= LONGEST
