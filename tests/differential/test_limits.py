"""Ejections and limits of clusters, request by request at both proxies."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from support import envoy
from support.raw import CutOff, Raw, Response
from support.upstreams import cluster_of, only
from support.waiting import until

from differential.difference import compare
from differential.gaps import KNOWN
from differential.generate import document
from differential.play import Ask, Outcome, Theatre, theatre
from gateway.config.outlier import OutlierDetection
from gateway.upstream.errors import terminated
from gateway.upstream.outlier import Detector

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))

EJECTING: tuple[dict[str, Any], ...] = (
    {"consecutive5xxErrors": 3},
    {"consecutiveGatewayErrors": 2, "consecutive5xxErrors": 0},
    {"consecutiveErrors": 5},
    {"consecutive5xxErrors": 0, "splitExternalLocalOriginErrors": True, "consecutiveLocalOriginFailures": 2},
    {},
)
LIMITS: dict[str, dict[str, Any]] = {
    "requests": {"http": {"http2MaxRequests": 1}},
    "pending": {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1}},
}


def configuration(policies: dict[str, dict[str, Any]], port: int, **more: Any) -> str:
    """A service for each trafficPolicy; all of them are the one backend. `more`: of GatewaySettings."""
    settings = {"admin": "off", "accessLog": {"encoding": "OFF"}, "serverName": "edge", **more}
    documents = [document("GatewaySettings", "s", settings, "gateway.asgi/v1")]
    for name, policy in policies.items():
        entry = {
            "hosts": [f"{name}.test"],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": port}}],
        }
        rule = {"route": [{"destination": {"host": f"{name}.test"}}], "retries": {"attempts": 0}}
        documents += [
            document("ServiceEntry", name, entry),
            *(
                [document("DestinationRule", name, {"host": f"{name}.test", "trafficPolicy": policy})]
                if policy
                else []
            ),
            document("VirtualService", name, {"hosts": [f"{name}.test"], "http": [rule]}),
        ]
    return "\n---\n".join(json.dumps(item) for item in documents)


def ejecting(policy: dict[str, Any], answers: list[str]) -> int:
    """Which answer ejects, by our own rules; -1: none does."""
    written = OutlierDetection.model_validate(policy["outlierDetection"])
    cluster = cluster_of(1, outlier=written)
    detector = Detector(cluster.pool, written)
    for index, answer in enumerate(answers):
        status, error = (0, terminated(sent=True)) if answer == "gone" else (int(answer), None)
        detector.record(only(cluster), status, error, 0.0)
        if detector.active:
            return index
    return -1


async def until_ejected(stage: Theatre, name: str) -> None:
    """Waits until Envoy's worker knows: its main thread ejects, a moment after the answer."""
    assert stage.envoy is not None
    pattern = f"^cluster.outbound.80..{name}.test.+membership_healthy$"
    async with asyncio.timeout(5):
        while list((await asyncio.to_thread(stage.envoy.stats, pattern)).values()) != [0]:
            await asyncio.sleep(0.002)


def test_endpoints_are_ejected_at_the_same_request(tmp_path: Path) -> None:
    """Random stories of failure, each at a cluster of its own, far into the time of ejection."""
    rng = Random(1)
    stories = {
        f"e{number}": (
            {
                "connectionPool": {"http": {"maxRequestsPerConnection": 1}},
                "outlierDetection": {
                    **rng.choice(EJECTING), "maxEjectionPercent": 100, "interval": "1h", "baseEjectionTime": "1h",
                },
            },
            rng.choices(("200", "404", "500", "503", "504", "gone"), (2, 1, 3, 3, 2, 3), k=14),
        )
        for number in range(40)
    }  # fmt: skip

    async def main() -> int:
        policies = {name: policy for name, (policy, _) in stories.items()}
        ejected = 0
        async with theatre(tmp_path, lambda ports: configuration(policies, ports["one"]), ["one"]) as stage:
            for name, (policy, answers) in stories.items():
                told = []
                last = ejecting(policy, answers)
                for index, answer in enumerate(answers):
                    ask = Ask.of("POST", f"/?answer={answer}", f"{name}.test")
                    ours, theirs = await stage.ask(ask)
                    told.append(ours.body)
                    assert compare(ask, ours, theirs, KNOWN) == [], (policy, answers)
                    if index == last:
                        await until_ejected(stage, name)
                ejected += b"no healthy upstream" in told
        return ejected

    assert asyncio.run(main()) > 20


async def refused(stage: Theatre, port: int, name: str) -> Outcome:
    """What the first of two gets while another holds the only place."""
    silent = Ask.of(target="/?answer=silent", host=f"{name}.test")
    async with Raw(port) as holder, Raw(port) as one, Raw(port) as other:
        before = stage.count()
        await holder.send(silent.data)
        await until(lambda: stage.count() > before)
        for raw in (one, other):
            await raw.send(silent.data)
        asking = [asyncio.create_task(raw.response()) for raw in (one, other)]
        done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        answer: Response = done.pop().result()
    return Outcome(answer.status, tuple(answer.headers), answer.body)


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_too_much_is_refused_alike(tmp_path: Path, name: str) -> None:
    """503, `x-envoy-overloaded`, and the words."""

    async def main() -> None:
        policies = {name: {"connectionPool": LIMITS[name]}}
        async with theatre(tmp_path, lambda ports: configuration(policies, ports["one"]), ["one"]) as stage:
            ours = await refused(stage, stage.ours, name)
            theirs = await refused(stage, stage.theirs, name)
            assert ours.status == 503
            assert ours.body.endswith(b"overflow")
            assert compare(Ask.of(), ours, theirs, KNOWN) == []

    asyncio.run(main())


def test_one_connection_too_many(tmp_path: Path) -> None:
    """503 here, the end of the connection there; and another one when there is room again."""

    async def one(port: int) -> list[int]:
        found = []
        async with Raw(port) as holder:
            await holder.send(Ask.of(host="a.test").data)
            found.append((await holder.response()).status)
            found.append(await status_of(port))
        async with asyncio.timeout(5):
            while await status_of(port) != 200:
                await asyncio.sleep(0.002)
        return found

    async def status_of(port: int) -> int:
        try:
            async with Raw(port) as raw:
                await raw.send(Ask.of(host="a.test").data)
                return (await raw.response()).status
        except (CutOff, ConnectionError):
            return 0

    async def main() -> tuple[list[int], list[int]]:
        limits = {"connections": 1}
        async with theatre(
            tmp_path, lambda ports: configuration({"a": {}}, ports["one"], limits=limits), ["one"]
        ) as stage:
            return await one(stage.ours), await one(stage.theirs)

    assert asyncio.run(main()) == ([200, 503], [200, 0])
