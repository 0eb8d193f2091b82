"""Policies from YAML, and requests with an identity, for tests of authorization."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from support.documents import config_of
from support.routing import request

from gateway.http.peer import Peer
from gateway.security import Guard, Target, Workload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.http.headers import Headers
    from gateway.http.reply import Reply
    from gateway.http.request import Request

DICE = random.Random(1)

SLEEP = "cluster.local/ns/default/sa/sleep"
HTTPBIN = Target("default", (Workload({"app": "httpbin"}, 8000),))


def peer(
    principal: str = "", *, verified: bool = True, uris: Sequence[str] | None = None, sni: str = ""
) -> Peer:
    """The TLS side of a connection; `principal` is in its only URI."""
    if uris is None:
        uris = (f"spiffe://{principal}",) if principal else ()
    return Peer(verified=verified, principal=principal, uris=tuple(uris), sni=sni)


def asked(
    path: str = "/",
    headers: dict[str, str] | Headers | None = None,
    *,
    principal: str = "",
    by: Peer | None = None,
    claims: Mapping[str, Any] | None = None,
    peer_ip: str = "127.0.0.1",
    **more: Any,
) -> Request:
    """A request; `principal` makes it come over mutual TLS."""
    made = request(path, headers, **more)
    made.peer = by if by is not None else peer(principal) if principal else None
    made.peer_ip = peer_ip
    if claims is not None:
        made.claims = claims
        made.request_principal = f"{claims.get('iss', '')}/{claims.get('sub', '')}"
    return made


def policy(
    spec: str, name: str = "p", namespace: str = "default", *, action: str = "", dry_run: bool = False
) -> str:
    """An AuthorizationPolicy document; `spec` is flow YAML."""
    annotations = ', annotations: {istio.io/dry-run: "true"}' if dry_run else ""
    action = f"action: {action}, " if action else ""
    return f"""\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: {namespace}{annotations}}}
spec: {{{action}{spec}}}
"""


def settings(**spec: str) -> str:
    """GatewaySettings; values are flow YAML."""
    fields = ", ".join(f"{name}: {value}" for name, value in spec.items())
    return f"apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {{name: s}}\nspec: {{{fields}}}\n"


def guard(*documents: str, targets: Sequence[Target] = (HTTPBIN,), **more: Any) -> Guard:
    """The guard of these documents."""
    more.setdefault("note", lambda what, request: None)
    return Guard(config_of("---\n".join(documents)), targets, **more)


def judged(guard: Guard, request: Request, target: Target | None = None) -> Reply | None:
    """The first reply of the checks, in the order in which a request meets them; gates are left out."""
    late = guard.own if target is None else guard.destination(target).checks
    for check in (*guard.everywhere.checks, *late):
        reply = check(request, DICE)
        if reply is not None:
            return reply
    return None


def allowed(guard: Guard, request: Request, target: Target | None = None) -> bool:
    """Whether a request passes."""
    return judged(guard, request, target) is None


def details(guard: Guard, request: Request, target: Target | None = None) -> str:
    """What the log says of a refusal, but for the rules that could have allowed; empty when it passes."""
    reply = judged(guard, request, target)
    return "" if reply is None else reply.details.partition("_of[")[0]
