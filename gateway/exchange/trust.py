"""Whose word is believed about the client: trusted proxies and the client address.

Lifetime: config (compiled from GatewaySettings); the cache of verdicts is bounded.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.config.settings import GatewaySettingsSpec

MOST_REMEMBERED = 4096
"""Peer addresses whose verdict is kept."""


class Trust:
    """Says whether a peer's forwarding headers count, and who the client is."""

    def __init__(self, settings: GatewaySettingsSpec) -> None:
        self._networks = tuple(ip_network(cidr, strict=False) for cidr in settings.trusted_proxies)
        self._hops = settings.num_trusted_proxies or 0
        self._verdicts: dict[str, bool] = {}
        self.nobody = not self._networks and not self._hops
        """No peer is ever trusted."""

    def trusts(self, peer: str) -> bool:
        """Whether `x-forwarded-*` and `x-request-id` of this direct peer are believed."""
        if self.nobody:
            return False
        if self._hops:
            return True
        verdict = self._verdicts.get(peer)
        if verdict is None:
            verdict = self._listed(peer)
            if len(self._verdicts) < MOST_REMEMBERED:
                self._verdicts[peer] = verdict
        return verdict

    def client(self, peer: str, forwarded: bytes) -> str:
        """The client's address: the right-most one of `x-forwarded-for` that is no trusted proxy.

        With numTrustedProxies N: the Nth from the right. The peer itself when the header is too short or
        does not parse.
        """
        entries = [part.strip().decode("latin-1") for part in forwarded.split(b",")] if forwarded else []
        if self._hops:
            return _canonical(entries[-self._hops]) or peer if len(entries) >= self._hops else peer
        client = peer
        for entry in reversed(entries):
            address = _canonical(entry)
            if address is None:
                return client
            client = address
            if not self.trusts(address):
                return client
        return client

    def _listed(self, peer: str) -> bool:
        canonical = _canonical(peer)
        if canonical is None:
            return False
        address = ip_address(canonical)
        return any(address in network for network in self._networks)


def _canonical(text: str) -> str | None:
    """The plain form of an address (IPv4-mapped IPv6 is IPv4), or None."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
