"""Canonical paths: golden pairs of Istio, the attack classes of the security corpus, and idempotence."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.http.path import PathRules, canonical, escape_literal, has_dot_segment
from gateway.http.reply import Reply

NONE = PathRules("NONE", "KEEP_UNCHANGED")
BASE = PathRules("BASE", "KEEP_UNCHANGED")
MERGE = PathRules("MERGE_SLASHES", "KEEP_UNCHANGED")
DECODE = PathRules("DECODE_AND_MERGE_SLASHES", "KEEP_UNCHANGED")
DEFAULT = PathRules()

GOLDEN = [
    # raw, NONE, BASE, MERGE_SLASHES, DECODE_AND_MERGE_SLASHES (Istio's own integration test)
    ("/", "/", "/", "/", "/"),
    ("/app/", "/app/", "/app/", "/app/", "/app/"),
    ("/app/../admin", "/app/../admin", "/admin", "/admin", "/admin"),
    ("/app//", "/app//", "/app//", "/app/", "/app/"),
    ("/app/%2f", "/app/%2f", "/app/%2f", "/app/%2f", "/app/"),
    ("/app%2f/", "/app%2f/", "/app%2f/", "/app%2f/", "/app/"),
    ("/xyz%30..//abc", "/xyz%30..//abc", "/xyz0..//abc", "/xyz0../abc", "/xyz0../abc"),
    ("/app/%2E./admin", "/app/%2E./admin", "/admin", "/admin", "/admin"),
    ("/app\\admin", "/app\\admin", "/app/admin", "/app/admin", "/app/admin"),
    ("/app/\\/\\/\\admin", "/app/\\/\\/\\admin", "/app//////admin", "/app/admin", "/app/admin"),
    ("/%2Fapp%5cadmin%5Cabc",) * 4 + ("/app/admin/abc",),
    (
        "/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc",
        "/%5Capp%2f%5c%2F%2e%2e%2fadmin%5c\\abc",
        "/%5Capp%2f%5c%2F..%2fadmin%5c/abc",
        "/%5Capp%2f%5c%2F..%2fadmin%5c/abc",
        "/app/admin/abc",
    ),
    ("/app//../admin", "/app//../admin", "/app/admin", "/app/admin", "/app/admin"),
    ("/app//../../admin", "/app//../../admin", "/admin", "/admin", "/admin"),
    # measured on Envoy 1.40
    ("/a/..//b", "/a/..//b", "//b", "/b", "/b"),
    ("//a//..//..//b", "//a//..//..//b", "//a//b", "/a/b", "/a/b"),
    ('/a"<>^`{|}[]b', '/a"<>^`{|}[]b') + ("/a%22%3C%3E%5E%60%7B%7C%7D[]b",) * 3,
    ("/%7e%41%2d%5f%2e", "/%7e%41%2d%5f%2e", "/~A-_.", "/~A-_.", "/~A-_."),
]


@pytest.mark.parametrize("pair", GOLDEN, ids=lambda pair: pair[0])
def test_paths_normalize_as_istio_and_envoy_do(pair: tuple[str, ...]) -> None:
    """Each mode gives the same bytes as the integration test of Istio, or as Envoy itself."""
    raw, *expected = (text.encode() for text in pair)

    assert expected == [canonical(raw, rules) for rules in (NONE, BASE, MERGE, DECODE)]


@pytest.mark.parametrize(
    "path",
    [
        "/%c0%ae%c0%ae/admin",
        "/%252e%252e/admin",
        "/.../admin",
        "/admin;a=b/x",
        "/;/a",
        "/ADMIN",
        "/admin/*x",
        "/a%3fb=1",
    ],
)
def test_what_only_looks_suspicious_stays_as_it_is(path: str) -> None:
    """Overlong UTF-8, double encoding, parameters, stars and case are literal: nothing is decoded twice."""
    assert path.encode() == canonical(path.encode(), DEFAULT)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/public/../admin", "/admin"),
        ("/public/%2e%2e/admin", "/admin"),
        ("//admin", "/admin"),
        ("/admin/.", "/admin/"),
        ("/%61dmin", "/admin"),
        ("/..", "/"),
        ("/.%2E/.well-known/x", "/.well-known/x"),
    ],
)
def test_spellings_of_a_path_become_one(raw: str, expected: str) -> None:
    """The default rules leave one spelling for policies to look at."""
    assert expected.encode() == canonical(raw.encode(), DEFAULT)


@pytest.mark.parametrize(
    "path",
    [b"", b"*", b"admin", b"@evil.test/", b"http://evil/", b"/a b", b"/a\tb", b"/a\x00", b"/a\x7f", b"/caf\xc3\xa9",
     b"/a#x", b"/a%00", b"/a\r\nx: y", b"/a?b", b"/..%2fadmin", b"/a%5cb", b"/a%zz", b"/a%", b"/%%32e",
     b"/user/..;foo=bar/admin", b"/.;/a", b"/a/..%3bx/b", b"/a/%2e%2e;x"],
)  # fmt: skip
def test_a_path_without_one_form_is_refused(path: bytes) -> None:
    """400 and an end of the connection: what two readers may read differently reaches nobody."""
    reply = canonical(path, DEFAULT)

    assert isinstance(reply, Reply)
    assert (reply.status, reply.details, reply.close) == (400, "path_normalization_failed", True)


@pytest.mark.parametrize("path", [b"/a%00", b"/a#x", b"/caf\xc3\xa9", b"/a b", b"a"])
def test_some_paths_are_refused_even_without_normalization(path: bytes) -> None:
    """NONE leaves valid bytes alone; what is no path stays none."""
    assert isinstance(canonical(path, NONE), Reply)


def test_escaped_slashes_may_be_unescaped_and_then_resolve() -> None:
    """Unescaping comes before dot segments are resolved: no half-decoded path survives."""
    assert canonical(b"/a%2f..%5Cadmin", PathRules("BASE", "UNESCAPE_AND_FORWARD")) == b"/admin"


def test_a_redirect_of_escaped_slashes_keeps_the_query() -> None:
    """UNESCAPE_AND_REDIRECT answers 307 with the canonical path; a path without them passes."""
    rules = PathRules("MERGE_SLASHES", "UNESCAPE_AND_REDIRECT")
    reply = canonical(b"/a%2Fb", rules, b"q=%2F")

    assert isinstance(reply, Reply)
    assert (reply.status, reply.headers) == (307, ((b"location", b"/a/b?q=%2F"),))
    assert canonical(b"/a%20b", rules) == b"/a%20b"


@pytest.mark.parametrize("path", [b"/%2fevil.test/x", b"/%2F%2f%5Cevil.test/x"])
@pytest.mark.parametrize("mode", ["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"])
def test_a_redirect_never_names_a_foreign_host(path: bytes, mode: str) -> None:
    """A Location that began with two slashes would send the client to `evil.test`."""
    reply = canonical(path, PathRules(mode, "UNESCAPE_AND_REDIRECT"))

    assert isinstance(reply, Reply)
    location = reply.headers[0][1]
    assert not location.replace(b"\\", b"/").startswith(b"//")


SPELLINGS = st.lists(
    st.sampled_from(
        ["/", "//", "\\", ".", "..", "%2e", "%2E%2e", "%2f", "%5C", "a", "B", "%41", "%3f", "%25", "~", ";", "%3B", "[", "{",
         "*", "%", "2", "e", "%c3", "+", "'"]
    ),
    max_size=12,
).map(lambda parts: ("/" + "".join(parts)).encode())  # fmt: skip
MODES = st.sampled_from(["BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"])
SLASHES = st.sampled_from(["KEEP_UNCHANGED", "REJECT", "UNESCAPE_AND_FORWARD"])


@settings(max_examples=500)
@given(SPELLINGS, MODES, SLASHES)
@example(b"/%%32e", "BASE", "KEEP_UNCHANGED")
@example(b"/a/..%2f..", "BASE", "UNESCAPE_AND_FORWARD")
def test_a_canonical_path_is_canonical(raw: bytes, mode: str, slashes: str) -> None:
    """Canonical once is canonical for ever, with no dot segment, and no `//` where slashes are merged."""
    rules = PathRules(mode, slashes)
    path = canonical(raw, rules)

    if isinstance(path, bytes):
        assert path == canonical(path, rules)
        assert not has_dot_segment(path)
        assert path.startswith(b"/")
        assert mode == "BASE" or b"//" not in path


@settings(max_examples=300)
@given(
    st.binary(max_size=30),
    st.sampled_from(["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]),
    SLASHES,
)
def test_any_bytes_give_a_path_or_a_reply(raw: bytes, mode: str, slashes: str) -> None:
    """Nothing else comes out, and no exception; a path has only bytes that may stand in a request line."""
    result = canonical(raw, PathRules(mode, slashes))

    assert isinstance(result, Reply) or all(0x21 <= byte <= 0x7E and byte not in b"#?" for byte in result)


def test_configured_text_is_escaped_where_a_request_line_needs_it() -> None:
    """Blanks, controls and non-ASCII become escapes; what is escaped stays."""
    assert escape_literal("/a b/%20/é?x=1\r\n") == b"/a%20b/%20/%C3%A9?x=1%0D%0A"
