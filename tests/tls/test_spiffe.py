"""Only a canonical SPIFFE ID names anybody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tls.spiffe import MAX_BYTES, principal, trust_domain

SEGMENT = st.text("abzAZ09._-", min_size=1, max_size=10).filter(lambda text: text not in {".", ".."})


@given(st.text("abz09._-", min_size=1, max_size=30), st.lists(SEGMENT, min_size=1, max_size=5))
def test_a_canonical_id_is_its_own_name(domain: str, path: list[str]) -> None:
    """Without the scheme, and otherwise as it is written."""
    text = "/".join([domain, *path])
    assert principal(f"spiffe://{text}") == text
    assert trust_domain(f"spiffe://{text}") == domain


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://td",
        "spiffe://td/",
        "spiffe:///a",
        "spiffe://TD/a",
        "SPIFFE://td/a",
        "spiffe:td/a",
        "spiffe://td/a/",
        "spiffe://td//a",
        "spiffe://td/a/../b",
        "spiffe://td/./a",
        "spiffe://td/a%2fb",
        "spiffe://td/a%2e",
        "spiffe://td/a?b",
        "spiffe://td/a#b",
        "spiffe://td:8443/a",
        "spiffe://user@td/a",
        "spiffe://td/a b",
        "spiffe://td/a\n",
        "spiffe://td/a\0b",
        "spiffe://td/ä",
        "spiffe://tä/a",
        f"spiffe://{'a' * 256}/a",
        "https://td/a",
        " spiffe://td/a",
    ],
)
def test_every_other_spelling_is_nobody(uri: str) -> None:
    """T05: two spellings of one name would be two names to a policy."""
    assert principal(uri) == ""


def test_an_id_has_a_length() -> None:
    """2048 bytes with its scheme (SPIFFE-ID §2.3)."""
    longest = "spiffe://td/" + "a" * (MAX_BYTES - len("spiffe://td/"))
    assert principal(longest)
    assert not principal(longest + "a")


@pytest.mark.parametrize(
    "uri", ["SPIFFE://Td/a", "spiffe:/td", "spiffe:td/a", "spiffe://td:1/a", "spiffe://"]
)
def test_a_claim_is_seen_in_every_spelling(uri: str) -> None:
    """Whoever claims a trust domain must be vouched for, however the claim is written."""
    assert trust_domain(uri)


def test_other_uris_claim_nothing() -> None:
    """They are not SPIFFE's."""
    assert trust_domain("https://td/a") == ""
    assert trust_domain("spiffe") == ""
