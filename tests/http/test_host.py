"""The authority is `host[:port]` and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.http.host import Authority, split


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (b"reviews", "reviews", None),
        (b"GW.Test:80", "gw.test", 80),
        (b"a_b-c.d~e:65535", "a_b-c.d~e", 65535),
        (b"10.0.0.1:8080", "10.0.0.1", 8080),
        (b"[::1]:443", "[::1]", 443),
        (b"[2001:DB8:0:0:0:0:0:1]", "[2001:db8::1]", None),
    ],
)
def test_host_and_port_are_taken_apart(text: bytes, host: str, port: int | None) -> None:
    """Hosts are lower-case and IPv6 literals have one spelling, so they can be looked up."""
    assert Authority(host, port) == split(text)


@pytest.mark.parametrize(
    "text",
    [b"", b":80", b"a:", b"a:0", b"a:65536", b"a:+80", b"a:99999999999", b"a@gw.test", b"gw.test/admin?", b"gw.test#x",
     b"gw.test\x00.evil", b"a b", b"a,b", b"a\tb", b"a\n", b"caf\xc3\xa9", b"%61", b"[::1", b"::1", b"[::1]80", b"[1.2.3.4]",
     b"[fe80::1%25eth0]", b"[v1.x]", b"a:80:90", b"a" * 262],
)  # fmt: skip
def test_anything_else_is_no_authority(text: bytes) -> None:
    """Userinfo, paths, lists, zones, escapes and port numbers out of range are refused."""
    assert split(text) is None


@settings(max_examples=200)
@given(st.one_of(st.binary(max_size=20), st.text("ab.:[]0189@/", max_size=12).map(str.encode)))
def test_any_bytes_give_an_authority_or_nothing(text: bytes) -> None:
    """What comes out goes in again and is the same; nothing raises."""
    found = split(text)

    if found is not None:
        again = found.host if found.port is None else f"{found.host}:{found.port}"
        assert found == split(again.encode())
