"""HTTPMatchRequest as Envoy's RouteMatch (config.route.v3).

Lifetime: config.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gateway.config.http_match import is_claim

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.fields import StringMatch
    from gateway.config.http_match import HTTPMatchRequest

CLAIMS = "@request.auth.claims"
JWT = "envoy.filters.http.jwt_authn"
_PART = re.compile(r"\.([^.\[\]]+)|\[([^\[\]]+)\]")


def route_match(match: HTTPMatchRequest | None) -> dict[str, Any]:
    """All conditions of one match entry; None matches everything.

    `port`, `gateways`, `sourceLabels` and `sourceNamespace` are decided while the listener is made.
    """
    if match is None:
        return {"prefix": "/"}
    rule = _path(match)
    headers = [
        *_pseudo(":scheme", match.scheme),
        *_pseudo(":method", match.method),
        *_pseudo(":authority", match.authority),
        *(_header(name, wanted) for name, wanted in match.headers.items() if not is_claim(name)),
        *(_without(name, wanted) for name, wanted in match.without_headers.items() if not is_claim(name)),
    ]
    if headers:
        rule["headers"] = headers
    claims = [
        *(_claim(name, wanted) for name, wanted in match.headers.items() if is_claim(name)),
        *(
            {**_claim(name, wanted), "invert": True}
            for name, wanted in match.without_headers.items()
            if is_claim(name)
        ),
    ]
    if claims:
        rule["dynamic_metadata"] = claims
    if match.query_params:
        rule["query_parameters"] = _query(match.query_params)
    return rule


def string_match(wanted: StringMatch) -> dict[str, Any]:
    """A StringMatch that is not presence as Envoy's StringMatcher."""
    if wanted.exact is not None:
        return {"exact": wanted.exact}
    if wanted.prefix is not None:
        return {"prefix": wanted.prefix}
    assert wanted.regex is not None
    return {"safe_regex": {"regex": wanted.regex}}


def _path(match: HTTPMatchRequest) -> dict[str, Any]:
    uri = match.uri
    if uri is None or uri.presence:
        return {"prefix": "/"}
    if uri.regex is not None:
        return {"safe_regex": {"regex": uri.regex}}
    rule: dict[str, Any] = {"prefix": uri.prefix} if uri.exact is None else {"path": uri.exact}
    if match.ignore_uri_case:
        rule["case_sensitive"] = False
    return rule


def _pseudo(name: str, wanted: StringMatch | None) -> list[dict[str, Any]]:
    return [] if wanted is None else [_header(name, wanted)]


def _header(name: str, wanted: StringMatch | None) -> dict[str, Any]:
    if wanted is None or wanted.presence:
        return {"name": name, "present_match": True}
    return {"name": name, "string_match": string_match(wanted)}


def _without(name: str, wanted: StringMatch | None) -> dict[str, Any]:
    rule = {**_header(name, wanted), "invert_match": True}
    if "string_match" in rule:
        rule["treat_missing_header_as_empty"] = True
    return rule


def _claim(name: str, wanted: StringMatch | None) -> dict[str, Any]:
    """A claim, or a member of a list, in what the JWT filter leaves of a token that it verified."""
    path = [dotted or bracketed for dotted, bracketed in _PART.findall(name.removeprefix(CLAIMS))]
    text = {"string_match": {"safe_regex": {"regex": "(?s).*"}}}
    if wanted is not None and not wanted.presence:
        text = {"string_match": string_match(wanted)}
    return {
        "filter": JWT,
        "path": [{"key": key} for key in ("payload", *path)],
        "value": {"or_match": {"value_matchers": [text, {"list_match": {"one_of": text}}]}},
    }


def _query(wanted: Mapping[str, StringMatch | None]) -> list[dict[str, Any]]:
    return [
        {"name": name, "present_match": True}
        if match is None or match.presence
        else {"name": name, "string_match": string_match(match)}
        for name, match in wanted.items()
    ]
