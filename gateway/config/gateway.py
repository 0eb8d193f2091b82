"""Gateway: ports this process listens on and the hosts it serves there, in Istio's own shape.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, Strict

from gateway.config.fields import (
    Checked,
    FrozenMap,
    Labels,
    Many,
    NonEmpty,
    Problem,
    Str,
    rejection,
)
from gateway.config.names import check_namespace, check_wildcard, is_ip
from gateway.config.resource import Resource, register
from gateway.config.tls import ServerTLSSettings  # noqa: TC001 - pydantic reads the annotation

if TYPE_CHECKING:
    from collections.abc import Iterator

HTTP_PROTOCOLS = frozenset({"HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTPS"})
"""Protocols whose requests are routed here; HTTPS after TLS is terminated."""
PROTOCOLS = HTTP_PROTOCOLS | {"MONGO", "TCP", "TLS", "REDIS", "MYSQL"}


def _protocol(value: str) -> str:
    if value.upper() not in PROTOCOLS:
        known = ", ".join(sorted(PROTOCOLS))
        raise rejection(Problem("GW033", f'"{value}" is not a protocol: one of {known}'))
    return value.upper()


def _server_host(value: str) -> str:
    namespace, slash, host = value.rpartition("/")
    problem = None
    if slash and namespace not in {".", "*"}:
        problem = check_namespace(namespace)
    if problem is None and not is_ip(host):
        problem = check_wildcard(host)
    if problem is not None:
        raise rejection(Problem("GW035", problem, (), "write HOST, NAMESPACE/HOST, ./HOST or */HOST"))
    return value


Protocol = Annotated[str, Strict(), AfterValidator(_protocol)]
"""A protocol in upper case, however it was written."""
ServerHost = Annotated[str, Strict(), AfterValidator(_server_host)]
"""A host, optionally limited to the VirtualServices of a namespace: `prod/*.example.com`."""


class Port(Checked):
    """A port and what is spoken there."""

    number: Annotated[int, Strict(), Field(ge=0, le=65535)]
    protocol: Protocol
    name: NonEmpty
    target_port: Any = None

    def _rules(self) -> Iterator[Problem]:
        if self.target_port is not None:
            yield Problem("GW045", "targetPort has no meaning in a Gateway", ("targetPort",), "remove it")


class Server(Checked):
    """One listener."""

    port: Port
    bind: Str | None = None
    """An IP address or `unix:///path`; default all addresses."""
    hosts: Many[ServerHost] = ()
    tls: ServerTLSSettings | None = None
    default_endpoint: Any = None
    name: Str | None = None

    @property
    def https_redirect(self) -> bool:
        """Whether plain requests are sent to https."""
        return self.tls is not None and bool(self.tls.https_redirect)

    def _rules(self) -> Iterator[Problem]:
        if not self.hosts:
            yield Problem("GW032", "a server needs hosts", ("hosts",), 'write hosts: ["*"] for all')
        unix = self.bind is not None and self.bind.startswith("unix://")
        if self.bind and not unix and not is_ip(self.bind):
            yield Problem("GW035", f'"{self.bind}" is not an IP address or unix://PATH', ("bind",))
        if unix != (self.port.number == 0):
            message = "a unix socket has port 0" if unix else "a port is 1 to 65535"
            yield Problem("GW037", message, ("port", "number"))
        if self.default_endpoint is not None:
            message = "defaultEndpoint has no meaning in a gateway"
            yield Problem("GW051", message, ("defaultEndpoint",), severity="warning")
        yield from _tls_problems(self)


def _tls_problems(server: Server) -> Iterator[Problem]:
    protocol, tls = server.port.protocol, server.tls
    if tls is None:
        if protocol == "HTTPS":
            yield Problem("GW032", "a server of protocol HTTPS needs tls", ("tls",))
    elif protocol in {"HTTPS", "TLS"}:
        if tls.https_redirect:
            message = f"httpsRedirect is for plain HTTP servers; this one is {protocol}"
            yield Problem("GW051", message, ("tls", "httpsRedirect"), severity="warning")
    elif protocol in HTTP_PROTOCOLS:
        for field in sorted(tls.model_fields_set - {"https_redirect"}):
            if getattr(tls, field) not in (None, ()):
                message = f"a plain {protocol} server has no TLS besides httpsRedirect"
                yield Problem("GW070", message, ("tls", field), "use protocol HTTPS")


class GatewaySpec(Checked):
    """The servers, and the processes they are for."""

    servers: Many[Server] = ()
    selector: Labels = FrozenMap()
    """Labels of the gateway processes this is for; empty: every one."""

    def _rules(self) -> Iterator[Problem]:
        if not self.servers:
            yield Problem("GW032", "a Gateway needs servers", ("servers",))
        for label, names in (
            ("name", [server.name or None for server in self.servers]),
            ("port.name", [server.port.name for server in self.servers]),
        ):
            for index, name in enumerate(names):
                if name is not None and name in names[:index]:
                    at: tuple[str | int, ...] = ("servers", index, *label.split("."))
                    yield Problem("GW043", f'"{name}" names two servers', at)


@register("networking.istio.io", "Gateway", "v1", "v1beta1", "v1alpha3")
class Gateway(Resource):
    """Listeners."""

    spec: GatewaySpec
