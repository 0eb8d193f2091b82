"""A call of the wrapped application, as a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.clock import FakeClock

from gateway.upstream.app import AppPool
from gateway.upstream.cluster_config import ClusterConfig, Resolution
from gateway.upstream.connection import CHUNKED, NO_BODY, Connection
from gateway.upstream.endpoint import Endpoint
from gateway.upstream.errors import UpstreamError
from gateway.upstream.receiving import ENOUGH

CONFIG = ClusterConfig(name="outbound|80||app.local", host="app.local", port=80, resolution=Resolution.APP)
HEAD = b"GET /caf%C3%A9?q=1 HTTP/1.1\r\nhost: shop\r\nx-a: 1\r\nx-a: 2\r\n\r\n"


def called(app: Any, *, body: int = NO_BODY, method: str = "GET") -> tuple[Endpoint, Connection]:
    """A started call of `app`, and the endpoint that counts it."""
    pool = AppPool("app", FakeClock(), app)
    pool.follow(CONFIG)
    endpoint = pool.endpoint("app.local", 80)
    connection = pool.lease(endpoint, CONFIG)
    assert connection is not None
    connection.start(HEAD, method=method, body=body)
    return endpoint, connection


async def whole(connection: Connection) -> bytes:
    pieces = []
    while piece := await connection.read():
        pieces.append(piece)
    return b"".join(pieces)


def test_the_head_becomes_a_scope() -> None:
    """Path decoded and raw, query, headers in order and repeated."""

    async def main() -> None:
        scopes = []

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            scopes.append(scope)

        _, connection = called(app)
        assert (await connection.response()).status == 500
        connection.release()
        (scope,) = scopes
        assert (scope["path"], scope["raw_path"], scope["query_string"]) == ("/café", b"/caf%C3%A9", b"q=1")
        assert scope["headers"] == [(b"host", b"shop"), (b"x-a", b"1"), (b"x-a", b"2")]
        assert scope["type"] == "http"

    asyncio.run(main())


def test_an_application_that_nobody_reads_from_waits() -> None:
    """Memory is bounded: it is held back at some pieces, and goes on when they are taken."""

    async def main() -> None:
        sent, piece, many = 0, b"x" * 16384, 100

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            nonlocal sent
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(many):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                sent += 1
            await send({"type": "http.response.body"})

        _, connection = called(app)
        await connection.response()
        for _ in range(20):
            await asyncio.sleep(0)
        assert sent * len(piece) <= ENOUGH
        assert len(await whole(connection)) == many * len(piece)
        connection.release()

    asyncio.run(main())


def test_an_upload_waits_until_the_piece_before_was_taken() -> None:
    async def main() -> None:
        go, got = asyncio.Event(), []

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await go.wait()
            while True:
                message = await receive()
                got.append(message["body"])
                if not message["more_body"]:
                    break
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        _, connection = called(app, body=CHUNKED)
        await connection.write(b"one")
        second = asyncio.create_task(connection.write(b"two"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not second.done()
        go.set()
        await second
        connection.finish()
        assert (await connection.response()).status == 204
        assert b"".join(got) == b"onetwo"
        connection.release()

    asyncio.run(main())


def test_who_has_answered_is_written_to_in_vain() -> None:
    """An early answer does not hold the upload back."""

    async def main() -> None:
        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 413, "headers": []})
            await send({"type": "http.response.body"})

        _, connection = called(app, body=CHUNKED)
        assert (await connection.response()).status == 413
        for _ in range(3):
            await connection.write(b"more")
        connection.release()

    asyncio.run(main())


def test_an_abort_wakes_both_sides() -> None:
    """Who waits for the answer gets the error, the application http.disconnect; its place is free at once."""

    async def main() -> None:
        told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await receive()
            told.set_result((await receive())["type"])
            await send({"type": "http.response.start", "status": 200, "headers": []})  # in vain

        endpoint, connection = called(app)
        waiting = asyncio.create_task(connection.response())
        await asyncio.sleep(0)
        connection.abort()
        assert (endpoint.active, endpoint.connections) == (0, 0)
        with pytest.raises(UpstreamError):
            await waiting
        assert await told == "http.disconnect"

    asyncio.run(main())


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "http.response.body"}],
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.start", "status": 200}],
        [{"type": "http.response.start", "status": 200}, {"type": "http.response.pathsend", "path": "/x"}],
    ],
    ids=["body first", "two starts", "not offered"],
)
def test_messages_out_of_order_are_an_error(messages: list[dict[str, Any]]) -> None:
    async def main() -> None:
        errors: list[str] = []

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            try:
                for message in messages:
                    await send(message)
            except RuntimeError as error:
                errors.append(str(error))

        _, connection = called(app)
        assert (await connection.response()).status == 500
        connection.release()
        assert errors[0].startswith("Unexpected 'http.response.")

    asyncio.run(main())


def test_trailers_and_hints_are_dropped() -> None:
    async def main() -> None:
        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            await send({"type": "http.response.early_hint", "links": []})
            await send({"type": "http.response.start", "status": 200, "headers": [], "trailers": True})
            await send({"type": "http.response.body", "body": b"hello"})
            await send({"type": "http.response.trailers", "headers": [(b"a", b"b")]})

        _, connection = called(app)
        await connection.response()
        assert await whole(connection) == b"hello"
        connection.release()

    asyncio.run(main())


def test_headers_of_a_connection_are_not_passed_on() -> None:
    """Hop-by-hop headers and `server` are the gateway's own, whoever says them."""

    async def main() -> None:
        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            headers = [(b"Connection", b"close"), (b"Server", b"x"), (b"X-Kept", b"1")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body"})

        _, connection = called(app)
        assert (await connection.response()).headers == [(b"x-kept", b"1")]
        connection.release()

    asyncio.run(main())
