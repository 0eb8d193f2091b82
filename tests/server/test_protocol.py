"""What the protocol class does for applications: ASGI, framing, flow control, disconnects, shutdown."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from memory import Connection
from serving import Echo, at_rest, reply, run, serving
from support.raw import CutOff, Raw, talk
from support.waiting import until

from gateway.server.edge import SETTINGS
from gateway.server.limits import Limits

GET = b"GET /ok HTTP/1.1\r\nHost: gw.test\r\n\r\n"
CLOSE = b"GET /ok HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"
DATE = b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


def request(method: bytes = b"GET", headers: bytes = b"", body: bytes = b"", target: bytes = b"/ok") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return method + b" " + target + b" HTTP/1.1\r\nHost: gw.test\r\n" + headers + length + b"\r\n" + body


def answering(*messages: dict[str, Any]) -> Any:
    """An application that sends these messages, whatever is asked."""

    async def app(scope, receive, send) -> None:
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


# --- scope


def test_the_scope_is_complete() -> None:
    """Everything ASGI promises for http, and nothing decoded twice."""

    async def main() -> None:
        app = Echo()
        async with serving(app, root_path="/root") as server, Raw(server.port) as raw:
            server.server.lifespan.state["pool"] = "p"
            await raw.send(request(target=b"/a%20b/%C3%A9?x=%20", headers=b"X-A: 1\r\nx-a: 2\r\n"))
            await raw.response()
            scope = app.log.requests[0].scope
            assert scope["extensions"] == {}, "the connection's handle is for the time of the request"
            assert scope["state"].pop("pool") == "p"
            wanted = {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": "GET",
                "scheme": "http",
                "root_path": "/root",
                "path": "/root/a b/é",
                "raw_path": b"/root/a%20b/%C3%A9",
                "query_string": b"x=%20",
                "headers": [(b"host", b"gw.test"), (b"x-a", b"1"), (b"x-a", b"2")],
                "server": ("127.0.0.1", server.port),
                "client": ("127.0.0.1", raw.port),
            }
            assert wanted == {key: scope[key] for key in wanted}
            scope["state"]["own"] = 1
            assert "own" not in server.server.lifespan.state

    run(main())


def test_a_tls_connection_has_scheme_https_and_shows_its_ssl_object(certificate: Any) -> None:
    """For client certificates."""
    seen: list[Any] = []

    async def app(scope, receive, send) -> None:
        transport = scope["extensions"]["gateway"].transport
        seen.append((scope["scheme"], transport.get_extra_info("ssl_object").version()))
        await reply(send, 200, b"x" * 100_000)

    async def main() -> None:
        async with serving(app, context=certificate.server) as server:
            async with Raw(server.port, tls=certificate.client) as raw:
                await raw.send(GET)
                assert len((await raw.response()).body) == 100_000
                await raw.send(b"GET https://gw.test/ HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n")
                await raw.response()
                assert await raw.closed() == b""
            async with Raw(server.port, tls=certificate.client) as raw:
                await raw.send(b"nonsense\r\n\r\n")
                assert (await raw.response()).status == 400
                assert await raw.closed() == b""
        assert seen == [("https", "TLSv1.3")] * 2

    run(main())


# --- responses


def test_head_and_first_body_piece_leave_in_one_write() -> None:
    """One system call, one TLS record."""

    async def main() -> None:
        connection = Connection(answering(start(), body(b"hello", more=True), body(b"!")))
        await connection.feed([GET])
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n" + DATE + b"server: uvicorn\r\n\r\n"
        assert connection.transport.writes == [head + b"5\r\nhello\r\n", b"1\r\n!\r\n0\r\n\r\n"]
        await connection.close()

    run(main())


def test_a_head_without_body_message_leaves_at_the_end_of_the_turn() -> None:
    """Server-sent events: the client sees the head before the first event exists."""
    event = asyncio.Event()

    async def app(scope, receive, send) -> None:
        await send(start(200, (b"content-type", b"text/event-stream")))
        await event.wait()
        await send(body(b"data: 1\n\n", more=True))
        await send(body())

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(GET)
            head = await raw.until(b"\r\n\r\n")
            assert b"transfer-encoding: chunked\r\n" in head
            event.set()
            assert await raw.until(b"0\r\n\r\n") == b"9\r\ndata: 1\n\n\r\n0\r\n\r\n"

    run(main())


FRAMED = [
    ("length of the application", b"GET", [start(200, (b"content-length", b"2")), body(b"hi")], "length", b"hi"),
    ("length found", b"GET", [start(), body(b"hi")], "length", b"hi"),
    ("empty", b"GET", [start(), body()], "length", b""),
    ("in pieces", b"GET", [start(), body(b"h", more=True), body(b"", more=True), body(b"i")], "chunked", b"hi"),
    ("last piece empty", b"GET", [start(), body(b"hi", more=True), body()], "chunked", b"hi"),
    ("length and pieces", b"GET", [start(200, (b"content-length", b"2")), body(b"h", more=True), body(b"i")], "length", b"hi"),
    ("chunked of the application", b"GET", [start(200, (b"transfer-encoding", b"chunked")), body(b"hi", more=True), body()], "chunked", b"hi"),
    ("both framings", b"GET", [start(200, (b"transfer-encoding", b"chunked"), (b"content-length", b"2")), body(b"hi")], "length", b"hi"),
    ("large", b"GET", [start(), body(b"x" * 300_000)], "length", b"x" * 300_000),
    ("large in pieces", b"GET", [start(), body(b"x" * 300_000, more=True), body(b"y" * 70_000)], "chunked", b"x" * 300_000 + b"y" * 70_000),
    ("HEAD with length", b"HEAD", [start(200, (b"content-length", b"5")), body()], "none", b""),
    ("HEAD with a body", b"HEAD", [start(200, (b"content-length", b"5")), body(b"hello")], "none", b""),
    ("HEAD without length", b"HEAD", [start(), body(b"hello")], "none", b""),
    ("204 with length", b"GET", [start(204, (b"content-length", b"5")), body(b"hello")], "none", b""),
    ("304 with length", b"GET", [start(304, (b"content-length", b"5")), body()], "none", b""),
    ("status without phrase", b"GET", [start(299), body(b"x")], "length", b"x"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "messages", "framing", "expected"), [row[1:] for row in FRAMED], ids=[row[0] for row in FRAMED])  # fmt: skip
def test_every_response_is_framed_and_the_connection_lives_on(
    method: bytes, messages: list[Any], framing: str, expected: bytes
) -> None:
    """A second request on the same connection gets its answer."""

    async def main() -> None:
        async with serving(answering(*messages)) as server, Raw(server.port) as raw:
            for _ in range(2):
                await raw.send(request(method))
                response = await raw.response(head=method == b"HEAD")
                assert (messages[0]["status"], framing, expected) == (
                    response.status,
                    response.framing,
                    response.body,
                )
                assert response.header("date") == "Sun, 06 Nov 1994 08:49:37 GMT"
                length = dict(messages[0]["headers"]).get(b"content-length")
                if framing == "none":
                    kept = None if response.status == 204 or length is None else length.decode()
                    assert kept == response.header("content-length")

    run(main())


def test_date_and_server_are_added_only_when_missing() -> None:
    """uvicorn sends two of each for a proxied response."""

    async def main() -> None:
        messages = start(200, (b"date", b"then"), (b"server", b"theirs")), body(b"x")
        options = {"server_header": True, "headers": [("X-Extra", "e")]}
        async with serving(answering(*messages), **options) as server:
            (response,) = await talk(server.port, CLOSE)
            assert response.header("date") == "then"
            assert response.header("server") == "theirs"
            assert response.header("x-extra") == "e"
        async with serving(answering(start(), body(b"x")), **options) as server:
            (response,) = await talk(server.port, CLOSE)
            assert response.header("server") == "uvicorn"
        async with serving(answering(start(), body(b"x")), date_header=False) as server:
            (response,) = await talk(server.port, CLOSE)
            assert response.headers == [("content-length", "1"), ("connection", "close")]

    run(main())


def test_the_date_is_renewed_by_the_sweeper() -> None:
    """Once a second, not once a response."""

    async def main() -> None:
        async with serving(Echo()) as server, Raw(server.port) as raw:
            await raw.send(GET)
            assert (await raw.response()).header("date") == "Sun, 06 Nov 1994 08:49:37 GMT"
            server.wall.now += 1
            server.pass_time(1.0)
            await raw.send(GET)
            assert (await raw.response()).header("date") == "Sun, 06 Nov 1994 08:49:38 GMT"

    run(main())


FAILURES = [
    ("an exception", []),
    ("no response", [None]),
    ("a status that is none", [start(999), body(b"x")]),
    ("an interim status", [start(103), body(b"x")]),
    ("a header that splits the response", [start(200, (b"x", b"a\r\nset-cookie: b")), body(b"x")]),
    ("too long in one piece", [start(200, (b"content-length", b"1")), body(b"xy")]),
    ("too short in one piece", [start(200, (b"content-length", b"3")), body(b"xy")]),
    ("an exception behind an unsent head", [start(204), ZeroDivisionError()]),
    ("the wrong message first", [body(b"x")]),
]


@pytest.mark.parametrize("messages", [row[1] for row in FAILURES], ids=[row[0] for row in FAILURES])
def test_an_application_that_fails_before_a_byte_was_sent_is_answered_500(
    messages: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """And the connection closed; the log has one entry."""

    async def app(scope, receive, send) -> None:
        if not messages:
            raise ZeroDivisionError
        for message in messages:
            if isinstance(message, Exception):
                raise message
            if message is not None:
                await send(message)

    async def main() -> None:
        async with serving(app) as server:
            (response,) = await talk(server.port, GET)
            assert (response.status, response.body, response.header("connection")) == (
                500,
                b"Internal Server Error",
                "close",
            )

    run(main())
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_failed_head_request_is_answered_without_a_body() -> None:
    """Or the 500's body would be the head of the next response."""

    async def main() -> None:
        async with serving(answering(start(204), body(b"x" * 3), start())) as server:
            (response,) = await talk(
                server.port, request(b"HEAD", headers=b"Connection: close\r\n"), head=True
            )
            assert response.status == 204
        async with serving(answering()) as server:
            (response,) = await talk(server.port, request(b"HEAD"), head=True)
            assert (response.status, response.body) == (500, b"")

    run(main())


BROKEN = [
    ("an exception", [body(b"part", more=True), ZeroDivisionError()]),
    ("no end", [body(b"part", more=True)]),
    ("too short", [body(b"part", more=True), body(b"")], b"10"),
    ("too long", [body(b"part", more=True), body(b"part2")], b"6"),
]


@pytest.mark.parametrize("row", BROKEN, ids=[row[0] for row in BROKEN])
def test_an_application_that_fails_in_the_middle_never_ends_its_response_cleanly(row: Any) -> None:
    """The client must not take what it has for everything (R15)."""
    headers = [(b"content-length", row[2])] if len(row) > 2 else []

    async def app(scope, receive, send) -> None:
        await send(start(200, *headers))
        for message in row[1]:
            if isinstance(message, Exception):
                raise message
            await send(message)
            await asyncio.sleep(0)

    async def main() -> None:
        async with serving(app) as server:
            with pytest.raises(CutOff):
                await talk(server.port, GET, count=1)

    run(main())


# --- request bodies


def test_a_small_body_is_whole_in_the_first_receive() -> None:
    """Head and body in one segment: one message."""
    messages: list[Any] = []

    async def app(scope, receive, send) -> None:
        messages.append(await receive())
        await reply(send, 200, b"")
        messages.append(await receive())

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(request(b"POST", body=b"hello"))
            await raw.response()
            await until(lambda: len(messages) == 2)
        whole = {"type": "http.request", "body": b"hello", "more_body": False}
        assert messages == [whole, {"type": "http.disconnect"}]

    run(main())


def test_reading_pauses_while_the_application_does_not_read() -> None:
    """An upload of 8 MB finds some 64 KiB of room and one read more; then everything arrives."""
    proceed = asyncio.Event()
    got: list[int] = []

    async def app(scope, receive, send) -> None:
        await proceed.wait()
        more = True
        while more:
            message = await receive()
            got.append(len(message["body"]))
            more = message["more_body"]
        await reply(send, 200, b"%d" % sum(got))

    async def main() -> None:
        size = 8_000_000
        async with serving(app) as server, Raw(server.port) as raw:
            upload = asyncio.create_task(raw.send(request(b"POST", body=b"x" * size)))
            await until(lambda: server.connections and server.connections[0]._read_paused)
            cycle = server.connections[0]._cycle
            assert cycle is not None
            assert cycle.unread < 65536 + 262144 * 2
            assert server.connections[0].deadline == float("inf"), "nobody waits for the client"
            proceed.set()
            assert (await raw.response()).body == b"%d" % size
            await upload

    run(main())


def test_an_unread_short_body_is_dropped_and_the_connection_kept() -> None:
    """The next request is answered."""

    async def main() -> None:
        async with serving(answering(start(), body(b"x"))) as server, Raw(server.port) as raw:
            await raw.send(request(b"POST", body=b"y" * 1000)[:-10])
            first = await raw.response()
            assert first.header("connection") is None
            await raw.send(b"y" * 10, GET)
            assert (await raw.response()).status == 200

    run(main())


@pytest.mark.parametrize("framing", [b"Content-Length: 50000000\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_an_early_answer_to_a_long_upload_arrives_and_closes(framing: bytes) -> None:
    """R25: read while still sending; neither a reset nor 50 MB for nothing."""

    async def main() -> None:
        async with serving(answering(start(413), body(b"no"))) as server, Raw(server.port) as raw:
            await raw.send(request(b"POST", headers=framing))
            response = await raw.response()
            assert (response.status, response.header("connection")) == (413, "close")
            await raw.send(b"2\r\nxx\r\n" * 100_000)
            assert await raw.closed() == b""

    run(main())


@pytest.mark.parametrize("row", [(b"Content-Length: 11\r\n", b"x" * 11), (b"Transfer-Encoding: chunked\r\n", b"6\r\nxxxxxx\r\n5\r\nxxxxx\r\n")], ids=["sized", "chunked"])  # fmt: skip
def test_a_body_beyond_the_limit_is_refused(row: tuple[bytes, bytes]) -> None:
    """413; the application of a chunked one is told that it is over."""

    async def main() -> None:
        app = Echo()
        async with serving(app, limits=Limits(request_body_bytes=10)) as server, Raw(server.port) as raw:
            await raw.send(request(b"POST", headers=row[0]), row[1])
            assert (await raw.response()).status == 413
            assert await raw.closed() == b""
            await until(lambda: all(seen.ended == "http.disconnect" for seen in app.log.requests))
            assert server.edge.refusals.counts == {"request_body_too_large": 1}

    run(main())


# --- pipelining


def test_many_pipelined_requests_are_answered_in_order() -> None:
    """In bounded memory: the bytes wait, not the requests."""

    async def main() -> None:
        count = 2000
        app = Echo()
        async with serving(app) as server, Raw(server.port) as raw:
            sending = asyncio.create_task(
                raw.send(b"".join(request(target=b"/%d" % n) for n in range(count)))
            )
            for number in range(count):
                assert (await raw.response()).body == b"/%d " % number
            await sending

    run(main())


def test_answers_nobody_reads_stop_the_next_request() -> None:
    """A client that pipelines and never reads fills its buffers once, not ours for ever."""

    async def main() -> None:
        served = 0

        async def app(scope, receive, send) -> None:
            nonlocal served
            served += 1
            await reply(send, 200, b"x" * 100_000)

        async with serving(app) as server, Raw(server.port) as raw:
            raw.writer.write(GET * 2000)
            assert await at_rest(lambda: served) < 200
            connection = server.connections[0]
            assert connection.write_paused
            assert connection.transport.get_write_buffer_size() < 400_000
            server.pass_time(301.0)
            await until(lambda: not server.connections)

    run(main())


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
