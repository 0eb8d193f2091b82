"""Filing routes; that the right one is found is a property (`tests/properties/test_routing.py`)."""

from __future__ import annotations

from typing import Any

import pytest
from support.routing import request

from gateway.config.http_match import HTTPMatchRequest
from gateway.routing.conditions import Condition, compile_conditions
from gateway.routing.index import FEW, compile_index


class Counted:
    """A route that counts how often its conditions are tried."""

    def __init__(self, number: int, match: dict[str, Any]) -> None:
        self.number = number
        self.tried = 0
        self.conditions = compile_conditions(HTTPMatchRequest.model_validate(match), port=None)
        for condition in self.conditions:
            condition.check = self._counting(condition)

    def _counting(self, condition: Condition) -> Any:
        check = condition.check

        def counting(asked: Any) -> Any:
            self.tried += 1
            return check(asked)

        return counting


def test_no_routes_match_nothing() -> None:
    """A virtual host may be empty."""
    assert compile_index([])(request()) is None


def test_a_first_route_that_takes_everything_is_the_answer() -> None:
    """Nothing is looked up for it."""
    routes = [Counted(0, {}), Counted(1, {"uri": {"exact": "/"}})]

    assert compile_index(routes)(request()) is routes[0]


@pytest.mark.parametrize(
    ("match", "path"),
    [
        (lambda n: {"uri": {"exact": f"/{n}"}}, "/400"),
        (lambda n: {"uri": {"prefix": f"/{n}/"}}, "/400/x"),
        (lambda n: {"uri": {"prefix": f"/{'x' * (n % 90)}{n}/"}}, f"/{'x' * 40}400/y"),
        (lambda n: {"uri": {"regex": f"/{n}/[a-z]+"}}, "/400/x"),
        (lambda n: {"uri": {"regex": f".*/{n}/[a-z]+"}}, "/v/400/x"),
        (lambda n: {"uri": {"exact": f"/A{n}"}, "ignoreUriCase": True}, "/a400"),
        (lambda n: {"headers": {"x-user": {"exact": f"{n}"}}}, "/"),
        (lambda n: {"headers": {"x-user": {"regex": f"{n}|x{n}"}}}, "/"),
        (lambda n: {"headers": {f"x-{n}": {"exact": "1"}}}, "/"),
        (lambda n: {"headers": {f"x-{n}": {}}}, "/"),
        (lambda n: {"queryParams": {"q": {"exact": f"{n}"}}}, "/"),
        (lambda n: {"authority": {"exact": f"h{n}"}}, "/"),
        (lambda n: {"uri": {"prefix": f"/{n % 20}/"}, "headers": {"x-user": {"exact": f"{n}"}}}, "/0/x"),
        (lambda n: {"uri": {"prefix": "/api/"}, "method": {"exact": "GET"}, "headers": {"x-user": {"regex": f"{n}|x{n}"}}}, "/api/x"),
    ],
)  # fmt: skip
def test_hardly_any_of_many_routes_is_tried(match: Any, path: str) -> None:
    """Of 500 routes that differ in one thing, the one that fits and a handful of neighbours at most."""
    routes = [Counted(number, match(number)) for number in range(500)]
    asked = request(path, {"x-user": "400", "x-400": "1"}, query="q=400", host="h400")

    assert compile_index(routes)(asked) is routes[400]
    assert sum(route.tried for route in routes) <= FEW


def test_a_catch_all_at_the_end_catches_what_is_left() -> None:
    """It is a candidate of every request, after all others."""
    routes = [Counted(number, {"uri": {"prefix": f"/{number}/"}}) for number in range(50)] + [Counted(50, {})]
    match = compile_index(routes)

    assert match(request("/7/x")) is routes[7]
    assert match(request("/x")) is routes[50]


def test_equal_demands_keep_their_order() -> None:
    """Of many routes for one path the first that holds wins, also beyond the first few."""
    routes = [
        Counted(number, {"uri": {"exact": "/a"}, "withoutHeaders": {"x-v": {"exact": f"{number}"}}})
        for number in range(30)
    ]
    match = compile_index(routes)

    assert match(request("/a")) is routes[0]
    assert match(request("/a", {"x-v": "0"})) is routes[1]


def test_routes_by_claims_are_tried_in_order() -> None:
    """A claim is no header, so nothing can be looked up for it: with and without a token the answer is right."""
    name = "@request.auth.claims.group"
    routes = [Counted(n, {"headers": {name: {"exact": f"g{n}"}}}) for n in range(40)]
    index, asked = compile_index(routes), request("/", {name: "g3"})
    assert index(asked) is None
    asked.claims = {"group": ["x", "g31", "g7"]}

    assert index(asked) is routes[7]
