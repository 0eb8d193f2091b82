"""Numbers of several workers in one folder."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.backend import RecordingBackend, echo
from support.process import gateway

from gateway.telemetry import catalog
from gateway.telemetry.families import Buckets, Family
from gateway.telemetry.shared import MOST_DEPARTED, VARIABLE, Shared

COUNTER, GAUGE = catalog.LOG_LINES, catalog.CONNECTIONS


def numbers(count: float, gauge: float) -> list[Family]:
    return [Family(COUNTER, {(): count}), Family(GAUGE, {(): gauge})]


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def joined(shared: Shared, own: list[Family]) -> dict[str, float]:
    return {family.metric.name: family.samples[()] for family in shared.join(own)}


def test_living_workers_count_whole_and_dead_ones_keep_their_counters(tmp_path: Path) -> None:
    """A counter that fell would look like a restart of everything."""
    Shared(tmp_path, pid=os.getppid()).write(numbers(10, 3))
    Shared(tmp_path, pid=dead_pid()).write(numbers(100, 7))
    mine = Shared(tmp_path)
    mine.write(numbers(5, 1))

    assert joined(mine, numbers(6, 2)) == {COUNTER.name: 116, GAUGE.name: 5}


def test_many_departed_workers_become_one_file(tmp_path: Path) -> None:
    """A worker that dies every few seconds does not fill the folder, and loses nothing."""
    dead = dead_pid()
    for number in range(MOST_DEPARTED + 2):
        Shared(tmp_path, pid=dead).write(numbers(1, 1))
        (tmp_path / f"{dead}.json").rename(tmp_path / f"{2**22 + number}.json")
    mine = Shared(tmp_path)
    first, second = joined(mine, numbers(0, 1)), joined(mine, numbers(0, 1))

    assert first == second == {COUNTER.name: MOST_DEPARTED + 2, GAUGE.name: 1}
    assert [path.name for path in tmp_path.iterdir()] == ["departed.json"]


@pytest.mark.parametrize("text", ["", "{", "null", "[1]", '[["a"]]', '{"a": 1}', "[[1,2,3,4,5,6,7]]"])
def test_a_file_that_is_none_of_ours_is_passed_over(tmp_path: Path, text: str) -> None:
    """Half a file, another program's file: a scrape still answers."""
    (tmp_path / "1.json").write_text(text)

    assert joined(Shared(tmp_path), numbers(1, 1)) == {COUNTER.name: 1, GAUGE.name: 1}


def test_histograms_come_through(tmp_path: Path) -> None:
    """Buckets and sum."""
    family = Family(catalog.LOOP_LAG, {(): Buckets([1] * 12, 0.5)})
    Shared(tmp_path, pid=os.getppid()).write([family])
    (found,) = Shared(tmp_path).join([family])

    assert found.samples[()] == Buckets([2] * 12, 1.0)


def test_a_worker_writes_a_last_time_when_it_stops(tmp_path: Path) -> None:
    """What it counted since the last second is not lost."""
    shared = Shared(tmp_path)
    shared.start(lambda: numbers(3, 0))
    shared.stop()
    (path,) = tmp_path.glob("*.json")

    assert json.loads(path.read_text())[0][-1] == [[[], 3]]


def test_a_folder_others_may_write_to_is_not_used(tmp_path: Path, monkeypatch) -> None:
    """Numbers from there would be anybody's."""
    tmp_path.chmod(0o777)
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert Shared.from_environment() is None

    tmp_path.chmod(0o700)
    assert Shared.from_environment() is not None
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    assert Shared.from_environment() is None
    monkeypatch.delenv(VARIABLE)
    assert Shared.from_environment() is None


ROUTES = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: echo}
spec:
  hosts: [echo.default.svc.cluster.local]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints: [{address: 127.0.0.1, ports: {http: %d}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http: [{name: all, route: [{destination: {host: echo}}]}]
"""


def test_a_scrape_counts_what_every_worker_did(tmp_path: Path) -> None:
    """Real workers: whichever answered, the one with the admin listener tells of all requests."""
    folder, requests = tmp_path / "run", 40
    folder.mkdir(mode=0o700)

    async def ask(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: echo\r\nConnection: close\r\n\r\n")
        assert b"200 OK" in await reader.read()
        writer.close()

    async def scrape(port: int) -> dict[str, float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        text = (await reader.read()).partition(b"\r\n\r\n")[2].decode()
        writer.close()
        found: dict[str, float] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                name = name.partition("{")[0]
                found[name] = found.get(name, 0) + float(value)
        return found

    async def main() -> None:
        async with RecordingBackend(echo()) as backend:
            routes = tmp_path / "routes.yaml"
            routes.write_text(ROUTES % backend.port)
            arguments = ("--workers", "2")
            env = {VARIABLE: str(folder)}
            server = await asyncio.to_thread(
                gateway, routes, arguments=arguments, env=env, admin="127.0.0.1:0"
            )
            with server:
                await asyncio.gather(*(ask(server.port) for _ in range(requests)))
                async with asyncio.timeout(20):  # the second worker may start after all is answered
                    found = await scrape(server.admin_port)
                    while (found.get("istio_requests_total"), found["gateway_workers"]) != (requests, 2):
                        await asyncio.sleep(0.1)
                        found = await scrape(server.admin_port)
            assert found["istio_request_duration_milliseconds_count"] == requests

    asyncio.run(main())
