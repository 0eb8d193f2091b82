"""Names to addresses, kept fresh: c-ares with TTLs, the last good answer kept on every failure.

Lifetime: process. One task a name, however many clusters use it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import aiodns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

logger = logging.getLogger(__name__)

MAX_ADDRESSES = 64
"""Addresses of one name that are used (security.md D26: a name may answer with thousands)."""
SHORTEST = 1.0
"""Seconds between two look-ups of a name, whatever its TTL says."""
HOSTS_FILE_TTL = 5.0
"""Seconds an answer without a TTL, or with 0, is kept: it came from a file or from the system's resolver."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a name stands for now."""

    addresses: tuple[str, ...]
    """IP addresses, in the resolver's order."""
    ttl: float
    """Seconds they are good for."""


class Resolver(Protocol):
    """Looks names up. `resolve` raises OSError when it cannot say; an empty answer is no addresses."""

    async def resolve(self, name: str) -> Answer:
        """The addresses of `name`, IPv4 when there are any (Istio V4_PREFERRED), else IPv6."""

    async def close(self) -> None:
        """Gives back what the resolver holds."""


class _Channel:
    """c-ares with what it remembers."""

    __slots__ = ("asking", "cares", "since")

    def __init__(self, cares: aiodns.DNSResolver, since: float) -> None:
        self.cares = cares
        self.since = since
        self.asking = 0
        """Look-ups under way."""


class CaresResolver:
    """c-ares: /etc/hosts, search domains, TTLs.

    Without `nameservers` of its own, what it does not find is asked of the system's resolver (mDNS, NIS).

    c-ares remembers answers for their TTL, and one without any record for an hour; that cannot be turned off
    from here. How long an answer is good for is for `Names` to say, so a channel answers for `SHORTEST` only,
    and then another takes its place.
    """

    def __init__(self, nameservers: Sequence[str] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._nameservers = list(nameservers)
        self._clock = clock
        self._channel: _Channel | None = None

    async def resolve(self, name: str) -> Answer:
        """One look-up; c-ares' own retries and time limits hold."""
        channel, over = self._fresh()
        channel.asking += 1
        try:
            if over is not None:
                await over.cares.close()
            found = await channel.cares.getaddrinfo(name, family=socket.AF_UNSPEC, type=socket.SOCK_STREAM)
        except aiodns.error.DNSError as error:
            if self._nameservers:
                raise OSError(error.args[-1]) from error
            return await self._ask_system(name)
        finally:
            channel.asking -= 1
            if channel is not self._channel and not channel.asking:
                await channel.cares.close()
        nodes = [node for node in found.nodes if node.family == socket.AF_INET] or found.nodes
        ttls = [float(node.ttl) for node in nodes]
        addresses = tuple(_text(node.addr[0]) for node in nodes)
        return Answer(addresses, (min(ttls) if ttls else 0.0) or HOSTS_FILE_TTL)

    async def close(self) -> None:
        """Ends look-ups under way."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.cares.close()

    def _fresh(self) -> tuple[_Channel, _Channel | None]:
        """The channel to ask, and one that nobody asks any more; another one ends with its last look-up."""
        channel, now = self._channel, self._clock()
        if channel is not None and now - channel.since < SHORTEST:
            return channel, None
        cares = aiodns.DNSResolver(nameservers=self._nameservers or None)  # It binds to the running loop.
        self._channel = fresh = _Channel(cares, now)
        return fresh, None if channel is None or channel.asking else channel

    async def _ask_system(self, name: str) -> Answer:
        found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        ipv4 = [item for item in found if item[0] == socket.AF_INET]
        return Answer(tuple(str(item[4][0]) for item in ipv4 or found), HOSTS_FILE_TTL)


def _text(address: bytes | str) -> str:
    return address.decode() if isinstance(address, bytes) else address


class Names:
    """The addresses of every name in use."""

    def __init__(
        self,
        resolver: Resolver,
        changed: Callable[[str], Awaitable[None]],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._resolver = resolver
        self._closing: asyncio.Task[None] | None = None
        self.refresh_rate = 60.0
        """Seconds an answer is kept at most."""
        self._changed = changed
        self._sleep = sleep
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._tried: dict[str, asyncio.Event] = {}

    def __repr__(self) -> str:
        return f"<Names {', '.join(f'{name}={len(self.addresses(name))}' for name in sorted(self._tasks))}>"

    def addresses(self, name: str) -> tuple[str, ...]:
        """The last good answer; empty before the first."""
        return self._addresses.get(name, ())

    def follow(self, names: Iterable[str]) -> None:
        """Looks these names up from now on, and no others."""
        wanted = set(names)
        for name in self._tasks.keys() - wanted:
            self._tasks.pop(name).cancel()
            del self._tried[name]
            self._addresses.pop(name, None)
        for name in wanted - self._tasks.keys():
            self._tried[name] = asyncio.Event()
            self._tasks[name] = asyncio.get_running_loop().create_task(self._keep_fresh(name))

    def use(self, resolver: Resolver) -> None:
        """Looks names up with another resolver from now on."""
        old, self._resolver = self._resolver, resolver
        self._closing = asyncio.get_running_loop().create_task(old.close())

    async def tried(self) -> None:
        """Waits until every name was looked up once."""
        for event in tuple(self._tried.values()):
            await event.wait()

    async def close(self) -> None:
        """Ends every look-up."""
        tasks = tuple(self._tasks.values())
        self.follow(())
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._closing is not None:
            await self._closing
        await self._resolver.close()

    async def _keep_fresh(self, name: str) -> None:
        tried, failures = self._tried[name], 0
        while True:
            answer = await self._look_up(name)
            if answer is None:
                failures += 1
                pause = min(SHORTEST * 2.0 ** min(failures - 1, 16), self.refresh_rate)
            else:
                failures = 0
                pause = min(answer.ttl, self.refresh_rate)
                if answer.addresses != self.addresses(name):
                    self._addresses[name] = answer.addresses
                    await self._changed(name)
            tried.set()
            await self._sleep(max(pause, SHORTEST))

    async def _look_up(self, name: str) -> Answer | None:
        """A usable answer; None keeps the last one, also when the name now stands for nothing (D26)."""
        try:
            answer = await self._resolver.resolve(name)
        except (OSError, UnicodeError) as error:  # Unicode: a label longer than DNS has.
            logger.warning("cannot look up %s: %s", name, error)
            return None
        if not answer.addresses:
            logger.warning("cannot look up %s: no addresses", name)
            return None
        return Answer(tuple(dict.fromkeys(answer.addresses))[:MAX_ADDRESSES], answer.ttl)
