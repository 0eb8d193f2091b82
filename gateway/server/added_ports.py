"""Ports that a reload adds: opened beside those of the start.

Lifetime: process.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.server.listeners import CannotListen, listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable

    from gateway.config import Config
    from gateway.server.listeners import Address

    Asked = Callable[[Config], Iterable[Address]]

logger = logging.getLogger(__name__)


class AddedPorts:
    """Opens what a new generation asks for beyond the first: `open` binds, `admit` lets clients in."""

    def __init__(
        self, asked: Asked, first: Config, accept: Callable[[socket.socket], Awaitable[None]]
    ) -> None:
        """`asked`: every address a configuration wants; those of `first` have been seen to."""
        self._asked = asked
        self._accept = accept
        self._known = {address.port for address in asked(first)}
        self._bound: list[tuple[Address, socket.socket]] = []

    def open(self, config: Config) -> dict[int, str]:
        """Listens where `config` asks for it and nobody does yet. Gives the ports that failed, with the
        reason; they are tried again. May be called in a thread.
        """
        failed = {}
        for address in self._asked(config):
            if address.port in self._known:
                continue
            try:
                self._bound.append((address, listen(address)))
            except CannotListen as error:
                failed[address.port] = str(error)
            else:
                self._known.add(address.port)
        return failed

    async def admit(self) -> None:
        """Begins to accept on what was opened: by now the generation that asked for it serves."""
        while self._bound:
            address, opened = self._bound.pop(0)
            await self._accept(opened)
            logger.info("listening on %s too", address.url)
