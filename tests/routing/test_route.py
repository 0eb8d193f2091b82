"""Choosing among destinations."""

from __future__ import annotations

from collections import Counter

import pytest

from gateway.routing.route import Destination, Forwarding, Route, Source


def route(*weights: int) -> Route:
    destinations = tuple(Destination(None, f"c{number}", weight) for number, weight in enumerate(weights))
    source = Source("default/reviews", "default/reviews", 0, 1)
    return Route("canary", source, (), Forwarding(destinations=destinations))


@pytest.mark.parametrize("weights", [(90, 10), (1, 1, 1), (1, 99, 900), (7,)])
def test_every_draw_falls_where_the_weights_say(weights: tuple[int, ...]) -> None:
    """Over all draws below the total each destination gets exactly its weight."""
    chosen = route(*weights)

    counts = Counter(chosen.choose(draw).cluster_name for draw in range(sum(weights)))

    assert counts == {f"c{number}": weight for number, weight in enumerate(weights)}
    assert chosen.choose(2**32 - 1).cluster_name in counts


def test_a_route_is_legible() -> None:
    """It says its name and where it is written."""
    assert repr(route(1)) == "<Route canary of default/reviews http[0].match[1]>"
    assert route(1).virtual_service == "default/reviews"
    assert route(1).catches_all
