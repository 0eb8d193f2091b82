"""Which failures are repeated, by Envoy's table, and which are not although a condition covers them."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backend import RecordingBackend, SilentPort, dead_port
from support.outcomes import (
    CONNECT_TIMEOUT,
    COVERS,
    CUT,
    ERRORS,
    NOT_CONNECTED,
    REFUSED,
    UNSENT,
    answered,
    failed,
    judge,
    policy,
)
from support.upstreams import cluster_of
from support.waiting import until

from gateway.config.http_policies import RETRY_TOKENS, HTTPRetry
from gateway.exchange.retry import (
    FINAL,
    IDEMPOTENT,
    STALE,
    Outcome,
    Retries,
    TryTimedOut,
    Verdict,
    backoff,
    reset_body,
    verdict,
)
from gateway.http.flags import Flag
from gateway.routing.policies import RetryPolicy, compile_retries
from gateway.upstream.cluster_config import RetryShare
from gateway.upstream.errors import UpstreamError, protocol_error

# -- the table -----------------------------------------------------------------------------------


def test_the_table_knows_every_word() -> None:
    assert set(COVERS) == RETRY_TOKENS


@pytest.mark.parametrize("word", sorted(COVERS))
@pytest.mark.parametrize("name", sorted(ERRORS))
def test_each_condition_covers_its_failures(word: str, name: str) -> None:
    found = judge(word, failed(ERRORS[name]))
    assert (found.again, found.event) == ((True, word) if name in COVERS[word][1] else (False, ""))


@pytest.mark.parametrize("word", sorted(COVERS))
def test_each_condition_covers_its_statuses(word: str) -> None:
    found = {status for status in range(200, 600) if judge(word, answered(status)).again}
    assert found == COVERS[word][0]


@pytest.mark.parametrize("word", sorted(COVERS))
def test_each_condition_covers_its_grpc_statuses(word: str) -> None:
    """Only a number means something; what else a backend writes there is no status."""
    found = {code for code in range(17) if judge(word, answered(200, grpc_status=str(code))).again}
    assert found == COVERS[word][2]
    for nonsense in ("", "x", "-1", "9" * 5000, "1 4"):
        assert judge(word, answered(200, grpc_status=nonsense)) == FINAL


words = st.lists(
    st.one_of(st.sampled_from(sorted(COVERS)), st.sampled_from(["200", "404", "409", "429", "500", "503"])),
    min_size=1,
    max_size=5,
    unique=True,
)
outcomes = st.one_of(
    st.sampled_from(sorted(ERRORS)),
    st.tuples(
        st.sampled_from([200, 204, 404, 409, 429, 500, 502, 503, 504, 599]),
        st.one_of(st.none(), st.integers(0, 16)),
        st.booleans(),
    ),
)


@settings(max_examples=400)
@given(words, outcomes, st.sampled_from(["GET", "POST", "PATCH", "DELETE"]), st.integers(0, 3))
def test_a_written_policy_repeats_exactly_what_its_words_cover(
    tokens: list[str], event: Any, method: str, made: int
) -> None:
    """For every method, as Envoy does; beyond the attempts with URX."""
    if isinstance(event, str):
        outcome = failed(ERRORS[event])
        covered = any(event in COVERS[word][1] for word in tokens if word in COVERS)
    else:
        status, grpc, limited = event
        headers = {} if grpc is None else {"grpc_status": str(grpc)}
        headers |= {"x_envoy_ratelimited": "true"} if limited else {}
        outcome = answered(status, **headers)
        covered = str(status) in tokens or any(
            status in COVERS[word][0] or grpc in COVERS[word][2] for word in tokens if word in COVERS
        )
        if limited:
            covered = "envoy-ratelimited" in tokens
    found = judge(",".join(tokens), outcome, method=method, made=made)
    assert bool(found.event) == covered
    assert found.again == (covered and made < 2)
    assert found.flag == (Flag.RETRIES_EXHAUSTED if covered and made >= 2 else None)


@settings(max_examples=300)
@given(words, st.integers(100, 599), st.one_of(st.none(), st.integers(0, 16)), st.booleans())
def test_what_is_not_suspect_is_final(
    tokens: list[str], status: int, grpc: int | None, limited: bool
) -> None:
    """The data path asks for a verdict only on a suspect status or a grpc-status."""
    made = policy(",".join(tokens))
    headers = {"x_envoy_ratelimited": "true"} if limited else {}
    if grpc is None and status not in made.suspects:
        assert verdict(made, answered(status, **headers), method="GET", made=0) == FINAL


# -- the default, and methods that must not be repeated --------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "again"),
    [
        (failed(NOT_CONNECTED), True),
        (failed(CONNECT_TIMEOUT), True),
        (failed(REFUSED), True),
        (failed(CUT), False),
        (failed(TryTimedOut()), False),
        (answered(503), False),
        (answered(500), False),
        (answered(200, grpc_status="14"), True),
        (answered(200, grpc_status="1"), True),
        (answered(200, grpc_status="2"), False),
    ],
)
def test_istios_default_repeats_what_nobody_answered(outcome: Outcome, again: bool) -> None:
    assert verdict(RetryPolicy(), outcome, method="GET", made=0).again == again


@pytest.mark.parametrize("method", ["POST", "PATCH", "PROPFIND", "get"])
def test_by_default_a_post_is_repeated_only_when_no_backend_saw_it(method: str) -> None:
    """Methods are case-sensitive, and one that nobody knows may do anything."""
    default = RetryPolicy()
    for error in (NOT_CONNECTED, CONNECT_TIMEOUT, REFUSED):
        assert verdict(default, failed(error), method=method, made=0).again
    found = verdict(default, answered(200, grpc_status="14"), method=method, made=0)
    assert found == Verdict(again=False, event="unavailable", denied="method")


@pytest.mark.parametrize("retry_on", ["", None])
def test_attempts_alone_name_no_event(retry_on: str | None) -> None:
    written = compile_retries(HTTPRetry.model_validate({"attempts": 3, "retryOn": retry_on}), timeout=None)
    assert written is not None
    assert not written.named
    assert verdict(written, answered(200, grpc_status="1"), method="POST", made=0).denied == "method"


def test_a_written_word_or_code_names_the_event_for_every_method() -> None:
    assert judge("503", answered(503), method="POST").again
    assert judge("5xx", failed(CUT), method="POST").again
    assert judge("unavailable", answered(200, grpc_status="14"), method="POST").again
    assert judge("connect-failure,503", failed(CUT), method="POST") == FINAL


def test_without_retries_nothing_is_repeated() -> None:
    for outcome in (answered(503), failed(NOT_CONNECTED), failed(CUT), failed(REFUSED)):
        assert verdict(None, outcome, method="GET", made=0) == FINAL


# -- what is never repeated ------------------------------------------------------------------------


def test_a_backend_that_says_it_is_overloaded_is_left_alone() -> None:
    found = judge("5xx", answered(503, x_envoy_overloaded="true"))
    assert found == Verdict(again=False, event="5xx", denied="overloaded")


def test_a_body_that_was_not_kept_is_not_repeated() -> None:
    found = judge("5xx", answered(503), replayable=False)
    assert found == Verdict(again=False, event="5xx", denied="body")


def test_used_up_attempts_are_flagged_only_when_another_would_have_helped() -> None:
    assert judge("5xx", answered(503), made=2) == Verdict(
        again=False, event="5xx", denied="attempts", flag=Flag.RETRIES_EXHAUSTED
    )
    assert judge("5xx", answered(404), made=2) == FINAL


# -- stale connections -------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [None, RetryPolicy(), policy("503")])
def test_a_stale_connection_is_replaced_whatever_the_policy(made: RetryPolicy | None) -> None:
    """That an idle connection was used again is our doing: nothing is waited for."""
    assert verdict(made, failed(CUT, reused=True), method="GET", made=0) == STALE


def test_a_stale_connection_is_no_way_beyond_the_attempts_of_the_route() -> None:
    """Without retries there is one, with them it is one of them."""
    outcome = failed(CUT, reused=True)
    assert verdict(RetryPolicy(), outcome, method="GET", made=1) == STALE
    assert verdict(RetryPolicy(), outcome, method="GET", made=2) == FINAL
    assert verdict(None, outcome, method="GET", made=1) == FINAL
    assert judge("reset", outcome, made=2).denied == "attempts"


@pytest.mark.parametrize(
    ("method", "error", "untouched", "again"),
    [
        ("GET", CUT, True, True),
        ("PUT", CUT, False, True),
        ("POST", CUT, True, True),
        ("POST", CUT, False, False),
        ("POST", UNSENT, False, True),
        ("GET", protocol_error("cut in the head"), True, False),
        ("GET", NOT_CONNECTED, True, False),
    ],
)
def test_a_post_survives_a_stale_connection_only_before_its_body(
    method: str, error: UpstreamError, untouched: bool, again: bool
) -> None:
    """Not one whose answer had begun, either."""
    found = verdict(None, failed(error, reused=True), method=method, made=0, untouched=untouched)
    assert found == (STALE if again else FINAL)


def test_only_one_stale_connection_is_forgiven() -> None:
    outcome = failed(CUT, reused=True)
    assert verdict(None, outcome, method="GET", made=0, stale_before=True) == FINAL
    assert judge("reset", outcome, stale_before=True) == Verdict(again=True, event="reset")
    assert verdict(None, failed(CUT), method="GET", made=0) == FINAL
    assert verdict(None, outcome, method="GET", made=0, replayable=False) == FINAL


@settings(max_examples=300)
@given(
    st.one_of(st.none(), st.just(RetryPolicy()), words.map(lambda tokens: policy(",".join(tokens)))),
    st.sampled_from(sorted(ERRORS)),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["GET", "POST", "PATCH"]),
)
def test_a_post_a_backend_may_have_seen_is_repeated_only_when_a_word_says_so(
    made: RetryPolicy | None, name: str, reused: bool, untouched: bool, method: str
) -> None:
    error = ERRORS[name]
    found = verdict(made, failed(error, reused=reused), method=method, made=0, untouched=untouched)
    if found.again and method not in IDEMPOTENT:
        unseen = not error.sent or error in {NOT_CONNECTED, CONNECT_TIMEOUT, REFUSED}
        stale = found.at_once and reused and untouched
        named = made is not None and made.named and found.event in COVERS
        assert unseen or stale or named


# -- waiting -------------------------------------------------------------------------------------------


class Most(Random):
    """Dice that always show (almost) the highest."""

    def random(self) -> float:
        return 1.0


def test_retries_wait_longer_each_time_up_to_ten_times_the_base() -> None:
    """25, 50, 100, 200, 250 ms at most."""
    waits = [backoff(RetryPolicy(), number, Most()) for number in (1, 2, 3, 4, 5, 6, 2000)]
    assert waits == pytest.approx([0.025, 0.05, 0.1, 0.2, 0.25, 0.25, 0.25])


@given(st.integers(1, 10**9), st.floats(0.001, 3600.0), st.integers())
def test_a_wait_is_anything_from_nothing_to_its_bound(number: int, base: float, seed: int) -> None:
    made = RetryPolicy(backoff=base)
    assert 0.0 <= backoff(made, number, Random(seed)) <= min(base * 2 ** min(number, 10), 10 * base)


def test_waits_are_spread_over_the_whole_range() -> None:
    """Full jitter: clients that failed together do not come back together."""
    rng = Random(7)
    waits = sorted(backoff(RetryPolicy(), 1, rng) for _ in range(1000))
    assert waits[0] < 0.001
    assert waits[-1] > 0.024
    assert 0.010 < waits[500] < 0.015


def test_the_body_of_a_reply_tells_of_a_retry() -> None:
    assert reset_body(CUT, retried=False) == (
        b"upstream connect error or disconnect/reset before headers. reset reason: connection termination"
    )
    assert reset_body(CUT, retried=True) == (
        b"upstream connect error or disconnect/reset before headers. "
        b"retried and the latest reset reason: connection termination"
    )


# -- the retries of one request --------------------------------------------------------------------------


def test_a_request_takes_a_place_for_each_retry_and_gives_it_back() -> None:
    pool = cluster_of(1, max_retries=1).pool
    retries = Retries(policy("5xx"), pool, "GET")
    assert retries.judge(answered(503)).again
    assert (pool.retries.in_flight, retries.made) == (1, 1)
    assert retries.judge(answered(503)).again
    assert (pool.retries.in_flight, retries.made) == (1, 2)
    assert 0.0 <= retries.wait(Random(1)) <= 0.05
    assert retries.judge(answered(503)).flag is Flag.RETRIES_EXHAUSTED
    assert pool.retries.in_flight == 0
    retries.close()
    assert (pool.retries.in_flight, pool.retries.made, pool.retries.exhausted) == (0, 2, 1)


def test_when_there_are_too_many_retries_the_failure_is_final() -> None:
    pool = cluster_of(1, max_retries=1).pool
    first, second = (Retries(policy("5xx"), pool, "GET") for _ in range(2))
    assert first.judge(answered(503)).again
    found = second.judge(answered(503))
    assert found == Verdict(again=False, event="5xx", denied="budget", flag=Flag.UPSTREAM_OVERFLOW)
    first.close()
    first.close()
    assert second.judge(answered(503)).again
    second.close()
    assert (pool.retries.in_flight, pool.retries.refused) == (0, 1)


def test_a_stale_connection_costs_an_attempt_and_no_place() -> None:
    pool = cluster_of(1, max_retries=0).pool
    retries = Retries(RetryPolicy(), pool, "GET")
    assert retries.judge(failed(CUT, reused=True)) == STALE
    assert (retries.made, pool.retries.in_flight, pool.retries.repeated) == (1, 0, 1)
    assert not retries.retried
    assert retries.judge(failed(CUT, reused=True)) == FINAL


def test_a_failed_connect_takes_no_place_while_other_endpoints_accept_connections() -> None:
    """A dead endpoint out of two: all requests it was picked for are repeated, far beyond the share."""

    async def main() -> None:
        async with RecordingBackend() as alive:
            cluster = cluster_of(alive.port, dead_port(), retry_budget=RetryShare(20.0, 1, 1.0))
            pool = cluster.pool
            many = [Retries(RetryPolicy(), pool, "POST") for _ in range(100)]
            refused = [one.judge(failed(NOT_CONNECTED)) for one in many[:3]]
            assert [found.denied for found in refused] == ["", "budget", "budget"]
            connection = await cluster.connect(cluster.endpoints[0])
            assert all(one.judge(failed(NOT_CONNECTED)).again for one in many[3:])
            assert (pool.retries.in_flight, pool.retries.made) == (1, 98)
            assert many[4].judge(answered(200, grpc_status="14")).denied == "method"
            connection.abort()
            for one in many:
                one.close()
            assert pool.retries.in_flight == 0

    asyncio.run(main())


def test_a_connect_that_is_tried_elsewhere_is_no_accepted_connection() -> None:
    """Every endpoint is silent: that many are being opened forgives nothing."""

    async def main() -> None:
        with SilentPort() as silent:
            cluster = cluster_of(silent, retry_budget=RetryShare(20.0, 0, 1.0))
            opening = asyncio.ensure_future(cluster.connect(cluster.endpoints[0]))
            await until(lambda: cluster.pool.connections == 1)
            assert not cluster.pool.forgives()
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("limits", "granted"),
    [({"retry_budget": RetryShare(20.0, 1)}, 1), ({"max_retries": 2}, 2)],
)
def test_a_rule_of_ones_own_counts_failed_connects_as_envoy_does(
    limits: dict[str, Any], granted: int
) -> None:
    async def main() -> None:
        async with RecordingBackend() as alive:
            cluster = cluster_of(alive.port, **limits)
            connection = await cluster.connect(cluster.endpoints[0])
            many = [Retries(RetryPolicy(), cluster.pool, "GET") for _ in range(5)]
            assert sum(one.judge(failed(NOT_CONNECTED)).again for one in many) == granted
            connection.abort()

    asyncio.run(main())


def test_while_everything_fails_retries_stay_within_their_share() -> None:
    """A thousand requests one after the other, every attempt refused: 20 % are repeated at most."""
    pool = cluster_of(1, retry_budget=RetryShare(20.0, 0, 25.0)).pool
    (endpoint,) = pool.endpoints.values()
    attempts = 0
    for _ in range(1000):
        retries = Retries(RetryPolicy(), pool, "GET")
        again = True
        while again:
            attempts += 1
            endpoint.requests += 1
            again = retries.judge(failed(NOT_CONNECTED)).again
        retries.close()
    assert attempts <= 1200
    assert pool.retries.in_flight == 0
