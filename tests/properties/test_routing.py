"""The index gives the route that trying every route in order would give.

The oracle reads the match entries as a person would: plain Python, the standard library's `re`, and none of the
code under test.
"""

from __future__ import annotations

import random
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.config.http_match import HTTPMatchRequest
from gateway.http.request import Request
from gateway.routing.conditions import Condition, compile_conditions
from gateway.routing.index import compile_index


class Numbered:
    """A route that is only its place in the order."""

    def __init__(self, number: int, match: dict[str, Any]) -> None:
        self.number = number
        self.conditions: tuple[Condition, ...] = compile_conditions(
            HTTPMatchRequest.model_validate(match), port=None
        )


# -- the oracle ----------------------------------------------------------------------------------


def fits(pattern: dict[str, str] | None, value: bytes) -> bool:
    """StringMatch on a value that is there."""
    if not pattern or pattern.get("regex") == "*":
        return True
    kind, text = next(iter(pattern.items()))
    wanted = text.encode()
    if kind == "regex":
        return re.fullmatch(wanted, value) is not None
    return value == wanted if kind == "exact" else value.startswith(wanted)


def lines(request: Request, name: str) -> list[bytes]:
    """What a name in `headers` stands for."""
    pseudo = {
        ":authority": request.authority,
        "host": request.authority,
        ":method": request.method.encode(),
        ":scheme": request.scheme.encode(),
        ":path": request.path + (b"?" + request.query if request.query else b""),
    }
    return (
        [pseudo[name]]
        if name in pseudo
        else [value for key, value in request.headers if key == name.encode()]
    )


def parameter(request: Request, name: str) -> bytes | None:
    """The first value of a query parameter, as it came: Envoy does not decode it."""
    for part in request.query.split(b"&") if request.query else ():
        key, _, value = part.partition(b"=")
        if key == name.encode():
            return value
    return None


def holds(match: dict[str, Any], request: Request) -> bool:
    """Whether every condition of a match entry holds."""
    uri, path = match.get("uri"), request.path
    if uri and match.get("ignoreUriCase") and "regex" not in uri:
        uri, path = {kind: text.lower() for kind, text in uri.items()}, path.lower()
    if uri and not fits(uri, path):
        return False
    for field, value in (
        ("method", request.method.encode()),
        ("scheme", request.scheme.encode()),
        ("authority", request.authority),
    ):
        if field in match and not fits(match[field], value):
            return False
    for name, pattern in match.get("headers", {}).items():
        if not any(fits(pattern, line) for line in lines(request, name)):
            return False
    for name, pattern in match.get("withoutHeaders", {}).items():
        present = lines(request, name)
        if not pattern or pattern.get("regex") == "*":
            if present:
                return False
        elif any(fits(pattern, line) for line in present or [b""]):
            return False
    for name, pattern in match.get("queryParams", {}).items():
        value = parameter(request, name)
        if value is None or not fits(pattern, value):
            return False
    return True


def oracle(matches: list[dict[str, Any]], request: Request) -> int | None:
    """The number of the first match entry that holds."""
    return next((number for number, match in enumerate(matches) if holds(match, request)), None)


# -- what is generated -----------------------------------------------------------------------------

PATHS = [
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/b/",
    "/a/b/c",
    "/A/b",
    "/ab",
    "/b",
    "/b/a.c",
    "/a/bb",
    "/a/b/c/d/e",
    "/zz",
    "/a%3fb",
]
PATH_REGEXES = ["/a/.*", "/[ab]+", "/a|/b", ".*b", "/a/b?", "/(a|b)/.*c", ".*", "/a/b{2}", "/b/a\\.c", "^/a.*$", "(?i)/a/B",
                "/.*/c.*", ".*/b.*", "/a/[a-z]/?", "(/a)?(/b)*", "/a.", "[^a]+"]  # fmt: skip
VALUES = ["", "1", "2", "12", "v1", "v1, v2", "Chrome/120", "Mozilla Chrome x", "a\xefn"]
REGEXES = [
    ".*Chrome.*",
    "v[0-9]",
    "[0-9]*",
    ".+",
    "1|2",
    "(?i)CHROME.*",
    "v1.*",
    ".*2",
    "\\d+",
    ".*",
    "^v1$",
    "a.n",
]
HEADERS = ["x-v", "x-user", "user-agent", "host", ":method", ":path", ":authority"]


def texts(exact: list[str], regexes: list[str]) -> st.SearchStrategy[dict[str, str]]:
    """StringMatch with a value."""
    return st.one_of(
        st.sampled_from(exact).map(lambda text: {"exact": text}),
        st.sampled_from([text for text in exact if text]).map(lambda text: {"prefix": text}),
        st.sampled_from(regexes).map(lambda text: {"regex": text}),
    )


LATIN = [text for text in VALUES if text.isascii()]
"""Patterns are ASCII: a header byte above 127 is one character to us and to the oracle."""
NAMED = st.dictionaries(
    st.sampled_from(HEADERS),
    st.one_of(st.just({}), texts([*LATIN, "GET", "reviews", "/a?x=1"], REGEXES)),
    max_size=2,
)
QUERY = st.dictionaries(
    st.sampled_from(["q", "x", "a b"]), st.one_of(st.none(), texts(LATIN, REGEXES)), max_size=1
)
MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "uri": texts(PATHS, PATH_REGEXES),
        "ignoreUriCase": st.booleans(),
        "method": texts(["GET", "POST"], ["GET|PUT", "P.*"]),
        "scheme": texts(["http", "https"], ["https?"]),
        "authority": texts(["reviews", "reviews:80", "r"], ["reviews(:80)?"]),
        "headers": NAMED,
        "withoutHeaders": NAMED,
        "queryParams": QUERY,
    },
)
REQUESTS = st.builds(
    lambda method, scheme, authority, path, query, headers: Request(
        method, scheme, authority, "reviews", path.encode(), query, [(n.encode(), v.encode("latin-1")) for n, v in headers]
    ),
    st.sampled_from(["GET", "POST", "PUT"]),
    st.sampled_from(["http", "https"]),
    st.sampled_from([b"reviews", b"reviews:80", b"r"]),
    st.one_of(st.sampled_from(PATHS), st.builds(lambda a, b: a + b.lstrip("/"), st.sampled_from(PATHS), st.sampled_from(PATHS))),
    st.sampled_from([b"", b"q=1", b"q=2&q=1", b"x=v1&q", b"a%20b=12", b"q=1%0a2", b"%71=Chrome", b"q=%zz&&x"]),
    st.lists(st.tuples(st.sampled_from(HEADERS[:3]), st.sampled_from(VALUES)), max_size=3),
)  # fmt: skip


@settings(max_examples=250)
@given(st.lists(MATCHES, max_size=30), st.lists(REQUESTS, min_size=1, max_size=8))
@example([{"uri": {"regex": "/a|/b"}}] * 9, [Request("GET", "http", b"r", "r", b"/b", b"", [])])
@example(
    [{"queryParams": {"q": {"regex": ".*2"}}}], [Request("GET", "http", b"r", "r", b"/", b"q=1%0a2", [])]
)
def test_the_index_agrees_with_trying_every_route(
    matches: list[dict[str, Any]], requests: list[Request]
) -> None:
    """Few routes or many, overlapping as they like: the same first match."""
    match = compile_index([Numbered(number, entry) for number, entry in enumerate(matches)])

    for request in requests:
        found = match(request)
        assert oracle(matches, request) == (None if found is None else found.number)


def crowd(dice: random.Random, size: int) -> list[dict[str, Any]]:
    """Many routes that share what they demand, so that indexes nest."""
    paths = [f"/{a}/{b}" for a in range(dice.choice([1, 3, 30])) for b in ("", "x", "x/y", "xyz")]
    users = [f"u{number}" for number in range(dice.choice([1, 5, 100]))]

    def text(values: list[str]) -> dict[str, str]:
        value = dice.choice(values)
        return dice.choice(
            [
                {"exact": value},
                {"prefix": value},
                {"regex": value + "/.*"},
                {"regex": value + "[xyz]+"},
                {"regex": f".*{value}"},
                {"regex": f"{value}|{dice.choice(values)}"},
            ]
        )

    forms = {
        "uri": lambda: text(paths),
        "headers": lambda: {
            dice.choice(["x-user", "x-v"]): dice.choice([text(users), {"exact": dice.choice(users)}, {}])
        },
        "withoutHeaders": lambda: {"x-user": text(users)},
        "queryParams": lambda: {dice.choice("pq"): dice.choice([{"exact": dice.choice(users)}, None])},
        "method": lambda: {"exact": dice.choice(["GET", "POST"])},
        "authority": lambda: {"exact": dice.choice(users)},
    }
    chances = {field: dice.uniform(0.1, 1) for field in forms}
    return [
        {field: make() for field, make in forms.items() if dice.random() < chances[field]}
        or {"uri": {"exact": "/0/x"}}
        for _ in range(size)
    ]


def attempt(dice: random.Random, matches: list[dict[str, Any]]) -> Request:
    """A request that comes close to one of the routes, so that late routes are found too."""
    wanted = dice.choice(matches)

    def near(pattern: dict[str, str] | None) -> str:
        text = next(iter((pattern or {"exact": "any"}).values())).partition("|")[0]
        for end in ("/.*", "[xyz]+", ""):
            if end and text.endswith(end):
                return text.removesuffix(end) + dice.choice(["", "/", "x", "/zz", "9"])
        return text.replace(".*", dice.choice(["", "/q"])) + dice.choice(["", "", "/z"])

    headers = [(b"x-user", f"u{dice.randrange(6)}".encode()) for _ in range(dice.randrange(3))]
    headers += [
        (name.encode(), near(pattern).encode()) for name, pattern in wanted.get("headers", {}).items()
    ]
    dice.shuffle(headers)
    query = [
        f"{dice.choice('pq')}={dice.choice(['u', '%75'])}{dice.randrange(6)}"
        for _ in range(dice.randrange(4))
    ]
    for name, pattern in wanted.get("queryParams", {}).items():
        query.insert(dice.randrange(len(query) + 1), f"{name}={near(pattern)}")
    return Request(
        wanted.get("method", {}).get("exact") or dice.choice(["GET", "POST"]),
        "http",
        wanted.get("authority", {}).get("exact", "u1").encode(),
        "h",
        near(wanted.get("uri", {"exact": f"/{dice.randrange(4)}/x"})).encode(),
        "&".join(query).encode(),
        headers,
    )


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_a_large_index_agrees_with_trying_every_route(seed: int) -> None:
    """Hundreds of routes with few distinct paths, headers and parameters."""
    dice = random.Random(seed)
    matches = crowd(dice, 300)
    match = compile_index([Numbered(number, entry) for number, entry in enumerate(matches)])

    for _ in range(60):
        request = attempt(dice, matches)
        found = match(request)
        assert oracle(matches, request) == (None if found is None else found.number)
