"""One JWT rule at work: from a token to whom it speaks for, or to why not.

Lifetime: process; rules that say the same share it across reloads and policies.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gateway.security import jwt_failure as why
from gateway.security.claims import ALWAYS_SPLIT, header_value, named, principal, with_lists
from gateway.security.jwt_cache import TokenCache, Verified
from gateway.security.jwt_location import locations

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.config.request_authentication import JWTRule
    from gateway.security.jwks import Keys
    from gateway.security.jwt_failure import Failure
    from gateway.security.jwt_token import Token

CLOCK_SKEW = 60
"""Seconds by which clocks may differ, as in Envoy."""


class Provider:
    """An issuer with its keys, as one rule describes it."""

    __slots__ = (
        "_audiences",
        "_claims",
        "_issuer",
        "_payload",
        "_split",
        "_vouched",
        "cache",
        "forwards",
        "keys",
        "rule",
    )

    def __init__(self, rule: JWTRule, keys: Keys) -> None:
        self.rule = rule
        self.keys = keys
        self.cache = TokenCache()
        self.forwards = bool(rule.forward_original_token)
        """Whether the backend sees the token."""
        self._issuer = rule.issuer or ""
        self._audiences = frozenset(map(_plain, rule.audiences))
        self._split = frozenset((*ALWAYS_SPLIT, *rule.space_delimited_claims))
        self._payload = (rule.output_payload_to_header or "").lower().encode()
        self._claims = tuple(
            (item.header.lower().encode(), item.claim) for item in rule.output_claim_to_headers
        )
        self._vouched = keys.current

    def __repr__(self) -> str:
        return f"<Provider {self._issuer or '-'} {self.keys!r} cached {len(self.cache)}>"

    @property
    def locations(self) -> tuple[Any, ...]:
        """Where its tokens stand."""
        return tuple(locations(self.rule))

    @property
    def outputs(self) -> frozenset[bytes]:
        """The headers it writes, and names a backend may take for them."""
        names = [name for name, _ in self._claims]
        return frozenset(variant for name in (*names, self._payload) if name for variant in _variants(name))

    def recall(self, key: bytes, now: float) -> Verified | None:
        """A token that was verified before, by its digest; None: not, or it has expired by `now`."""
        if self.keys.current is not self._vouched:
            self.cache.clear()
            self._vouched = self.keys.current
        return self.cache.get(key, now)

    def verify(self, token: Token, key: bytes, size: int, now: float) -> Verified | Failure:
        """Whom a token of `size` bytes speaks for at `now` (seconds since the epoch), or why for nobody.

        Call `recall` with its digest first. Never raises.
        """
        failure = self._failure(token, now)
        if failure is not None:
            return failure
        verified = self._verified(token, size)
        self.cache.put(key, verified)
        return verified

    def _failure(self, token: Token, now: float) -> Failure | None:
        """What is wrong with a well-formed token, in Envoy's order."""
        if self._issuer and token.issuer != self._issuer:
            return why.ISSUER
        if now + CLOCK_SKEW < token.valid_from:
            return why.NOT_YET
        if token.expires_at is not None and now > token.expires_at + CLOCK_SKEW:
            return why.EXPIRED
        if self._audiences and self._audiences.isdisjoint(map(_plain, token.audiences)):
            return why.AUDIENCE
        keys = self.keys.current
        return self.keys.absent if keys is None else keys.check(token)

    def _verified(self, token: Token, size: int) -> Verified:
        return Verified(
            with_lists(token.payload, self._split),
            principal(token.issuer, token.subject),
            math.inf if token.expires_at is None else token.expires_at + CLOCK_SKEW,
            tuple(self._headers(token)),
            size,
        )

    def _headers(self, token: Token) -> Iterator[tuple[bytes, bytes]]:
        if self._payload:
            yield self._payload, token.payload_text
        for header, claim in self._claims:
            value = header_value(named(token.payload, claim))
            if value is not None:
                yield header, value


def _plain(audience: str) -> str:
    """An audience without scheme and final slash: Envoy does not compare them."""
    for scheme in ("http://", "https://"):
        if audience.startswith(scheme):
            audience = audience.removeprefix(scheme)
            break
    return audience.removesuffix("/")


def _variants(name: bytes) -> Iterable[bytes]:
    """A header name and those that CGI and WSGI read as the same: `-` and `_` are one to them."""
    return {name, name.replace(b"_", b"-"), name.replace(b"-", b"_")}
