"""Bodies, exceptions, timeouts and limits on the way to an application and back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from support.fronted import ALL_TO_APP, PROTOCOLS, served, starlette, written

import gateway


def test_a_response_is_streamed(tmp_path: Path) -> None:
    """A piece is with the client before the next one exists."""

    async def main() -> None:
        go = asyncio.Event()

        async def stream(_: Request) -> Response:
            async def pieces():
                yield b"one"
                await go.wait()
                yield b"two"

            return StreamingResponse(pieces())

        app = gateway.Gateway(starlette(Route("/stream", stream)), config=written(tmp_path, ALL_TO_APP))
        async with served(app) as client, client.stream("GET", "/v1/stream") as answer:
            pieces = answer.aiter_raw()
            assert await anext(pieces) == b"one"
            go.set()
            assert await anext(pieces) == b"two"

    asyncio.run(main())


def test_a_request_is_streamed(tmp_path: Path) -> None:
    """The application has the first piece before the client sends the second."""

    async def main() -> None:
        first = asyncio.Event()

        async def take(request: Request) -> Response:
            sizes = []
            async for piece in request.stream():
                if piece:
                    sizes.append(len(piece))
                    first.set()
            return JSONResponse(sizes)

        async def pieces():
            yield b"one"
            await first.wait()
            yield b"three"

        app = gateway.Gateway(
            starlette(Route("/take", take, methods=["POST"])), config=written(tmp_path, ALL_TO_APP)
        )
        async with served(app) as client:
            assert (await client.post("/v1/take", content=pieces())).json() == [3, 5]

    asyncio.run(main())


def test_an_exception_reaches_who_is_around_us(tmp_path: Path) -> None:
    """The framework's handler makes the answer, as it would without a gateway; the log says 500."""

    async def main() -> None:
        async def fail(_: Request) -> Response:
            raise LookupError("nothing there")

        async def handler(_: Request, error: Exception) -> Response:
            return PlainTextResponse(f"handled {error}", status_code=500)

        app = starlette(Route("/fail", fail), exception_handlers={Exception: handler})
        app.add_middleware(gateway.GatewayMiddleware, config=written(tmp_path, ALL_TO_APP))
        async with served(app) as client:
            answer = await client.get("/v1/fail")
            assert (answer.status_code, answer.text) == (500, "handled nothing there")

    asyncio.run(main())
    assert json.loads((tmp_path / "access.log").read_text())["response_code"] == 500


def test_an_exception_in_a_response_cuts_the_client_off(tmp_path: Path) -> None:
    """Half a response is never ended cleanly."""

    async def main() -> None:
        async def fail(_: Request) -> Response:
            async def pieces():
                yield b"half"
                raise LookupError

            return StreamingResponse(pieces())

        app = gateway.Gateway(starlette(Route("/fail", fail)), config=written(tmp_path, ALL_TO_APP))
        async with served(app) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/v1/fail")

    asyncio.run(main())


def test_an_application_that_says_nothing_is_500(tmp_path: Path) -> None:
    async def main() -> None:
        async def silent(scope: dict[str, Any], receive: Any, send: Any) -> None:
            assert scope["type"] == "http"

        app = gateway.Gateway(silent, config=written(tmp_path, ALL_TO_APP))
        async with served(app) as client:
            answer = await client.get("/v1/")
            assert (answer.status_code, answer.text) == (500, "Internal Server Error")

    asyncio.run(main())


def test_the_application_is_never_asked_twice(tmp_path: Path) -> None:
    """A route's retries are for networks."""

    async def main() -> None:
        calls = []

        async def fail(_: Request) -> Response:
            calls.append(1)
            return PlainTextResponse("no", status_code=503)

        config = ALL_TO_APP.replace("    route:", '    retries: {attempts: 3, retryOn: "5xx"}\n    route:')
        app = gateway.Gateway(starlette(Route("/fail", fail)), config=written(tmp_path, config))
        async with served(app) as client:
            assert (await client.get("/v1/fail")).status_code == 503
        assert calls == [1]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("timeout", "settings", "text"),
    [
        ("    timeout: 0.05s\n", "", "upstream request timeout"),
        ("", "  timeouts: {streamIdle: 100ms}", "stream timeout"),
    ],
)
def test_a_timeout_answers_and_tells_the_application(
    tmp_path: Path, timeout: str, settings: str, text: str
) -> None:
    """504 for the client, http.disconnect for the application; the route's timeout, and that of silence."""

    async def main() -> None:
        async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            while (message := await receive())["type"] != "http.disconnect":
                assert message["body"] == b""
            gone.set()

        gone = asyncio.Event()
        config = ALL_TO_APP.replace("    route:", f"{timeout}    route:")
        app = gateway.Gateway(slow, config=written(tmp_path, config, settings))
        async with served(app) as client:
            answer = await client.get("/v1/")
            assert (answer.status_code, answer.text) == (504, text)
            await asyncio.wait_for(gone.wait(), 10)

    asyncio.run(main())


@pytest.mark.parametrize("http", PROTOCOLS, ids=str)
def test_a_client_that_leaves_is_told_to_the_application(tmp_path: Path, http: Any) -> None:
    async def main() -> None:
        begun, gone = asyncio.Event(), asyncio.Event()

        async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            begun.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            gone.set()

        app = gateway.Gateway(slow, config=written(tmp_path, ALL_TO_APP))
        async with served(app, http=http) as client:
            asking = asyncio.create_task(client.get("/v1/"))
            await begun.wait()
            asking.cancel()
            await asyncio.wait_for(gone.wait(), 10)

    asyncio.run(main())


def test_limits_of_a_destination_rule_hold_for_the_application(tmp_path: Path) -> None:
    """One request at a time: the second is refused with UO."""
    limits = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app}
spec:
  host: app.local
  trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}
---"""

    async def main() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def slow(_: Request) -> Response:
            begun.set()
            await go.wait()
            return PlainTextResponse("done")

        path = written(tmp_path, ALL_TO_APP + limits)
        async with served(gateway.Gateway(starlette(Route("/slow", slow)), config=path)) as client:
            first = asyncio.create_task(client.get("/v1/slow"))
            await begun.wait()
            refused = await client.get("/v1/slow")
            assert (refused.status_code, refused.headers["x-envoy-overloaded"]) == (503, "true")
            go.set()
            assert (await first).text == "done"
            assert (await client.get("/v1/slow")).text == "done"

    asyncio.run(main())


def test_at_the_limit_of_connections_requests_wait(tmp_path: Path) -> None:
    """`maxConnections` is how many calls there are at a time; the next one waits for its turn."""
    limits = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app}
spec:
  host: app.local
  trafficPolicy: {connectionPool: {tcp: {maxConnections: 2}}}
---"""

    async def main() -> None:
        now, most = 0, 0

        async def busy(_: Request) -> Response:
            nonlocal now, most
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.01)
            now -= 1
            return PlainTextResponse("done")

        path = written(tmp_path, ALL_TO_APP + limits)
        async with served(gateway.Gateway(starlette(Route("/busy", busy)), config=path)) as client:
            answers = await asyncio.gather(*(client.get("/v1/busy") for _ in range(8)))
            assert [answer.status_code for answer in answers] == [200] * 8
        assert most == 2

    asyncio.run(main())
