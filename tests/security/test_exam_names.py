"""Names whose answers change, fail, or are many (security.md D26): a `gateway run` that asks a real DNS server."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.attacks import get
from support.dns import DnsServer
from support.raw import PATIENCE, Raw
from support.waiting import until
from support.whole import CLOSE, House, houses

from gateway.upstream.dns import MAX_ADDRESSES, SHORTEST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ONE, OTHER = "127.0.0.1", "127.0.0.2"
SERVICE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %(name)s}
spec:
  hosts: [%(name)s.test]
  ports: [{number: %%(service)d, name: http, protocol: HTTP}]
  resolution: DNS
---
"""
NAMES = ("moving", "gone", "void", "restless", "many")
ROUTE = "  - {match: [{uri: {prefix: /%(name)s}}], route: [{destination: {host: %(name)s.test}}]}\n"
CONFIG = (
    "".join(SERVICE % {"name": name} for name in NAMES)
    + """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gw}
spec:
  hosts: [gw.test]
  http:
"""
    + "".join(ROUTE % {"name": name} for name in NAMES)
)
SETTINGS = "  dns: {nameservers: ['%(dns)s'], refreshRate: 1s}"


class Service:
    """One port on two addresses; a request is answered with the one it came to, `/held` when the test says."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.open = {ONE: 0, OTHER: 0}
        """Connections."""
        self.begun = asyncio.Event()
        """A `/held` was answered by half."""

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Plays one connection."""
        here = writer.get_extra_info("sockname")[0]
        self.open[here] += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n<\r\n")
                if b"/held " in head:
                    self.begun.set()
                    await self.go_on.wait()
                writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(here), here.encode()))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open[here] -= 1
            writer.close()


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Service, int]]:
    """A service, and its port."""
    service = Service()
    first = await asyncio.start_server(service.accept, ONE, 0)
    port = first.sockets[0].getsockname()[1]
    second = await asyncio.start_server(service.accept, OTHER, port)
    async with first, second:
        yield service, port


class Town:
    """A gateway, a service and the names of both."""

    def __init__(self, house: House, service: Service, dns: DnsServer, since: float) -> None:
        self.house = house
        self.service = service
        self.dns = dns
        self.since = since

    def says(self, name: str, *addresses: str, ttl: int = 300) -> None:
        """What `name` stands for from now on."""
        self.dns.records[name + ".test"] = (ttl, list(addresses))

    async def answer(self, name: str) -> str:
        """Which address a request comes to."""
        async with Raw(self.house.port()) as client:
            await client.send(get(CLOSE, target=b"/" + name.encode()))
            response = await client.response()
            assert response.status == 200
            return response.body.decode()[1:]

    async def answers(self, name: str, address: str) -> None:
        """Waits until requests come to `address`."""
        async with asyncio.timeout(PATIENCE):
            while await self.answer(name) != address:
                await asyncio.sleep(0.02)

    def asked(self, name: str) -> int:
        """How many questions there were."""
        return self.dns.asked.count(name + ".test")


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    made: list[tuple[Service, DnsServer, float]] = []

    @asynccontextmanager
    async def helper(_house: House) -> AsyncIterator[dict[str, Any]]:
        many = [f"127.1.{number // 250}.{number % 250}" for number in range(1000)]
        records = {name + ".test": (300, [ONE]) for name in NAMES}
        records |= {"restless.test": (0, [ONE]), "many.test": (300, many)}
        async with serving() as (service, port), DnsServer(records) as dns:
            made.append((service, dns, time.monotonic()))
            yield {"service": port, "dns": dns.address}

    folder = tmp_path_factory.mktemp("names")
    for house in houses(folder, CONFIG, settings=SETTINGS, helpers=[helper], admin="127.0.0.1:0"):
        yield Town(house, *made[0])


async def moved(town: Town) -> None:
    """A name stands for another address, while a response from the old one is under way."""
    service = town.service
    assert await town.answer("moving") == ONE
    async with Raw(town.house.port()) as client:
        await client.send(get(CLOSE, target=b"/moving/held"))
        await service.begun.wait()
        town.says("moving", OTHER)
        await town.answers("moving", OTHER)
        await until(lambda: service.open[ONE] == 1)
        service.go_on.set()
        assert (await client.response()).body.decode() == "<" + ONE
        await until(lambda: service.open[ONE] == 0)
    assert await town.answer("moving") == OTHER


async def lost(town: Town) -> None:
    """One name is gone, another stands for nothing; later they are back."""
    names = ("gone", "void")
    del town.dns.records["gone.test"]
    town.says("void")
    for name in names:
        await until(lambda name=name: f"cannot look up {name}.test" in town.house.process.output)
        assert await town.answer(name) == ONE
        town.says(name, OTHER)
    for name in names:
        await town.answers(name, OTHER)


@pytest.fixture(scope="module")
def played(town: Town) -> dict[str, BaseException | None]:
    """What was wrong with each of the two; most of it is waiting, so both at once."""

    async def main() -> list[BaseException | None]:
        return await asyncio.gather(moved(town), lost(town), return_exceptions=True)

    return dict(zip(("moved", "lost"), town.house.run(main()), strict=True))


def test_d26_a_new_answer_is_followed_and_what_is_under_way_ends_where_it_began(
    played: dict[str, BaseException | None],
) -> None:
    """Within the refresh rate, whatever the TTL. Idle connections to the old address are closed, a response from
    there comes whole.
    """
    if (wrong := played["moved"]) is not None:
        raise wrong


def test_d26_no_answer_keeps_the_last_good_one(played: dict[str, BaseException | None]) -> None:
    """And it is asked for again, until there is an answer."""
    if (wrong := played["lost"]) is not None:
        raise wrong


def test_d26_ttl_0_is_no_flood(town: Town) -> None:
    """However many requests there are: a look-up a second at most, of two questions."""

    async def main() -> None:
        while town.asked("restless") < 6:
            await town.answer("restless")
        asked = town.asked("restless")
        assert asked <= 2 * ((time.monotonic() - town.since) / SHORTEST + 1)

    town.house.run(main())


def test_d26_a_thousand_addresses_are_bounded(town: Town) -> None:
    """No more of them are known than may be."""
    told = json.loads(town.house.admin("/clusters?format=json").body)
    (cluster,) = [each for each in told["clusters"] if "many.test" in each["name"]]
    assert len(cluster["endpoints"]) == MAX_ADDRESSES
