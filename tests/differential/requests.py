"""Requests that a client could send, most often about a path that some rule may be about."""

from __future__ import annotations

from hypothesis import strategies as st

from differential.generate import PATHS, TEXTS
from differential.play import Ask

ANSWERS = ("plain", "chunked", "missing", "no-content", "cookies", "broken", "cors", "hops", "gone")
PIECES = (
    "a",
    "b",
    "A",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "%2f",
    "%5C",
    "",
    "a;x",
    "%41",
    "%7e",
    "a%20b",
    "%C3%a9",
    "\\",
    "c",
)


@st.composite
def near(draw: st.DrawFn, text: str) -> str:
    """A text, or one that is only just another."""
    change = draw(st.integers(0, 7))
    if change == 1:
        return text + "x"
    if change == 2:
        return text[:-1] or "/"
    if change == 3:
        return text.swapcase()
    if change == 4:
        return text + "/"
    if change == 5:
        return text + "/b/c"
    return text


@st.composite
def targets(draw: st.DrawFn) -> str:
    """A path, most often one that some rule may be about, and a query."""
    if draw(st.integers(0, 2)):
        path = draw(near(draw(st.sampled_from(PATHS))))
    else:
        path = "/" + "/".join(draw(st.lists(st.sampled_from(PIECES), max_size=4)))
    query = draw(
        st.sampled_from(
            ("", "", "q=1", "q=11&q=2", "q=", "q", "Q=1", "q=%31", "%71=1", "q=a+b", "a%20b=1", "r&q=1")
        )
    )
    answer = draw(st.sampled_from(("", "", "", *ANSWERS)))
    parts = [part for part in (query, f"answer={answer}" if answer else "") if part]
    return path + ("?" + "&".join(parts) if parts else "")


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """A request that a client could send."""
    host = draw(
        st.sampled_from(
            ("a.test", "a.test", "a.test", "A.Test", "a.test:80", "a.test:8080", "b.test", "x.w.test", "w.test",
             "y.x.w.test", "short", "short.default", "short.default.svc.cluster.local", "full", "192.0.2.9", "c.test")
        )
    )  # fmt: skip
    headers = draw(
        st.lists(
            st.tuples(
                st.sampled_from(("x-a", "X-A", "x-b", "user-agent", "accept", "x-twice", "x_under", "x-envoy-original-path")),
                st.sampled_from((*TEXTS, "é")),
            ),
            max_size=4,
        )
    )  # fmt: skip
    # Envoy keeps one line of the headers it knows; ours are told apart by name only.
    headers = [pair for index, pair in enumerate(headers) if pair[0] not in {other[0] for other in headers[:index]}
               or pair[0].lower().startswith("x-")]  # fmt: skip
    method = draw(st.sampled_from(("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")))
    if draw(st.integers(0, 3)) == 0:
        headers.append(
            ("Origin", draw(st.sampled_from(("https://o.test", "http://o.test", "null", "https://p.test"))))
        )
        if method == "OPTIONS":
            headers.append(("Access-Control-Request-Method", "PUT"))
    body = draw(st.sampled_from((b"", b"", b"body"))) if method in {"POST", "PUT", "DELETE", "GET"} else b""
    return Ask.of(method, draw(targets()), host, headers, body)
