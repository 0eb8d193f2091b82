"""Retries, failures, timeouts, faults, mirrors, replies of our own."""

from __future__ import annotations

from support.finished import finished, snapshot_of

from gateway.exchange.exchange import Attempt
from gateway.http.flags import Flag
from gateway.telemetry import catalog
from gateway.telemetry.counters import Counters

SNAPSHOT = snapshot_of()
NAME = "outbound|9080||reviews.default.svc.cluster.local"
CLUSTER = ("cluster", NAME)
ROUTE = (("virtual_service", "default/reviews"), ("route", "all"))


def tried(exchange, number: int, status: int = 0, flag: Flag | None = None, details: str = "") -> Attempt:
    endpoint = exchange.destination.cluster.endpoints[number]
    return Attempt(endpoint, 100.0, None, None, 100.1, status, flag, details, reused=False, local_address="")


def counted(exchange, end: float) -> dict[object, dict]:
    counters = Counters()
    counters.follow(SNAPSHOT.config.settings.spec)
    counters.record(exchange, end)
    return {family.metric: family.samples for family in counters.read()}


def attempts(found) -> dict[tuple[str, str], int]:
    return {
        (dict(labels)["endpoint"], dict(labels)["outcome"]): value
        for labels, value in found[catalog.ATTEMPTS].items()
        if value
    }


def test_one_plain_try_is_counted_at_its_endpoint() -> None:
    """By the class of its answer."""
    assert attempts(counted(*finished(SNAPSHOT, status=404, endpoint=1))) == {("10.0.0.18:9080", "4xx"): 1}


def test_a_failed_try_is_counted_by_its_flag() -> None:
    """The guilty endpoint shows."""
    exchange = finished(SNAPSHOT, status=503, flags=(Flag.UPSTREAM_CONNECT_FAILURE,), details="x{y}")
    found = counted(*exchange)

    assert attempts(found) == {("10.0.0.17:9080", "UF"): 1}
    assert found[catalog.RETRIES] == {}


def test_a_retry_that_saves_a_request_is_counted_with_its_reason() -> None:
    """Every try counts at its own endpoint."""
    exchange, end = finished(SNAPSHOT)
    exchange.earlier = (tried(exchange, 0, 503),)
    exchange.endpoint = exchange.destination.cluster.endpoints[1]
    found = counted(exchange, end)

    assert attempts(found) == {("10.0.0.17:9080", "5xx"): 1, ("10.0.0.18:9080", "2xx"): 1}
    assert found[catalog.RETRIES] == {(CLUSTER, ("reason", "503")): 1}
    assert found[catalog.RETRIES_WON] == {(CLUSTER,): 1}


def test_a_request_sent_again_for_a_stale_connection_is_counted_apart() -> None:
    """An attempt like any other, but nothing its backend did."""
    exchange, end = finished(SNAPSHOT)
    first = tried(exchange, 0, flag=Flag.UPSTREAM_TERMINATION)
    exchange.earlier = (first._replace(reused=True, stale=True),)
    found = counted(exchange, end)

    assert attempts(found) == {("10.0.0.17:9080", "UC"): 1, ("10.0.0.17:9080", "2xx"): 1}
    assert found[catalog.RETRIES] == {(CLUSTER, ("reason", "stale")): 1}


def test_retries_that_did_not_help_are_counted_too() -> None:
    """And so is why there was no further one."""
    exchange, end = finished(SNAPSHOT, status=503, flags=(Flag.UPSTREAM_TERMINATION, Flag.RETRIES_EXHAUSTED))
    exchange.earlier = (tried(exchange, 0, flag=Flag.UPSTREAM_TERMINATION),)
    exchange.retries_denied = "budget"
    found = counted(exchange, end)

    assert found[catalog.RETRIES] == {(CLUSTER, ("reason", "UC")): 1}
    assert found[catalog.RETRIES_WON] == {}
    assert found[catalog.RETRIES_DENIED] == {(CLUSTER, ("reason", "budget")): 1}


def test_timeouts_are_counted_by_kind() -> None:
    """The whole request's, each try's."""
    exchange, end = finished(SNAPSHOT, status=504, flags=(Flag.UPSTREAM_TIMEOUT,), details="response_timeout")
    slow = tried(exchange, 0, flag=Flag.UPSTREAM_TIMEOUT, details="upstream_per_try_timeout")
    exchange.earlier = (slow, slow)
    found = counted(exchange, end)

    assert found[catalog.TIMEOUTS] == {
        (CLUSTER, ("kind", "per_try")): 2,
        (CLUSTER, ("kind", "response")): 1,
    }


def test_faults_and_mirrors_are_counted_at_their_route() -> None:
    """A delay and an abort are two."""
    flags = (Flag.DELAY_INJECTED, Flag.FAULT_INJECTED)
    exchange, end = finished(SNAPSHOT, status=500, flags=flags, details="fault_filter_abort")
    exchange.mirrors = 2
    found = counted(exchange, end)

    assert found[catalog.FAULTS] == {(*ROUTE, ("kind", "delay")): 1, (*ROUTE, ("kind", "abort")): 1}
    assert found[catalog.MIRRORS] == {ROUTE: 2}
    assert [dict(labels)["reason"] for labels in found[catalog.LOCAL_REPLIES]] == ["fault_filter_abort"]


def test_the_reason_of_a_reply_ends_at_its_first_bracket() -> None:
    """Names of policies and transport errors would make it unbounded."""
    for details in (
        "rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]",
        "jwt_authn_access_denied{x[y]}",
    ):
        exchange, end = finished(SNAPSHOT, routed=False, status=403, details=details)
        (labels,) = counted(exchange, end)[catalog.LOCAL_REPLIES]
        assert dict(labels)["reason"] == details.partition("[")[0].partition("{")[0]
