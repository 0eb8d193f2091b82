"""Conditions of a route."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gateway.config.http_match import HTTPMatchRequest, is_claim


def problems(**fields: object) -> list[tuple[str, tuple[str | int, ...]]]:
    """(code, place) of everything refused."""
    try:
        HTTPMatchRequest.model_validate(fields)
    except ValidationError as error:
        return [
            (problem.code, (*item["loc"], *problem.at))
            for item in error.errors()
            for problem in item.get("ctx", {}).get("problems", ())
        ]
    return []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"uri": {"prefix": ""}}, []),
        ({"uri": {"regex": "*"}}, [("GW036", ("uri", "regex"))]),
        ({"uri": {"regex": "(?=x)"}}, [("GW036", ("uri", "regex"))]),
        ({"method": {"prefix": ""}}, [("GW037", ("method", "prefix"))]),
        ({"authority": {"exact": ""}}, []),
        ({"headers": {"x": {}}}, []),
        ({"headers": {"x": {"regex": "*"}}}, [("GW036", ("headers", "x", "regex"))]),
        ({"headers": {"x": {"prefix": ""}}}, [("GW037", ("headers", "x", "prefix"))]),
        ({"headers": {"a b": {}}}, [("GW039", ("headers", "a b"))]),
        ({"headers": {"": {}}}, [("GW039", ("headers", ""))]),
        ({"headers": {":method": {"exact": "GET"}}}, []),
        ({"headers": {"@request.auth.claims.a.b": {"exact": "x"}}}, []),
        ({"headers": {"@request.auth.claims[a][b]": {"exact": "x"}}}, []),
        ({"headers": {"@request.auth.claim.a": {}}}, [("GW039", ("headers", "@request.auth.claim.a"))]),
        ({"withoutHeaders": {"x": None, "y": {"regex": "*"}, "z": {}}}, []),
        ({"withoutHeaders": {"x": {"prefix": ""}}}, [("GW037", ("withoutHeaders", "x", "prefix"))]),
        ({"queryParams": {"x": None, "a b": {"regex": "*"}}}, []),
        ({"queryParams": {"": {}}}, [("GW039", ("queryParams", ""))]),
        ({"sourceNamespace": "Prod"}, [("GW026", ("sourceNamespace",))]),
        ({"gateways": ["a/b/c"]}, [("GW035", ("gateways", 0))]),
    ],
)
def test_conditions(fields: dict[str, object], expected: list[object]) -> None:
    """Istio's rules for each condition, and presence where it may be meant."""
    assert expected == problems(**fields)


def test_a_null_header_condition_is_refused() -> None:
    """Null is presence in withoutHeaders and queryParams only."""
    with pytest.raises(ValidationError):
        HTTPMatchRequest.model_validate({"headers": {"x": None}})


@pytest.mark.parametrize("port", [0, 65536, "80", True])
def test_ports(port: object) -> None:
    """1 to 65535, as a number."""
    with pytest.raises(ValidationError):
        HTTPMatchRequest.model_validate({"port": port})


def test_claims_are_dotted_or_bracketed() -> None:
    """Both of Istio's notations; a claim has a name."""
    assert [is_claim("@request.auth.claims" + rest) for rest in (".a", ".a.b", "[a][b]", "", ".")] == [
        True,
        True,
        True,
        False,
        False,
    ]
