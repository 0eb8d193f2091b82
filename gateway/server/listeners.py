"""Which addresses the configuration asks for, and the sockets that listen there.

Lifetime: config (`Address`) and process (sockets).
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.config.address import host_port
from gateway.config.gateway import HTTP_PROTOCOLS

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

    from gateway.config import Config, Gateway

BACKLOG = 2048
"""Connections the kernel keeps while we do not accept."""
_LISTEN = "0A"
_ANYWHERE = "0.0.0.0"  # noqa: S104 - Istio's default for a Gateway server without bind


class CannotListen(Exception):  # noqa: N818 - the text is the sentence to print
    """An address that cannot be listened on, and why."""


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int
    """0: whichever the kernel chooses."""
    secure: bool = False
    """For TLS."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """With its scheme: `https://127.0.0.1:8443`."""
        return f"http{'s' * self.secure}://{self}"


class Wanted(NamedTuple):
    """What the configuration and the command line ask for."""

    required: tuple[Address, ...]
    """Without one of these the process does not start."""
    optional: tuple[Address, ...]
    """Gateway ports beside an explicit `--port`: a developer may lack the right to open port 80."""
    passed_over: tuple[str, ...]
    """Servers of Gateway documents that are not opened, each with its reason."""

    @property
    def addresses(self) -> tuple[Address, ...]:
        """All of them."""
        return (*self.required, *self.optional)


def wanted(config: Config, host: str | None = None, port: int | None = None) -> Wanted:
    """The servers of the Gateway documents; without any, `host` and `port`, or the settings' `listen`.

    `port` is opened in any case when it is given. `host` also serves the Gateway servers that do not say
    where to bind.
    """
    addresses: dict[int, Address] = {}
    passed_over: list[str] = []
    for gateway in config.gateways:
        if not _selected(gateway, config):
            continue
        for server in gateway.spec.servers:
            number, protocol = server.port.number, server.port.protocol
            label = f"{gateway.metadata.name} port {number} ({protocol})"
            if server.bind and server.bind.startswith("unix:"):
                passed_over.append(f"{label}: unix sockets are not opened")
            elif protocol not in HTTP_PROTOCOLS:
                passed_over.append(f"{label}: only HTTP and HTTPS listeners are opened")
            else:
                secure = protocol == "HTTPS"
                address = Address(server.bind or host or _ANYWHERE, number, secure)
                if addresses.setdefault(number, address).secure != secure:
                    spoken = "plain text" if secure else "TLS"
                    passed_over.append(f"{label}: the port speaks {spoken} already")
    servers = tuple(addresses.values())
    if port is None and servers:
        return Wanted(servers, (), tuple(passed_over))
    if port in addresses:
        return Wanted((addresses[port],), tuple(a for a in servers if a.port != port), tuple(passed_over))
    default_host, default_port = host_port(config.settings.spec.listen)
    chosen = Address(host or default_host, default_port if port is None else port)
    return Wanted((chosen,), servers, tuple(passed_over))


def _selected(gateway: Gateway, config: Config) -> bool:
    own = config.settings.spec.labels
    return not own or all(own.get(key) == value for key, value in gateway.spec.selector.items())


def listen(address: Address) -> socket.socket:
    """A listening socket, inheritable, so that workers share it. Raises CannotListen."""
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, name = found[0]
        opened = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotListen(f"Cannot listen on {address}: {_reason(error)}.") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(name)
        opened.listen(BACKLOG)
        opened.setblocking(False)
        opened.set_inheritable(True)
    except OSError as error:
        opened.close()
        raise CannotListen(_sentence(address, error)) from error
    return opened


def _sentence(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        holder = next(_holders(address.port), None)
        by = f", by {holder}" if holder else ""
        return f"Cannot listen on {address}: the port is taken{by}. Stop that, or choose another with --port."
    if error.errno == errno.EACCES and address.port < 1024:
        return (
            f"Cannot listen on {address}: ports below 1024 need root or CAP_NET_BIND_SERVICE."
            " Choose another with --port."
        )
    return f"Cannot listen on {address}: {_reason(error)}."


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _holders(port: int) -> Iterator[str]:
    """Processes that listen on a port, as far as /proc tells us: `nginx (pid 17)`."""
    inodes = {f"socket:[{inode}]" for inode in _listening(port)}
    if not inodes:
        return
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = {os.readlink(descriptor) for descriptor in (process / "fd").iterdir()}  # noqa: PTH115
            if inodes & links:
                yield f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:  # gone, or not ours to look into
            continue


def _listening(port: int) -> Iterator[str]:
    """Inodes of the sockets that listen on a port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def bound(sockets: Sequence[socket.socket], secure: Container[int] = ()) -> list[Address]:
    """Where sockets really listen: port 0 has become a number. `secure`: the ports of TLS."""
    names = [opened.getsockname()[:2] for opened in sockets]
    return [Address(host, port, port in secure) for host, port in names]
