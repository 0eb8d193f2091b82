"""Hosts in documents: what a short name means, and which hosts a wildcard stands for (Istio's rules).

Lifetime: config; plain functions.
"""

from __future__ import annotations


def fqdn(host: str, namespace: str, domain: str) -> str:
    """A host in full and lower case: `reviews` of namespace `shop` is `reviews.shop.svc.cluster.local`."""
    host = host.lower()
    if "." in host or "*" in host or ":" in host:
        return host
    return f"{host}.{namespace}.svc.{domain.lower()}"


def aliases(full: str, domain: str) -> tuple[str, ...]:
    """Every name clients may use for a host in full, that one first.

    `reviews.shop.svc.cluster.local` is also `reviews.shop.svc`, `reviews.shop` and `reviews`; others have
    one name.
    """
    service, _, rest = full.partition(".")
    place, svc, tail = rest.partition(".svc.")
    if not svc or tail != domain.lower() or "*" in service or "." in place:
        return (full,)
    return full, f"{service}.{place}.svc", f"{service}.{place}", service


def covers(pattern: str, host: str) -> bool:
    """Whether `pattern` (`*.x`, `*`, or a name) takes every host that `host`, a name or pattern, takes.

    `*.a.b` takes `x.a.b` and `*.x.a.b`, not `a.b`; case does not count.
    """
    pattern, host = pattern.lower(), host.lower()
    if pattern.startswith("*"):
        return len(host) >= len(pattern) and host.endswith(pattern[1:])
    return pattern == host
