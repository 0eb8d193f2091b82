"""Any configuration, any request: the gateway does what Envoy does.

`scripts/fuzz` tries as many as one likes and shrinks what it finds.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support import envoy
from support.backend import dead_port

from differential.difference import compare
from differential.gaps import KNOWN
from differential.generate import BACKENDS, Scene, scenes
from differential.play import Ask, theatre
from differential.requests import asks

pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))


async def disagreements(scene: Scene, requests: list[Ask], folder: Path) -> list[str]:
    """What differs, told with the request."""
    found = []
    dead = dead_port()
    async with theatre(folder, lambda ports: scene.text(ports, dead), BACKENDS) as stage:
        for ask in requests:
            ours, theirs = await stage.ask(ask)
            found += [f"{ask.data!r}\n  {line}" for line in compare(ask, ours, theirs, KNOWN)]
    return found


@settings(
    max_examples=30,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(scenes(), st.lists(asks(), min_size=8, max_size=16))
def test_any_request_gets_the_same_from_both(scene: Scene, requests: list[Ask]) -> None:
    """Status, headers, body, the chosen backend and the bytes it received."""
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(disagreements(scene, requests, Path(folder)))

    assert not found, "\n".join([*found, scene.text(dict.fromkeys(BACKENDS, 1), 2)])
