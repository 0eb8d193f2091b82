"""GatewaySettings `rateLimitStore`: where rate limits are counted for several processes (Istio has none).

Lifetime: config. Files are named here and opened when they are used.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field, Strict

from gateway.config.address import Address  # noqa: TC001 - pydantic reads the annotations
from gateway.config.fields import Bool, Checked, Duration, NonEmpty, Problem, rejection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config.rate_limit import RateLimit

MISSING: Final = "a Redis store needs the package redis: pip install 'asgi-gateway[redis]'"
_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")


def _prefix(value: str) -> str:
    if not _PREFIX.match(value):
        message = f'"{value}" is not a prefix of keys: write 1 to 64 letters, digits, and . _ : -'
        raise rejection(Problem("GW035", message))
    return value


class RedisTLS(Checked):
    """TLS to Redis; `{}` verifies its certificate against the system's authorities."""

    ca_certificates: NonEmpty | None = None
    """A file; default: the system's authorities."""
    client_certificate: NonEmpty | None = None
    private_key: NonEmpty | None = None
    insecure_skip_verify: Bool = False

    def _rules(self) -> Iterator[Problem]:
        if (self.client_certificate is None) != (self.private_key is None):
            there = "private_key" if self.client_certificate is None else "client_certificate"
            yield Problem("GW032", "clientCertificate and privateKey belong together", (there,))
        if self.insecure_skip_verify:
            if self.ca_certificates is not None:
                yield Problem("GW040", "insecureSkipVerify verifies nothing", ("ca_certificates",))
            message = "insecureSkipVerify: anyone on the path can pretend to be this Redis"
            yield Problem("GW091", message, ("insecureSkipVerify",), severity="warning")


class RedisStore(Checked):
    """One Redis server (5.0 or newer), or what speaks like one; not a Redis Cluster."""

    address: Address
    database: Annotated[int, Strict(), Field(ge=0, lt=2**16)] = 0
    username: NonEmpty | None = None
    password_file: NonEmpty | None = None
    """A file with the password and nothing else, read anew for each connection; a relative path starts at
    this document."""
    tls: RedisTLS | None = None
    """Default: none."""
    timeout: Duration = 0.02
    """Longest that a request waits for an answer; then Redis counts as failed."""
    prefix: Annotated[str, Strict(), AfterValidator(_prefix)] = "asgi-gateway"
    """What its keys begin with. Gateways with the same prefix share the limits that have the same name."""
    on_failure: Literal["LOCAL", "ALLOW", "DENY"] = "LOCAL"
    """While Redis does not answer: each process counts for itself; all pass; all get 500."""

    def _rules(self) -> Iterator[Problem]:
        if self.username is not None and self.password_file is None:
            yield Problem("GW032", "a username needs a passwordFile", ("username",))
        if find_spec("redis") is None:
            yield Problem("GW032", MISSING)


class RateLimitStore(Checked):
    """A store by its kind; there is one kind."""

    redis: RedisStore | None = None

    def _rules(self) -> Iterator[Problem]:
        if self.redis is None:
            yield Problem("GW032", "a store needs redis")


def is_shared(limit: RateLimit, store: RateLimitStore | None) -> bool:
    """Whether a limit is counted in the store."""
    return store is not None and limit.shared is not False


def store_problems(limits: Sequence[RateLimit], store: RateLimitStore | None) -> Iterator[Problem]:
    """Limits without the store they ask for, a store that no limit asks."""
    if store is None:
        for index, limit in enumerate(limits):
            if limit.shared:
                message = f'"{limit.name}" is to be shared, and there is no rateLimitStore'
                yield Problem("GW032", message, ("rateLimits", index, "shared"))
    elif not any(is_shared(limit, store) for limit in limits):
        message = "no rate limit is counted here"
        yield Problem("GW051", message, ("rateLimitStore",), severity="warning")
