"""The public address of the admin listener: where it is asked for, and its socket.

Lifetime: process.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, NamedTuple

from gateway.admin.guard import HostRule
from gateway.config.address import host_port

if TYPE_CHECKING:
    from gateway.config import GatewaySettings

logger = logging.getLogger(__name__)

CONNECTIONS = 100
"""Connections at a time; further ones are answered 503."""


class PublicSocket(NamedTuple):
    """The admin address, open."""

    host: str
    """As it was asked for."""
    listening: socket.socket

    @property
    def address(self) -> str:
        """`host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.listening.getsockname()[1]}"


def wanted_address(given: str | None, settings: GatewaySettings) -> str:
    """Where `given`, else GATEWAY_ADMIN, else the settings want the listener; empty for `off`."""
    text = given or os.environ.get("GATEWAY_ADMIN") or settings.spec.admin
    return "" if text.lower() == "off" else text


def open_public(text: str) -> PublicSocket | None:
    """Listens there. None, and a warning, when that cannot be."""
    try:
        host, port = host_port(text)
        public = PublicSocket(host, _open(host, port))
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        logger.warning(
            "no admin listener on %s: %s. GATEWAY_ADMIN or `admin` of GatewaySettings can name another",
            text,
            why,
        )
        return None
    if not HostRule(host).local:
        logger.warning("the admin listener on %s can be reached from other machines", text)
    return public


def _open(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(CONNECTIONS)
        opened.setblocking(False)
    except OSError:
        opened.close()
        raise
    return opened
