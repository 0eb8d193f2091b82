"""Every way a request can end has a cause, somebody to ask, and a remedy."""

from __future__ import annotations

import importlib
import pkgutil
import re
import string
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway
from gateway.explain.causes import DENIED, Happened, diagnose, principal_flag, rule_of
from gateway.explain.rules import ANSWERS, RULES
from gateway.http.flags import Flag
from gateway.http.reply import Reply
from gateway.upstream.budget import IN_FLIGHT, OVER_TIME

ROOT = Path(gateway.__file__).parent
GENERAL = RULES[""][-1]
TEMPLATE = re.compile(r"[{}%]")


def modules() -> list[Any]:
    return [
        importlib.import_module(info.name)
        for info in pkgutil.walk_packages(gateway.__path__, "gateway.")
        if not info.name.endswith(("__main__", ".app"))
    ]


def replies() -> set[tuple[str, str]]:
    """Flag and details of every reply that is a constant."""
    found = {
        (str(value.flag or ""), value.details)
        for module in modules()
        for value in vars(module).values()
        if isinstance(value, Reply)
    }
    assert len(found) > 10
    return found


def written() -> set[str]:
    """Every details string that stands in the source, up to what is filled in."""
    found = set()
    for path in ROOT.rglob("*.py"):
        if path.parent.name in {"explain", "console"}:
            continue
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'details\s*=\s*f?"([a-z_0-9.]+)', text))
        found |= set(re.findall(r'bad_request\(\s*"([a-z_0-9]+)"', text))
        found |= set(re.findall(r'Reply\([^)]*f?"([a-z]+_[a-z_]+)[\[{"]', text))
    assert {"path_normalization_failed", "downstream_remote_disconnect", "route_not_found"} <= found
    return found


@pytest.mark.parametrize("flag", list(Flag))
def test_every_flag_has_a_cause_and_a_remedy(flag: Flag) -> None:
    """Of its own: not the sentence for what nobody knows."""
    assert RULES[flag][-1].details == ""
    told = diagnose(Happened(flags=(flag,), status=503, details="something_new"))

    assert told.cause
    assert told.culprit
    assert told.remedy
    assert not told.cause.startswith("the gateway answered 503: ")


def test_every_details_string_of_a_reply_has_a_rule_of_its_own() -> None:
    """Whoever adds a reply adds its sentence."""
    unknown = {item for item in replies() if rule_of((item[0],) if item[0] else (), item[1]) is GENERAL}

    assert unknown == set()


def test_every_details_string_of_the_source_is_known() -> None:
    """Also those that are made while the request runs."""
    whole = [rule for rules in RULES.values() for rule in rules if rule.details]
    flagged = {"downstream_remote_disconnect", "route_not_found", "cluster_not_found", "no_healthy_upstream"}
    flagged |= {"response_timeout", "upstream_per_try_timeout", "upstream_reset_"}
    unknown = {
        details
        for details in written() - flagged
        if not any(
            re.match(rule.details, details)
            or rule.details.startswith(details)
            or _begins(rule.details, details)
            for rule in whole
        )
    }

    assert {item for item in unknown if not item.startswith("upstream_reset")} == set()


def _begins(pattern: str, details: str) -> bool:
    """Whether `details`, cut off where it is filled in, is the beginning of what a pattern wants."""
    plain = pattern.replace("\\", "")
    return details in plain and details.endswith(("_policy", "denied"))


def test_every_refusal_of_the_protocol_class_is_known() -> None:
    """Those requests have an id as well."""
    from gateway.server import refusal

    reasons = {value.reason for value in vars(refusal).values() if isinstance(value, refusal.Refusal)}

    assert {reason for reason in reasons if rule_of((), reason) is GENERAL} == set()


def test_every_token_verdict_is_known() -> None:
    """Each reason for which a token is refused."""
    from gateway.security import jwt_failure

    texts = [value.text for value in vars(jwt_failure).values() if isinstance(value, jwt_failure.Failure)]
    told = [
        diagnose(Happened(status=401, details=f"jwt_authn_access_denied{{{text.replace(' ', '_')}}}"))
        for text in texts
    ]

    assert len(told) > 10
    assert all("token" in one.cause for one in told)
    assert "was not accepted: Jwt header [alg] is not supported" in str(told)


def test_sentences_use_known_words_and_are_plain() -> None:
    """A typo in a format would only be seen by whoever has an outage."""
    known = {field.name for field in fields(Happened)} | {
        "where", "place", "service", "limit", "per_try", "took", "asked", "why", "caller", "rule", "reason",
        "held", "lever",
    }  # fmt: skip
    rules = [*(rule for some in RULES.values() for rule in some), *(rule for _, rule in ANSWERS)]
    for rule in rules:
        groups = set(re.compile(rule.details).groupindex)
        for text in (rule.cause, rule.culprit, rule.remedy):
            used = {name for _, name, _, _ in string.Formatter().parse(text) if name}
            assert used <= known | groups
            assert not text.endswith(".")
            assert text.strip() == text


def test_only_the_last_rule_of_a_flag_is_general() -> None:
    """Rules after it would never be found."""
    for rules in RULES.values():
        assert [not rule.details for rule in rules] == [False] * (len(rules) - 1) + [True]


@pytest.mark.parametrize(
    ("flags", "principal"),
    [
        ((), ""),
        (("URX", "UF"), "UF"),
        (("UF", "URX"), "UF"),
        (("DI",), "DI"),
        (("DI", "FI"), "FI"),
        (("URX",), "URX"),
        (("UF", "DC"), "DC"),
        (("UO", "UF"), "UF"),
        (("DI", "UO"), "UO"),
        (("URX", "UO"), "UO"),
    ],
)
def test_the_flag_that_says_why(flags: tuple[str, ...], principal: str) -> None:
    """A client that left ends everything; exhausted or refused retries and delays only come beside."""
    assert principal_flag(flags) == principal


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        ("connection_timeout", "did not answer the connection attempt"),
        ("remote_connection_failure|delayed_connect_error:_Connection_refused", "nobody listens"),
        ("remote_connection_failure|delayed_connect_error:_No_route_to_host", "there is no way to"),
        ("remote_connection_failure|delayed_connect_error:_Too_many_open_files", "could not open a socket"),
        ("remote_connection_failure|TLS_error:_certificate_has_expired", "has expired"),
        ("remote_connection_failure|TLS_error:_Hostname_mismatch", "another name"),
        ("remote_connection_failure|TLS_error:_CERTIFICATE_VERIFY_FAILED:verify_SAN_list", "another name"),
        (
            "remote_connection_failure|TLS_error:_CERTIFICATE_VERIFY_FAILED:_certificate_revoked",
            "was revoked",
        ),
        ("remote_connection_failure|TLS_error:_self_signed_certificate", "not signed by a root"),
        ("remote_connection_failure|TLS_error:_tlsv13_alert_certificate_required", "refused our certificate"),
        ("remote_connection_failure|TLS_error:_WRONG_VERSION_NUMBER", "TLS handshake with"),
        ("remote_connection_failure|something_else", "no connection to"),
    ],
)
def test_why_there_is_no_connection(failure: str, words: str) -> None:
    """One flag, many causes: the transport failure tells them apart."""
    details = f"upstream_reset_before_response_started{{{failure}}}"
    transport = failure.partition("|")[2]
    told = diagnose(
        Happened(
            status=503, flags=("UF",), details=details, transport_failure=transport, endpoint="10.0.0.1:80"
        )
    )

    assert words in told.cause
    assert "10.0.0.1:80" in told.cause + told.culprit


@pytest.mark.parametrize(
    ("status", "words"), [(500, "itself"), (404, "found fault"), (200, "nothing went wrong")]
)
def test_a_backend_s_own_answer_is_judged_by_its_status(status: int, words: str) -> None:
    """The gateway only passed it on."""
    assert words in diagnose(Happened(status=status, details="via_upstream", endpoint="a:1")).cause


@pytest.mark.parametrize("word", sorted(DENIED))
def test_a_retry_that_was_not_made_is_explained(word: str) -> None:
    """In the words of the retry policy."""
    told = diagnose(Happened(status=503, flags=("UC",), details="x", retries_denied=word))

    assert f"It was not tried again: {DENIED[word]}." in told.notes


@pytest.mark.parametrize(
    ("word", "cause", "lever"),
    [
        ("budget", "as many retries as reviews:80 may have were already under way", "DestinationRule"),
        ("allowance", "the retries of reviews:80 had already used up their share", "`retryBudget.overTime`"),
    ],
)
def test_which_half_of_the_budget_refused_a_retry_is_told(word: str, cause: str, lever: str) -> None:
    told = diagnose(
        Happened(
            status=503,
            flags=("UO",),
            details="via_upstream",
            cluster="outbound|80||reviews.default.svc.cluster.local",
            retries_denied=word,
        )
    )

    assert cause in told.cause
    assert lever in told.remedy


def test_a_try_on_a_stale_connection_is_told_apart() -> None:
    """Nobody shall look for a fault of the backend."""
    told = diagnose(Happened(status=200, details="via_upstream", tries=2, tried=("a", "a"), stale=True))

    assert any("closed while it was idle" in note for note in told.notes)


def test_the_words_of_the_retry_policy_are_all_known() -> None:
    """As its source lists them."""
    from gateway.exchange import retry

    named = set(re.findall(r'denied="(\w+)"', Path(retry.__file__).read_text(encoding="utf-8")))

    assert named | {IN_FLIGHT, OVER_TIME} <= DENIED.keys()


TEXT = st.text(max_size=30)


@given(st.lists(st.sampled_from(list(Flag)), max_size=3), TEXT, TEXT, TEXT)
def test_whatever_happened_there_is_a_sentence(
    flags: list[Flag], details: str, failure: str, path: str
) -> None:
    """Details and names may have braces and anything else."""
    told = diagnose(
        Happened(flags=tuple(flags), details=details, transport_failure=failure, path=path, host=details)
    )

    assert all((told.cause, told.culprit, told.remedy))
