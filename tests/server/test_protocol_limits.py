"""Flow control, clients that leave, limits, and the end of a server."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from messages import CLOSE, GET, body, request, start
from serving import Echo, at_rest, reply, run, serving
from support.raw import CutOff, Raw, talk
from support.waiting import until

from gateway.server.edge import SETTINGS
from gateway.server.limits import Limits

# --- flow control and disconnects


def test_send_waits_for_a_client_that_does_not_read() -> None:
    """Backpressure: a bounded part of an endless response is made."""
    sent = 0

    async def app(scope, receive, send) -> None:
        nonlocal sent
        await send(start())
        while True:
            await send(body(b"x" * 50_000, more=True))
            sent += 50_000
            if scope["extensions"]["gateway"].disconnected:
                return

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(GET)
            before = await at_rest(lambda: sent)
            assert server.connections[0].write_paused
            assert before < 50_000_000
            await raw.read(before)
            await until(lambda: sent > before)

    run(main())


def test_a_client_that_reads_nothing_for_five_minutes_is_cut_off() -> None:
    """`stream_idle`; one that reads slowly is not."""
    left: list[str] = []

    async def app(scope, receive, send) -> None:
        connection = scope["extensions"]["gateway"]
        connection.on_disconnect(lambda: left.append(connection.reason))
        await send(start())
        await send(body(b"x" * 30_000_000, more=True))

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(GET)
            await until(lambda: server.connections and server.connections[0].write_paused)
            connection = server.connections[0]
            size = connection.transport.get_write_buffer_size()
            await raw.read(10_000_000)
            await until(lambda: connection.transport.get_write_buffer_size() < size)
            server.pass_time(301.0)
            assert left == []
            server.pass_time(301.0)
            server.pass_time(301.0)
            assert left == ["stream_idle_timeout"]

    run(main())


def test_a_lost_client_is_told_without_a_pending_receive() -> None:
    """`on_disconnect` is how the spine frees the upstream."""
    events: list[Any] = []
    released = asyncio.Event()

    async def app(scope, receive, send) -> None:
        connection = scope["extensions"]["gateway"]
        connection.on_disconnect(lambda: events.append((connection.reason, connection.disconnected)))
        await released.wait()
        await send(start())
        await send(body(b"nobody hears this"))
        events.append(await receive())
        connection.on_disconnect(lambda: events.append("late"))

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(GET)
            await server.connected()
            await until(lambda: server.edge.active)
            raw.writer.transport.abort()
            await until(lambda: events)
            assert events == [("client", True)]
            released.set()
            await until(lambda: len(events) == 3)
            assert events[1:] == [{"type": "http.disconnect"}, "late"]

    run(main())


def test_a_half_closed_client_counts_as_gone() -> None:
    """A dead client looks the same."""

    async def main() -> None:
        gone = asyncio.Event()

        async def app(scope, receive, send) -> None:
            scope["extensions"]["gateway"].on_disconnect(gone.set)
            assert (await receive())["more_body"] is False
            assert await receive() == {"type": "http.disconnect"}

        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(GET)
            await until(lambda: server.edge.active)
            raw.half_close()
            async with asyncio.timeout(5):
                await gone.wait()
            assert await raw.closed() == b""

    run(main())


def test_a_complete_response_is_no_disconnect() -> None:
    """The callback is for the client that leaves too early."""
    events: list[str] = []

    async def app(scope, receive, send) -> None:
        connection = scope["extensions"]["gateway"]
        connection.on_disconnect(lambda: events.append("left"))
        await reply(send, 200, b"x")
        connection.abort()

    async def main() -> None:
        async with serving(app) as server:
            assert [response.body for response in await talk(server.port, GET + CLOSE)] == [b"x", b"x"]
            await until(lambda: not server.connections)
        assert events == []

    run(main())


def test_the_application_can_cut_the_client_off() -> None:
    """An upstream's truncated answer must not look complete; nothing is logged."""

    async def app(scope, receive, send) -> None:
        await send(start(200, (b"content-length", b"100")))
        await send(body(b"part", more=True))
        scope["extensions"]["gateway"].abort()
        await send(body(b"more"))

    async def main() -> None:
        async with serving(app) as server:
            with pytest.raises(CutOff):
                await talk(server.port, GET, count=1)

    run(main())


def test_two_receives_may_wait_at_once() -> None:
    """One gets the piece, the other the next thing that happens."""

    async def app(scope, receive, send) -> None:
        got = await asyncio.gather(receive(), receive())
        await reply(send, 200, repr([message["body"] for message in got]).encode())

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
            await until(lambda: server.edge.active and len(server.connections[0]._cycle._waiters) == 2)
            await raw.send(b"a")
            await until(lambda: len(server.connections[0]._cycle._waiters) == 1)
            await raw.send(b"b")
            assert (await raw.response()).body == b"[b'a', b'b']"

    run(main())


# --- limits, shutdown, settings


def test_connections_beyond_the_limit_are_answered_503() -> None:
    """Those below it go on."""

    async def main() -> None:
        async with serving(Echo(), limits=Limits(connections=1)) as server, Raw(server.port) as first:
            await first.send(GET)
            await first.response()
            async with Raw(server.port) as second:
                assert (await second.response()).status == 503
                assert await second.closed() == b""
            await first.send(GET)
            assert (await first.response()).status == 200

    run(main())


def test_uvicorns_concurrency_limit_counts_requests_not_connections() -> None:
    """Idle connections do not turn healthy clients away."""
    proceed = asyncio.Event()

    async def app(scope, receive, send) -> None:
        if scope["path"] == "/wait":
            await proceed.wait()
        await reply(send, 200, b"x")

    async def main() -> None:
        async with serving(app, limit_concurrency=1) as server, Raw(server.port) as idle:
            await idle.send(GET)
            await idle.response()
            async with Raw(server.port) as busy, Raw(server.port) as third:
                await busy.send(request(target=b"/wait"))
                await until(lambda: server.edge.active)
                await third.send(GET)
                assert (await third.response()).status == 503
                proceed.set()
                assert (await busy.response()).status == 200

    run(main())


def test_shutdown_finishes_what_has_begun_and_closes_what_has_not() -> None:
    """Idle connections at once, a request in progress after its response, which says so."""
    proceed = asyncio.Event()

    async def app(scope, receive, send) -> None:
        if scope["path"] == "/wait":
            await proceed.wait()
        await reply(send, 200, b"x")

    async def main() -> None:
        async with (
            serving(app) as server,
            Raw(server.port) as idle,
            Raw(server.port) as busy,
            Raw(server.port) as late,
        ):
            await idle.send(GET)
            await idle.response()
            await busy.send(request(target=b"/wait") + GET)
            await late.send(GET[:10])
            await until(lambda: server.edge.active == 1 and any(each._head for each in server.connections))
            for connection in server.connections:
                connection.shutdown()
            assert await idle.closed() == b""
            proceed.set()
            await late.send(GET[10:])
            for raw in (busy, late):
                response = await raw.response()
                assert (response.status, response.header("connection")) == (200, "close")
                assert await raw.closed() == b""

    run(main())


def test_a_new_connection_gets_a_moment_for_its_request_at_shutdown() -> None:
    """It was accepted, so its request may be on the way."""

    async def main() -> None:
        async with serving(Echo()) as server, Raw(server.port) as fresh, Raw(server.port) as silent:
            await server.connected(2)
            for connection in server.connections:
                connection.shutdown()
            await fresh.send(GET)
            assert (await fresh.response()).header("connection") == "close"
            server.pass_time(2.0)
            assert await silent.closed() == b""

    run(main())


def test_draining_says_close_and_still_serves() -> None:
    """Until the load balancer has noticed."""

    async def main() -> None:
        async with serving(Echo()) as server:
            server.edge.draining = True
            for _ in range(2):
                (response,) = await talk(server.port, GET)
                assert (response.status, response.header("connection")) == (200, "close")

    run(main())


def test_settings_hold_for_connections_made_after_they_changed() -> None:
    """A reload raises or lowers limits without touching open connections."""
    from gateway.config import load

    def settings_of(headers: int) -> Any:
        text = f"""
            {{apiVersion: gateway.asgi/v1, kind: GatewaySettings, metadata: {{name: s}},
              spec: {{limits: {{requestHeaders: {headers}}}, timeouts: {{requestHead: 3s}}}}}}"""
        return load([], texts={"s.yaml": text}).require().settings

    async def main() -> None:
        async with serving(Echo()) as server, Raw(server.port) as before:
            await server.connected()
            current = settings_of(1)
            server.server.lifespan.state[SETTINGS] = lambda: current
            two = request(headers=b"A: b\r\n")
            (refused,) = await talk(server.port, two)
            assert (refused.status, refused.header("server")) == (431, "asgi-gateway")
            await before.send(two)
            assert (await before.response()).status == 200
            current = settings_of(2)
            assert [each.status for each in await talk(server.port, two, count=1)] == [200]
            async with Raw(server.port) as silent:
                await server.connected(2)
                server.pass_time(4.0)
                assert await silent.closed() == b""

    run(main())


def test_refusals_are_remembered_without_their_secrets() -> None:
    """What an operator sees of the last fifty."""

    async def main() -> None:
        head = (
            b"GET /x?access_token=abc&q=1 HTTP/1.1\r\nAuthorization: Bearer abc\r\nCookie: s=abc\r\n folded abc\r\n"
            b"X-Api-Key: abc\r\nX-Plain: seen\r\n\r\n"
        )
        async with serving(Echo()) as server:
            (response,) = await talk(server.port, head)
            (rejected,) = server.edge.refusals.last
            assert response.header("x-request-id") == rejected.request_id
            assert (rejected.status, rejected.reason, rejected.at) == (400, "malformed_request", 784111777.0)
            assert b"abc" not in rejected.head
            assert rejected.head.startswith(
                b"GET /x?access_token=[redacted]&q=1 HTTP/1.1\r\nAuthorization: [redacted]\r\n"
            )
            assert b"X-Plain: seen" in rejected.head
            for number in range(60):
                await talk(server.port, b"GET /%d HTTP/1.1\r\n\r\n" % number)
            assert len(server.edge.refusals.last) == 50
            assert server.edge.refusals.counts == {"malformed_request": 1, "no_host": 60}

    run(main())
