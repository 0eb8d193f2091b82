"""The edge gateway: Istio's routing, resilience and security YAML, run in one Python process.

Vocabulary
    downstream / upstream  the client's side / the backends' side
    listener               an address clients connect to, with its virtual hosts
    place, peer            a client's connection, as its requests see it; whose certificate it showed
    virtual host, route    what a Host header selects; what the first matching rule of it selects
    check, gate            a policy, compiled: a function that gives None or a Reply; one that asks somebody
    principal              who a certificate says is calling: `cluster.local/ns/default/sa/sleep`
    cluster, endpoint      a backend service (host, port, subset); one address of it
    limits, budget         how much of a cluster may be in use at a time; how many retries may be under way
    ejection               an endpoint out of rotation for its failures, for a while
    exchange, attempt      one client request from first byte to last; one try to get it answered
    replay, mirror         a request body kept to be sent again; a copy of a request that nobody waits for
    reply, flag            an answer the gateway makes itself; Envoy's response flag that says why
    credential             a certificate with its key and authorities, as files
    snapshot, generation   everything one configuration compiles to, frozen; its number

Life of a request (the numbers stand in the code, `gateway/exchange/spine.py`)
     1  snapshot = control.snapshot            the request's only read of shared state
     2  hygiene: canonical path, host, hop-by-hop, trust of forwarded headers, request id, peer identity
     3  listener.gate, listener.checks         tokens, policies, rate limits of the gateway: None or a Reply
        route = listener.match(...)            virtual host, then first matching route
     4  destination by weight; its checks; the route's fault and CORS
     5  mirror                                 never awaited, bounded, may decline
     6  endpoint = cluster.pick                health, outliers, locality, balancer, endpoints already tried
     7  attempt: lease a connection, send head and body, which is kept for the next one while it is short
     8  relay: head, chunks; the first byte sent down is the point of no return
     9  outlier.record(outcome)                a failed attempt that may be repeated goes back to 6
    10  reply                                  ours, when no upstream answered: flag -> status, body, log
    11  telemetry.record(exchange)             always, exactly once: metrics, log, spans, memory

A request on our own server runs without a task until it waits for something that only asyncio can give
(`gateway/server/stream.py`, `gateway/http/parking.py`).

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
