"""The command behind `scripts/fuzz`: configurations and requests without end, at both proxies.

A difference is shrunk, printed, and the search goes on; the exit status is 1 when there was any.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from support import envoy

from differential import test_failing, test_generated
from differential.failing import plays
from differential.generate import scenes
from differential.requests import asks

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

ROUND = 40
"""Configurations of a family until the other one has its turn."""
FAMILIES: dict[str, tuple[st.SearchStrategy[Any], Callable[..., Coroutine[Any, Any, list[str]]]]] = {
    "routing": (
        st.tuples(scenes(), st.lists(asks(), min_size=8, max_size=32)),
        test_generated.disagreements,
    ),
    "failing": (plays(32), test_failing.disagreements),
}


class Hunt:
    """What was tried, and what was found."""

    def __init__(self) -> None:
        self.configurations = self.requests = self.found = 0

    def round(self, name: str, count: int, number: int) -> None:
        """`count` configurations of a family; `number` makes them again."""
        strategy, disagreements = FAMILIES[name]

        @seed(number)
        @settings(
            max_examples=count,
            deadline=None,
            phases=(Phase.generate, Phase.shrink),
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def search(play: tuple[Any, list[Any]]) -> None:
            scene, requests = play
            with tempfile.TemporaryDirectory() as folder:
                found = asyncio.run(disagreements(scene, requests, Path(folder)))
            self.configurations += 1
            self.requests += len(requests)
            assert not found, "\n".join([*found, repr(scene)])

        try:
            search()
        except AssertionError as difference:
            self.found += 1
            say(f"--- {name}, --seed {number}\n{difference}")


def say(text: str) -> None:
    """At once: a search may be interrupted."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """Searches for as long as it is told; without an end, until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz", description="The gateway beside real Envoy, until they disagree."
    )
    parser.add_argument("--examples", type=int, help="requests to try; default: no end")
    parser.add_argument("--minutes", type=float, help="how long; default: no end")
    parser.add_argument("--seed", type=int, help="one round of what was printed with it")
    parser.add_argument("--family", choices=FAMILIES, help="only routing, or only failing")
    arguments = parser.parse_args()
    if why := envoy.unavailable():
        say(why)
        return 3
    logging.disable(logging.WARNING)
    hunt, begun = Hunt(), time.monotonic()
    families = [arguments.family] if arguments.family else list(FAMILIES)
    try:
        while True:
            for name in families:
                number = random.SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
                hunt.round(name, ROUND, number)
                minutes = (time.monotonic() - begun) / 60
                say(
                    f"{hunt.requests:,} requests in {hunt.configurations:,} configurations,"
                    f" {hunt.found} differ, {minutes:.1f} minutes",
                )
                if (
                    (arguments.examples is not None and hunt.requests >= arguments.examples)
                    or (arguments.minutes is not None and minutes >= arguments.minutes)
                    or (arguments.seed is not None and name == families[-1])
                ):
                    return 1 if hunt.found else 0
    except KeyboardInterrupt:
        return 1 if hunt.found else 0


if __name__ == "__main__":
    sys.exit(main())
