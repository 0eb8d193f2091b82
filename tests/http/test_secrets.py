"""Credentials do not get where people look."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.secrets import (
    HIDDEN,
    MOST_KEPT,
    _queries,
    clean,
    clean_headers,
    clean_location,
    clean_query,
    clean_target,
    clean_value,
    is_secret,
    shown_target,
)

JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    "name",
    ["authorization", "Proxy-Authorization", "cookie", "set-cookie", "x-api-key", "apikey", "x-auth-token", "x-amz-security-token",
     "x-csrf-token", "x-session-id", "client-secret", "x-password", "x-goog-iap-jwt-assertion", "x-key", "x-hub-signature-256",
     "x-forwarded-client-cert"],
)  # fmt: skip
def test_names_of_credentials(name: str) -> None:
    """In whatever case."""
    assert is_secret(name)
    assert clean_value(name, "v") == HIDDEN


@pytest.mark.parametrize(
    "name", ["accept", "user-agent", "x-request-id", "x-monkey", "keep-alive", "x-author", "end-user", "host"]
)
def test_names_of_other_things(name: str) -> None:
    """These are what a person looks for."""
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("a=1&b=2", "a=1&b=2"),
        ("access_token=x&a=1", f"access_token={HIDDEN}&a=1"),
        ("API_KEY=x", f"API_KEY={HIDDEN}"),
        ("code=abc&state=1", f"code={HIDDEN}&state=1"),
        ("X-Amz-Signature=abc", f"X-Amz-Signature={HIDDEN}"),
        ("token", "token"),
        ("token=", "token="),
        (f"q={JWT}", f"q={HIDDEN}"),
        ("", ""),
    ],
)
def test_parameters(query: str, shown: str) -> None:
    """By name, and by the shape of what they hold."""
    assert clean_query(query) == shown


def test_tokens_are_hidden_wherever_they_stand() -> None:
    """In a path, in a header that nobody suspects, behind a scheme, in a URL's user."""
    assert clean_target(f"/reset/{JWT}?a=1") == f"/reset/{HIDDEN}?a=1"
    assert clean(f"was: Bearer {JWT}") == f"was: Bearer {HIDDEN}"
    assert clean("Basic dXNlcjpwYXNz") == f"Basic {HIDDEN}"
    assert clean("see https://user:pass@host/") == f"see https://{HIDDEN}@host/"
    assert (
        clean_location("https://u:p@h/cb?code=1#access_token=2&x=3")
        == f"https://{HIDDEN}@h/cb?code={HIDDEN}#access_token={HIDDEN}&x=3"
    )


def test_headers_are_cleaned_in_order() -> None:
    """Lists of pairs, as JSON has them."""
    given = [
        (b"accept", b"*/*"),
        (b"cookie", b"a=b"),
        (b"referer", b"http://h/?token=1"),
        (b"x-envoy-original-path", b"/a?key=1"),
        (b"x", b"\xff"),
    ]

    assert clean_headers(given) == [
        ["accept", "*/*"],
        ["cookie", HIDDEN],
        ["referer", f"http://h/?token={HIDDEN}"],
        ["x-envoy-original-path", f"/a?key={HIDDEN}"],
        ["x", "\xff"],
    ]


SECRET = st.text("abcdefgh0123456789", min_size=12, max_size=20).map(lambda text: f"zq{text}qz")


@given(
    SECRET,
    st.sampled_from(["token", "access_token", "api_key", "password", "code", "sig"]),
    st.text(max_size=10),
)
def test_a_planted_parameter_never_shows(secret: str, name: str, other: str) -> None:
    """Whatever stands beside it."""
    assert secret not in clean_target(f"/a?{other}&{name}={secret}&{other}")


@pytest.mark.parametrize(
    ("path", "query", "shown"),
    [
        (b"/a", b"", b"/a"),
        (b"/a", b"x=1&y", b"/a?x=1&y"),
        (b"/a", b"access_token=abc&x=1", b"/a?access_token=[redacted]&x=1"),
        (b"/eyJhbGciOi.eyJz.x/y", b"", b"/[redacted]/y"),
        (b"/caf%C3%A9", b"q=\xe9", b"/caf%C3%A9?q=\xe9"),
    ],
)
def test_targets_are_shown_without_credentials(path: bytes, query: bytes, shown: bytes) -> None:
    """The first time and the second: what is innocent is known, what is not is looked at again."""
    assert [shown_target(path, query) for _ in range(2)] == [shown, shown]


def test_innocent_queries_are_forgotten_when_there_are_many() -> None:
    """Clients choose them."""
    for number in range(2 * MOST_KEPT):
        shown_target(b"/", b"page=%d" % number)
    assert len(_queries) <= MOST_KEPT
    shown_target(b"/", b"token=%s" % (b"x" * 20))
    assert not [query for query in _queries if b"token" in query]
