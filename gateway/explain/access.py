"""Who may reach what, before and after a change: the same strangers and friends knock at both.

Lifetime: config; plain functions. Tokens are not verified here: a request either has none, or its claims are
taken as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.explain.probes import probes, told
from gateway.http.peer import Peer
from gateway.http.secrets import clean
from gateway.security import explain as judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.config import Config
    from gateway.http.request import Request
    from gateway.routing import Snapshot

MOST = 5000
"""Requests that are tried."""


def access_changes(old: Snapshot, new: Snapshot) -> Iterator[tuple[str, str, bool]]:
    """(request and who sends it, what becomes of it, whether that opens something)."""
    names = {
        "": None,
        **{name: _peer(name) for name in sorted(_principals(old.config) | _principals(new.config))},
    }
    paths = sorted(_paths(old.config) | _paths(new.config))
    for number, request in enumerate(_requests(old, new, paths)):
        if number >= MOST:
            return
        for name, peer in names.items():
            request.peer = peer
            was, now = _refusal(old, request), _refusal(new, request)
            if was is None or now is None:
                continue
            if bool(was) == bool(now):
                continue
            subject, who = clean(told(request)), f"for {name}"
            if was:
                opened = f"becomes reachable {who}" if name else "becomes public"
                yield subject, f"{opened} (it was refused: {was})", True
            else:
                closed = f"is refused {who}" if name else "is not public any more"
                yield subject, f"{closed}: {now}", False
            if not name:
                break  # Whoever has a name fares as a stranger does, or better.


def _requests(old: Snapshot, new: Snapshot, paths: list[str]) -> Iterator[Request]:
    seen: set[tuple[str, str]] = set()
    for snapshot in (old, new):
        for listener in (snapshot.default, *snapshot.listeners.values()):
            for host in listener.virtual_hosts:
                for request in probes(host, listener.port, paths):
                    key = (listener.name, told(request))
                    if key not in seen:
                        seen.add(key)
                        yield request


def _refusal(snapshot: Snapshot, request: Request) -> str | None:
    """Why a request is refused; empty: it is not; None: nobody serves it, so access says nothing."""
    route = snapshot.listener(request.port).match(request)
    if route is None:
        return None
    targets = [item.target for item in route.destinations] or [None]
    for target in targets:
        said = judge(snapshot.guard, request, target)
        if said.reply is not None:
            return said.reply.details
    return ""


def _peer(principal: str) -> Peer:
    return Peer(verified=True, principal=principal, uris=(f"spiffe://{principal}",), version="TLSv1.3")


def _principals(config: Config) -> set[str]:
    """Identities that policies name, the plain ones."""
    return {
        name
        for policy in config.authorization_policies
        for rule in policy.spec.rules
        for part in rule.from_
        if part.source is not None
        for name in _plain((*part.source.principals, *part.source.not_principals))
    }


def _paths(config: Config) -> set[str]:
    """Paths that policies name, and one below each prefix."""
    return {
        path if path.startswith("/") else f"/x{path}"
        for policy in config.authorization_policies
        for rule in policy.spec.rules
        for part in rule.to
        if part.operation is not None
        for written in (*part.operation.paths, *part.operation.not_paths)
        if (path := written.replace("{**}", "x").replace("{*}", "x").replace("*", "")) != ""
    }


def _plain(values: Iterable[str]) -> Iterator[str]:
    return (value for value in values if "*" not in value)
