"""`gateway top`, `status` and `dashboard` on a gateway with a failing endpoint."""

from __future__ import annotations

import asyncio
import io
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from support.backend import dead_port
from support.stage import route, service, stage

from gateway.admin import AdminListener
from gateway.cli import main
from gateway.cli.top import tables
from gateway.telemetry.recorder import Recorder

CONFIG = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 5}}
    outlierDetection: {consecutive5xxErrors: 1, maxEjectionPercent: 100, baseEjectionTime: 60s}
---"""
HTTP = """
  - name: "[bold]all[/bold]"
    route: [{destination: {host: reviews}}]"""

Run = Callable[..., Awaitable[Result]]


def watch(folder: Path, play: Callable[[Run, Recorder], Awaitable[None]], *, remembers: bool = True) -> None:
    """Two requests to a backend that is not there, then `play`."""

    async def whole() -> None:
        async with stage(
            folder, service("reviews", dead_port()) + route("reviews", HTTP) + CONFIG
        ) as running:
            recorder = Recorder()
            running.gateway.telemetry.observe(recorder.record)
            listener = AdminListener(address="127.0.0.1:0", recorder=recorder if remembers else None)
            await listener.start(running.gateway.control)

            async def run(*arguments: str) -> Result:
                given = [*arguments, "--admin", listener.address or ""]
                return await asyncio.to_thread(CliRunner().invoke, main, given)

            try:
                for _ in range(2):
                    await running.get("/x")
                recorder._close(recorder._next)
                await play(run, recorder)
            finally:
                await listener.stop()

    asyncio.run(whole())


def test_top_shows_routes_and_clusters_once(tmp_path: Path) -> None:
    """A pipe gets the tables, and no colour; names are no markup."""

    async def play(run: Run, recorder: Recorder) -> None:
        result = await run("top")
        assert result.exit_code == 0
        assert "\x1b" not in result.output
        assert "success 0 %" in result.output
        (row,) = [line for line in result.output.splitlines() if "[bold]all[/bold]" in line]
        assert row.split()[-2:] == ["2", "2"]
        (row,) = [line for line in result.output.splitlines() if "reviews.default:80" in line]
        assert "/1" in row

    watch(tmp_path, play)


def flow(**more: Any) -> dict[str, Any]:
    return {"rps": 4.25, "success_percent": 97.96, "p50_ms": 0.9, "p99_ms": 1234.0, **more}


def printed(width: int, *clusters: str) -> list[str]:
    """The tables in a terminal of so many columns."""
    told = {
        "total": flow(rps=1234.5),
        "seconds": 10,
        "generation": 12,
        "routes": [
            flow(route="a-route-with-a-name-that-never-seems-to-end-at-all", requests=12345, failures=7)
        ],
        "clusters": [
            flow(cluster=name, in_flight=12, endpoints=10, unwell=2, ejected=1, full=["max_pending_requests"])
            for name in clusters
        ],
    }
    out = Console(
        width=width, file=io.StringIO(), force_terminal=True, color_system=None, legacy_windows=False
    )
    out.print(tables(told, 20, width))
    assert isinstance(out.file, io.StringIO)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]


V1, V2 = (f"outbound|9080|{version}|recommendations.shopping.svc.cluster.local" for version in ("v1", "v2"))


@pytest.mark.parametrize("width", [80, 140])
def test_a_row_of_top_is_one_line_at_any_width(width: int) -> None:
    """Numbers are whole; names give way in the middle, so that the versions of a service stay apart."""
    lines = printed(width, V1, V2)

    assert len(lines) == 1 + 1 + 2 + 1 + 3
    assert all(len(line) <= width for line in lines)
    one, other = lines[-2:]
    assert (" v1 " in one, " v2 " in other) == (True, True)
    assert "97.96 %" in one
    assert "1.23 s" in one
    assert "8/10" in one
    assert ("max_pending_requests" in one) == (width == 140)
    assert ("recommendations.shopping:9080 v1" in one) == (width == 140)


def test_top_is_json_for_programs(tmp_path: Path) -> None:
    """One object."""

    async def play(run: Run, recorder: Recorder) -> None:
        told = json.loads((await run("top", "--json")).output)
        assert told["total"]["failures"] == 2
        assert [item["route"] for item in told["routes"]] == ["[bold]all[/bold]"]

    watch(tmp_path, play)


def test_top_needs_a_gateway_that_remembers(tmp_path: Path) -> None:
    """A sentence and exit code 3, as when nobody answers at all."""

    async def play(run: Run, recorder: Recorder) -> None:
        result = await run("top")
        assert (result.exit_code, "does not remember" in result.output) == (3, True)

    watch(tmp_path, play, remembers=False)
    assert CliRunner().invoke(main, ["top", "--admin", f"127.0.0.1:{dead_port()}"]).exit_code == 3


@pytest.mark.parametrize("command", [("why", "last"), ("top", "--once"), ("status",)])
def test_the_port_of_the_requests_is_not_the_admin_listener(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Its 404 is no answer to the question: exit code 3, and a sentence."""

    async def whole() -> None:
        async with stage(tmp_path, service("reviews", dead_port()) + route("reviews", HTTP)) as running:
            port = running.port
            given = [*command, "--admin", f"127.0.0.1:{port}"]
            result = await asyncio.to_thread(CliRunner().invoke, main, given)
            assert result.exit_code == 3
            assert f"127.0.0.1:{port} answers, but is no gateway's admin listener" in result.output

    asyncio.run(whole())


def test_nobody_is_asked_where_the_admin_listener_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable that turns it off is no address."""
    monkeypatch.setenv("GATEWAY_ADMIN", "off")
    result = CliRunner().invoke(main, ["status"])

    assert (result.exit_code, "GATEWAY_ADMIN is off" in result.output) == (2, True)


def test_status_shows_ejections_limits_and_listeners(tmp_path: Path) -> None:
    """Who is out and for how long still; how full each limit is."""

    async def play(run: Run, recorder: Recorder) -> None:
        clusters = json.loads((await run("status", "--json")).output)["clusters"]
        assert clusters[0]["limits"]["max_connections"] == {"used": 0, "limit": 5, "open": False}
        page = (await run("status")).output
        assert "max connections 0 of 5" in page
        assert "listener mesh  every port, 1 host, 1 route" in page
        assert "127.0.0.1:" in page

    watch(tmp_path, play)


def answer(told: dict[str, Any]) -> Any:
    """Prints a page as `status` does."""
    from gateway.cli._page import Page, console
    from gateway.cli.status import _show

    out = console()
    with out.capture() as capture:
        _show(told, told["clusters"], Page(out))
    return capture.get()


def test_status_says_what_is_about_to_end() -> None:
    """Certificates by their dates; an ejection by its reason; a limit that is full."""
    told = {
        "state": "ready",
        "generation": 3,
        "paths": ["routes.yaml"],
        "reloads": {"applied": 3, "refused": 0, "applied_at": "now"},
        "last_reload": {"outcome": "applied"},
        "findings": [],
        "listeners": [{"name": "http.443", "port": 443, "tls": True, "virtual_hosts": 2, "routes": 7}],
        "certificates": [
            {"name": "shop", "role": "certificate", "subject": "CN=shop", "principal": "", "not_after": "then", "seconds_left": left}
            for left in (-7200, 3 * 86400, None)
        ],
        "clusters": [
            {
                "name": "c", "resolution": "STATIC", "policy": "RANDOM", "connections": 5, "pending": 1, "overflows": 9,
                "limits": {"max_connections": {"used": 5, "limit": 5, "open": True}}, "retries_left": 0,
                "endpoints": [
                    {"address": "10.0.0.1:80", "health": "ejected", "ejected_for": 12.5, "ejected_because": "consecutive_5xx",
                     "weight": 1, "active": 0, "requests": 3, "connections": 0, "idle": 0}
                ],
            }
        ],
    }  # fmt: skip
    page = answer(told)

    assert "listener http.443  port 443, TLS, 2 hosts, 7 routes" in page
    assert "certificate shop  CN=shop  EXPIRED 2 hours ago" in page
    assert "expires in 3 days, then" in page
    assert "does not expire" in page
    assert "max connections 5 of 5\n  max connections is FULL: further ones are turned away" in page
    assert "retries have used up their share" in page
    assert "1 waiting, 9 turned away" in page
    assert "ejected for 12.5 s still (consecutive_5xx)" in page


@pytest.mark.parametrize("name", ["grafana", "prometheus", "jaeger"])
def test_a_dashboard_is_found_where_it_is_said_to_be(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By option, by variable, else where deploy/observability has it; nobody there is exit code 3."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        url = f"http://127.0.0.1:{there.getsockname()[1]}/"
        result = CliRunner().invoke(main, ["dashboard", name, "--url", url])
        assert (result.exit_code, result.output) == (0, f"{url}\n")
        monkeypatch.setenv(f"GATEWAY_{name.upper()}_URL", url)
        told = json.loads(CliRunner().invoke(main, ["dashboard", name, "--json"]).output)
        assert told == {"name": name, "url": url, "answers": True}
    monkeypatch.setenv(f"GATEWAY_{name.upper()}_URL", f"http://127.0.0.1:{dead_port()}/")
    result = CliRunner().invoke(main, ["dashboard", name])
    assert result.exit_code == 3
    assert "nobody answers there" in result.output


def test_the_console_is_where_the_admin_listener_is() -> None:
    """`--admin`, GATEWAY_ADMIN, or the usual place."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        address = f"127.0.0.1:{there.getsockname()[1]}"
        result = CliRunner().invoke(main, ["dashboard", "console", "--admin", address])

    assert (result.exit_code, result.output) == (0, f"http://{address}/\n")


@pytest.mark.parametrize("url", ["nowhere", "ftp://a/", "http://a:x/"])
def test_an_address_that_is_none_is_a_usage_error(url: str) -> None:
    """Exit code 2."""
    assert CliRunner().invoke(main, ["dashboard", "grafana", "--url", url]).exit_code == 2


def test_status_has_room_in_a_narrow_terminal() -> None:
    """No line of an ordinary cluster is longer than 80 columns: a terminal would break it anywhere."""
    from gateway.cli._page import Page
    from gateway.cli.status import _show

    endpoint = {"address": "10.100.100.100:8080", "health": "healthy", "weight": 100}
    busy = {"active": 10, "requests": 1234, "connections": 12, "idle": 2}
    cluster = {
        "name": "outbound|9080|v1|recommendations.shopping.svc.cluster.local",
        "resolution": "STATIC",
        "policy": "LEAST_REQUEST",
        "connections": 100,
        "pending": 12,
        "overflows": 17,
        "retries_left": None,
        "limits": {
            name: {"used": 100, "limit": 1024, "open": False}
            for name in ("max_connections", "max_pending_requests", "max_requests", "max_retries")
        },
        "endpoints": [{**endpoint, **busy}],
    }
    out = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None, soft_wrap=True)
    told = {
        "state": "ready",
        "generation": 3,
        "paths": ["routes.yaml"],
        "reloads": {"applied": 3, "refused": 0, "applied_at": "2026-11-23T17:17:11.598+00:00"},
        "last_reload": {"outcome": "applied"},
        "findings": [],
        "listeners": [{"name": "mesh", "port": None, "tls": False, "virtual_hosts": 2, "routes": 7}],
        "certificates": [],
    }
    _show(told, [cluster], Page(out))
    assert isinstance(out.file, io.StringIO)
    lines = out.file.getvalue().splitlines()

    assert [line for line in lines if len(line) > 80] == []
    assert len([line for line in lines if line.startswith("  max ")]) == 2
