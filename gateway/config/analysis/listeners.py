"""Analyzers of Gateways: which listener serves which VirtualService, and which servers collide.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.analysis.survey import bound
from gateway.config.codes import define
from gateway.config.gateway import HTTP_PROTOCOLS
from gateway.config.hosts import covers
from gateway.config.references import MESH
from gateway.config.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.analysis.survey import Path, Survey
    from gateway.config.findings import Finding
    from gateway.config.gateway import Gateway, Server
    from gateway.config.virtual_service import VirtualService

define(
    "GW210",
    "unknown Gateway",
    "error",
    "The VirtualService names a Gateway that no document describes, so on that listener it serves nothing."
    " A name without a namespace means the document's own; `mesh` is the listener without Gateway document.",
)
define(
    "GW211",
    "Gateway without routes",
    "warning",
    "No VirtualService has routes for this Gateway: it would answer every request with 404.",
)
define(
    "GW212",
    "host outside of the Gateway",
    "warning",
    "No server of the Gateway takes this host, so the VirtualService serves nothing there. A server's hosts"
    " may be limited to the VirtualServices of a namespace: prod/*.example.com.",
)
define(
    "GW213",
    "servers collide",
    "error",
    "Two servers take the same host on the same port. Istio leaves the later one out; here VirtualServices of"
    " both are served, and tls.httpsRedirect is that of the first.",
)
define(
    "GW214",
    "port with two protocols",
    "error",
    "Servers on one port and address speak one protocol: plain text or TLS, not both.",
)
define(
    "GW215",
    "Gateway of another process",
    "warning",
    "The selector of the Gateway does not match the labels of this process (GatewaySettings.labels), so its"
    " servers are not opened here.",
)
define(
    "GW216",
    "privileged port",
    "info",
    "Ports below 1024 can be opened by root only, or with CAP_NET_BIND_SERVICE. Another way is to listen on a"
    " high port and to forward to it.",
)
define(
    "GW217",
    "server without HTTP",
    "warning",
    "This process routes HTTP requests. A server of another protocol is not opened.",
)


def gateway_references(survey: Survey) -> Iterator[Finding]:
    """Gateways that are named and do not exist."""
    for service in survey.config.virtual_services:
        for path, name in _references(service):
            if name != MESH and survey.gateway(name, service.metadata.namespace) is None:
                message = f'no Gateway "{name}" in namespace {service.metadata.namespace}'
                if "/" in name:
                    message = f'no Gateway "{name}"'
                yield survey.finding(service, path, "GW210", message, _meant(survey, service, name))


def _references(service: VirtualService) -> Iterator[tuple[Path, str]]:
    for index, name in enumerate(service.spec.gateways):
        yield ("spec", "gateways", index), name
    for number, http in enumerate(service.spec.http):
        for position, match in enumerate(http.match):
            for index, name in enumerate(match.gateways):
                yield ("spec", "http", number, "match", position, "gateways", index), name


def _meant(survey: Survey, service: VirtualService, name: str) -> str | None:
    """What was probably meant: the same name elsewhere, or a similar one."""
    names = []
    for gateway in survey.config.gateways:
        here = gateway.metadata.namespace == service.metadata.namespace
        known = gateway.metadata.name if here else f"{gateway.metadata.namespace}/{gateway.metadata.name}"
        if gateway.metadata.name == name.rpartition("/")[2]:
            return f'did you mean "{known}"?'
        names.append(known)
    return nearest(name, [*names, MESH])


def gateway_hosts(survey: Survey) -> Iterator[Finding]:
    """Gateways nobody routes for, and hosts that no server takes."""
    used: set[int] = set()
    for service in survey.config.virtual_services:
        if service.spec.is_delegate:
            continue
        for name in service.spec.gateways:
            gateway = None if name == MESH else survey.gateway(name, service.metadata.namespace)
            if gateway is None:
                continue
            used.add(id(gateway))
            for number, host in enumerate(service.spec.hosts):
                if not any(_takes(survey, gateway, server, service, host) for server in gateway.spec.servers):
                    path: Path = ("spec", "hosts", number)
                    message = f'no server of Gateway "{name}" takes the host "{host}"'
                    taken = ", ".join(item for server in gateway.spec.servers for item in server.hosts)
                    yield survey.finding(service, path, "GW212", message, f"it takes {taken}")
    # A VirtualService without gateways is served on every listener, so it routes for all of them.
    everywhere = any(not item.spec.gateways and item.spec.hosts for item in survey.config.virtual_services)
    for gateway in survey.config.gateways:
        if id(gateway) not in used and not everywhere:
            path = ("metadata", "name")
            message = f"no VirtualService has routes for {gateway.title}"
            hint = f"write gateways: [{gateway.metadata.name}] in a VirtualService"
            yield survey.finding(gateway, path, "GW211", message, hint)


def _takes(survey: Survey, gateway: Gateway, server: Server, service: VirtualService, host: str) -> bool:
    """Whether a server serves some of the names of `host` of a VirtualService."""
    for pattern in server.hosts:
        place, slash, offered = pattern.lower().rpartition("/")
        if place == ".":
            place = gateway.metadata.namespace
        if slash and place not in {"*", service.metadata.namespace}:
            continue
        for wanted in survey.names(host, service.metadata.namespace):
            if covers(offered, wanted) or covers(wanted, offered):
                return True
    return False


def colliding_servers(survey: Survey) -> Iterator[Finding]:
    """Servers of one port that take the same host, or do not speak the same."""
    taken: dict[tuple[int, str, str], tuple[Gateway, int]] = {}
    spoken: dict[tuple[int, str], tuple[Gateway, bool]] = {}
    for gateway, index, server in survey.servers():
        place = server.port.number, server.bind or "0.0.0.0"  # noqa: S104 - the default that is documented
        first = spoken.setdefault(place, (gateway, _secure(server)))
        if first[1] != _secure(server) and server.port.number:
            path: Path = ("spec", "servers", index, "port", "protocol")
            other = "TLS" if first[1] else "plain text"
            message = f"port {server.port.number} speaks {other} already, at {survey.where(first[0])}"
            yield survey.finding(gateway, path, "GW214", message, "use another port")
            continue
        for number, pattern in enumerate(server.hosts):
            key = (*place, _scope(gateway, pattern))
            if key in taken and server.port.number:
                path = ("spec", "servers", index, "hosts", number)
                where = survey.where(taken[key][0])
                message = f'port {server.port.number} has a server for "{pattern}" already, at {where}'
                yield survey.finding(gateway, path, "GW213", message)
            else:
                taken[key] = gateway, index


def _secure(server: Server) -> bool:
    return server.port.protocol in {"HTTPS", "TLS"}


def _scope(gateway: Gateway, pattern: str) -> str:
    """A host of a server, with the namespace it is limited to."""
    place, _, host = pattern.rpartition("/")
    place = gateway.metadata.namespace if place == "." else place or "*"
    return f"{place}/{host.lower()}"


def unopened_servers(survey: Survey) -> Iterator[Finding]:
    """Servers that this process does not open, or may not be able to."""
    for gateway in survey.config.gateways:
        if not survey.selected(gateway):
            labels = ", ".join(f"{name}: {value}" for name, value in gateway.spec.selector.items())
            message = f"{gateway.title} is not for this process: its labels are not {labels}"
            hint = "set labels in GatewaySettings"
            yield survey.finding(gateway, ("spec", "selector"), "GW215", message, hint)
    for gateway, index, server in survey.servers():
        at: Path = ("spec", "servers", index, "port")
        if server.port.protocol not in HTTP_PROTOCOLS:
            message = f"a server of protocol {server.port.protocol} is not opened: this gateway routes HTTP"
            yield survey.finding(gateway, (*at, "protocol"), "GW217", message)
        elif 0 < server.port.number < 1024 and not survey.root:
            message = f"port {server.port.number} can be opened by root only"
            yield survey.finding(gateway, (*at, "number"), "GW216", message)


define(
    "GW220",
    "host in several VirtualServices",
    "warning",
    "Two VirtualServices of a listener have the same host. Their rules are put together: the older document's"
    " first (metadata.creationTimestamp, then name), and rules that take every request last.",
)
define(
    "GW233",
    "port that nobody listens on",
    "warning",
    "match.port is the port of a Gateway server. None has this number, so no request meets the condition.",
)


def shared_hosts(survey: Survey) -> Iterator[Finding]:
    """Hosts that several VirtualServices claim on one listener."""
    claims: dict[str, list[tuple[VirtualService, frozenset[str]]]] = {}
    for service in survey.config.virtual_services:
        listeners = frozenset(_listener(name, service) for name in bound(service))
        for index, host in enumerate(service.spec.hosts):
            name = survey.full(host, service.metadata.namespace)
            for other, others in claims.get(name, ()):
                # `mesh` alone means every listener, so it meets every other.
                if listeners & others or not service.spec.gateways or not other.spec.gateways:
                    message = (
                        f'"{host}" is a host of {other.title} too, at {survey.where(other)}; both are used'
                    )
                    hint = "put the rules of a host into one document"
                    yield survey.finding(service, ("spec", "hosts", index), "GW220", message, hint)
                    break
            claims.setdefault(name, []).append((service, listeners))


def _listener(reference: str, service: VirtualService) -> str:
    if reference == MESH or "/" in reference:
        return reference
    return f"{service.metadata.namespace}/{reference}"


def silent_ports(survey: Survey) -> Iterator[Finding]:
    """Conditions on a port that no server has."""
    ports = {server.port.number for _, _, server in survey.servers()}
    for service in survey.config.virtual_services if ports else ():
        for number, http in enumerate(service.spec.http):
            for index, match in enumerate(http.match):
                if match.port is not None and match.port not in ports:
                    path: Path = ("spec", "http", number, "match", index, "port")
                    listed = ", ".join(map(str, sorted(ports)))
                    message = f"no server listens on port {match.port}"
                    yield survey.finding(service, path, "GW233", message, f"the ports are {listed}")
