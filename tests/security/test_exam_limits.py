"""Time and floods (security.md D, R24, R25, F) against a real `gateway run` with short deadlines."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from support.attacks import CHUNKED, MARKER, get, post
from support.odd import CONFIG, ODD, helper
from support.raw import Raw
from support.waiting import until, wait_until
from support.whole import CLOSE, House, houses, memory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = (
    "  timeouts: {requestHead: 500ms, requestBodyIdle: 500ms, requestBodyGrace: 500ms, downstreamIdle: 700ms,"
    " streamIdle: 1s}"
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("limits")
    yield from houses(folder, CONFIG, helpers=[helper], settings=SETTINGS, admin="127.0.0.1:0")


def active(house: House, backend: str = "odd") -> float:
    """Requests at a backend, as `/metrics` has them."""
    text = house.admin("/metrics").body.decode()
    found = re.search(rf"gateway_pool_active_requests\{{[^}}]*{backend}\.test[^}}]*\}} (\S+)", text)
    assert found is not None, text
    return float(found[1])


HEADS = [b"G", b"GET /ok HTTP/1.1\r\nHost: gw.test\r\nX-a: ", get()[:-2], get()[:-1]]
BODIES = [
    post(b"Content-Length: 10\r\n", b"a"),
    CHUNKED + b"a\r\nb",
    CHUNKED + b"1\r\nb\r\n0\r\n",
    CHUNKED + b"1;x",
]


TRICKLES = [post(b"Content-Length: 1000000\r\n"), CHUNKED + b"ffffff\r\n"]


async def silent(house: House) -> bytes:
    """What a connection without a word is told."""
    async with Raw(house.port()) as client:
        return await client.closed()


async def idle(house: House) -> bytes:
    """What a connection is told that was used, and is not any more."""
    async with Raw(house.port()) as client:
        await client.send(get())
        assert (await client.response()).status == 200
        return await client.closed()


async def dripping(house: House, begun: bytes) -> tuple[int, int]:
    """Status of a request that goes on byte by byte, and how many of them came."""
    async with Raw(house.port()) as client:
        sent = 0
        ended = asyncio.ensure_future(client.at_end())
        await client.send(begun)
        while not (await asyncio.wait([ended], timeout=0.02))[0]:
            await client.send(b"a")
            sent += 1
        return (await client.response()).status, sent


async def unread(house: House) -> int:
    """How the process has grown when a client took nothing of an endless answer, and was cut off."""
    async with Raw(house.port()) as client:
        client.reader._transport.pause_reading()  # type: ignore[attr-defined]
        ODD[0].closed.clear()
        before = memory(house)
        await client.send(get(target=b"/odd/endless"))
        await until(lambda: ODD[0].calls and ODD[0].closed.is_set())
        return memory(house) - before


@pytest.fixture(scope="module")
def timed(house: House) -> dict[str, Any]:
    """What became of everything that takes its time, all of it at once."""

    async def main() -> dict[str, Any]:
        plays = {
            "silent": silent(house),
            "idle": idle(house),
            "unread": unread(house),
            "dripping": dripping(house, b"GET /ok HTTP/1.1\r\nHost: gw.test\r\nX-a: "),
            "trickles": asyncio.gather(*(dripping(house, each) for each in TRICKLES)),
            "heads": asyncio.gather(*(house.asked(each) for each in HEADS)),
            "bodies": asyncio.gather(*(house.asked(each) for each in BODIES)),
        }
        return dict(zip(plays, await asyncio.gather(*plays.values()), strict=True))

    found = house.run(main())
    found["methods"] = {request.method for request in house.backend.requests}
    return found


def test_d01_d06_silence_is_closed(timed: dict[str, Any]) -> None:
    """Before the first request, and between two: no answer, just the end."""
    assert timed["silent"] == timed["idle"] == b""


def test_d02_a_head_that_stops(timed: dict[str, Any]) -> None:
    """408, closed, and nothing of it at the backend, wherever it stops."""
    assert [told.statuses for told in timed["heads"]] == [(408,)] * 4


def test_d02_a_head_byte_by_byte(timed: dict[str, Any]) -> None:
    """408 all the same: the time is for the whole head."""
    status, sent = timed["dripping"]
    assert status == 408
    assert sent > 2


def test_d03_a_body_that_stops(timed: dict[str, Any], house: House) -> None:
    """408, and the backend's connection is given up: what it had is never a whole request."""
    assert [told.statuses for told in timed["bodies"]] == [(408,)] * 4
    assert "POST" not in timed["methods"]
    house.run(until(lambda: not any(link._reader.pending for link in house.backend.links)))


def test_d03_a_body_byte_by_byte(timed: dict[str, Any], house: House) -> None:
    """408 all the same, counted by a reason of its own: each byte came in time, and all of them are too few."""
    for status, sent in timed["trickles"]:
        assert status == 408
        assert sent > 10
    assert b'gateway_rejected_total{reason="request_body_too_slow"}' in house.admin("/metrics").body
    shown = json.loads(house.admin("/console/api/rejected").body)
    heads = {
        bytes.fromhex(each["bytes"]) for each in shown["last"] if each["reason"] == "request_body_too_slow"
    }
    assert heads == {b"POST /ok"}
    assert active(house, "backend") == 0


@pytest.mark.parametrize("early", [True, False])
def test_d04_f01_trailers_are_nobody_s_headers(early: bool, house: House) -> None:
    """Whether they come with the head or when the request is long under way."""
    trailers = b"0\r\nAuthorization: Bearer x\r\nX-Forwarded-Client-Cert: URI=spiffe://td/admin\r\nX-User: root\r\n\r\n"

    async def main() -> None:
        house.backend.forget()
        async with Raw(house.port()) as client:
            if early:
                await client.send(CHUNKED + b"2\r\nhi\r\n" + trailers)
            else:
                await client.send(CHUNKED + b"2\r\nhi\r\n")
                await until(lambda: b"hi" in house.backend.raw)
                await client.send(trailers)
            assert (await client.response()).status == 200

    house.run(main())
    (request,) = house.backend.requests
    assert request.body == b"hi"
    assert not {b"authorization", b"x-forwarded-client-cert", b"x-user"} & {
        name for name, _ in request.headers
    }


def test_d05_u03_nothing_behind_an_unknown_upgrade(house: House) -> None:
    """403, closed; also when the second request comes later."""

    async def main() -> bytes:
        house.backend.forget()
        async with Raw(house.port()) as client:
            await client.send(get(b"Connection: Upgrade\r\nUpgrade: foo\r\n"))
            assert (await client.response()).status == 403
            await client.send(MARKER)
            return await client.closed()

    assert house.run(main()) == b""
    assert house.backend.raw == b""


def test_r24_a_client_that_reads_nothing(timed: dict[str, Any]) -> None:
    """An endless answer: the backend is held back, the client cut off, and what is kept is little."""
    assert timed["unread"] < 8 << 20


def test_r25_an_answer_while_the_client_uploads(house: House) -> None:
    """It is delivered, and neither connection is used again."""

    async def main() -> None:
        before = len(ODD[0].calls)
        async with Raw(house.port()) as client:
            await client.send(
                b"POST /odd/early HTTP/1.1\r\nHost: gw.test\r\nContent-Length: 100000000\r\n\r\n"
                + bytes(1000)
            )
            response = await client.response()
            assert (response.status, response.body) == (413, b"large")
            assert response.header("connection") == "close"
        async with Raw(house.port()) as client:
            await client.send(get(target=b"/odd/next"))
            assert (await client.response()).body == b"ok"
        assert len(ODD[0].calls) == before + 2

    house.run(main())


def test_d17_f11_clients_that_leave_leak_nothing(house: House) -> None:
    """Forty each leave while they wait for a connection, for a head, in a body, in an upload; four may be at
    the backend at a time. Afterwards it is as free as before.
    """

    async def leave(target: bytes, more: bytes = b"") -> None:
        async with Raw(house.port()) as client:
            method = b"POST" if more else b"GET"
            await client.send(
                get(more and b"Content-Length: 100000\r\n", target=target).replace(b"GET", method, 1) + more
            )
            async with asyncio.timeout(0.05):
                await client.read(30000000)

    async def main() -> None:
        for target, more in ((b"/odd/mute", b""), (b"/odd/endless", b""), (b"/odd/mute", bytes(5000))):
            await asyncio.gather(*(leave(target, more) for _ in range(40)), return_exceptions=True)

    house.run(main())
    wait_until(lambda: active(house) == 0)
    assert house.ask(get(CLOSE, target=b"/odd/x")).statuses == (200,)


CROWD = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: backend}
spec:
  hosts: [gw.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %(backend)d}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gw}
spec: {hosts: [gw.test], http: [{route: [{destination: {host: gw.test}}]}]}
"""


def test_d10_connections_beyond_the_limit(tmp_path: Path) -> None:
    """503 and closed; whoever comes when there is room again is served."""
    for house in houses(tmp_path, CROWD, settings="  limits: {connections: 20}"):

        async def main(house: House = house) -> None:
            crowd = [Raw(house.port()) for _ in range(20)]
            for each in crowd:
                await each.__aenter__()
                await each.send(get())
                assert (await each.response()).status == 200
            for _ in range(3):
                async with Raw(house.port()) as late:
                    with_answer = await late.response()
                    assert with_answer.status == 503
                    assert await late.closed() == b""
            for each in crowd:
                each.half_close()
                await each.closed()
                await each.__aexit__()
            async with Raw(house.port()) as later:
                await later.send(get())
                assert (await later.response()).status == 200

        house.run(main())
