"""Analyzer of rules that no request reaches: an earlier rule of the same VirtualService takes them all.

Lifetime: config. Near-linear in the number of rules. Sound, not complete: of two matches with further
conditions (headers, method, ...) only those with the same conditions, or none at all, are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.config.codes import define

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from gateway.config.analysis.survey import Survey
    from gateway.config.fields import StringMatch
    from gateway.config.findings import Finding
    from gateway.config.http_match import HTTPMatchRequest
    from gateway.config.virtual_service import VirtualService

define(
    "GW230",
    "unreachable rule",
    "warning",
    "Rules are tried in order and the first that matches wins. Everything this rule could take is taken"
    " before, so it never gets a request. A prefix is compared as text, so /api takes /apidocs as well.",
)
define(
    "GW231",
    "match without effect",
    "info",
    "The conditions of a rule are alternatives. This one adds nothing: an earlier one, of this rule or of"
    " one before it, takes all its requests.",
)

Conditions = frozenset[tuple[str, "Hashable"]]
NOTHING: Conditions = frozenset()


class Taken(NamedTuple):
    """Where something is taken already."""

    rule: int
    match: int


class Paths:
    """Paths that earlier matches take under the same further conditions."""

    __slots__ = ("_exact", "_prefixes", "_regexes", "everything")

    def __init__(self) -> None:
        self.everything: Taken | None = None
        # By whether case is ignored; the keys are lower-case then.
        self._exact: dict[tuple[bool, str], Taken] = {}
        self._prefixes: dict[tuple[bool, str], Taken] = {}
        self._regexes: dict[str, Taken] = {}

    def find(self, uri: StringMatch | None, ignore_case: bool) -> Taken | None:
        """Who takes all that `uri` takes."""
        if self.everything is not None or uri is None or takes_everything(uri):
            return self.everything
        if uri.regex is not None:
            return self._regexes.get(uri.regex)
        text = uri.exact if uri.exact is not None else uri.prefix or ""
        for folded in (False, True):
            if ignore_case and not folded and text.lower() != text.upper():
                continue  # "/a" alone does not take "/A"
            wanted = text.lower() if folded else text
            if uri.exact is not None and (folded, wanted) in self._exact:
                return self._exact[folded, wanted]
            for length in range(1, len(wanted) + 1) if self._prefixes else ():
                found = self._prefixes.get((folded, wanted[:length]))
                if found is not None:
                    return found
        return None

    def add(self, uri: StringMatch | None, ignore_case: bool, taken: Taken) -> None:
        """From here on `uri` is taken."""
        if uri is None or takes_everything(uri):
            self.everything = self.everything or taken
        elif uri.regex is not None:
            self._regexes.setdefault(uri.regex, taken)
        elif uri.exact is not None:
            self._exact.setdefault((ignore_case, uri.exact.lower() if ignore_case else uri.exact), taken)
        elif uri.prefix is not None:
            self._prefixes.setdefault((ignore_case, uri.prefix.lower() if ignore_case else uri.prefix), taken)


def takes_everything(uri: StringMatch) -> bool:
    """Whether every path matches; a path begins with a slash."""
    return uri.presence or uri.prefix in {"", "/"} or uri.regex in {".*", "/.*"}


def conditions(match: HTTPMatchRequest) -> Conditions:
    """What a match asks for besides the path."""
    found: set[tuple[str, Hashable]] = set()
    for field in ("scheme", "method", "authority", "port", "source_namespace"):
        value = getattr(match, field)
        if value is not None:
            found.add((field, value))
    for field in ("headers", "without_headers", "query_params", "source_labels"):
        items: Mapping[str, Hashable] = getattr(match, field)
        fold = field in {"headers", "without_headers"}
        found |= {(f"{field}.{name.lower() if fold else name}", value) for name, value in items.items()}
    if match.gateways:
        found.add(("gateways", frozenset(match.gateways)))
    return frozenset(found)


def unreachable_rules(survey: Survey) -> Iterator[Finding]:
    """Rules and conditions behind others that take everything they could."""
    for service in survey.config.virtual_services:
        yield from _unreachable(survey, service)


def _unreachable(survey: Survey, service: VirtualService) -> Iterator[Finding]:
    seen: dict[Conditions, Paths] = {NOTHING: Paths()}
    for number, http in enumerate(service.spec.http):
        covered: list[tuple[int, Taken]] = []
        if not http.match:
            taken = seen[NOTHING].everything
            if taken is not None:
                yield _rule_finding(survey, service, number, taken)
        for index, match in enumerate(http.match):
            wanted = conditions(match)
            ignore_case = bool(match.ignore_uri_case)
            by = seen[NOTHING].find(match.uri, ignore_case)
            if by is None and wanted in seen:
                by = seen[wanted].find(match.uri, ignore_case)
            if by is not None:
                covered.append((index, by))
            elif http.delegate is None:
                # At once: the alternatives of one rule can take from each other, too.
                seen.setdefault(wanted, Paths()).add(match.uri, ignore_case, Taken(number, index))
        if http.match and len(covered) == len(http.match):
            yield _rule_finding(survey, service, number, covered[0][1])
        else:
            for index, by in covered:
                path = ("spec", "http", number, "match", index)
                message = f"this adds nothing: {_where(survey, service, by)} takes its requests"
                yield survey.finding(service, path, "GW231", message, "remove it")
        # What is delegated may come back: the delegate need not take all that it is offered.
        if not http.match and http.delegate is None:
            seen[NOTHING].add(None, False, Taken(number, 0))


def _rule_finding(survey: Survey, service: VirtualService, number: int, by: Taken) -> Finding:
    message = f"no request reaches this rule: {_where(survey, service, by)} takes them before"
    hint = "move it up, or remove it"
    return survey.finding(service, ("spec", "http", number), "GW230", message, hint)


def _where(survey: Survey, service: VirtualService, taken: Taken) -> str:
    rule = service.spec.http[taken.rule]
    here = survey.config.origin(service).position("spec", "http", taken.rule, "match", taken.match)
    named = f'rule "{rule.name}"' if rule.name else f"rule {taken.rule + 1}"
    return f"{named} (line {here.line})"
