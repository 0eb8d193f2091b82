"""Findings about what a reload cannot change: the addresses that were opened when the process started.

Lifetime: config (pure functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from gateway.config import Finding
from gateway.config.codes import define

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


class Opened(NamedTuple):
    """The addresses of the generation that the process started with."""

    listen: str
    admin: str
    ports: frozenset[int]

    @classmethod
    def by(cls, config: Config) -> Self:
        """What a start with `config` opens. Keeps nothing of it: it is replaced, this stays."""
        spec = config.settings.spec
        ports = frozenset(server.port.number for item in config.gateways for server in item.spec.servers)
        return cls(spec.listen, spec.admin, ports)


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
    for gateway in config.gateways:
        for index, server in enumerate(gateway.spec.servers):
            if server.port.number not in opened.ports:
                place = config.origin(gateway).position("spec", "servers", index, "port", "number")
                yield _finding(place, f"port {server.port.number} is opened at the next start")


def _finding(place: Position, message: str) -> Finding:
    return Finding(*place.where, "warning", "GW198", message, length=place.length)
