"""PeerAuthentication: who must show a certificate.

Lifetime: config.

A document with a selector goes before one for the namespace, and that before one for the mesh; UNSET asks the
next. STRICT demands TLS with a verified client certificate. PERMISSIVE and DISABLE demand nothing: whether a
listener speaks TLS is the Gateway document's matter.

A refused client gets 403, not a closed connection: the same connection may carry requests for destinations
that are not STRICT, and 403 is not tried again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.config.visibility import age
from gateway.http.reply import Reply
from gateway.security.policies import BODY
from gateway.security.scope import Document, Scope, Target, Workload, labels_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from random import Random

    from gateway.config.peer_authentication import PeerAuthentication
    from gateway.http.request import Request
    from gateway.security.counts import PolicyCounts


class Mode(NamedTuple):
    """What is demanded of a workload's peers, and which document says so."""

    strict: bool
    policy: str = ""
    """`namespace/name`; empty: nobody says anything, which is PERMISSIVE."""
    level: str = "default"
    """`workload`, `namespace`, `mesh` or `default`."""


PERMISSIVE = Mode(strict=False)


class PeerModes:
    """Every PeerAuthentication."""

    __slots__ = ("_root", "_scope", "ports")

    def __init__(self, documents: Iterable[PeerAuthentication], root: str) -> None:
        oldest = sorted(documents, key=age)
        filed = (Document(item.metadata.namespace, labels_of(item.spec.selector), item) for item in oldest)
        self._scope: Scope[PeerAuthentication] = Scope(filed, root)
        self._root = root
        self.ports = frozenset(port for item in oldest for port in item.spec.port_level_mtls)
        """Ports that some document speaks of."""

    def of(self, target: Target) -> Mode:
        """What a target demands: STRICT when one of its endpoints does."""
        found = [self._mode(target.namespace, workload) for workload in target.workloads]
        found = found or [self._mode(target.namespace, Workload({}))]
        return next((mode for mode in found if mode.strict), found[0])

    def _mode(self, namespace: str, workload: Workload) -> Mode:
        own = self._scope.selecting(namespace, (workload,))
        if own:
            # The oldest counts.
            levels = own[0].spec.port_level_mtls.get(workload.port), own[0].spec.mtls
            for part in levels:
                if part is not None and part.mode != "UNSET":
                    return _mode(part.mode, own[0], "workload")
        elif namespace != self._root:
            # Istio does not look at selectors in the root namespace. One that demands is heard here.
            for item in self._scope.selecting(self._root, (workload,)):
                part = item.spec.port_level_mtls.get(workload.port) or item.spec.mtls
                if part is not None and part.mode == "STRICT":
                    return _mode(part.mode, item, "workload")
        for place in dict.fromkeys((namespace, self._root)):
            for item in self._scope.whole(place)[:1]:
                if item.spec.mtls is not None and item.spec.mtls.mode != "UNSET":
                    level = "mesh" if place == self._root else "namespace"
                    return _mode(item.spec.mtls.mode, item, level)
        return PERMISSIVE


def _mode(mode: str, policy: PeerAuthentication, level: str) -> Mode:
    return Mode(mode == "STRICT", f"{policy.metadata.namespace}/{policy.metadata.name}", level)


def refusal(mode: Mode) -> Reply:
    """The answer to a request without a verified certificate."""
    namespace, _, name = mode.policy.partition("/")
    details = f"peer_authentication_strict_matched_policy[ns[{namespace}]-policy[{name}]]"
    return Reply(403, BODY, None, details)


class Strict:
    """Refuses requests that did not come over TLS with a verified client certificate."""

    __slots__ = ("_counts", "_ports", "_reply")

    def __init__(
        self, reply: Reply | None, counts: PolicyCounts, ports: Mapping[int, Reply | None] | None = None
    ) -> None:
        """`ports`: what differs on some local ports; None there demands nothing."""
        self._reply = reply
        self._ports = ports
        self._counts = counts

    def check(self, request: Request, _: Random | None = None) -> Reply | None:
        """The refusal, or None."""
        reply = self._reply if self._ports is None else self._ports.get(request.port, self._reply)
        if reply is None:
            return None
        peer = request.peer
        if peer is not None and peer.verified:
            return None
        self._counts.plaintext += 1
        return reply


class GatewayMode:
    """What the gateway itself demands on its listeners."""

    __slots__ = ("_counts", "_ports", "usual")

    def __init__(
        self, modes: PeerModes, namespace: str, labels: Mapping[str, str], counts: PolicyCounts
    ) -> None:
        self.usual = modes.of(Target(namespace, (Workload(labels),)))
        """Where no single port is spoken of."""
        self._ports: dict[int, Reply | None] = {}
        for port in modes.ports:
            mode = modes.of(Target(namespace, (Workload(labels, port),)))
            if mode != self.usual:
                self._ports[port] = refusal(mode) if mode.strict else None
        self._counts = counts

    def strict(self, *, inherited: bool = True) -> Strict | None:
        """The check, if there is something to demand; without what is `inherited` from namespace or mesh."""
        usual = self.usual.strict and (inherited or self.usual.level == "workload")
        if not usual and not any(self._ports.values()):
            return None
        return Strict(refusal(self.usual) if usual else None, self._counts, self._ports or None)
