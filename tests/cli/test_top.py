"""`gateway top`, `status` and `dashboard` on a gateway with a failing endpoint."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.backend import dead_port
from support.stage import route, service, stage

from gateway.admin import AdminListener
from gateway.cli import main
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


def test_status_shows_ejections_limits_and_listeners(tmp_path: Path) -> None:
    """Who is out and for how long still; how full each limit is."""

    async def play(run: Run, recorder: Recorder) -> None:
        clusters = json.loads((await run("status", "--json")).output)["clusters"]
        assert clusters[0]["limits"]["max_connections"] == {"used": 0, "limit": 5, "open": False}
        page = (await run("status")).output
        assert "max connections 0 of 5" in page
        assert "listener mesh  any other port, 1 hosts, 1 routes" in page
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
    assert "max connections 5 of 5, FULL" in page
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
