"""The edge gateway: Istio's routing, resilience and security YAML, run in one Python process.

Vocabulary
    downstream / upstream  the client's side / the backends' side
    listener               an address clients connect to, with its virtual hosts
    virtual host, route    what a Host header selects; what the first matching rule of it selects
    cluster, endpoint      a backend service (host, port, subset); one address of it
    exchange, attempt      one client request from first byte to last; one try to get it answered
    reply, flag            an answer the gateway makes itself; Envoy's response flag that says why
    snapshot, generation   everything one configuration compiles to, frozen; its number

Life of a request (the numbers stand in the code, `gateway/exchange/spine.py`)
     1  snapshot = control.snapshot            the request's only read of shared state
     2  hygiene: canonical path, host, hop-by-hop, trust of forwarded headers, request id, peer identity
     3  route = snapshot.match(...)            virtual host, then first matching route
     4  checks, compiled to a tuple per route: each returns None or a Reply
     5  mirror                                 never awaited, bounded, may decline
     6  endpoint = cluster.pick                breaker, outliers, balancer, hosts already tried
     7  attempt: lease a connection, send head and body
     8  relay: head, chunks; the first byte sent down is the point of no return
     9  endpoint.record(outcome)               in `finally`
    10  reply                                  ours, when no upstream answered: flag -> status, body, log
    11  telemetry.record(exchange)             always, exactly once

Every object has one of three lifetimes, and every module holds objects of one lifetime:
config (frozen, replaced whole), process (survives a reload), request (dies with the exchange).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.asgi import Gateway, GatewayMiddleware
    from gateway.client import Transport

    __version__: str

__all__ = ["Gateway", "GatewayMiddleware", "Transport", "__version__"]

_HOMES = {"Gateway": "gateway.asgi", "GatewayMiddleware": "gateway.asgi", "Transport": "gateway.client"}


def __getattr__(name: str) -> Any:
    """Loads what is asked for, and nothing before: most programs need one of them."""
    from importlib import import_module, metadata  # noqa: PLC0415 - as above

    if name == "__version__":
        found: Any = metadata.version("asgi-gateway")
    elif name in _HOMES:
        found = getattr(import_module(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
