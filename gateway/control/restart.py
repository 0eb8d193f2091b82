"""Findings about what a reload cannot change: the addresses that were opened when the process started.

Lifetime: config (pure functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from gateway.config import Finding
from gateway.config.codes import define
from gateway.tls.servers import tls_servers

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping

    from gateway.config import Config, Position

define(
    "GW198",
    "takes a restart",
    "warning",
    "Addresses are opened when the process starts. The rest of the configuration is applied; a changed"
    " `listen` or `admin` waits for the next start. `gateway run` with one worker opens ports that Gateway"
    " documents add at once; with several, or under another server, they wait, too.",
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
    more: bool = False
    """Ports can be opened later, too."""

    @classmethod
    def by(cls, config: Config) -> Self:
        """What a start with `config` opens. Keeps nothing of it: it is replaced, this stays."""
        spec = config.settings.spec
        servers = [server for item in config.gateways for server in item.spec.servers]
        ports = frozenset(server.port.number for server in servers)
        secure = frozenset(place.server.port.number for place in tls_servers(config))
        return cls(spec.listen, spec.admin, ports, secure)

    def beside(self, config: Config, failed: Container[int]) -> Self:
        """These, and the ports of a later `config` that were opened for it."""
        later = Opened.by(config)
        new = frozenset(port for port in later.ports - self.ports if port not in failed)
        return self._replace(ports=self.ports | new, secure=self.secure | (new & later.secure))


class Ports(Protocol):
    """A server that can open ports while it runs."""

    def open(self, config: Config) -> Mapping[int, str]:
        """Binds what `config` asks for beyond what is open; the ports that failed, with the reason."""

    async def admit(self) -> None:
        """Begins to accept there."""


def restart_findings(opened: Opened, config: Config) -> tuple[Finding, ...]:
    """What of `config` waits for the next start."""
    return (*_settings(opened, config), *_ports(opened, config))


def unopened(failed: Mapping[int, str], config: Config) -> tuple[Finding, ...]:
    """Ports of `config` that could not be opened at once."""
    return tuple(
        _finding(config.origin(gateway).position("spec", "servers", index, "port", "number"), failed[number])
        for gateway in config.gateways
        for index, server in enumerate(gateway.spec.servers)
        if (number := server.port.number) in failed
    )


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
                if not opened.more:
                    yield _finding(place, f"port {number} is opened at the next start")
            elif ((id(gateway), index) in secure) != (number in opened.secure):
                spoken = "TLS" if number in opened.secure else "plain text"
                message = f"port {number} speaks {spoken} until the next start, and cannot change before"
                yield Finding(*place.where, "error", "GW197", message, fatal=True, length=place.length)


def _finding(place: Position, message: str) -> Finding:
    return Finding(*place.where, "warning", "GW198", message, length=place.length)
