"""Why a request goes where it goes: the virtual host and why, each route tried and what it lost on.

Lifetime: config; plain functions that return frozen data. Every verdict is the compiled conditions' own, so
what is told here cannot differ from what `Listener.match` does (a property test holds this).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from gateway.http.secrets import HIDDEN, clean, clean_query, is_secret, is_secret_parameter
from gateway.routing.strings import Form

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.http.request import Request
    from gateway.routing.conditions import Condition
    from gateway.routing.listener import Listener, VirtualHost
    from gateway.routing.route import Route

NEAREST = 5
"""Near misses that are told."""
LONGEST = 120
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Tested:
    """One condition of a route, held against the request."""

    subject: str
    """`path`, `header end-user`, `query q`, `claim groups`..."""
    found: str | None
    """The request's value; None: it has none."""
    wanted: str
    """What the route demands: `exact 'jason'`."""
    holds: bool

    def __str__(self) -> str:
        found = "absent" if self.found is None else f"'{self.found}'"
        return f"{self.subject} is {found}, wanted {self.wanted}"


@dataclass(frozen=True, slots=True)
class Tried:
    """One route of the virtual host."""

    number: int
    """Place in the order in which routes are tried, from 1."""
    name: str
    """`%ROUTE_NAME%`; empty when it has none."""
    source: str
    """Where it is written: `default/reviews http[0].match[1]`."""
    outcome: str
    """`taken`, `lost`; `not reached`: an earlier route was taken."""
    fits: bool
    """Whether every condition holds, also of a route that was not reached."""
    tests: tuple[Tested, ...]

    @property
    def failed(self) -> tuple[Tested, ...]:
        """The conditions that do not hold."""
        return tuple(test for test in self.tests if not test.holds)

    @property
    def because(self) -> str:
        """Why it lost, was taken, or was not reached, as a sentence without an end."""
        if self.outcome == "lost":
            return "; ".join(map(str, self.failed))
        if self.outcome == "taken":
            return ", ".join(f"{test.subject} {test.wanted}" for test in self.tests) or "takes every request"
        return "would have taken it, came too late" if self.fits else "not reached"


@dataclass(frozen=True, slots=True)
class HostChoice:
    """The virtual host that a Host header selects."""

    host: str
    """The request's host, lower-case, without its port."""
    name: str | None
    """Of the virtual host; None when there is none."""
    domain: str | None
    """The name or pattern of it that fits."""
    because: str
    also: tuple[str, ...] = ()
    """Without a virtual host: known hosts that look alike."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How a listener chooses a route."""

    listener: str
    host: HostChoice
    tried: tuple[Tried, ...]
    """Every route of the virtual host, in order."""
    route: Route | None
    """The one taken; the same object that the data path uses."""

    @property
    def nearest(self) -> tuple[Tried, ...]:
        """Routes that were not taken, those that missed by least first."""
        lost = [item for item in self.tried if item.outcome != "taken"]
        return tuple(sorted(lost, key=_distance)[:NEAREST])


def _distance(item: Tried) -> tuple[int, bool, int]:
    failed = item.failed
    return len(failed), any(test.subject == "path" for test in failed), item.number


def choose(listener: Listener, request: Request) -> Choice:
    """How `listener` chooses for `request`."""
    host = listener.virtual_host(request.host)
    chosen = listener.match(request)
    if host is None:
        return Choice(listener.name, _no_host(listener, request.host), (), None)
    return Choice(
        listener.name, _host(host, request.host), tuple(_tried(host.routes, chosen, request)), chosen
    )


def _tried(routes: Sequence[Route], chosen: Route | None, request: Request) -> Iterator[Tried]:
    passed = False
    for number, route in enumerate(routes, 1):
        tests = tuple(tested(condition, request) for condition in route.conditions)
        outcome = "taken" if route is chosen else "not reached" if passed else "lost"
        passed = passed or route is chosen
        yield Tried(number, route.name, str(route.source), outcome, all(one.holds for one in tests), tests)


def tested(condition: Condition, request: Request) -> Tested:
    """What a condition finds in a request. Values that are credentials are not told, wanted or found."""
    name = condition.name.decode(errors="replace")
    subject, wanted = _subject(condition, name), _shown(condition, name)
    found = _value(condition, request, name)
    if found is not None:
        found = HIDDEN if _hidden(condition, name) else _short(clean(found))
    return Tested(subject, found, wanted, bool(condition.check(request)))


def demand(condition: Condition) -> str:
    """What a condition wants, as it may be shown: `header end-user exact 'jason'`."""
    name = condition.name.decode(errors="replace")
    return f"{_subject(condition, name)} {_shown(condition, name)}"


def _subject(condition: Condition, name: str) -> str:
    if condition.subject == "pseudo":
        return _PSEUDO.get(name, f"header {name}")
    return f"{condition.subject} {name}" if name else condition.subject


def _shown(condition: Condition, name: str) -> str:
    if _hidden(condition, name) and _compares(condition):
        return f"{'not ' if condition.inverted else ''}{HIDDEN}"
    return _wanted(condition)


_PSEUDO = {
    ":authority": "host header",
    "host": "host header",
    ":method": "method",
    ":scheme": "scheme",
    ":path": "path with query",
}


def _hidden(condition: Condition, name: str) -> bool:
    if condition.subject == "query":
        return is_secret_parameter(name)
    return condition.subject in {"header", "claim"} and is_secret(name)


def _compares(condition: Condition) -> bool:
    return condition.pattern.form is not Form.PRESENT


def _wanted(condition: Condition) -> str:
    word, _, quoted = condition.pattern.written.partition(" ")
    if condition.pattern.form is Form.PRESENT and not quoted:
        return "absent" if condition.inverted else "present"
    text = f"{word} '{clean(quoted[1:-1])}'" if quoted else word
    return f"{'not ' if condition.inverted else ''}{text}{' (any case)' if condition.folded else ''}"


def _value(condition: Condition, request: Request, name: str) -> str | None:
    match condition.subject:
        case "path":
            return request.path.decode("latin-1")
        case "method":
            return request.method
        case "scheme":
            return request.scheme
        case "authority":
            return request.authority.decode("latin-1")
        case "port":
            return str(request.port)
        case "query":
            value = request.query_value(condition.name) if request.query else None
            return None if value is None else value.decode("latin-1")
        case "claim":
            return _joined(_claim(request, name))
        case "pseudo":
            return _pseudo(name, request)
    return _joined(request.header_values(condition.name))


def _claim(request: Request, name: str) -> list[bytes]:
    value: Any = request.claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    members = value if isinstance(value, list | tuple) else () if value is None else (value,)
    return [str(member).encode(errors="replace") for member in members]


def _joined(values: Sequence[bytes]) -> str | None:
    return ", ".join(value.decode("latin-1") for value in values) if values else None


def _pseudo(name: str, request: Request) -> str:
    match name:
        case ":method":
            return request.method
        case ":scheme":
            return request.scheme
        case ":path":
            query = "?" + clean_query(request.query.decode("latin-1")) if request.query else ""
            return request.path.decode("latin-1") + query
    return request.authority.decode("latin-1")


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text)} characters)"


def _host(host: VirtualHost, name: str) -> HostChoice:
    domain, because = _domain(host, name)
    return HostChoice(name, host.name, domain, because)


def _domain(host: VirtualHost, name: str) -> tuple[str, str]:
    """The domain of a virtual host that took `name`, by the order in which kinds of domains are looked up."""
    if name in host.domains:
        return name, "the host is one of its names"
    suffixes = [d for d in host.domains if d.startswith("*") and d != "*" and name.endswith(d[1:])]
    if suffixes:
        longest = max(suffixes, key=len)
        return longest, f"no virtual host has this name; {longest} is the longest suffix that covers it"
    prefixes = [d for d in host.domains if d.endswith("*") and d != "*" and name.startswith(d[:-1])]
    if prefixes:
        longest = max(prefixes, key=len)
        return longest, f"no name and no suffix covers it; {longest} is the longest prefix that does"
    return "*", "no other virtual host covers it; * covers every host"


def _no_host(listener: Listener, name: str) -> HostChoice:
    known = sorted({domain for host in listener.virtual_hosts for domain in host.domains})
    also = tuple(get_close_matches(name, known, n=3, cutoff=0.6))
    if not known:
        return HostChoice(name, None, None, f"listener {listener.name} has no virtual host at all")
    return HostChoice(
        name, None, None, f"none of the {len(known)} hosts of listener {listener.name} covers it", also
    )
