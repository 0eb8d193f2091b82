"""Analyzer of regexes: is any longer than GatewaySettings allow?

Lifetime: config. Where the settings stand is known only when every document has been read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.config.codes import define

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.analysis.survey import Path, Survey
    from gateway.config.fields import StringMatch
    from gateway.config.findings import Finding
    from gateway.config.http_match import HTTPMatchRequest
    from gateway.config.virtual_service import HTTPRoute

define(
    "GW234",
    "regex that is too long",
    "error",
    "A regex of a VirtualService has at most 1024 bytes, as in Istio, or as many as limits.regexBytes of the"
    " GatewaySettings say. A long list of alternatives is clearer, and faster, as matches of their own.",
)


def long_regexes(survey: Survey) -> Iterator[Finding]:
    """Regexes with more bytes than `limits.regexBytes`; nothing is served with one."""
    most = survey.config.settings.spec.limits.regex_bytes
    for service in survey.config.virtual_services:
        for number, http in enumerate(service.spec.http):
            for path, pattern in _patterns(http):
                size = len(pattern.encode(errors="replace")) if len(pattern) * 4 > most else 0
                if size > most:
                    message = f"this regex has {size} bytes; at most {most} (limits.regexBytes)"
                    found = survey.finding(service, ("spec", "http", number, *path), "GW234", message)
                    yield replace(found, fatal=True)


def _patterns(http: HTTPRoute) -> Iterator[tuple[Path, str]]:
    for index, match in enumerate(http.match):
        for path, text in _texts(match):
            if text is not None and text.regex is not None:
                yield ("match", index, *path, "regex"), text.regex
    for index, origin in enumerate(http.cors_policy.allow_origins if http.cors_policy is not None else ()):
        if origin.regex is not None:
            yield ("corsPolicy", "allowOrigins", index, "regex"), origin.regex
    if http.rewrite is not None and http.rewrite.uri_regex_rewrite is not None:
        yield ("rewrite", "uriRegexRewrite", "match"), http.rewrite.uri_regex_rewrite.match


def _texts(match: HTTPMatchRequest) -> Iterator[tuple[Path, StringMatch | None]]:
    yield ("uri",), match.uri
    yield ("scheme",), match.scheme
    yield ("method",), match.method
    yield ("authority",), match.authority
    for field, texts in (
        ("headers", match.headers),
        ("withoutHeaders", match.without_headers),
        ("queryParams", match.query_params),
    ):
        for name, text in texts.items():
            yield (field, name), text
