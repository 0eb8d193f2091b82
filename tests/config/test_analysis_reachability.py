"""Rules that no request reaches."""

from __future__ import annotations

import re2
from hypothesis import given, settings
from hypothesis import strategies as st
from support.documents import analyzed, config_of

from gateway.config.analysis.reachability import conditions

HEAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [v]\n  http:\n"


def said(*rules: str) -> list[tuple[str, int]]:
    """(code, rule) of each finding; a rule is its list of matches, or nothing; `delegate` makes it one."""
    text = HEAD
    for rule in rules:
        action = "delegate: {name: d}" if rule.startswith("delegate") else "redirect: {uri: /x}"
        matches = rule.removeprefix("delegate").strip()
        text += f"  - {action}\n" + (f"    match: {matches}\n" if matches else "")
    starts = [number for number, line in enumerate(text.splitlines(), 1) if line.startswith("  - ")]
    return [
        (item.code, max(rule for rule, start in enumerate(starts) if start <= item.line))
        for item in analyzed(text, "GW230", "GW231")
    ]


def test_after_a_rule_for_everything_nothing_comes() -> None:
    """However everything is spelt."""
    for everything in ("", "[{uri: {prefix: /}}]", "[{uri: {regex: '.*'}}]", "[{uri: {}}]", "[{name: all}]"):
        assert said("[{uri: {prefix: /a}}]", everything, "[{uri: {exact: /b}}]", "") == [
            ("GW230", 2),
            ("GW230", 3),
        ]


def test_a_shorter_prefix_takes_the_longer_one() -> None:
    """Prefixes are text; the other order is the right one."""
    assert said("[{uri: {prefix: /a}}]", "[{uri: {prefix: /ab}}]") == [("GW230", 1)]
    assert said("[{uri: {prefix: /a}}]", "[{uri: {exact: /a/b}}]") == [("GW230", 1)]
    assert said("[{uri: {prefix: /ab}}]", "[{uri: {prefix: /a}}]") == []
    assert said("[{uri: {exact: /a}}]", "[{uri: {prefix: /a}}]") == []


def test_the_same_twice_is_said() -> None:
    """Exact paths and regexes that are equal."""
    assert said("[{uri: {exact: /a}}]", "[{uri: {exact: /a}}]") == [("GW230", 1)]
    assert said("[{uri: {regex: /a+}}]", "[{uri: {regex: /a+}}]") == [("GW230", 1)]
    assert said("[{uri: {regex: /a+}}]", "[{uri: {regex: /b+}}]") == []


def test_further_conditions_make_a_difference() -> None:
    """With the same ones, or behind none, a rule is covered; behind others it is not."""
    get, post = "method: {exact: GET}", "method: {exact: POST}"

    assert said(f"[{{{get}, uri: {{prefix: /a}}}}]", f"[{{{get}, uri: {{prefix: /ab}}}}]") == [("GW230", 1)]
    assert said("[{uri: {prefix: /a}}]", f"[{{{get}, uri: {{prefix: /ab}}}}]") == [("GW230", 1)]
    assert said(f"[{{{get}}}]", f"[{{{post}}}]", "[{uri: {prefix: /a}}]") == []
    assert said("[{headers: {X-A: {exact: b}}}]", "[{headers: {x-a: {exact: b}}}]") == [("GW230", 1)]
    assert (
        said(
            "[{headers: {a: {exact: b}}}]",
            "[{withoutHeaders: {a: {exact: b}}}]",
            "[{queryParams: {a: {exact: b}}}]",
        )
        == []
    )
    assert (
        said("[{gateways: [a]}]", "[{port: 80}]", "[{sourceLabels: {a: b}}]", "[{authority: {exact: a}}]", "")
        == []
    )


def test_case_counts_unless_it_is_ignored() -> None:
    """What ignores case takes more."""
    assert said("[{uri: {prefix: /A}, ignoreUriCase: true}]", "[{uri: {prefix: /ab}}]") == [("GW230", 1)]
    assert said("[{uri: {prefix: /a}}]", "[{uri: {prefix: /ab}, ignoreUriCase: true}]") == []
    assert said("[{uri: {prefix: /1}}]", "[{uri: {prefix: /12}, ignoreUriCase: true}]") == [("GW230", 1)]
    assert said("[{uri: {prefix: /A}}]", "[{uri: {prefix: /ab}}]") == []


def test_one_idle_condition_of_several_is_a_remark() -> None:
    """The rule is reached by the others."""
    assert said("[{uri: {prefix: /a}}]", "[{uri: {prefix: /b}}, {uri: {prefix: /ab}}]") == [("GW231", 1)]
    assert said("[{uri: {prefix: /a}}, {uri: {exact: /a}}]") == [("GW231", 0)]


def test_a_delegate_may_leave_requests_over() -> None:
    """What is behind a delegation is reached; a delegation that is covered is not."""
    assert said("delegate [{uri: {prefix: /a}}]", "[{uri: {prefix: /ab}}]", "delegate", "") == []
    assert said("[{uri: {prefix: /a}}]", "delegate [{uri: {prefix: /ab}}]") == [("GW230", 1)]


def test_the_finding_says_who_takes_the_requests() -> None:
    """By name and line."""
    text = HEAD + (
        "  - name: api\n    match: [{uri: {prefix: /api}}]\n    redirect: {uri: /x}\n"
        "  - match:\n    - uri:\n        exact: /api/v1\n    redirect: {uri: /x}\n"
    )
    (finding,) = analyzed(text, "GW230")

    assert finding.message == 'no request reaches this rule: rule "api" (line 8) takes them before'
    assert (finding.line, finding.severity) == (10, "warning")


PATHS = ["/", "/a", "/A", "/ab", "/aB", "/b", "/ba"]
URI = st.one_of(
    st.none(),
    st.just("{}"),
    st.sampled_from(PATHS).map(lambda text: f"{{exact: {text}}}"),
    st.sampled_from(["''", *PATHS]).map(lambda text: f"{{prefix: {text}}}"),
    st.sampled_from([".*", "/.*", "/a.*", "/(a|b)"]).map(lambda text: f"{{regex: '{text}'}}"),
)
MATCH = st.tuples(URI, st.booleans(), st.sampled_from(["", "method: {exact: GET}", "method: {prefix: G}"]))


def written(match: tuple[str | None, bool, str]) -> str:
    uri, ignore, further = match
    parts = [f"uri: {uri}" if uri else "", "ignoreUriCase: true" if ignore else "", further]
    return "{" + ", ".join(part for part in parts if part) + "}"


def takes(match, path: str, method: str) -> bool:
    """A match, tried the plain way."""
    uri = match.uri
    if match.method is not None and not (
        method == match.method.exact or (match.method.prefix and method.startswith("G"))
    ):
        return False
    if uri is None or uri.presence:
        return True
    if uri.regex is not None:
        return re2.fullmatch(uri.regex, path) is not None
    text = uri.exact if uri.exact is not None else uri.prefix
    if match.ignore_uri_case:
        text, path = text.lower(), path.lower()
    return path == text if uri.exact is not None else path.startswith(text)


@given(st.lists(st.lists(MATCH, max_size=2), min_size=2, max_size=4))
@settings(max_examples=150)
def test_a_rule_that_is_called_unreachable_is_never_the_first_to_match(rules) -> None:
    """Whatever the rules are, trying them one by one never ends at one that was named."""
    spelt = ["[" + ", ".join(map(written, matches)) + "]" if matches else "" for matches in rules]
    named = {rule for code, rule in said(*spelt) if code == "GW230"}
    text = HEAD + "".join(
        "  - redirect: {uri: /x}\n" + (f"    match: {matches}\n" if matches else "") for matches in spelt
    )
    (service,) = config_of(text).virtual_services
    for path in [*PATHS, "/abc", "/c"]:
        for method in ("GET", "POST"):
            for number, http in enumerate(service.spec.http):
                if not http.match or any(takes(match, path, method) for match in http.match):
                    assert number not in named
                    break


def test_conditions_do_not_name_what_matches_nothing() -> None:
    """Names and statistics are no conditions."""
    text = (
        HEAD
        + "  - redirect: {uri: /x}\n    match: [{name: a, statPrefix: b, uri: {exact: /}, ignoreUriCase: true}]\n"
    )
    (service,) = config_of(text).virtual_services

    assert conditions(service.spec.http[0].match[0]) == frozenset()
