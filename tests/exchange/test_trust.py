"""Who the client is when proxies stand in front."""

from __future__ import annotations

import pytest

from gateway.config.settings import GatewaySettingsSpec
from gateway.exchange.trust import Trust


def test_nobody_is_trusted_by_default() -> None:
    trust = Trust(GatewaySettingsSpec())

    assert trust.nobody
    assert not trust.trusts("127.0.0.1")


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (b"", "10.0.0.1"),
        (b"203.0.113.9", "203.0.113.9"),
        (b"6.6.6.6, 203.0.113.9", "203.0.113.9"),
        (b"203.0.113.9, 10.0.0.2", "203.0.113.9"),
        (b"203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"),
        (b"203.0.113.9, garbage", "10.0.0.1"),
        (b"garbage, 10.0.0.2", "10.0.0.2"),
        (b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_no_proxy(forwarded: bytes, client: str) -> None:
    trust = Trust(GatewaySettingsSpec(trusted_proxies=("10.0.0.0/8",)))

    assert trust.client("10.0.0.1", forwarded) == client


@pytest.mark.parametrize(
    ("hops", "forwarded", "client"),
    [
        (1, b"1.1.1.1, 2.2.2.2", "2.2.2.2"),
        (2, b"1.1.1.1, 2.2.2.2", "1.1.1.1"),
        (3, b"1.1.1.1, 2.2.2.2", "9.9.9.9"),
        (1, b"nonsense", "9.9.9.9"),
        (1, b"", "9.9.9.9"),
    ],
)
def test_with_a_number_of_proxies_the_client_is_counted_from_the_right(
    hops: int, forwarded: bytes, client: str
) -> None:
    trust = Trust(GatewaySettingsSpec(num_trusted_proxies=hops))

    assert trust.client("9.9.9.9", forwarded) == client


def test_ipv4_mapped_peers_are_the_same_peers() -> None:
    trust = Trust(GatewaySettingsSpec(trusted_proxies=("10.0.0.0/8",)))

    assert trust.trusts("::ffff:10.1.2.3")
    assert not trust.trusts("::ffff:11.1.2.3")
    assert not trust.trusts("")
