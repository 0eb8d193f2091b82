"""Findings about what a reload cannot change: the addresses that were opened when the process started.

Lifetime: config (pure functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from gateway.config import Finding
from gateway.config.codes import define
from gateway.tls.servers import tls_servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config import Config, Position

define(
    "GW198",
    "takes a restart",
    "warning",
    "Addresses are opened when the process starts. The rest of the configuration is applied; a changed"
    " `listen` or `admin`, and ports that Gateway documents add or no longer name, wait for the next start.",
)
define(
    "GW197",
    "TLS takes a restart",
    "error",
    "A port that was opened for plain text cannot begin to speak TLS while the process runs, nor the other"
    " way round. Nothing of the files is applied: requests would go on in plain text where TLS is asked for."
    " Restart the process, or use another port.",
)


class Opened(NamedTuple):
    """The addresses of the generation that the process started with."""

    listen: str
    admin: str
    ports: frozenset[int]
    secure: frozenset[int]
    """Those of them that speak TLS."""

    @classmethod
    def by(cls, config: Config) -> Self:
        """What a start with `config` opens. Keeps nothing of it: it is replaced, this stays."""
        spec = config.settings.spec
        servers = [server for item in config.gateways for server in item.spec.servers]
        ports = frozenset(server.port.number for server in servers)
        secure = frozenset(place.server.port.number for place in tls_servers(config))
        return cls(spec.listen, spec.admin, ports, secure)


def restart_findings(opened: Opened, config: Config) -> tuple[Finding, ...]:
    """What of `config` waits for the next start."""
    return (*_settings(opened, config), *_ports(opened, config))


def _settings(opened: Opened, config: Config) -> Iterator[Finding]:
    spec, origin = config.settings.spec, config.origin(config.settings)
    for field, old, new in (("listen", opened.listen, spec.listen), ("admin", opened.admin, spec.admin)):
        if old != new:
            place = origin.position("spec", field)
            yield _finding(place, f"{field} stays {old} until the next start, then {new}")


def _ports(opened: Opened, config: Config) -> Iterator[Finding]:
    secure = {(id(place.gateway), place.index) for place in tls_servers(config)}
    for gateway in config.gateways:
        for index, server in enumerate(gateway.spec.servers):
            number = server.port.number
            place = config.origin(gateway).position("spec", "servers", index, "port", "number")
            if number not in opened.ports:
                yield _finding(place, f"port {number} is opened at the next start")
            elif ((id(gateway), index) in secure) != (number in opened.secure):
                spoken = "TLS" if number in opened.secure else "plain text"
                message = f"port {number} speaks {spoken} until the next start, and cannot change before"
                yield Finding(*place.where, "error", "GW197", message, fatal=True, length=place.length)


def _finding(place: Position, message: str) -> Finding:
    return Finding(*place.where, "warning", "GW198", message, length=place.length)
