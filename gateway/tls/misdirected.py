"""A request must have come over the TLS connection that its own server would have made.

Lifetime: config. A client may shake hands under one server name and then ask for another host (T13). Where
the two servers differ in their TLS, that would get around the second one's; and under a server that knows
nothing of Gateway documents (plain `uvicorn`) it would get around all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.http.reply import Reply
from gateway.tls.contexts import REQUIRING_MODES, VERIFIED_MODES
from gateway.tls.servers import NameTable, server_names, tls_servers

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from gateway.config import Config
    from gateway.config.tls import ServerTLSSettings
    from gateway.http.request import Request

MISDIRECTED: Final = Reply(421, b"", None, "misdirected_request", close=True)


class _Demand(NamedTuple):
    """What a server asks of connections; equal settings share one number."""

    number: int
    asks: bool
    requires: bool


def compile_misdirected(config: Config, port: int) -> Callable[[Request, Random], Reply | None] | None:
    """The check for the listener of a port: 421 (RFC 9110 §15.5.20) for a request that came over another
    connection than its host's server asks for. None when no server of the port terminates TLS.
    """
    known: list[ServerTLSSettings] = []
    entries: list[tuple[str, _Demand]] = []
    made: dict[str, int] = {}
    for place in tls_servers(config):
        if place.server.port.number == port:
            tls = place.tls
            if tls not in known:
                known.append(tls)
            demand = _Demand(known.index(tls), tls.mode in VERIFIED_MODES, tls.mode in REQUIRING_MODES)
            entries += [(name, demand) for name in server_names(place.server)]
            made[place.name] = demand.number
    if not entries:
        return None
    find = NameTable(entries).find

    def misdirected(request: Request, _dice: Random) -> Reply | None:
        wanted = find(request.host)
        if wanted is None:
            return None  # Nobody serves the host: 404 says so.
        peer = request.peer
        if peer is None:  # Not our TLS; a proxy in front may have terminated it.
            return MISDIRECTED if wanted.asks or request.scheme != "https" else None
        if wanted.requires and not peer.verified:
            return MISDIRECTED
        if peer.server and made.get(peer.server) != wanted.number:
            return MISDIRECTED
        return None

    return misdirected
