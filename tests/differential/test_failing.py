"""When things go wrong the gateway does what Envoy does: retries, timeouts, faults, mirrors, limits, ejections.

`scripts/fuzz` tries as many as one likes.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from support import envoy
from support.backend import dead_port

from differential.difference import compare
from differential.failing import BACKENDS, Scene, plays
from differential.gaps import KNOWN
from differential.play import Ask, Outcome, theatre

pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))


def timeless(outcome: Outcome) -> Outcome:
    """Without what is left of a timeout at a later try."""
    arrivals = []
    for arrival in outcome.arrivals:
        later = dict(arrival.headers).get("x-envoy-attempt-count") != "1"
        pairs = [
            (name, "a time" if later and name == "x-envoy-expected-rq-timeout-ms" else value)
            for name, value in arrival.headers
        ]
        arrivals.append(replace(arrival, headers=tuple(pairs)))
    return replace(outcome, arrivals=tuple(arrivals))


async def disagreements(scene: Scene, requests: list[Ask], folder: Path) -> list[str]:
    """What differs, told with the request."""
    found = []
    dead = dead_port()
    async with theatre(folder, lambda ports: scene.text(ports, dead), BACKENDS) as stage:
        for ask in requests:
            ours, theirs = map(timeless, await stage.ask(ask, scene.copies(ask)))
            rule = scene.rules[int(ask.header("x-rule")[0])]
            found += [f"{ask.data[:300]!r}\n  {rule}\n  {line}" for line in compare(ask, ours, theirs, KNOWN)]
    return found


@settings(
    max_examples=15,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(plays())
def test_any_failure_is_treated_alike(play: tuple[Scene, list[Ask]]) -> None:
    """Tries, their number, their answers, what the client gets, what mirrors get."""
    scene, requests = play
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(disagreements(scene, requests, Path(folder)))

    assert not found, "\n".join(found)
