"""A gateway in front of an application: what reaches the application, and what comes back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from support.fronted import ALL_TO_APP, PROTOCOLS, served, starlette, written
from support.stage import Backend, answering, route, service

import gateway

DENY_ADMIN = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: ["/admin", "/admin/*"]}}]}]
---"""


def scope_of(path: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    """The scope that a server would make."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"shop.test")],
        "client": ("127.0.0.1", 4000),
        "server": ("127.0.0.1", 8000),
        **more,
    }


@pytest.mark.parametrize("http", PROTOCOLS, ids=str)
def test_a_route_to_the_application_forwards_like_any_other(tmp_path: Path, http: Any) -> None:
    """Rewritten path, header operations both ways, bodies both ways, and who asked."""

    async def main() -> None:
        app = gateway.Gateway(starlette(), config=written(tmp_path, ALL_TO_APP))
        async with served(app, http=http) as client:
            answer = await client.post("/v1/items", content=b"x" * 300_000)
            assert answer.json() == {
                "path": "/items",
                "stage": "test",
                "body": 300_000,
                "route": "app",
                "client": "127.0.0.1",
            }
            assert answer.headers["x-seen"] == "yes"

    asyncio.run(main())
    line = json.loads((tmp_path / "access.log").read_text())
    assert (line["response_code"], line["upstream_host"], line["route_name"]) == (200, "app.local:80", "app")


@pytest.mark.parametrize("http", PROTOCOLS, ids=str)
def test_what_no_route_takes_is_the_applications_own(tmp_path: Path, http: Any) -> None:
    """It is neither changed nor logged."""

    async def main() -> None:
        app = gateway.Gateway(starlette(), config=written(tmp_path, ALL_TO_APP))
        async with served(app, http=http) as client:
            answer = await client.post("/other", content=b"x" * 300_000)
            assert answer.json() == {
                "path": "/other",
                "stage": None,
                "body": 300_000,
                "route": None,
                "client": "127.0.0.1",
            }
            assert "x-envoy-upstream-service-time" not in answer.headers

    asyncio.run(main())
    assert (tmp_path / "access.log").read_text() == ""


def test_the_scope_of_an_unclaimed_request_is_the_servers_own(tmp_path: Path) -> None:
    """Not a copy: what a framework leaves in it is seen by the middleware around us."""

    async def main() -> None:
        seen: list[dict[str, Any]] = []

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            seen.append(scope)

        fronted = gateway.Gateway(app, config=written(tmp_path, ALL_TO_APP))
        given = scope_of("/other")
        before = dict(given)
        await fronted(given, _forever, _ignored)
        assert seen[0] is given
        assert given == before
        await fronted.stop()

    asyncio.run(main())


def test_the_application_reads_the_path_that_policies_read(tmp_path: Path) -> None:
    """A path with dots is handed over in the one spelling that was judged."""

    async def main() -> None:
        seen: list[str] = []

        async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
            seen.append(scope["path"])

        fronted = gateway.Gateway(app, config=written(tmp_path, DENY_ADMIN))
        await fronted(scope_of("/admin/../public"), _forever, _ignored)
        answered: list[dict[str, Any]] = []
        await fronted(scope_of("/public/../admin"), _forever, _kept(answered))
        assert seen == ["/public"]
        assert answered[0]["status"] == 403
        await fronted.stop()

    asyncio.run(main())


def test_policies_for_every_request_guard_the_application(tmp_path: Path) -> None:
    """Also where no route is written at all."""

    async def main() -> None:
        app = gateway.Gateway(starlette(), config=written(tmp_path, DENY_ADMIN))
        async with served(app) as client:
            refused, passed = await client.get("/admin/x"), await client.get("/x")
            assert (refused.status_code, refused.text) == (403, "RBAC: access denied")
            assert passed.status_code == 200

    asyncio.run(main())


def test_other_routes_go_to_their_backends(tmp_path: Path) -> None:
    """A route to a service takes its requests away from the application."""

    async def main() -> None:
        async with Backend(answering).running() as backend:
            config = service("reviews", backend.port) + route(
                "shop.test", "\n  - match: [{uri: {prefix: /r}}]\n    route: [{destination: {host: reviews}}]"
            )
            app = gateway.Gateway(starlette(), config=written(tmp_path, config))
            async with served(app) as client:
                headers = {"host": "shop.test"}
                assert (await client.get("/r", headers=headers)).text == "hello"
                assert (await client.get("/x", headers=headers)).json()["path"] == "/x"

    asyncio.run(main())


def test_middleware_of_a_framework(tmp_path: Path) -> None:
    """`add_middleware` takes the class; the framework's lifespan runs as well."""

    async def main() -> None:
        from contextlib import asynccontextmanager

        events = []

        @asynccontextmanager
        async def lifespan(_: Any):
            events.append("up")
            yield {"database": "db"}
            events.append("down")

        async def database(request: Request) -> Response:
            return PlainTextResponse(request.state.database)

        app = starlette(Route("/database", database), lifespan=lifespan)
        app.add_middleware(gateway.GatewayMiddleware, config=written(tmp_path, ALL_TO_APP))
        async with served(app) as client:
            assert (await client.get("/v1/database")).text == "db"
            assert (await client.get("/database")).text == "db"
            assert events == ["up"]
        assert events == ["up", "down"]

    asyncio.run(main())


def test_a_copy_can_go_to_the_application(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A mirror's exception is logged; nobody waits for it."""

    async def main() -> None:
        copied: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def copy(scope: dict[str, Any], receive: Any, send: Any) -> None:
            assert scope["type"] == "http"
            copied.set_result(dict(scope["headers"])[b"host"].decode())
            raise LookupError("of a copy")

        async with Backend(answering).running() as backend:
            config = service("reviews", backend.port) + route(
                "reviews", "\n  - route: [{destination: {host: reviews}}]\n    mirror: {host: app.local}"
            )
            app = gateway.Gateway(copy, config=written(tmp_path, config))
            async with served(app) as client:
                assert (await client.get("/", headers={"host": "reviews"})).text == "hello"
                assert await copied == "reviews-shadow"
        assert "of a copy" in caplog.text

    asyncio.run(main())


def test_background_tasks_outlive_the_response(tmp_path: Path) -> None:
    """The response is complete for the client, and what comes after it is not cancelled."""

    async def main() -> None:
        go, done = asyncio.Event(), asyncio.Event()

        async def after() -> None:
            await go.wait()
            done.set()

        async def later(_: Request) -> Response:
            return PlainTextResponse("soon", background=BackgroundTask(after))

        app = gateway.Gateway(starlette(Route("/later", later)), config=written(tmp_path, ALL_TO_APP))
        async with served(app) as client:
            assert (await client.get("/v1/later")).text == "soon"
            go.set()
        assert done.is_set()

    asyncio.run(main())


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
def test_responses_without_a_body(tmp_path: Path, method: str, status: int) -> None:
    async def main() -> None:
        async def bare(_: Request) -> Response:
            return Response(status_code=status) if status != 200 else PlainTextResponse("hello")

        path = written(tmp_path, ALL_TO_APP)
        app = gateway.Gateway(starlette(Route("/bare", bare, methods=[method])), config=path)
        async with served(app) as client:
            answer = await client.request(method, "/v1/bare")
            assert (answer.status_code, answer.content) == (status, b"")

    asyncio.run(main())


def test_the_first_requests_start_a_gateway_without_lifespan(tmp_path: Path) -> None:
    """Once, however many come at the same time."""

    async def main() -> None:
        app = gateway.Gateway(starlette(), config=written(tmp_path, ALL_TO_APP))
        async with served(app, lifespan="off") as client:
            answers = await asyncio.gather(*(client.get("/v1/x") for _ in range(5)))
            assert [answer.status_code for answer in answers] == [200] * 5
        assert app.control.generation == 1
        await app.stop()

    asyncio.run(main())


def test_another_event_loop_is_refused(tmp_path: Path) -> None:
    """With a sentence, where a test client without `with` would make a hundred strange errors."""
    app = gateway.Gateway(starlette(), config=written(tmp_path, ALL_TO_APP))

    async def other() -> None:
        with pytest.raises(RuntimeError, match="another event loop"):
            await app(scope_of("/v1/x"), _forever, _ignored)

    async def main() -> None:
        await app.start()
        await asyncio.to_thread(asyncio.run, other())
        await app.stop()

    asyncio.run(main())


def test_without_an_application_there_is_no_app_local(tmp_path: Path) -> None:
    """A gateway of its own answers 503."""

    async def main() -> None:
        app = gateway.Gateway(written(tmp_path, ALL_TO_APP))
        async with served(app) as client:
            assert (await client.get("/v1/x")).status_code == 503
            assert (await client.get("/x")).status_code == 404

    asyncio.run(main())


def test_what_is_no_application_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="takes an ASGI application first"):
        gateway.Gateway("app", config=tmp_path)
    with pytest.raises(TypeError, match="is for an ASGI application"):
        gateway.GatewayMiddleware("app", config=tmp_path)  # type: ignore[arg-type]


async def _forever() -> dict[str, Any]:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def _ignored(_: dict[str, Any]) -> None:
    pass


def _kept(messages: list[dict[str, Any]]) -> Any:
    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    return send
