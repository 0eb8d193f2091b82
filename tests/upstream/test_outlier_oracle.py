"""Real Envoy and the detector, told the same story, eject at the same attempt and for the same reason."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support import envoy
from support.clock import FakeClock
from support.upstreams import cluster_of, only

from gateway.config.outlier import OutlierDetection
from gateway.export.envoy_cluster import outlier_detection
from gateway.upstream.errors import UpstreamError, protocol_error, terminated
from gateway.upstream.outlier import Detector, Reason

WRITTEN: dict[str, dict[str, Any]] = {
    "defaults": {},
    "three 5xx": {"consecutive_5xx_errors": 3},
    "gateway errors": {"consecutive_gateway_errors": 3, "consecutive_5xx_errors": 0},
    "gateway errors before 5xx": {"consecutive_gateway_errors": 2, "consecutive_5xx_errors": 4},
    "5xx before gateway errors": {"consecutive_gateway_errors": 5, "consecutive_5xx_errors": 3},
    "as in 1.7": {"consecutive_errors": 3},
    "split": {"split_external_local_origin_errors": True, "consecutive_5xx_errors": 3},
    "split, once": {"split_external_local_origin_errors": True, "consecutive_local_origin_failures": 1},
}
STORIES = 10
"""Random stories of each."""
ANSWERS = ("200", "404", "500", "501", "502", "503", "504", "gone", "cut")
LONGEST = 60

Story = list[str]


def told(answer: str) -> tuple[int, UpstreamError | None]:
    """What the detector hears of an answer."""
    if answer == "gone":
        return 0, terminated(sent=True)
    if answer == "cut":
        return 200, protocol_error("cut")
    return int(answer), None


def story(written: OutlierDetection, rng: Random) -> tuple[Story, Reason]:
    """Answers up to the one that ejects, by the detector's account."""
    while True:
        cluster = cluster_of(1, clock=FakeClock(), outlier=written)
        detector = Detector(cluster.pool, written)
        weights = [1, 1, *[rng.choice((1, 2, 6)) for _ in ANSWERS[2:]]]
        answers = []
        for _ in range(LONGEST):
            answers += rng.choices(ANSWERS, weights)
            detector.record(only(cluster), *told(answers[-1]), 0.0)
            if detector.active:
                (reason,) = (reason for reason, count in detector.ejections.items() if count)
                return answers, reason


async def _play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers what the request's last path segment asks for."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            answer = head.split(b" ", 2)[1].rsplit(b"/", 1)[1].decode()
            if answer == "gone":
                return
            if answer == "cut":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc")
                await writer.drain()
                return
            writer.write(f"HTTP/1.1 {answer} X\r\ncontent-length: 0\r\n\r\n".encode())
    except (asyncio.IncompleteReadError, ConnectionError):
        return
    finally:
        writer.close()


def _bootstrap(port: int, written: list[OutlierDetection]) -> dict[str, Any]:
    """One cluster for each story, all with the same single endpoint."""
    types = "type.googleapis.com/envoy.extensions"
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    clusters = [
        {
            "name": f"c{number}",
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": f"c{number}",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
            "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
            "outlier_detection": outlier_detection(item),
        }
        for number, item in enumerate(written)
    ]
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "delayed_close_timeout": "0.01s",
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": f"/{number}/"}, "route": {"cluster": f"c{number}"}}
                        for number in range(len(written))
                    ],
                }
            ]
        },
    }
    listener = {
        "name": "in",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    return {"admin": admin, "static_resources": {"listeners": [listener], "clusters": clusters}}


def _ask(port: int, number: int, answers: Story) -> None:
    for answer in answers:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", f"/{number}/{answer}")
        try:
            connection.getresponse().read()
        except (http.client.HTTPException, ConnectionError):
            assert answer == "cut"
        connection.close()


def _ejections(running: envoy.Envoy) -> dict[int, Counter[str]]:
    """What Envoy enforced, by cluster."""
    found: dict[int, Counter[str]] = {}
    for name, count in running.stats("outlier_detection.ejections_enforced").items():
        number = int(name.split(".")[1][1:])
        found.setdefault(number, Counter())[name.rpartition("ejections_enforced_")[2]] += count
    return {number: +counts for number, counts in found.items() if +counts}


def _tell(port: int, told_to: list[tuple[OutlierDetection, Story]], place: Path) -> tuple[Any, Any]:
    """What Envoy had ejected before the last answer of each story, and after it."""
    with envoy.Envoy(_bootstrap(port, [written for written, _ in told_to]), place) as running:
        for number, (_, answers) in enumerate(told_to):
            _ask(running.port, number, answers[:-1])
        before = _ejections(running)
        for number, (_, answers) in enumerate(told_to):
            _ask(running.port, number, answers[-1:])
        deadline = time.monotonic() + 10
        while len(after := _ejections(running)) < len(told_to) and time.monotonic() < deadline:
            time.sleep(0.02)
        return before, after


@pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))
def test_envoy_ejects_at_the_same_attempt_for_the_same_reason(tmp_path: Path) -> None:
    """Random stories of good and bad answers; none is ejected one answer early or late."""
    rng = Random(7)
    told_to, reasons = [], []
    for fields in WRITTEN.values():
        written = OutlierDetection(**fields)
        for _ in range(STORIES):
            answers, reason = story(written, rng)
            told_to.append((written, answers))
            reasons.append(reason)

    async def main() -> tuple[Any, Any]:
        server = await asyncio.start_server(_play, "127.0.0.1", 0)
        try:
            port = server.sockets[0].getsockname()[1]
            return await asyncio.to_thread(_tell, port, told_to, tmp_path)
        finally:
            server.close()

    before, after = asyncio.run(main())

    assert before == {}
    assert after == {number: Counter({str(reason): 1, "total": 1}) for number, reason in enumerate(reasons)}
    assert set(reasons) == set(Reason), "every reason was among them"
