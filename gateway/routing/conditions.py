"""What a route demands of a request: every field of Istio's HTTPMatchRequest as a condition.

Lifetime: config. A condition that always holds is left out, so it costs nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gateway.routing.strings import PRESENT, Form, Pattern, Test, compile_match
from gateway.security.claims import nested, texts

if TYPE_CHECKING:
    from gateway.config.fields import StringMatch
    from gateway.config.http_match import HTTPMatchRequest
    from gateway.http.request import Request

Check = Callable[["Request"], Any]
"""Whether a request satisfies a condition: the truth of what it returns."""

CLAIMS = "@request.auth.claims"
"""Beginning of header names that stand for a claim of the verified JWT."""
_CLAIM_PART = re.compile(r"\.([^.\[\]]+)|\[([^\[\]]+)\]")


class Condition:
    """One demand, with what the index and `explain` need to know of it."""

    __slots__ = ("check", "folded", "inverted", "name", "pattern", "subject")

    def __init__(self, subject: str, pattern: Pattern, check: Check, **more: Any) -> None:
        self.subject = subject
        """`path`, `header`, `query`, `method`, `authority`, `scheme`, `claim` or `port`."""
        self.pattern = pattern
        self.check = check
        self.name: bytes = more.get("name", b"")
        """Of the header, query parameter or claim."""
        self.folded: bool = more.get("folded", False)
        """Compared without regard to case; `pattern.text` is lower-case then."""
        self.inverted: bool = more.get("inverted", False)
        """Holds when the pattern does not match (withoutHeaders)."""

    def __str__(self) -> str:
        name = f" {self.name.decode(errors='replace')}" if self.name else ""
        folded = " (any case)" if self.folded else ""
        return f"{self.subject}{name} {'not ' if self.inverted else ''}{self.pattern}{folded}"


def compile_conditions(match: HTTPMatchRequest | None, *, port: int | None) -> tuple[Condition, ...]:
    """The conditions of one match entry, cheapest and most telling first; none for a catch-all.

    Gateways, source labels and namespace are decided before. `port` is the Gateway server's; when it is None
    (the listener without Gateway document) `match.port` is compared with the port each request came in on.
    """
    if match is None:
        return ()
    conditions = [
        *_path(match),
        *_method(match.method),
        *_authority(match.authority),
        *(_header(name, wanted) for name, wanted in match.headers.items()),
        *(_header(name, wanted, inverted=True) for name, wanted in match.without_headers.items()),
        *(_query(name, wanted) for name, wanted in match.query_params.items()),
        *_scheme(match.scheme),
    ]
    if match.port is not None and port is None:
        wanted = match.port
        text = Pattern(Form.EXACT, str(wanted).encode(), PRESENT.test, str(wanted))
        conditions.append(Condition("port", text, lambda request: request.port == wanted))
    return tuple(conditions)


def _path(match: HTTPMatchRequest) -> Iterator[Condition]:
    if match.uri is None or (pattern := compile_match(match.uri)).form is Form.PRESENT:
        return
    text, test = pattern.text, pattern.test
    if pattern.form is Form.PREFIX and text in {b"", b"/"}:
        return  # A canonical path always begins with a slash.
    if match.ignore_uri_case and match.uri.regex is None:
        folded = text.lower()
        equal = pattern.form is Form.EXACT
        lowered = pattern._replace(text=folded)
        if equal:
            yield Condition("path", lowered, lambda request: request.path.lower() == folded, folded=True)
        else:
            check: Check = lambda request: request.path.lower().startswith(folded)  # noqa: E731 - as above
            yield Condition("path", lowered, check, folded=True)
    elif pattern.form is Form.EXACT:
        yield Condition("path", pattern, lambda request: request.path == text)
    elif pattern.form is Form.PREFIX:
        yield Condition("path", pattern, lambda request: request.path.startswith(text))
    else:
        yield Condition("path", pattern, lambda request: test(request.path))


def _method(match: StringMatch | None) -> Iterator[Condition]:
    if match is None or (pattern := compile_match(match)).form is Form.PRESENT:
        return
    yield Condition("method", pattern, _method_check(pattern))


def _method_check(pattern: Pattern) -> Check:
    test = pattern.test
    if pattern.form is Form.EXACT:
        wanted = pattern.text.decode()
        return lambda request: request.method == wanted
    return lambda request: test(request.method.encode())


def _authority(match: StringMatch | None) -> Iterator[Condition]:
    if match is None or (pattern := compile_match(match)).form is Form.PRESENT:
        return
    test = pattern.test
    yield Condition("authority", pattern, lambda request: test(request.authority))


def _scheme(match: StringMatch | None) -> Iterator[Condition]:
    if match is None or (pattern := compile_match(match)).form is Form.PRESENT:
        return
    test = pattern.test
    yield Condition("scheme", pattern, lambda request: test(request.scheme.encode()))


def _header(name: str, wanted: StringMatch | None, *, inverted: bool = False) -> Condition:
    """A header, a pseudo header of HTTP/2 (`host` is `:authority`), or a claim."""
    if name.startswith(CLAIMS):
        return _claim(name, wanted, inverted=inverted)  # Other than headers, claims are case-sensitive.
    name = name.lower()
    pattern, key = compile_match(wanted), name.encode()
    pseudo = _PSEUDO.get(name)
    if pseudo is None:
        check = _missing_or_other(key, pattern) if inverted else _one_line(key, pattern)
        return Condition("header", pattern, check, name=key, inverted=inverted)
    subject, read = pseudo
    test = pattern.test
    if inverted:
        return Condition(subject, pattern, lambda request: not test(read(request)), name=key, inverted=True)
    # The path of a condition has no query, `:path` has one: not for the index.
    return Condition(subject, pattern, lambda request: test(read(request)), name=key)


_PSEUDO: Mapping[str, tuple[str, Callable[[Request], bytes]]] = {
    ":authority": ("pseudo", lambda request: request.authority),
    "host": ("pseudo", lambda request: request.authority),
    ":method": ("pseudo", lambda request: request.method.encode()),
    ":scheme": ("pseudo", lambda request: request.scheme.encode()),
    ":path": ("pseudo", lambda request: request.path + (b"?" + request.query if request.query else b"")),
}


def _one_line(name: bytes, pattern: Pattern) -> Check:
    """Some line of the header matches: lines are not joined, one is enough."""
    test = pattern.test
    if pattern.form is Form.PRESENT:
        return lambda request: name in request.header_map

    def check(request: Request) -> Any:
        value = request.header_map.get(name)
        if value is None:
            return False
        if request.repeated:
            return any(map(test, request.header_values(name)))
        return test(value)

    return check


def _missing_or_other(name: bytes, pattern: Pattern) -> Check:
    """No line of the header matches; a missing header counts as an empty one.

    The regex `.*` asks for any value, which a missing header has, too; only presence is about being there.
    """
    test = pattern.test
    if pattern is PRESENT:
        return lambda request: name not in request.header_map
    when_missing = not test(b"")

    def check(request: Request) -> Any:
        if name not in request.header_map:
            return when_missing
        return not any(map(test, request.header_values(name)))

    return check


def _query(name: str, wanted: StringMatch | None) -> Condition:
    pattern, key = compile_match(wanted), name.encode()
    test: Test = pattern.test

    def check(request: Request) -> Any:
        if not request.query:
            return False
        value = request.query_value(key)
        return value is not None and test(value)

    return Condition("query", pattern, check, name=key)


def _claim(name: str, wanted: StringMatch | None, *, inverted: bool) -> Condition:
    path = tuple(dotted or bracketed for dotted, bracketed in _CLAIM_PART.findall(name[len(CLAIMS) :]))
    pattern = compile_match(wanted, lines=True)
    test = pattern.test

    def check(request: Request) -> bool:
        claims = request.claims
        values = () if claims is None else texts(nested(claims, path))
        return any(map(test, values)) is not inverted

    return Condition("claim", pattern, check, name=".".join(path).encode(), inverted=inverted)
