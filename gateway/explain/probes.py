"""Requests that a route takes, made from what it demands: to ask two configurations the same questions.

Lifetime: config; plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http.request import Request
from gateway.http.secrets import clean_headers, clean_query
from gateway.routing.strings import Form, literal_prefix

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.routing import Route, VirtualHost
    from gateway.routing.conditions import Condition
    from gateway.routing.strings import Pattern

CLIENT = "198.51.100.1"
"""An address that nobody has (RFC 5737)."""


class Draft:
    """A request while it is being made up."""

    def __init__(self, host: str, port: int) -> None:
        self.method, self.scheme, self.host, self.authority = "GET", "http", host, host
        self.path, self.query, self.port = "/", "", port
        self.headers: list[tuple[bytes, bytes]] = []
        self.claims: dict[str, str] = {}

    def request(self) -> Request:
        """The request; as if it came from a stranger in plain HTTP."""
        made = Request(
            self.method,
            self.scheme,
            self.authority.encode(),
            self.host,
            self.path.encode(),
            self.query.encode(),
            list(self.headers),
            self.port,
            CLIENT,
            CLIENT,
        )
        made.claims = self.claims or None
        return made


def sample_host(domain: str) -> str:
    """A host that a domain of a virtual host covers."""
    if domain == "*":
        return "any.example"
    if domain.startswith("*"):
        return f"x{domain[1:]}"
    return f"{domain[:-1]}x" if domain.endswith("*") else domain


def probes(host: VirtualHost, port: int, paths: Sequence[str] = ()) -> Iterator[Request]:
    """One request for each route that takes one which can be made up, and one for each of `paths`."""
    name = sample_host(host.name)
    for route in host.routes:
        made = probe(route, name, port)
        if made is not None:
            yield made
    for path in paths:
        draft = Draft(name, port)
        draft.path = path
        yield draft.request()


def probe(route: Route, host: str, port: int) -> Request | None:
    """A request that fits every condition of a route; None when that takes more than reading them."""
    draft = Draft(host, port)
    for condition in route.conditions:
        if not condition.inverted:
            _obey(draft, condition)
    made = draft.request()
    return made if all(condition.check(made) for condition in route.conditions) else None


def _obey(draft: Draft, condition: Condition) -> None:
    text = _text(condition.pattern)
    name = condition.name.decode(errors="replace")
    match condition.subject:
        case "path":
            draft.path = text if text.startswith("/") else f"/{text}"
        case "method":
            draft.method = text or "GET"
        case "scheme":
            draft.scheme = text
        case "authority":
            draft.authority = text
        case "query":
            draft.query = f"{draft.query}&{name}={text}".lstrip("&")
        case "header":
            draft.headers.append((condition.name, text.encode()))
        case "port":
            draft.port = int(text)
        case "claim":
            draft.claims[name] = text
        case "pseudo":
            _obey_pseudo(draft, name, text)


def _obey_pseudo(draft: Draft, name: str, text: str) -> None:
    if name == ":method":
        draft.method = text
    elif name == ":scheme":
        draft.scheme = text
    elif name == ":path":
        draft.path, _, draft.query = text.partition("?")
    else:
        draft.authority = text


def _text(pattern: Pattern) -> str:
    """A text that a pattern takes, in simple cases."""
    if pattern.form is Form.PRESENT:
        return "x"
    if pattern.form is not Form.REGEX:
        return pattern.text.decode()
    source = pattern.text.decode()
    first = source.strip("^$").partition("|")[0]
    plain = first.replace(r"\.", ".").replace(".*", "").replace(".+", "x").replace(r"\d+", "1")
    if not any(char in plain for char in "[](){}?*+\\^$"):
        return plain
    return literal_prefix(pattern.text).decode(errors="replace")


def told(request: Request) -> str:
    """A request in a line: `GET reviews/beta (end-user: jason)`."""
    query = f"?{clean_query(request.query.decode())}" if request.query else ""
    more = [": ".join(pair) for pair in clean_headers(request.headers)]
    if request.scheme == "https":
        more.insert(0, "https")
    text = f"{request.method} {request.authority.decode()}{request.path.decode()}{query}"
    return f"{text} ({', '.join(more)})" if more else text
