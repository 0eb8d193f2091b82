"""Real Envoy spreads requests over tiers of which some endpoints are not well as `loads` says."""

from __future__ import annotations

import asyncio
import http.client
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support import envoy
from support.backend import RecordingBackend

from gateway.upstream.panic import loads

Tiers = list[tuple[int, int]]
"""Well and all endpoints of each priority."""

SCENES: list[tuple[Tiers, int]] = [
    ([(3, 4), (2, 2)], 50),
    ([(2, 4), (2, 2)], 50),
    ([(1, 4), (2, 2)], 50),
    ([(0, 4), (2, 2)], 50),
    ([(1, 4), (0, 2)], 50),
    ([(0, 2), (0, 4)], 50),
    ([(0, 2), (0, 4)], 0),
    ([(1, 4), (1, 4)], 0),
    ([(1, 4), (1, 4)], 20),
    ([(1, 3), (1, 4), (1, 2)], 40),
    ([(2, 5)], 40),
    ([(1, 5)], 40),
]
REQUESTS = 200


def _cluster(number: int, tiers: Tiers, threshold: int, ports: list[int]) -> dict[str, Any]:
    """Every endpoint is a backend of its own, told by its port."""
    free = iter(ports)
    return {
        "name": f"c{number}",
        "lb_policy": "RANDOM",
        "common_lb_config": {"healthy_panic_threshold": {"value": threshold}},
        "load_assignment": {
            "cluster_name": f"c{number}",
            "endpoints": [
                {
                    "priority": priority,
                    "lb_endpoints": [
                        {
                            "health_status": "HEALTHY" if item < well else "UNHEALTHY",
                            "endpoint": {
                                "address": {
                                    "socket_address": {"address": "127.0.0.1", "port_value": next(free)}
                                }
                            },
                        }
                        for item in range(every)
                    ],
                }
                for priority, (well, every) in enumerate(tiers)
            ],
        },
    }


def _bootstrap(ports: list[int]) -> dict[str, Any]:
    types = "type.googleapis.com/envoy.extensions"
    loopback = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    manager = {
        "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{types}.filters.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"path": f"/{number}"}, "route": {"cluster": f"c{number}"}}
                        for number in range(len(SCENES))
                    ],
                }
            ]
        },
    }
    listener = {
        "name": "in",
        "address": loopback,
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    clusters = [_cluster(number, *scene, ports) for number, scene in enumerate(SCENES)]
    return {
        "admin": {"address": loopback},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    }


def _ask(ports: list[int], place: Path) -> list[Counter[int]]:
    """How many requests each endpoint of each scene got; -1 is a refusal."""
    found = []
    with envoy.Envoy(_bootstrap(ports), place) as running:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
        for number in range(len(SCENES)):
            counts: Counter[int] = Counter()
            for _ in range(REQUESTS):
                connection.request("GET", f"/{number}")
                response = connection.getresponse()
                body = response.read()
                counts[int(body) if response.status == 200 else -1] += 1
            found.append(counts)
        connection.close()
    return found


def _numbered(number: int) -> RecordingBackend:
    body = str(number)
    return RecordingBackend(f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())


@pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))
def test_envoy_spreads_requests_alike(tmp_path: Path) -> None:
    """Shares of tiers within five standard deviations, and the same endpoints get nothing at all."""

    async def main() -> list[Counter[int]]:
        backends = [_numbered(number) for number in range(9)]
        for backend in backends:
            await backend.__aenter__()
        try:
            return await asyncio.to_thread(_ask, [backend.port for backend in backends], tmp_path)
        finally:
            for backend in backends:
                await backend.__aexit__()

    for (tiers, threshold), counts in zip(SCENES, asyncio.run(main()), strict=True):
        first = 0
        for (well, every), load in zip(tiers, loads(tiers, threshold), strict=True):
            usable = every if load.everyone else well
            share = load.percent / 100 if usable else 0.0
            got = [counts[number] for number in range(first, first + every)]
            noise = 5 * (REQUESTS * share * (1 - share)) ** 0.5
            assert abs(sum(got) - REQUESTS * share) <= noise, (tiers, threshold, counts)
            assert not any(got[usable:]), (tiers, threshold, counts)
            first += every
        nobody = sum(counts.values()) == counts[-1]
        assert nobody == (not threshold and not any(well for well, _ in tiers))
