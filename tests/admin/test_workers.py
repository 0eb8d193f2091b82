"""Several workers, real ones: whoever is asked answers for all of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.process import Server, free_port, gateway, uvicorn
from support.waiting import wait_until

from gateway.admin.merge import ended

WORKERS = 3
SILENT = "no answer within 1 s"
ADMIN = {"x-gateway-admin": "1"}
ROUTES = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: settings}
spec: {accessLog: {encoding: "OFF"}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: nobody}
spec:
  hosts: [nobody.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: 1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: nobody}
spec:
  host: nobody.example
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 10}}
    outlierDetection: {consecutive5xxErrors: 0, consecutiveLocalOriginFailures: 2, splitExternalLocalOriginErrors: true,
      interval: 0.1s, baseEjectionTime: 60s, maxEjectionPercent: 100}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: site}
spec:
  hosts: [site]
  http:
  - {name: nobody, match: [{uri: {prefix: /nobody}}], retries: {attempts: 0}, route: [{destination: {host: nobody.example}}]}
  - {name: hello, directResponse: {status: 200, body: {string: hello}}}
"""


class Site:
    """A gateway of several workers, and what was sent to it."""

    def __init__(
        self, process: Server, routes: Path, *, admin: int | None = None, workers: int = WORKERS
    ) -> None:
        self.process = process
        self.routes = routes
        self.workers = workers
        self.sent = 0
        self.admin = f"127.0.0.1:{admin or process.admin_port}"
        self._client = httpx.Client(base_url=f"http://{self.admin}", trust_env=False, timeout=20)

    def get(self, path: str) -> Any:
        """The JSON at `path`."""
        return self._client.get(path).raise_for_status().json()

    def text(self, path: str) -> httpx.Response:
        """The answer as it is."""
        return self._client.get(path)

    def post(self, path: str) -> httpx.Response:
        """The answer to a change."""
        return self._client.post(path, headers=ADMIN)

    def until(self, path: str, wanted: Callable[[Any], bool]) -> Any:
        """What `path` says once it is as wanted."""
        deadline = time.monotonic() + 20
        told = None
        while True:
            with suppress(httpx.ConnectError):  # nobody has the address yet
                if wanted(told := self.get(path)):
                    return told
            assert time.monotonic() < deadline, told
            time.sleep(0.05)

    def ready(self) -> None:
        """Waits until all workers are."""
        wait_until(lambda: self.text("/ready").status_code == 200)

    def send(self, path: str, count: int) -> None:
        """So many requests, each on a connection of its own, all at once."""

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.process.port)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n".encode())
            assert (await reader.read()).startswith(b"HTTP/1.1 ")
            writer.close()

        async def all_of_them() -> None:
            await asyncio.gather(*(one() for _ in range(count)))

        asyncio.run(all_of_them())
        self.sent += count

    def by_worker(self, path: str) -> dict[int, list[str]]:
        """Ids of the requests to `path`, by the worker that served them."""
        found: dict[int, list[str]] = {}
        for row in self.get(f"/requests?limit=1000&path={path}")["requests"]:
            found.setdefault(row["worker"], []).append(row["id"])
        return found

    def send_to_all(self, path: str) -> dict[int, list[str]]:
        """Sends until every worker has had three."""
        deadline = time.monotonic() + 20
        while True:
            self.send(path, 30)
            found = self.by_worker(path)
            if len(found) == self.workers and min(map(len, found.values())) >= 3:
                return found
            assert time.monotonic() < deadline, found

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`gateway …`."""
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments, "--admin", self.admin],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def scrape(self) -> dict[str, float]:
        """Every metric, its label sets added up; and each with its labels."""
        found: dict[str, float] = {}
        for line in self.text("/metrics").text.splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
                bare = name.partition("{")[0]
                if bare != name:
                    found[bare] = found.get(bare, 0) + float(value)
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    routes = tmp_path_factory.mktemp("workers") / "routes.yaml"
    routes.write_text(ROUTES)
    arguments = ("--workers", str(WORKERS))
    with gateway(routes, arguments=arguments, admin="127.0.0.1:0") as process:
        site = Site(process, routes)
        site.ready()
        yield site


def test_every_request_is_found_whoever_served_it(site: Site) -> None:
    """In the list, newest first, each with its worker; alone; and by `gateway why`."""
    served = site.send_to_all("/found")

    rows = site.get("/requests?limit=1000")["requests"]
    ends = [ended(row) for row in rows]
    assert len(rows) == site.sent == sum(map(len, served.values()))
    assert ends == sorted(ends, reverse=True)
    assert len(site.get("/requests?limit=7")["requests"]) == 7
    assert site.get("/requests?path=/none")["requests"] == []
    assert site.text("/requests?colour=red").status_code == 400
    assert site.text("/requests/none").status_code == 404
    for number, ids in served.items():
        story = site.get(f"/requests/{ids[0]}")
        assert (story["id"], story["worker"]["number"]) == (ids[0], number)
    told = site.command("why", served[2][0])
    assert told.returncode == 0, told.stderr
    assert f"by worker 2 (pid {site.get('/status')['workers'][2]['pid']})" in told.stdout


def test_rates_and_durations_are_those_of_all(site: Site) -> None:
    """`/stats.json`, `gateway top`, the console's pages: as many requests as were sent."""
    before = site.sent
    site.send_to_all("/counted")
    sent = site.sent - before
    path = "/stats.json?seconds=60"
    told = site.until(path, lambda told: told["total"]["requests"] == site.sent)

    (route,) = told["routes"]
    assert (route["route"], route["requests"]) == ("hello", site.sent)
    assert 0 < told["total"]["p50_ms"] <= told["total"]["p99_ms"]
    assert [row["worker"] for row in told["workers"]] == [0, 1, 2]
    once = json.loads(site.command("top", "--once", "--seconds", "60", "--json").stdout)
    assert once["total"]["requests"] == site.sent
    page = site.until("/console/api/overview", lambda page: page["rates"]["rps"] > sent / 12)
    assert page["state"] == "ready"
    assert page["routes"][0]["name"] == "hello"
    (listener,) = site.get("/console/api/routes")["listeners"]
    assert listener["hosts"][0]["routes"][1]["rps"] > 0
    assert any(edge.get("rps") for edge in site.get("/console/api/graph")["edges"])


def test_ejections_are_counted_by_worker_and_limits_added_up(site: Site) -> None:
    """An endpoint that only some send nothing to says how many; so do its limits."""
    while (endpoint := endpoint_of(site.get("/clusters?format=json")))["out_in"] == 0:
        site.send("/nobody", 1)
    assert endpoint["health"] == f"ejected in {endpoint['out_in']} of {WORKERS} workers"
    site.send_to_all("/nobody")
    site.until("/clusters?format=json", lambda told: out_of(told) == WORKERS)
    told = site.get("/clusters?format=json")
    endpoint = endpoint_of(told)

    assert (endpoint["health"], endpoint["workers"]) == ("ejected", WORKERS)
    assert endpoint["ejected_for"] > 0
    assert cluster_of(told)["limits"]["max_connections"]["limit"] == 10 * WORKERS
    assert f"{endpoint['address']}::health::ejected\n" in site.text("/clusters").text
    shown = site.get("/console/api/clusters")
    assert endpoint_of(shown)["health"] == "ejected"
    rows = site.until("/stats.json", lambda told: told["clusters"][0]["ejected"] == 1)["clusters"]
    assert rows[0]["unwell"] == 1
    overview = site.until("/console/api/overview", lambda page: page["ejected"] == 1)
    assert any("ejected from nobody.example" in item["text"] for item in overview["attention"])


def cluster_of(told: dict[str, Any]) -> dict[str, Any]:
    return next(row for row in told["clusters"] if row["name"] == "outbound|80||nobody.example")


def endpoint_of(told: dict[str, Any]) -> dict[str, Any]:
    return dict(cluster_of(told)["endpoints"][0])


def out_of(told: dict[str, Any]) -> int:
    return int(endpoint_of(told)["out_in"])


def test_one_scrape_is_of_all_workers(site: Site) -> None:
    """Requests, the configuration of each, and the processes themselves."""
    deadline = time.monotonic() + 20
    while (found := site.scrape())["istio_requests_total"] != site.sent or found["gateway_workers"] < WORKERS:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)

    digest = site.get("/status")["workers"][0]["digest"]
    assert found[f'gateway_config_info{{digest="{digest}"}}'] == WORKERS
    assert found["gateway_config_reloads_total"] == WORKERS
    assert (found["gateway_ready"], found["gateway_config_generation"]) == (1, 1)
    pids = [row["pid"] for row in site.get("/status")["workers"]]
    assert found["process_resident_memory_bytes"] > 1.5 * resident(pids[0])
    assert found["gateway_event_loop_lag_seconds_count"] >= WORKERS


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_levels_reload_and_status_concern_everybody(site: Site) -> None:
    """A change that one worker made alone would be half a change."""
    assert site.post("/logging?logger=gateway.control&level=error").json()["gateway.control"] == "error"
    assert {site.get("/logging")["gateway.control"] for _ in range(10)} == {"error"}
    assert site.post("/logging?level=loud").status_code == 400
    site.routes.write_text(ROUTES.replace("{string: hello}", "{string: changed}"))
    told = site.post("/reload").json()
    assert told["generation"] == 2
    assert {row["outcome"] for row in told["workers"]} <= {"applied", "unchanged"}
    status = site.get("/status")
    assert [(row["state"], row["generation"], row["behind"]) for row in status["workers"]] == [
        ("ready", 2, False)
    ] * WORKERS
    printed = site.command("status")
    assert printed.returncode == 0, printed.stdout
    assert printed.stdout.count("ready, generation 2\n") == WORKERS
    dump = site.get("/config_dump")
    assert (dump["generation"], len(dump["workers"])) == (2, WORKERS)
    assert [item["generation"] for item in site.get("/console/api/generations")["attempts"]] == [2, 1]
    assert site.get("/console/api/diff?old=1&new=2")["changes"]
    site.routes.write_text("kind: Nothing\n")
    refused = site.post("/reload")
    assert (refused.status_code, refused.json()["outcome"]) == (422, "refused")
    assert site.get("/console/api/generations")["refused"]
    assert site.command("status").returncode == 1
    site.routes.write_text(ROUTES)
    assert site.post("/reload").status_code == 200


def test_a_worker_that_does_not_answer_is_named_and_missed(site: Site) -> None:
    """Stopped, it costs the others' answers a second; killed, nothing; then its successor is there."""
    status = site.get("/status")
    victim_number, victim = 1, status["workers"][1]["pid"]
    name = f"worker {victim_number} (pid {victim})"
    os.kill(victim, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as pool:
            unready = pool.submit(site.text, "/ready")
            others = [
                pool.submit(site.get, path) for path in ("/status", "/requests", "/console/api/overview")
            ]
            levels = pool.submit(site.get, "/logging")
            clusters = pool.submit(site.text, "/clusters")
            top = pool.submit(site.command, "top", "--once")
            told = pool.submit(site.command, "status")
        assert unready.result().status_code == 503
        assert unready.result().text == f"{name} does not answer: {SILENT}\n"
        for other in others:
            assert [row.get("silent") for row in other.result()["workers"]] == [None, SILENT, None]
        attention = others[-1].result()["attention"]
        assert any(item["text"].startswith(f"W{name[1:]} does not answer") for item in attention)
        assert levels.result()[name] == f"does not answer: {SILENT}"
        assert clusters.result().text.startswith(f"# {name} does not answer")
        assert f"without {name}, which does not answer: {SILENT}" in top.result().stdout
        assert f"{name} does not answer: {SILENT}" in told.result().stdout
        assert told.result().returncode == 1
    finally:
        os.kill(victim, signal.SIGKILL)
    site.ready()
    rows = site.get("/status")["workers"]
    assert [row["worker"] for row in rows] == [0, 1, 2]
    assert rows[1]["pid"] not in {victim, 0}
    assert site.get("/status")["generation"] == status["generation"] or rows[1]["generation"] == 1
    assert not any(row["behind"] for row in rows)


def test_the_first_worker_is_nothing_special(site: Site) -> None:
    """The address stays where it is when it ends."""
    first = site.get("/status")["workers"][0]["pid"]
    os.kill(first, signal.SIGKILL)

    assert len(site.get("/status")["workers"]) == WORKERS
    site.until("/status", lambda told: told["workers"][0].get("state") == "ready")
    assert site.get("/status")["workers"][0]["pid"] != first


def test_a_drain_is_everybodys_and_leaves_nothing_behind(site: Site) -> None:
    """Nobody is ready any more; what they shared was nobody else's, and goes."""
    pid = site.get("/status")["workers"][0]["pid"]
    folders = {path.parent for path in Path(tempfile.gettempdir()).glob("gateway-*/0.worker")}
    (mine,) = {folder for folder in folders if (folder / "0.worker").read_text().startswith(f"{pid} ")}
    assert stat.S_IMODE(mine.stat().st_mode) == 0o700
    assert site.post("/drain").text == "draining\n"
    assert site.text("/ready").text.count(" is draining\n") == WORKERS
    assert site.get("/status")["state"] == "draining"
    assert site.process.stop() == 0
    assert not mine.exists()


@pytest.fixture
def folder() -> Iterator[Path]:
    """For temporary files; its name is short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="t") as name:
        yield Path(name)


def test_workers_that_uvicorn_starts_meet(tmp_path: Path, folder: Path) -> None:
    """The first has the address and asks the others; a new one takes the place of one that died."""
    routes = tmp_path / "routes.yaml"
    routes.write_text(ROUTES)
    port = free_port()
    env = {"GATEWAY_CONFIG": str(routes), "GATEWAY_ADMIN": f"127.0.0.1:{port}", "TMPDIR": str(folder)}
    with uvicorn("--workers", "2", env=env) as process:
        site = Site(process, routes, admin=port, workers=2)
        site.until("/status", lambda told: len(living(told)) == 2)
        assert set(site.send_to_all("/met")) == {0, 1}
        site.until("/stats.json?seconds=60", lambda told: told["total"]["requests"] == site.sent)
        wait_until(lambda: site.scrape().get("istio_requests_total") == site.sent)
        assert "no admin listener" not in process.output
        (meeting,) = folder.glob("gateway-*")
        assert stat.S_IMODE(meeting.stat().st_mode) == 0o700
        before = living(site.get("/status"))
        (victim,) = before - {holder(port, before)}
        os.kill(victim, signal.SIGKILL)
        told = site.until("/status", lambda told: len(living(told) - {victim}) == 2)
        assert [row["worker"] for row in told["workers"]] == [0, 1]
        assert process.stop() == 0
    assert list(folder.iterdir()) == []


def living(status: dict[str, Any]) -> set[int]:
    """Processes of the workers that answered."""
    return {row["pid"] for row in status["workers"] if "state" in row}


def holder(port: int, pids: set[int]) -> int:
    """Which of the processes listens on a port."""
    inode = next(
        line.split()[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A" and int(line.split()[1].rpartition(":")[2], 16) == port
    )
    return next(
        pid
        for pid in pids
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink() and str(link.readlink()) == f"socket:[{inode}]"
    )
