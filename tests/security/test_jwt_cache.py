"""Verified tokens are remembered: whole, for as long as they are good, and only so many."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.token_check import TokenCheck
from support.tokens import NOW, rule, token

from gateway.security.jwt_cache import MOST_BYTES, MOST_TOKENS, TokenCache, Verified, digest

GOOD = token()
CHECK = TokenCheck(rule())


def test_a_remembered_token_expires() -> None:
    """At the second a fresh one would."""
    check = TokenCheck(rule())
    text = token(exp=NOW + 10)
    assert check.says(text) == "https://a/alice"
    check.clock.advance(70)
    assert check.says(text) == "https://a/alice"
    check.clock.advance(1)

    assert check.says(text) == "401 Jwt is expired"
    assert check.state.providers[0]["cached_tokens"] == 0


def test_what_fails_is_not_remembered() -> None:
    """A token that becomes valid is taken."""
    check = TokenCheck(rule())
    text = token(nbf=NOW + 100)
    assert check.says(text) == "401 Jwt not yet valid"
    check.clock.advance(100)

    assert check.says(text) == "https://a/alice"


@settings(max_examples=60)
@given(st.data())
def test_a_remembered_token_with_one_character_changed_is_refused(data: Any) -> None:
    """The cache answers for the whole token, nothing less."""
    assert CHECK.says(GOOD) == "https://a/alice"
    at = data.draw(st.integers(0, len(GOOD) - 1))
    to = data.draw(st.sampled_from("AZaz09-_.").filter(lambda char: char != GOOD[at]))

    assert CHECK.says(GOOD[:at] + to + GOOD[at + 1 :]).startswith("401 ")


def entry(size: int, expires_at: float = 10.0) -> Verified:
    return Verified({}, "", expires_at, (), size)


def test_the_cache_forgets_what_was_not_seen_for_longest() -> None:
    """It is bounded in number."""
    cache = TokenCache()
    for number in range(MOST_TOKENS):
        cache.put(b"%d" % number, entry(1))
    assert cache.get(b"0", 1.0) is not None
    cache.put(b"new", entry(1))

    assert (len(cache), cache.get(b"1", 1.0), cache.get(b"0", 1.0) is None) == (MOST_TOKENS, None, False)


def test_the_cache_is_bounded_in_bytes() -> None:
    """Large tokens leave room for fewer."""
    cache = TokenCache()
    for number in range(5):
        cache.put(b"%d" % number, entry(MOST_BYTES // 2))
    cache.put(b"4", entry(1))

    assert len(cache) == 2


def test_no_credential_is_kept() -> None:
    """What the cache is asked with cannot be turned back into a token."""
    assert len(digest(GOOD.encode())) == 32
    assert digest(GOOD.encode()) != digest(GOOD.encode() + b"=")
