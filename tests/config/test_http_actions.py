"""Header operations, redirects, direct answers, rewrites."""

from __future__ import annotations

import base64

import pytest
from pydantic import BaseModel, ValidationError

from gateway.config.http_actions import (
    Headers,
    HTTPBody,
    HTTPDirectResponse,
    HTTPRedirect,
    HTTPRewrite,
    RegexRewrite,
    authorities,
)


def problems(model: type[BaseModel], fields: object) -> list[tuple[str, tuple[str | int, ...]]]:
    """(code, place) of everything refused."""
    try:
        model.model_validate(fields)
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
        ({"request": {"set": {"x": "1", "Host": "a", ":authority": "b"}, "remove": ["y"]}}, []),
        ({"request": {"set": {"x": "%REQ(:PATH)% %PROTOCOL% 5%% %START_TIME(%Y-%m)%"}}}, []),
        ({"request": {"set": {":path": "/"}}}, [("GW039", ("request", "set", ":path"))]),
        ({"request": {"add": {"a b": "1"}}}, [("GW039", ("request", "add", "a b"))]),
        ({"request": {"remove": ["x", "host"]}}, [("GW039", ("request", "remove", 1))]),
        ({"request": {"set": {"x": "a\nb"}}}, [("GW039", ("request", "set", "x"))]),
        ({"request": {"set": {"x": "50%"}}}, [("GW044", ("request", "set", "x"))]),
        ({"request": {"set": {"x": "%FOO%"}}}, [("GW044", ("request", "set", "x"))]),
        ({"request": {"set": {"x": "%REQ(a"}}}, [("GW044", ("request", "set", "x"))]),
        ({"response": {"set": {"host": "a"}}}, [("GW039", ("response", "set", "host"))]),
        ({"response": {"remove": [":status"]}}, [("GW039", ("response", "remove", 0))]),
    ],
)
def test_header_operations(fields: object, expected: list[object]) -> None:
    """Tokens, formats, and the request line out of reach except for the authority."""
    assert expected == problems(Headers, fields)


def test_authorities_are_found_in_any_case() -> None:
    """`Host` and `:authority` in set and add are host rewrites."""
    headers = Headers.model_validate(
        {"request": {"set": {"HOST": "a"}, "add": {":authority": "b", "x": "c"}}}
    )

    assert authorities(headers) == [
        ("headers", "request", "set", "HOST"),
        ("headers", "request", "add", ":authority"),
    ]
    assert authorities(None) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"uri": "/x", "redirectCode": 308}, []),
        ({"derivePort": "FROM_REQUEST_PORT"}, []),
        ({"scheme": "https"}, []),
        ({}, [("GW032", ())]),
        ({"redirectCode": 302}, [("GW032", ())]),
        ({"uri": "/a", "prefixRewrite": "/b"}, [("GW040", ("prefixRewrite",))]),
        ({"port": 1, "derivePort": "FROM_REQUEST_PORT"}, [("GW040", ("derivePort",))]),
        ({"uri": "/a", "redirectCode": 304}, [("GW037", ("redirectCode",))]),
        ({"uri": "/a\r\nx: y"}, [("GW039", ("uri",))]),
    ],
)
def test_redirects(fields: object, expected: list[object]) -> None:
    """Something changes, one way each, with a status that redirects."""
    assert expected == problems(HTTPRedirect, fields)


@pytest.mark.parametrize("fields", [{"scheme": "ftp"}, {"port": 0}])
def test_redirects_of_another_kind(fields: dict[str, object]) -> None:
    """Only http and https, only real ports."""
    with pytest.raises(ValidationError):
        HTTPRedirect.model_validate({"uri": "/", **fields})


@pytest.mark.parametrize("status", [199, 601, "200"])
def test_a_direct_answer_has_a_status(status: object) -> None:
    """200 to 600, as a number."""
    with pytest.raises(ValidationError):
        HTTPDirectResponse.model_validate({"status": status})


def test_bodies_are_text_or_base64() -> None:
    """Either, not both, at most 1 MiB."""
    assert bytes(HTTPBody(string="é").content) == "é".encode()
    assert bytes(HTTPBody(bytes=base64.b64encode(b"\x00\xff").decode()).content) == b"\x00\xff"
    assert bytes(HTTPBody().content) == b""
    assert problems(HTTPBody, {"bytes": "no base64!"}) == [("GW031", ("bytes",))]
    assert problems(HTTPBody, {"string": "a", "bytes": "YQ=="}) == [("GW040", ("bytes",))]
    assert problems(HTTPBody, {"string": "x" * (1024 * 1024 + 1)}) == [("GW037", ())]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"uri": "/"}, []),
        ({"authority": "x"}, []),
        ({"authority": "x", "uriRegexRewrite": {"match": "(a)", "rewrite": r"\0\1\\"}}, []),
        ({"uriRegexRewrite": {"match": "a", "rewrite": r"\1"}}, [("GW047", ("uriRegexRewrite", "rewrite"))]),
        (
            {"uriRegexRewrite": {"match": "(a)", "rewrite": r"\2"}},
            [("GW047", ("uriRegexRewrite", "rewrite"))],
        ),
        (
            {"uriRegexRewrite": {"match": "(a)", "rewrite": r"\a"}},
            [("GW047", ("uriRegexRewrite", "rewrite"))],
        ),
        (
            {"uriRegexRewrite": {"match": "(a)", "rewrite": "a\\"}},
            [("GW047", ("uriRegexRewrite", "rewrite"))],
        ),
        ({"uri": "new"}, [("GW035", ("uri",))]),
        ({"uri": " "}, [("GW035", ("uri",))]),
        ({}, [("GW032", ())]),
        ({"uri": "/", "uriRegexRewrite": {"match": "a", "rewrite": "b"}}, [("GW040", ("uriRegexRewrite",))]),
        ({"uriRegexRewrite": {"match": "(", "rewrite": "b"}}, [("GW036", ("uriRegexRewrite", "match"))]),
        ({"uriRegexRewrite": {"match": "a", "rewrite": ""}}, [("GW032", ("uriRegexRewrite", "rewrite"))]),
        ({"uri": "/ x\n"}, [("GW039", ("uri",))]),
    ],
)
def test_rewrites(fields: object, expected: list[object]) -> None:
    """One way to change the path, authority beside it."""
    assert expected == problems(HTTPRewrite, fields)


def test_both_parts_of_a_regex_rewrite_are_needed() -> None:
    """`match` without `rewrite` is incomplete."""
    with pytest.raises(ValidationError):
        RegexRewrite.model_validate({"match": "a"})
