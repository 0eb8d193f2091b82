"""GatewaySettings `rateLimits` and `jwks`: how much may be asked, how keys are fetched (Istio has neither).

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, Strict

from gateway.config.fields import (
    Bool,
    Checked,
    Duration,
    HostPattern,
    Many,
    Model,
    NonEmpty,
    Problem,
    rejection,
)
from gateway.config.names import is_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLIENT_ADDRESS, PRINCIPAL, PATH, HEADER, CLAIM = "clientAddress", "principal", "path", "header:", "claim:"


def _key_part(value: str) -> str:
    if value in {CLIENT_ADDRESS, PRINCIPAL, PATH}:
        return value
    if value.startswith(HEADER):
        if not is_token(value.removeprefix(HEADER)):
            raise rejection(Problem("GW039", f'"{value.removeprefix(HEADER)}" is not a header name'))
        return value
    if value.startswith(CLAIM) and value != CLAIM:
        return value
    known = f"{CLIENT_ADDRESS}, {PRINCIPAL}, {PATH}, {HEADER}NAME or {CLAIM}NAME"
    raise rejection(Problem("GW033", f'"{value}" is not what requests can be told apart by: {known}'))


def _path(value: str) -> str:
    if not value.startswith("/"):
        raise rejection(Problem("GW035", f'"{value}" is not the beginning of a path: it begins with "/"'))
    return value


KeyPart = Annotated[str, Strict(), AfterValidator(_key_part)]
"""`clientAddress`, `principal`, `path`, `header:NAME` or `claim:NAME`."""
Amount = Annotated[int, Strict(), Field(ge=1, le=10**9)]


class RateLimitMatch(Model):
    """Which requests are counted; each list that is given must have something that fits."""

    hosts: Many[HostPattern] = ()
    """Hosts, `*.suffix` or `*`; default: any."""
    paths: Many[Annotated[str, Strict(), AfterValidator(_path)]] = ()
    """Beginnings of the path; default: any."""
    routes: Many[NonEmpty] = ()
    """Names of routes (`http[].name` of a VirtualService); default: any request, also one without route."""


class RateLimit(Checked):
    """So many requests in so much time, for each key."""

    name: NonEmpty
    match: RateLimitMatch = RateLimitMatch()
    key: Many[KeyPart] = (CLIENT_ADDRESS,)
    """What requests are told apart by, together; `[]`: they all count as one."""
    requests: Amount
    """How many, on average."""
    per: Duration = 1.0
    """Seconds in which so many are allowed."""
    burst: Amount | None = None
    """How many may come at once after a pause; default: as many as `requests`."""
    shared: Bool | None = None
    """Whether it is counted in `rateLimitStore`, for all processes together; default: when there is one."""

    def _rules(self) -> Iterator[Problem]:
        for index, part in enumerate(self.key):
            if part in self.key[:index]:
                yield Problem("GW043", f'"{part}" is in the key already', ("key", index))


def name_problems(limits: Sequence[RateLimit]) -> Iterator[Problem]:
    """Names that two limits have: a bucket belongs to a name."""
    names = [limit.name for limit in limits]
    for index, name in enumerate(names):
        if name in names[:index]:
            message = f'a rate limit is called "{name}" already'
            yield Problem("GW043", message, ("rateLimits", index, "name"))


class Jwks(Model):
    """How the keys of RequestAuthentication are fetched."""

    allow_http: Bool = False
    """Whether over plain HTTP, too, from other machines: who sits in between can then forge every token."""
