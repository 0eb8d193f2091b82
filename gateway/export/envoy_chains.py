"""The TLS servers of a port: a filter chain for each, found by the server name that a client asks for.

Lifetime: config. What is behind each chain is the port's table of routes, without the hosts for which another
server asks for another connection: those are answered 421, before anything else looks at the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.export.envoy_listener import Chain
from gateway.routing.hosts import HostTable, domain
from gateway.tls.material import CredentialError
from gateway.tls.misdirected import MISDIRECTED
from gateway.tls.servers import NameTable, server_names, tls_servers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.config import Config
    from gateway.config.tls import ServerTLSSettings
    from gateway.export.envoy_hosts import Entry, HostList
    from gateway.export.envoy_table import Tables
    from gateway.export.envoy_tls import Sockets

EVERYBODY = "*"


def secure_chains(
    config: Config,
    hosts: HostList,
    tables: Tables,
    sockets: Sockets,
    filters: Sequence[Mapping[str, Any]],
    notes: list[str],
) -> Iterator[Chain]:
    """The chains of a listener; a server whose credentials cannot be used has none."""
    servers = [server for _, server in hosts.servers]
    places = [place for place in tls_servers(config) if any(place.server is server for server in servers)]
    owners = NameTable((name, place.tls) for place in places for name in server_names(place.server))
    taken: set[str] = set()
    for place in places:
        names = [name for name in server_names(place.server) if name not in taken]
        taken.update(names)
        meta, port = place.gateway.metadata, place.server.port
        try:
            socket = sockets.server(place)
        except CredentialError as error:
            notes.append(f"{place.gateway.title}: port {port.number} ({port.name}) is left out: {error}")
            continue
        kept, others = _divided(hosts.domains(), owners, place.tls)
        virtual_hosts = tables.virtual_hosts(hosts, kept, tls=True)
        if others:
            virtual_hosts.append(_misdirected(others, filters))
        table = f"https.{port.number}.{port.name}.{meta.name}.{meta.namespace}"
        given = tuple(name for name in names if name != EVERYBODY)
        if given:
            yield Chain(virtual_hosts, filters, table, given, socket)
        if EVERYBODY in names:
            yield Chain(virtual_hosts, filters, table, (), socket)


def _divided(
    domains: Mapping[str, list[Entry]], owners: NameTable[ServerTLSSettings], own: ServerTLSSettings
) -> tuple[dict[str, list[Entry]], list[str]]:
    """Hosts that connections of one server may ask for, with their entries, and those they may not.

    One table says both in Envoy, so each name that either knows is looked up in both.
    """
    entries = HostTable(domains)
    kept: dict[str, list[Entry]] = {}
    others: list[str] = []
    for name in dict.fromkeys((*domains, *map(domain, owners.names))):
        owner = owners.find(name)
        if owner is not None and owner != own:
            others.append(name)
        else:
            kept[name] = domains[name] if name in domains else entries.find(name) or []
    if not others:
        return dict(domains), others
    return kept, others


def _misdirected(names: list[str], filters: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    off = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    route = {"name": "", "match": {"prefix": "/"}, "direct_response": {"status": MISDIRECTED.status}}
    host: dict[str, Any] = {"name": "misdirected", "domains": names, "routes": [route]}
    if filters:
        host["typed_per_filter_config"] = {item["name"]: off for item in filters}
    return host
