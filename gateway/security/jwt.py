"""RequestAuthentication as a check: a request without token passes, one with a bad token does not.

Lifetime: config.

Every token that stands where some rule looks must be verified by a rule that looks there. Envoy asks less:
one rule that is satisfied lets the tokens of the others through unread, and a backend may read any of them.
The first rule in the order of issuers says who is calling.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from gateway.security import jwt_failure as why
from gateway.security.jwt_cache import Verified, digest
from gateway.security.jwt_failure import Failure, refuse
from gateway.security.jwt_location import Location, remove_headers
from gateway.security.jwt_token import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from gateway.config.request_authentication import JWTRule, RequestAuthentication
    from gateway.http.reply import Reply
    from gateway.http.request import Request
    from gateway.security.jwt_provider import Provider

    Check = Callable[[Request, Random], Reply | None]

MOST_TOKENS = 8
"""Tokens of one request that are verified: more are an attack on the processor."""


class KeyStore(Protocol):
    """Where the process keeps what it knows of issuers."""

    def provider(self, rule: JWTRule) -> Provider:
        """What verifies by `rule`; the same object for rules that say the same. From any thread."""


def compile_jwt(
    policies: Sequence[RequestAuthentication], keys: KeyStore, *, clock: Callable[[], float] = time.time
) -> Check | None:
    """The check of all these policies together; None when they have no rule.

    It sets `claims` and `request_principal` of a request, takes out of it the headers that only we may write
    and the tokens that are not to be forwarded, and refuses with 401, or 403 for a foreign audience.
    `clock`: seconds since the epoch.
    """
    rules = sorted(
        (rule for policy in policies for rule in policy.spec.jwt_rules), key=lambda rule: rule.issuer or ""
    )
    providers = list(dict.fromkeys(keys.provider(rule) for rule in rules))
    if not providers:
        return None
    outputs = frozenset[bytes]().union(*(provider.outputs for provider in providers))
    return _check(providers, outputs, clock)


def _places(providers: Sequence[Provider]) -> dict[Location, tuple[Provider, ...]]:
    """Who looks where, both in order."""
    places: dict[Location, tuple[Provider, ...]] = {}
    for provider in providers:
        for location in provider.locations:
            places[location] = (*places.get(location, ()), provider)
    return places


def _check(providers: Sequence[Provider], outputs: frozenset[bytes], clock: Callable[[], float]) -> Check:
    rank = {provider: number for number, provider in enumerate(providers)}
    watched = tuple((place, place.tokens, trusted) for place, trusted in _places(providers).items())

    def check(request: Request, rng: Random) -> Reply | None:
        del rng
        if outputs and not request.header_map.keys().isdisjoint(outputs):
            remove_headers(request, outputs)
        found: list[Found] | None = None
        for place, tokens, trusted in watched:
            for token in tokens(request):
                if found is None:
                    found = [(token, place, trusted)]
                else:
                    found.append((token, place, trusted))
        if found is None or (request.method == "OPTIONS" and is_preflight(request)):
            return None
        now = clock()
        if len(found) == 1:
            token, place, trusted = found[0]
            key = digest(token)
            for provider in trusted:
                whom = provider.recall(key, now)
                if whom is not None:  # Nearly always, and then nothing more is to decide.
                    if not provider.forwards:
                        place.remove(request)
                    identify(request, whom)
                    return None
        return judge(request, found, rank, now)

    return check


Found = tuple[bytes, Location, "tuple[Provider, ...]"]
"""A token, where it stands, and who may vouch for it."""


def judge(request: Request, found: Sequence[Found], rank: dict[Provider, int], now: float) -> Reply | None:
    """Verifies what stands in a request: the reply that refuses it; None when we know who is calling."""
    if len(found) > MOST_TOKENS:
        return refuse(why.SEVERAL, request)
    accepted: dict[Provider, Verified] = {}
    for token, _, trusted in reversed(found):  # Envoy's order: of several bad ones, this is told of.
        provider, result = vouch(token, trusted, now)
        if isinstance(result, Failure):
            return refuse(result, request, provider.keys.renewed() if result in RENEWABLE else None)
        known = accepted.get(provider)
        if known is not None and known.principal != result.principal:
            return refuse(why.SEVERAL, request)
        accepted[provider] = result
    for _, place, trusted in found:
        if not any(provider.forwards for provider in trusted if provider in accepted):
            place.remove(request)
    identify(request, accepted[min(accepted, key=rank.__getitem__)])
    return None


def vouch(text: bytes, trusted: Sequence[Provider], now: float) -> tuple[Provider, Verified | Failure]:
    """The first that verifies a token; when none does, the one that says most about what is wrong."""
    key = digest(text)
    for provider in trusted:
        known = provider.recall(key, now)
        if known is not None:
            return provider, known
    token = parse(text)
    if isinstance(token, Failure):
        return trusted[0], token
    best, at = why.ISSUER, trusted[0]
    for provider in trusted:
        result = provider.verify(token, key, len(text), now)
        if isinstance(result, Verified):
            return provider, result
        if best is why.ISSUER:
            best, at = result, provider
    return at, best


RENEWABLE = frozenset({why.NO_KEY, why.FETCH})
"""Failures that other keys could mend."""


def identify(request: Request, whom: Verified) -> None:
    """Says who is calling, to policies, to routes and to the backend."""
    request.claims = whom.claims
    request.request_principal = whom.principal
    if whom.headers:
        request.headers.extend(whom.headers)
        request.header_map.update(whom.headers)
        request.repeated = len(request.header_map) != len(request.headers)


def is_preflight(request: Request) -> bool:
    """Whether a browser asks what it may send: such a request carries no credentials (Fetch 3.2.2)."""
    if request.method != "OPTIONS":
        return False
    return bool(request.header(b"origin") and request.header(b"access-control-request-method"))
