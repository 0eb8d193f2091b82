"""Who may reach what, before and after a change: the same strangers and friends knock at both.

Lifetime: config; plain functions. Tokens are not verified here: a request either has none, or its claims are
taken as they are. A policy that changed, and that no request could be made up for, is told by its name: none
changes in silence.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from gateway.explain.probes import probes, told
from gateway.http.peer import Peer
from gateway.http.secrets import clean
from gateway.security import explain as judge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from gateway.config import Config
    from gateway.config.security import AuthorizationPolicy, PeerAuthentication, RequestAuthentication
    from gateway.http.request import Request
    from gateway.routing import Snapshot

    Policy = AuthorizationPolicy | PeerAuthentication | RequestAuthentication

MOST = 5000
"""Requests that are tried."""
METHODS = ("DELETE", "POST", "PUT", "PATCH", "GET", "HEAD", "OPTIONS")
"""In the order in which one is taken that a policy does not name."""


def access_changes(old: Snapshot, new: Snapshot) -> Iterator[tuple[str, str, bool]]:
    """(request and who sends it, what becomes of it, whether that opens something)."""
    names = {
        "": None,
        **{name: _peer(name) for name in sorted(_principals(old.config) | _principals(new.config))},
    }
    paths = sorted(_paths(old.config) | _paths(new.config))
    methods = sorted(_methods(old.config) | _methods(new.config))
    for number, request in enumerate(_requests(old, new, paths, methods)):
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


def unnoticed(old: Config, new: Config, noticed: Collection[str]) -> Iterator[tuple[str, str, bool]]:
    """The same of policies that differ, unless one of the texts `noticed` names them.

    A new name alone is no difference.
    """
    was, now = _policies(old), _policies(new)
    before = [(key, item) for key, item in was.items() if not _holds(now, key, item)]
    after = [(key, item) for key, item in now.items() if not _holds(was, key, item)]
    for (kind, name, namespace), item in sorted({**dict(before), **dict(after)}.items()):
        if any(f"ns[{namespace}]-policy[{name}]" in text for text in noticed):
            continue
        key = kind, name, namespace
        state = "is gone" if key not in now else "is new" if key not in was else "differs"
        opens = state != "is new" or (kind, _action(item)) == ("AuthorizationPolicy", "ALLOW")
        yield item.title, f"{state}; none of the requests that were made up fares otherwise", opens


def _policies(config: Config) -> dict[tuple[str, str, str], Policy]:
    every: tuple[Policy, ...] = (
        *config.authorization_policies,
        *config.peer_authentications,
        *config.request_authentications,
    )
    return {
        (item.kind, item.metadata.name, item.metadata.namespace): item
        for item in every
        if _action(item) != "AUDIT"
    }


def _action(policy: Policy) -> str:
    return getattr(policy.spec, "action", "")


def _holds(policies: Mapping[tuple[str, str, str], Policy], key: tuple[str, str, str], one: Policy) -> bool:
    """Whether an equal one is there under its own name, or its name is not there and another one has it."""
    if key in policies:
        return _same(policies[key], one)
    return any(_same(other, one) for other in policies.values())


def _same(one: Policy, other: Policy) -> bool:
    places = (one.kind, one.metadata.namespace), (other.kind, other.metadata.namespace)
    dry = one.metadata.annotations == other.metadata.annotations
    return places[0] == places[1] and dry and one.spec == other.spec


def _requests(old: Snapshot, new: Snapshot, paths: list[str], methods: list[str]) -> Iterator[Request]:
    seen: set[tuple[str, str]] = set()
    for snapshot in (old, new):
        for listener in (snapshot.default, *snapshot.listeners.values()):
            for host in listener.virtual_hosts:
                for probe in probes(host, listener.port, paths):
                    for request in (probe, *(_with(method, probe) for method in methods)):
                        key = (listener.name, told(request))
                        if key not in seen:
                            seen.add(key)
                            yield request


def _with(method: str, request: Request) -> Request:
    """The same request with another method."""
    made = copy(request)
    made.method = method
    return made


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


def _methods(config: Config) -> set[str]:
    """Methods that policies name, and one that each list of exceptions leaves out."""
    operations = [
        part.operation
        for policy in config.authorization_policies
        for rule in policy.spec.rules
        for part in rule.to
        if part.operation is not None
    ]
    named = {method for operation in operations for method in _plain(operation.methods)}
    others = {
        next((method for method in METHODS if method not in operation.not_methods), "")
        for operation in operations
        if operation.not_methods
    }
    return (named | others) - {""}


def _plain(values: Iterable[str]) -> Iterator[str]:
    return (value for value in values if "*" not in value)
