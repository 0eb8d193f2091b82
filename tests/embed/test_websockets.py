"""WebSockets of an application behind a gateway, with a real client."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket
from support.backend import dead_port
from support.fronted import TO_APP, served, written
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

import gateway

DENY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: ["/secret"]}}]}]
---"""


async def echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(await socket.receive_text())
    await socket.close()


APP = Starlette(routes=[WebSocketRoute("/{name}", echo)])


async def said(config: str, tmp_path: Path, name: str) -> str:
    """What comes back from the WebSocket `name` for a word."""
    app = gateway.Gateway(APP, config=written(tmp_path, config))
    async with served(app) as client:
        url = f"ws://127.0.0.1:{client.base_url.port}/{name}"
        async with connect(url, proxy=None) as socket:
            await socket.send("hello")
            return str(await socket.recv())


@pytest.mark.parametrize(
    "config", ["", TO_APP % "\n  - route: [{destination: {host: app.local}}]"], ids=["no route", "to the app"]
)
def test_a_websocket_is_the_applications_own(tmp_path: Path, config: str) -> None:
    assert asyncio.run(said(config, tmp_path, "open")) == "hello"


def test_policies_judge_the_handshake(tmp_path: Path) -> None:
    """A WebSocket is no way around an AuthorizationPolicy."""
    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(said(DENY, tmp_path, "secret"))
    assert (refused.value.response.status_code, refused.value.response.body) == (403, b"RBAC: access denied")


def test_a_path_with_dots_is_judged_as_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(said(DENY, tmp_path, "x/../secret"))
    assert refused.value.response.status_code == 403


def test_a_route_elsewhere_has_no_websockets(tmp_path: Path) -> None:
    """It is answered, not given to an application that the route does not name."""
    config = TO_APP % "\n  - route: [{destination: {host: reviews.test}}]"
    config += """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
---"""
    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(said(config, tmp_path, "open"))
    assert refused.value.response.status_code == 501


@pytest.mark.parametrize(
    ("route", "failing", "status"),
    [
        ("route: [{destination: {host: app.local}}]", "DENY", 500),
        ("directResponse: {status: 418}", "DENY", 500),
        ("directResponse: {status: 418}", "ALLOW", 418),
    ],
)
def test_a_shared_limit_holds_for_the_handshake(
    tmp_path: Path, route: str, failing: str, status: int
) -> None:
    """Also one that is counted elsewhere, and cannot be just now."""
    config = f"""
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {{name: limits}}
spec:
  accessLog: {{encoding: "OFF"}}
  rateLimitStore: {{redis: {{address: "127.0.0.1:{dead_port()}", onFailure: {failing}}}}}
  rateLimits: [{{name: each, requests: 1, match: {{routes: [limited]}}}}]
---
{
        TO_APP
        % f'''
  - name: limited
    {route}'''
    }"""

    async def handshake() -> None:
        path = tmp_path / "limits.yaml"
        path.write_text(config.removesuffix("---"))
        async with (
            served(gateway.Gateway(APP, config=path)) as client,
            connect(f"ws://127.0.0.1:{client.base_url.port}/open", proxy=None),
        ):
            pass

    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(handshake())
    assert refused.value.response.status_code == status
