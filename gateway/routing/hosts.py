"""Which virtual host a request's host selects, and how host patterns of several documents combine.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from gateway.config.hosts import aliases, covers, fqdn
from gateway.http.host import split

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


class HostTable(Generic[T]):
    """Exact name, else longest `*.suffix`, else longest `prefix*`, else `*` (Envoy's order).

    There is no falling through: the first kind that fits decides, whatever its routes then say.
    """

    __slots__ = ("_any", "_exact", "_prefixes", "_suffixes")

    def __init__(self, domains: Mapping[str, T]) -> None:
        """Domains are lower-case, IPv6 addresses in brackets, as `domain` makes them."""
        self._any = domains.get("*")
        self._exact = {domain: value for domain, value in domains.items() if "*" not in domain}
        suffixes = {d[1:]: value for d, value in domains.items() if d.startswith("*") and d != "*"}
        prefixes = {d[:-1]: value for d, value in domains.items() if d.endswith("*") and d != "*"}
        self._suffixes = _by_length(suffixes)
        self._prefixes = _by_length(prefixes)

    def find(self, host: str) -> T | None:
        """What `host` (lower-case, no port) selects, or None."""
        found = self._exact.get(host)
        return self._wildcard(host) if found is None else found

    def _wildcard(self, host: str) -> T | None:
        size = len(host)
        for length, values in self._suffixes:
            # Strictly longer: `*` stands for one character at least.
            if length < size and (found := values.get(host[-length:])) is not None:
                return found
        for length, values in self._prefixes:
            if length < size and (found := values.get(host[:length])) is not None:
                return found
        return self._any


def _by_length(values: Mapping[str, T]) -> tuple[tuple[int, dict[str, T]], ...]:
    lengths = sorted({len(text) for text in values}, reverse=True)
    return tuple((n, {text: value for text, value in values.items() if len(text) == n}) for n in lengths)


def domain(host: str) -> str:
    """A configured host as `HostTable` wants it."""
    lowered = host.lower()
    literal = split(f"[{lowered}]".encode()) if ":" in lowered else None
    return lowered if literal is None else literal.host


def names(host: str, namespace: str, cluster_domain: str) -> tuple[str, ...]:
    """Every name that clients may use for a VirtualService's host, the full one first.

    `reviews` in namespace `shop` is `reviews.shop.svc.cluster.local`, and so are `reviews.shop.svc`,
    `reviews.shop` and `reviews`; the short names of a full one are its own as well. Others have one name.
    """
    return aliases(domain(fqdn(host, namespace, cluster_domain)), cluster_domain)


def narrower(one: str, other: str) -> str | None:
    """The hosts that both patterns cover, as one pattern; None when there are none."""
    if one == other or covers(other, one):
        return one
    return other if covers(one, other) else None
