"""Path rewriting, and rewrites that would escape what was matched."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.routing import request

from gateway.config.http_actions import HTTPRewrite
from gateway.config.http_match import HTTPMatchRequest
from gateway.routing.rewrite import compile_guard, compile_rewrite

DICE = random.Random(1)


def parts(rewrite: dict[str, Any], match: dict[str, Any] | None) -> tuple[Any, Any]:
    """The compiled rewrite and its guard."""
    rule = HTTPRewrite.model_validate(rewrite)
    entry = None if match is None else HTTPMatchRequest.model_validate(match)
    return compile_rewrite(rule, entry), compile_guard(rule, entry)


@pytest.mark.parametrize(
    ("uri", "match", "path", "expected"),
    [
        ("/v2", {"uri": {"prefix": "/api"}}, "/api/x", "/v2/x"),
        ("/", {"uri": {"prefix": "/a/"}}, "/a/x", "/x"),
        ("/", {"uri": {"prefix": "/a"}}, "/a/x", "//x"),
        ("/b", {"uri": {"prefix": "/A"}, "ignoreUriCase": True}, "/a/X", "/b/X"),
        ("/new", {"uri": {"exact": "/old"}}, "/old", "/new"),
        ("/new", {"uri": {"regex": "/old/.*"}}, "/old/x", "/new"),
        ("/v2", None, "/x", "/v2x"),
        ("/v2", {"uri": {"prefix": ""}}, "/x", "/v2/x"),
        ("/v2/", {"method": {"exact": "GET"}}, "/x", "/v2/x"),
        ("/a b/\u00e9", {"uri": {"exact": "/x"}}, "/x", "/a%20b/%C3%A9"),
    ],
)
def test_uri_replaces_what_matched(uri: str, match: dict[str, Any] | None, path: str, expected: str) -> None:
    """The prefix as text, without mending slashes; all of an exact or regex match; `/` when there is none."""
    rewrite, _ = parts({"uri": uri}, match)

    assert expected.encode() == rewrite(path.encode())


@pytest.mark.parametrize(
    ("regex", "text", "path", "expected"),
    [
        ("^/service/([^/]+)(/.*)$", "\\2/instance/\\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
        ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
        ("^(.*?)one(.*)$", "\\1two\\2", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"),
        ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"),
        ("b*", "-", "/abba", "-/-a-a-"),
        ("/(a)|/(b)", "/[\\0\\2]", "/a/b", "/[/a]/[/bb]"),
        ("/x", "/\\\\y z", "/x", "/%5Cy%20z"),
        ("/none", "/y", "/x", "/x"),
    ],
)
def test_a_regex_rewrite_replaces_every_match(regex: str, text: str, path: str, expected: str) -> None:
    """RE2's GlobalReplace, with Envoy's own examples; groups that took no part are empty."""
    rewrite, _ = parts({"uriRegexRewrite": {"match": regex, "rewrite": text}}, None)

    assert expected.encode() == rewrite(path.encode())


@pytest.mark.parametrize(
    ("rewrite", "match", "path"),
    [
        ({"uri": "/"}, {"uri": {"prefix": "/api"}}, "/api../admin"),
        ({"uri": "/public/"}, {"uri": {"prefix": "/api"}}, "/api.."),
        ({"uri": "/"}, {"uri": {"prefix": "/api"}}, "/api..;x/admin"),
        (
            {"uriRegexRewrite": {"match": "^/api", "rewrite": "/"}},
            {"uri": {"prefix": "/api"}},
            "/api../admin",
        ),
        ({"uriRegexRewrite": {"match": "x", "rewrite": "."}}, None, "/a/xx/b"),
        ({"uriRegexRewrite": {"match": "^/", "rewrite": "x"}}, None, "/a"),
    ],
)
def test_a_rewrite_cannot_make_a_dot_segment(
    rewrite: dict[str, Any], match: dict[str, Any] | None, path: str
) -> None:
    """The request was authorized for another path than the backend would read: 400 (CVE-2026-48020)."""
    _, guard = parts(rewrite, match)

    assert guard(request(path), DICE).status == 400
    assert guard(request("/api/v1/x"), DICE) is None or not match


@pytest.mark.parametrize(
    ("rewrite", "match"),
    [
        ({"uri": "/v2/"}, {"uri": {"prefix": "/api/"}}),
        ({"uri": "/new"}, {"uri": {"exact": "/old"}}),
        ({"uri": "/v2/"}, None),
        ({"uri": "/v2"}, {"uri": {"prefix": ""}}),
        ({"authority": "b"}, {"uri": {"prefix": "/api"}}),
    ],
)
def test_a_rewrite_of_whole_segments_needs_no_guard(
    rewrite: dict[str, Any], match: dict[str, Any] | None
) -> None:
    """What cannot happen is not checked for each request."""
    assert parts(rewrite, match)[1] is None


def test_an_unnormalized_path_keeps_its_dots() -> None:
    """With normalization off, only what the rewrite itself adds is refused."""
    _, guard = parts({"uri": "/v2"}, {"uri": {"prefix": "/api"}})

    assert guard(request("/api/../x"), DICE) is None
