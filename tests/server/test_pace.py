"""A request body has to come at a least rate, wherever it goes; and only while somebody wants it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import Echo, Serving, reply, run, serving
from support.attacks import CHUNKED, get, post
from support.clock import FakeClock
from support.raw import CutOff, Raw
from support.waiting import until

from gateway.server.limits import Limits
from gateway.server.pace import Pace
from gateway.server.sweeper import INTERVAL, Sweeper
from gateway.server.wire import BODY, DEAF

if TYPE_CHECKING:
    from collections.abc import Sequence

LONG = post(b"Content-Length: 100000000\r\n")


async def given_bytes(server: Serving, raw: Raw, piece: bytes) -> None:
    """Sends a piece of a body, and waits until it has come."""
    (connection,) = server.connections
    pace = connection._pace
    assert pace is not None
    came = pace.got
    await raw.send(piece)
    await until(lambda: pace.got == came + len(piece))


async def dripping(server: Serving, raw: Raw, pieces: Sequence[bytes]) -> int:
    """Sends a piece a second. Returns after how many of them it was cut off; 0: it was not."""
    for seconds, piece in enumerate(pieces, 1):
        await given_bytes(server, raw, piece)
        server.pass_time(1.0)
        if not server.connections:
            return seconds
        (connection,) = server.connections
        if connection._phase == DEAF or connection.transport.is_closing():
            return seconds
    return 0


async def begun(server: Serving, raw: Raw, head: bytes) -> None:
    await raw.send(head)
    await until(lambda: server.connections and server.connections[0]._pace is not None)


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("head", [LONG, CHUNKED + b"ffffff\r\n"])
def test_a_byte_a_second_is_answered_408_when_the_grace_is_over(
    head: bytes, encrypted: bool, certificate: Any
) -> None:
    """At ten seconds, with what a look once a second adds. The application learns of it, and holds nothing."""

    async def main() -> None:
        app = Echo()
        tls = (certificate.server, certificate.client) if encrypted else (None, None)
        async with serving(app, context=tls[0]) as server, Raw(server.port, tls=tls[1]) as raw:
            await begun(server, raw, head)
            assert 10 <= await dripping(server, raw, [b"x"] * 60) <= 12
            assert (await raw.response()).status == 408
            assert await raw.closed() == b""
            await until(lambda: app.log.requests[0].ended == "http.disconnect")
            assert server.edge.refusals.counts == {"request_body_too_slow": 1}

    run(main())


def test_framing_alone_is_no_progress() -> None:
    """Chunks of one byte, a line of trailers at a time: it is bytes that count, whatever they are."""

    async def main() -> None:
        pieces = [b"1\r\nx\r\n"] * 6 + [b"0\r\n", *([b"a: b\r\n"] * 20)]
        async with serving(Echo()) as server, Raw(server.port) as raw:
            await begun(server, raw, CHUNKED)
            assert await dripping(server, raw, pieces)
            assert (await raw.response()).status == 408

    run(main())


def test_what_is_just_fast_enough_is_served() -> None:
    """240 bytes a second, in two minutes of which nobody is cut off; it is a mean, so pauses may be made up."""

    async def main() -> None:
        async with serving(Echo()) as server, Raw(server.port) as raw:
            await begun(server, raw, post(b"Content-Length: 28800\r\n"))
            assert not await dripping(server, raw, [bytes(240 * 2), b"x" * 240, b"", bytes(240)] * 30)
            assert (await raw.response()).status == 200

    run(main())


def test_what_came_early_lasts_as_long_as_the_rate_says() -> None:
    """Nobody buys more than that with a first big piece: then it is over, however little was missing."""

    async def main() -> None:
        limits = Limits(request_body_idle=1000.0)
        async with serving(Echo(), limits=limits) as server, Raw(server.port) as raw:
            await begun(server, raw, LONG)
            assert 100 <= await dripping(server, raw, [bytes(24000), *([b""] * 200)]) <= 102
            assert server.edge.refusals.counts == {"request_body_too_slow": 1}

    run(main())


def test_a_rate_of_0_is_none() -> None:
    """What remains is the time for each piece."""

    async def main() -> None:
        async with serving(Echo(), limits=Limits(request_body_rate=0)) as server, Raw(server.port) as raw:
            await begun(server, raw, LONG)
            assert not await dripping(server, raw, [b"x"] * 300)
            assert 60 <= await dripping(server, raw, [b""] * 100) <= 62
            assert server.edge.refusals.counts == {"request_body_timeout": 1}

    run(main())


def test_the_time_for_a_piece_begins_with_the_last_one() -> None:
    """Although nobody looks when it comes."""

    async def main() -> None:
        async with serving(Echo(), limits=Limits(request_body_rate=1)) as server, Raw(server.port) as raw:
            await begun(server, raw, LONG)
            assert not await dripping(server, raw, [bytes(1000), *([b""] * 40)])
            assert 60 <= await dripping(server, raw, [b"x", *([b""] * 100)]) <= 62
            assert server.edge.refusals.counts == {"request_body_timeout": 1}

    run(main())


def test_time_in_which_nobody_reads_is_not_counted() -> None:
    """The application takes nothing for an hour: the client is not to blame. When it does, the clock goes on."""
    wanted = asyncio.Event()

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        await wanted.wait()
        while (await receive())["type"] == "http.request":
            pass

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await begun(server, raw, LONG)
            (connection,) = server.connections
            await raw.send(bytes(70000))
            await until(lambda: connection._read_paused)
            for _ in range(3600):
                server.pass_time(1.0)
            assert server.edge.refusals.counts == {}
            wanted.set()
            await until(lambda: not connection._read_paused)
            lasts = connection._pace.got / 240
            assert lasts <= await dripping(server, raw, [b"x"] * 400) <= lasts + 5
            assert (await raw.response()).status == 408

    run(main())


def test_nothing_is_demanded_before_100_continue() -> None:
    """A client that waits for it sends nothing; from then on it has the grace, and no more."""
    wanted = asyncio.Event()

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        await wanted.wait()
        while (await receive())["type"] == "http.request":
            pass

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await begun(server, raw, post(b"Expect: 100-continue\r\nContent-Length: 10\r\n"))
            for _ in range(100):
                server.pass_time(1.0)
            wanted.set()
            await raw.until(b"100 Continue\r\n\r\n")
            assert 10 <= await dripping(server, raw, [b""] * 60) <= 12
            assert (await raw.response()).status == 408

    run(main())


def test_a_body_under_its_response_is_cut_off_with_it() -> None:
    """A second status line in the middle of a body would be worse than none."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        while (await receive())["type"] == "http.request":
            pass

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await begun(server, raw, LONG)
            await raw.until(b"part\r\n")
            assert await dripping(server, raw, [b"x"] * 20)
            with pytest.raises(CutOff):
                await raw.response()

    run(main())


def test_a_client_that_does_not_read_is_no_better_off() -> None:
    """It sends a byte a second and takes nothing of a long answer: that has a patience of its own, but longer."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(30 << 20), "more_body": True})
        while (await receive())["type"] == "http.request":
            pass

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            raw.reader._transport.pause_reading()
            await begun(server, raw, LONG)
            await until(lambda: server.connections[0].write_paused)
            assert 300 <= await dripping(server, raw, [b"x"] * 400) <= 302
            assert server.edge.refusals.counts == {"request_body_too_slow": 1}

    run(main())


def test_the_rest_of_a_body_that_is_dropped_has_no_longer() -> None:
    """The answer was whole; the connection is not kept for what drips behind it."""

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await reply(send, 403, b"no")

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await begun(server, raw, post(b"Content-Length: 1000\r\n"))
            assert (await raw.response()).status == 403
            assert 10 <= await dripping(server, raw, [b"x"] * 60) <= 12
            assert await raw.closed() == b""
            assert server.edge.refusals.counts == {}

    run(main())


def test_each_request_of_a_connection_has_its_own_time() -> None:
    """And its own bytes."""

    async def main() -> None:
        async with serving(Echo()) as server, Raw(server.port) as raw:
            for _ in range(3):
                await raw.send(post(b"Content-Length: 20\r\n"))
                await until(lambda: server.connections[0]._phase == BODY)
                assert not await dripping(server, raw, [b"xx"] * 10)
                assert (await raw.response()).status == 200
                server.pass_time(60.0)
            await raw.send(post(b"Content-Length: 20\r\n"))
            await until(lambda: server.connections[0]._phase == BODY)
            assert 10 <= await dripping(server, raw, [b"x"] * 20) <= 12

    run(main())


def test_a_tunnel_has_no_rate() -> None:
    """It is no body: its silence has a limit of its own."""
    kept: list[Any] = []
    over = asyncio.Event()

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        stream = scope["extensions"]["gateway"]
        kept.append(stream.switch([]))
        await over.wait()

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(get())
            await raw.until(b"upgrade: websocket\r\n\r\n")
            for _ in range(100):
                server.pass_time(60.0)
            assert server.edge.refusals.counts == {}
            assert not kept[0][0].is_closing()
            over.set()

    run(main())


def test_time_in_which_the_process_had_no_turn_is_nobody_s() -> None:
    """A machine that slept for a minute has read nothing in it."""

    async def main() -> None:
        async with serving(Echo()) as server, Raw(server.port) as raw:
            await begun(server, raw, post(b"Content-Length: 1000\r\n"))
            server.pass_time(50.0)
            await given_bytes(server, raw, bytes(999))
            server.pass_time(50.0)
            await raw.send(b"x")
            assert (await raw.response()).status == 200

    run(main())


@given(st.lists(st.tuples(st.floats(0.01, 3), st.integers(0, 2000)), max_size=60))
@settings(max_examples=100)
def test_it_is_never_early_and_late_by_no_more_than_two_looks(steps: list[tuple[float, int]]) -> None:
    """Whatever comes when, compared with an exact clock; looks are once a second, whenever bytes come."""

    async def main() -> None:
        clock = FakeClock()
        sweeper = Sweeper(asyncio.get_running_loop(), lambda: None, clock)
        pace = Pace(sweeper, Limits(request_body_rate=100, request_body_grace=5.0))
        began = clock.now
        next_look = began + 0.3
        got, fails = 0, began + 5
        for wait, size in steps:
            until_then = clock.now + wait
            while next_look <= until_then:
                clock.now = next_look
                sweeper.sweep()
                next_look += INTERVAL
                if pace.too_slow:
                    assert clock.now >= fails
                    return
                assert clock.now <= fails + 2 * INTERVAL
            clock.now = until_then
            got += size
            pace.got += size
            fails = began + max(5, got / 100)

    asyncio.run(main())
