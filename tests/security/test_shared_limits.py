"""Two gateways, one Redis: limits that hold for both, while it is there and while it is not."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest
from click.testing import CliRunner
from support.backend import RecordingBackend, echo
from support.documents import analyzed
from support.process import GatewayServer, gateway
from support.redis import Redis
from support.waiting import wait_until

from gateway.cli import main
from gateway.security.rate_limit import RateLimits
from gateway.security.state import SecurityState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "planted-Zq7-password"
CONFIG = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: edge}
spec:
  rateLimitStore:
    redis: {address: "%(redis)s", passwordFile: password, timeout: 1s, onFailure: %(failing)s}
  rateLimits:
  - {name: everybody, key: [], match: {paths: [/all]}, requests: 10, per: 1h}
  - {name: answer, key: [], match: {routes: [answer]}, requests: 5, per: 1h}
  - {name: forward, key: [], match: {routes: [forward]}, requests: 5, per: 1h}
  - {name: own, key: [], match: {routes: [own]}, requests: 5, per: 1h, shared: false}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-puts}
spec:
  action: DENY
  rules: [{to: [{operation: {methods: [PUT]}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all}
spec:
  hosts: ["127.0.0.1"]
  http:
  - {name: answer, match: [{uri: {prefix: /answer}}], directResponse: {status: 200}}
  - {name: own, match: [{uri: {prefix: /own}}], directResponse: {status: 200}}
  - {name: forward, route: [{destination: {host: up.test}}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: up}
spec:
  hosts: [up.test]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: %(up)d}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
"""


def routes(folder: Path, redis: Redis, up: int, failing: str = "LOCAL") -> Path:
    (folder / "password").write_text(SECRET)
    path = folder / "routes.yaml"
    path.write_text(CONFIG % {"redis": redis.address, "up": up, "failing": failing})
    return path


def asked(gateways: list[GatewayServer], path: str, count: int, method: str = "GET") -> list[int]:
    """Statuses of requests to each gateway in turn."""
    found = []
    with httpx.Client() as client:
        for number in range(count):
            answer = client.request(method, gateways[number % len(gateways)].url(path))
            found.append(answer.status_code)
    return found


def told(server: GatewayServer, path: str) -> str:
    return httpx.get(f"http://127.0.0.1:{server.admin_port}{path}").text


def up(server: GatewayServer) -> bool:
    return bool(json.loads(told(server, "/status"))["rate_limit_store"]["up"])


def status_line(server: GatewayServer) -> str:
    shown = commanded(server, "status")
    return next(line for line in shown.splitlines() if line.startswith("rate limit store"))


def commanded(server: GatewayServer, *arguments: str) -> str:
    """What a command prints that asks this gateway."""
    return CliRunner().invoke(main, [*arguments, "--admin", f"127.0.0.1:{server.admin_port}"]).output


@contextmanager
def gateways(path: Path, count: int) -> Iterator[list[GatewayServer]]:
    """So many, started at once."""
    servers: list[GatewayServer] = []
    try:
        with ThreadPoolExecutor(count) as threads:
            list(threads.map(lambda _: servers.append(gateway(path, admin="127.0.0.1:0")), range(count)))
        yield servers
    finally:
        for server in servers:
            server.hurry()


def test_two_gateways_share_a_limit(tmp_path: Path) -> None:
    """Together they let through what one may; alone each its own; together again when Redis is back."""

    async def main() -> None:
        async with RecordingBackend(echo()) as backend:
            await asyncio.to_thread(play, backend.port)

    def play(port: int) -> None:
        with (
            Redis(tmp_path, "--requirepass", SECRET) as redis,
            gateways(routes(tmp_path, redis, port), 2) as pair,
        ):
            assert asked(pair, "/all", 5, "PUT") == [403] * 5  # What policies refuse is not counted.
            assert asked(pair, "/all", 6) == [200] * 5 + [429]  # `forward` counts too, and has fewer.
            assert asked(pair, "/answer", 7) == [200] * 5 + [429] * 2
            assert asked(pair, "/own", 12) == [200] * 10 + [429] * 2

            redis.kill()
            for server in pair:
                wait_until(lambda server=server: not up(server))
            assert asked(pair, "/answer", 12) == [200] * 10 + [429] * 2
            assert "DOWN, each process counts its own" in status_line(pair[0])
            assert 'gateway_rate_limit_fallbacks_total{limit="answer"} 6.0' in told(pair[0], "/metrics")

            redis.start()
            for server in pair:
                wait_until(lambda server=server: up(server))
            assert asked(pair, "/answer", 7) == [200] * 5 + [429] * 2
            assert "up, " in status_line(pair[0])
            metrics = told(pair[0], "/metrics")
            assert f'gateway_rate_limit_store_up{{store="{redis.address}"}} 1.0' in metrics
            assert "gateway_rate_limit_store_seconds_count" in metrics
            assert 'result="limited"' in metrics

            seen = "".join(
                told(server, place) for server in pair for place in ("/config_dump", "/status", "/requests")
            )
            said = "".join(server.output for server in pair)
            assert SECRET not in seen + said
            assert said.count("does not answer") == 2  # Once a gateway, however often it was tried.

    asyncio.run(main())


def test_a_refusal_for_want_of_a_count_has_a_flag_of_its_own(tmp_path: Path) -> None:
    """`onFailure: DENY`: 500 and RLSE, and `gateway why` tells the store."""
    with Redis(tmp_path, "--requirepass", SECRET) as redis:
        path = routes(tmp_path, redis, 1, "DENY")
        redis.kill()
        with gateways(path, 1) as (server,):
            assert asked([server], "/answer", 2) == [500, 500]
            assert asked([server], "/own", 1) == [200]
            why = commanded(server, "why", "last")

    assert "RLSE" in why
    assert "rate limit" in why


def test_a_reload_keeps_the_connection_and_changes_it_with_the_settings(tmp_path: Path) -> None:
    """An equal store is the same object; another address is another; without shared limits there is none."""

    async def main() -> None:
        from support.documents import config_of

        state = SecurityState()
        with Redis(tmp_path) as redis:

            def document(more: str = "", limits: str = "{name: a, requests: 1}") -> str:
                return (
                    "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec:\n"
                    f"  rateLimitStore: {{redis: {{address: '{redis.address}'{more}}}}}\n  rateLimits: [{limits}]\n"
                )

            seen = []
            for text in (document(), document(), document(", prefix: other"), document(limits="")):
                config = config_of(text)
                assert isinstance(state.limits(config), RateLimits)
                await state.follow(config)
                seen.append(state.rate_limit_store)
            first, second, third, none = seen

            assert first is not None
            assert first is second
            assert third is not None
            assert third is not first
            assert none is None
            assert third.line.up  # The last requests of the generation before still ask it.
            assert not first.line.up
            await state.stop()
            assert not third.line.up

    asyncio.run(main())


@pytest.mark.parametrize("field", ["passwordFile: none", "tls: {caCertificates: none}"])
def test_files_that_are_missing_are_findings(field: str) -> None:
    """At their place, and not fatal: they are read when a connection is made."""
    (found,) = analyzed(
        "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec:\n"
        "  rateLimits: [{name: a, requests: 1}]\n"
        f"  rateLimitStore:\n    redis:\n      address: localhost:6379\n      {field}\n",
        "GW290",
    )

    assert (found.line, found.fatal) == (9, False)
    assert "No such file" in found.message
