"""Which Host names the listener answers to."""

from __future__ import annotations

import pytest

from gateway.admin.guard import HostRule


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:15000", "127.0.0.1", "127.0.0.1:15000", "127.8.9.1", "[::1]", "[::1]:15000"],
)
@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "10.0.0.7"])
def test_loopback_names_are_always_ours(bound: str, host: str) -> None:
    """Wherever the listener is bound."""
    assert HostRule(bound).allows(host)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:15000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.7:15000",
        "192.168.0.1",
        "[2001:db8::1]",
        "[::1]evil.example",
        "[::1",
        "127.0.0.1@evil.example",
        "0x7f000001",
        "2130706433",
        "127.1",
        "",
        ":15000",
    ],
)
def test_bound_to_loopback_nothing_else_is_ours(host: str) -> None:
    """A rebound name, another address, and spellings that only look like loopback."""
    assert not HostRule("127.0.0.1").allows(host)


def test_bound_elsewhere_an_address_is_ours_but_no_unknown_name() -> None:
    """Probes ask by address; an attacker's page asks by its own name."""
    rule = HostRule("0.0.0.0")

    assert rule.allows("10.0.0.7:15000")
    assert rule.allows("[2001:db8::1]:15000")
    assert not rule.allows("evil.example:15000")


def test_configured_names_are_ours() -> None:
    """The name it is bound by, and names given to it."""
    rule = HostRule("Admin.Internal", ["ops.example"])

    assert rule.allows("admin.internal:15000")
    assert rule.allows("OPS.example")
    assert not rule.allows("ops.example.evil")
