"""Who we are and who calls: certificates in use, and peers that were seen.

Lifetime: request (pure functions). Only what certificates say is told, never a key.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.admin.console.sources import Sources
    from gateway.config import Config
    from gateway.control.control import Control
    from gateway.telemetry.recorder import Recorder

MOST_CALLERS: Final = 200
MOST_CERTIFICATES: Final = 200
"""Shown; a bundle of authorities may have hundreds, and those that end first come first."""
ROLES: Final = {
    "certificate": "our own",
    "authority": "vouches for others",
    "revocations": "list of revoked ones",
}


def identities(sources: Sources) -> dict[str, Any]:
    """Certificates, the policies about who may call, and who did."""
    control = sources.control
    return {
        "now": time.time(),
        "certificates": certificates(control)[:MOST_CERTIFICATES],
        "policies": list(_policies(control.snapshot.config)),
        "callers": callers(sources.recorder),
    }


def certificates(control: Control) -> list[dict[str, Any]]:
    """Every certificate and revocation list in use, the one that ends first before the others."""
    return [
        {
            "credential": held.name,
            "role": ROLES[held.role],
            "subject": held.subject or next(iter(held.names), "no name"),
            "serial": held.serial,
            "names": list(held.names),
            "not_before": held.not_before,
            "not_after": None if held.not_after == float("inf") else held.not_after,
        }
        for held in control.tls.certificates()
    ]


def callers(recorder: Recorder | None) -> list[dict[str, Any]]:
    """Who was verified among the last requests, by certificate or token, the busiest first."""
    counts: Counter[tuple[str, str]] = Counter()
    refused: Counter[tuple[str, str]] = Counter()
    for exchange, _ in list(recorder.recent) if recorder is not None else ():
        request = exchange.request
        who = []
        if request.peer is not None and request.peer.verified:
            who.append(("certificate", request.peer.principal or request.peer.subject))
        if request.request_principal:
            who.append(("token", request.request_principal))
        counts.update(who)
        if exchange.status in {401, 403}:
            refused.update(who)
    return [
        {"kind": who[0], "principal": who[1], "requests": count, "refused": refused[who]}
        for who, count in counts.most_common(MOST_CALLERS)
    ]


def _policies(config: Config) -> Iterator[dict[str, str]]:
    for peer in config.peer_authentications:
        yield _policy(peer, str(getattr(peer.spec.mtls, "mode", None) or "inherits"))
    for request in config.request_authentications:
        yield _policy(request, ", ".join(rule.issuer or "any issuer" for rule in request.spec.jwt_rules))
    for authorization in config.authorization_policies:
        yield _policy(authorization, str(authorization.spec.action))


def _policy(resource: Any, says: str) -> dict[str, str]:
    selector = resource.spec.selector
    labels = selector.match_labels if selector is not None else {}
    return {
        "kind": resource.kind,
        "name": f"{resource.metadata.namespace}/{resource.metadata.name}",
        "says": says,
        "applies": ", ".join(f"{key}={value}" for key, value in labels.items()) or "everything",
    }
