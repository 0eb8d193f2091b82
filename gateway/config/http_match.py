"""Which requests a VirtualService route takes: Istio's `HTTPMatchRequest`.

Lifetime: config.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gateway.config.fields import (
    Bool,
    Checked,
    FrozenMap,
    Labels,
    Many,
    Map,
    Namespace,
    Port,
    Problem,
    Str,
    StringMatch,
)
from gateway.config.names import is_token
from gateway.config.references import GatewayName  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CLAIM = re.compile(r"@request\.auth\.claims(?:\.[^.\[\]]+|\[[^\[\]]+\])+\Z")


def is_claim(name: str) -> bool:
    """Whether a header key stands for a claim of the verified JWT (`@request.auth.claims.group`)."""
    return _CLAIM.match(name) is not None


def _name_problem(name: str) -> str | None:
    if name.startswith("@request.auth."):
        return None if is_claim(name) else f'"{name}" is not a claim: write @request.auth.claims.NAME'
    plain = name.removeprefix(":")
    return None if is_token(plain) else f'"{name}" is not a header name'


class HTTPMatchRequest(Checked):
    """Conditions on one request; all that are given must hold."""

    name: Str | None = None
    """Appended to the route's name in logs; matches nothing."""
    uri: StringMatch | None = None
    """The canonical path, without query."""
    scheme: StringMatch | None = None
    """`http` or `https`."""
    method: StringMatch | None = None
    authority: StringMatch | None = None
    """The Host header as received, port included."""
    headers: Map[Str, StringMatch] = FrozenMap()
    """By lower-case header name; an empty matcher (`{}`) means present."""
    without_headers: Map[Str, StringMatch | None] = FrozenMap()
    """Each must not match; an empty matcher means absent."""
    query_params: Map[Str, StringMatch | None] = FrozenMap()
    """By parameter name, the first value; both as clients write them (`%20`, not a blank). An empty matcher
    means present."""
    ignore_uri_case: Bool | None = None
    """Compare `uri` without regard to case; exact and prefix only."""
    port: Port | None = None
    """The Gateway server's port the request came in on."""
    source_labels: Labels = FrozenMap()
    """Compared with this gateway's own labels, when `gateways` is empty."""
    source_namespace: Namespace | None = None
    """Compared with this gateway's own namespace, when `gateways` is empty."""
    gateways: Many[GatewayName] = ()
    """Replaces the VirtualService's `gateways` for this condition."""
    stat_prefix: Str | None = None
    """Accepted; statistics have no prefix here."""

    def _rules(self) -> Iterator[Problem]:
        for field in ("uri", "scheme", "method", "authority"):
            yield from _match_problems(getattr(self, field), (field,), uri=field == "uri")
        for field, matches in (
            ("headers", self.headers),
            ("withoutHeaders", self.without_headers),
            ("queryParams", self.query_params),
        ):
            if matches:
                yield from _map_problems(field, matches)
        if self.ignore_uri_case and self.uri is not None and self.uri.regex is not None:
            yield Problem(
                "GW051",
                "ignoreUriCase does nothing for a regex",
                ("ignoreUriCase",),
                "start the regex with (?i)",
                severity="warning",
                fatal=False,
            )


def _map_problems(field: str, matches: Mapping[str, StringMatch | None]) -> Iterator[Problem]:
    star = field != "headers"  # Istio refuses regex "*" in headers only; there `{}` says present.
    for name, match in matches.items():
        message = _name_problem(name) if field != "queryParams" else None
        if message is not None:
            yield Problem("GW039", message, (field, name))
        elif field == "queryParams" and not name:
            yield Problem("GW039", "the name of a query parameter is not empty", (field, name))
        yield from _match_problems(match, (field, name), star=star)


def _match_problems(
    match: StringMatch | None, at: tuple[str, ...], *, uri: bool = False, star: bool = False
) -> Iterator[Problem]:
    if match is None:
        return
    if match.regex == "*" and not star:
        hint = "write {} for presence" if at[0] == "headers" else 'write ".*" for any text'
        yield Problem("GW036", 'RE2 does not accept the regex "*"', (*at, "regex"), hint)
    if match.prefix == "" and not uri:
        yield Problem("GW037", "a prefix is not empty", (*at, "prefix"), "leave the matcher out")
