"""Request bodies and pipelined requests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from messages import GET, answering, body, request, start
from serving import Echo, at_rest, reply, run, serving
from support.raw import Raw
from support.waiting import until

from gateway.server.limits import Limits

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
