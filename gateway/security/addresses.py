"""IP addresses and blocks: is this one among those.

Lifetime: config; the cache of parsed addresses is bounded.

An IPv4 address written as IPv6 (`::ffff:10.0.0.1`) is the IPv4 address, on both sides: a dual-stack socket
spells the same client both ways.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAPPED = IPv6Network("::ffff:0:0/96")


@lru_cache(maxsize=4096)
def parse(text: str) -> tuple[int, int] | None:
    """Bits (32 or 128) and number of an address; None when it is none (a Unix socket's peer, for one)."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.max_prefixlen, int(address)


class Blocks:
    """A set of addresses and CIDRs; as fast for a thousand blocks as for one of each length."""

    __slots__ = ("_lengths",)

    def __init__(self, blocks: Iterable[str]) -> None:
        """`ValueError` when one is not an address block."""
        found: dict[tuple[int, int], set[int]] = {}
        for block in blocks:
            network = _plain(ip_network(block, strict=False))
            shift = network.max_prefixlen - network.prefixlen
            numbers = found.setdefault((network.max_prefixlen, shift), set())
            numbers.add(int(network.network_address) >> shift)
        self._lengths = tuple((bits, shift, frozenset(numbers)) for (bits, shift), numbers in found.items())

    def __contains__(self, address: tuple[int, int]) -> bool:
        """Whether an address, as `parse` gives it, is in one of the blocks."""
        size, number = address
        for bits, shift, numbers in self._lengths:  # noqa: SIM110 - a generator costs as much as the search
            if bits == size and number >> shift in numbers:
                return True
        return False


def _plain(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    if isinstance(network, IPv6Network) and network.subnet_of(MAPPED):
        low = int(network.network_address) & 0xFFFFFFFF
        return IPv4Network((low, network.prefixlen - 96))
    return network
