"""`EdgeProtocol` under a plain `uvicorn gateway.app:app`, without a flag.

Lifetime: process.

Two ways, because uvicorn looks its protocol class up at different times. In one process it imports the
application first: `install`, called by that import, renames what `--http auto` means. With `--workers` or
`--reload` the look-up comes first; but listeners are opened after the lifespan has started and ask the
configuration anew for each connection, so `adopt`, called in the lifespan, still comes in time.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

import uvicorn.config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from gateway.server import EdgeProtocol

PROTOCOL: Final = "gateway.server:EdgeProtocol"
_REPLACED: Final = ("auto", "httptools")
"""What `--http` may say for us to take over: the default, and the parser we use ourselves."""


def install() -> None:
    """Makes uvicorn's `--http auto` mean EdgeProtocol, in servers that have not loaded it yet."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = PROTOCOL


def adopt(receive: Any) -> str | None:
    """Puts EdgeProtocol, and no belief in forwarded headers, into the server behind a lifespan `receive`.

    To be called at `lifespan.startup` by an application that owns the whole server. Returns None when the
    server uses EdgeProtocol, else one sentence that says why it does not.
    """
    config = getattr(getattr(receive, "__self__", None), "config", None)
    if not isinstance(config, uvicorn.Config):
        return (
            "The server is not uvicorn, or something stands between it and the gateway:"
            " its own limits and deadlines hold, and it may accept requests that we would refuse."
        )
    _believe_nobody(config)
    _resume_nothing(config)
    if isinstance(config.http_protocol_class, type) and issubclass(config.http_protocol_class, EdgeProtocol):
        return None
    if config.http in _REPLACED:
        config.http_protocol_class = EdgeProtocol
        return None
    return (
        f"uvicorn was told to use --http {config.http}, which knows no limits on heads and no deadlines."
        f" Leave --http away, or say --http {PROTOCOL}."
    )


def _resume_nothing(config: uvicorn.Config) -> None:
    """No tickets where clients show certificates (`--ssl-cert-reqs`): a resumed session would skip them."""
    if config.ssl is not None and config.ssl.verify_mode:
        config.ssl.num_tickets = 0
        config.ssl.options |= ssl.OP_NO_TICKET


def _believe_nobody(config: uvicorn.Config) -> None:
    """Takes off what lets any peer on loopback choose its address and scheme (security.md F9): for us,
    `trustedProxies` decides.
    """
    if isinstance(config.loaded_app, ProxyHeadersMiddleware):
        config.loaded_app = config.loaded_app.app
