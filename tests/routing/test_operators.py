"""Values of command operators."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

import pytest
from support.routing import KnownFacts, request

from gateway.http.flags import Flag
from gateway.http.format import HEADER_OPERATORS, PLAIN_OPERATORS
from gateway.routing.operators import LONG_FLAGS, compile_format


@dataclass
class Called:
    name: str


def render(text: str, facts: KnownFacts | None = None, *, missing: bytes = b"") -> str:
    """A format string rendered for some facts."""
    compiled = compile_format(text, missing=missing)
    return (compiled if isinstance(compiled, bytes) else compiled(facts or KnownFacts())).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain 100%%", "plain 100%"),
        ("%PROTOCOL%", "HTTP/1.1"),
        ("%RESPONSE_CODE%/%RESPONSE_CODE_DETAILS%", "200/via_upstream"),
        ("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", "- -"),
        ("%BYTES_RECEIVED%+%BYTES_SENT%", "10+20"),
        ("%DURATION%", "1234"),
        ("%UPSTREAM_REQUEST_ATTEMPT_COUNT%", "1"),
        ("%DOWNSTREAM_REMOTE_ADDRESS%", "203.0.113.7:0"),
        ("%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "203.0.113.7"),
        ("%DOWNSTREAM_REMOTE_PORT%", "0"),
        ("%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%", "127.0.0.1:55555"),
        ("%DOWNSTREAM_DIRECT_REMOTE_PORT%", "55555"),
        ("%DOWNSTREAM_LOCAL_ADDRESS%", "[::1]:8080"),
        ("%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%", "::1"),
        ("%UPSTREAM_HOST%", "10.0.0.1:9080"),
        ("%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.1"),
        ("%UPSTREAM_LOCAL_ADDRESS%", "10.0.0.9:41000"),
        ("%UPSTREAM_CLUSTER_RAW%", "outbound|9080|v1|reviews.default.svc.cluster.local"),
        ("%REQUESTED_SERVER_NAME%", "reviews.example.com"),
        ("%DOWNSTREAM_PEER_URI_SAN%", "spiffe://cluster.local/ns/default/sa/sleep"),
        ("%HOSTNAME%", socket.gethostname()),
        ("%START_TIME%", "2020-01-02T03:04:05.678Z"),
        ("%START_TIME(%Y/%m/%d %H:%M:%S.%3f)%", "2020/01/02 03:04:05.678"),
        ("%START_TIME(%s %f %6f)%", "1577934245 678901000 678901"),
        ("%START_TIME(%%s%%3f)%", "%s%3f"),
        ("%REQ(:METHOD)% %REQ(:PATH)% %REQ(:SCHEME)% %REQ(:AUTHORITY)%", "GET /new?q=1 http reviews:8080"),
        ("%REQ(X-Id)%", "abcdef"),
        ("%REQ(X-ID):3%", "abc"),
        ("%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "/new?q=1"),
        ("%REQ(X-ID?:PATH)%", "abcdef"),
        ("[%REQ(X-NONE)%]", "[]"),
        ("%RESP(Server)%", "here"),
    ],
)
def test_an_operator_has_the_value_envoy_gives_it(text: str, expected: str) -> None:
    """Request headers are those that stand now; names in any case."""
    facts = KnownFacts(
        request_headers=[(b"x-id", b"abcdef"), (b"x-id", b"2")], response_headers=[(b"server", b"here")]
    )

    assert expected == render(text, facts)


def test_missing_values_are_what_the_caller_says() -> None:
    """Nothing in a header, a hyphen in a log line."""
    facts = KnownFacts(upstream_host="", upstream_transport_failure="", route=Called(""))
    text = "%UPSTREAM_HOST% %UPSTREAM_TRANSPORT_FAILURE_REASON% %ROUTE_NAME% %RESP(x)%"

    assert render(text, facts) == "   "
    assert render(text, facts, missing=b"-") == "- - - -"
    assert render("%UPSTREAM_HOST%", facts, missing=b"-") == "-"


def test_flags_print_in_the_order_they_were_set() -> None:
    """Short and long names."""
    facts = KnownFacts(flags=(Flag.RETRIES_EXHAUSTED, Flag.UPSTREAM_TIMEOUT))

    assert render("%RESPONSE_FLAGS%", facts) == "URX,UT"
    assert render("%RESPONSE_FLAGS_LONG%", facts) == "UpstreamRetryLimitExceeded,UpstreamRequestTimeout"
    assert set(LONG_FLAGS) == set(Flag)


def test_a_route_prints_its_name() -> None:
    """As configuration gives it."""
    assert render("%ROUTE_NAME%", KnownFacts(route=Called("canary"))) == "canary"


def test_the_environment_is_read_when_the_format_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot change under a running process; unset is missing."""
    monkeypatch.setenv("GATEWAY_TEST_REGION", "eu-1")

    assert (
        compile_format("%ENVIRONMENT(GATEWAY_TEST_REGION)%-%ENVIRONMENT(GATEWAY_TEST_NONE)%.", missing=b"?")
        == b"eu-1-?."
    )
    assert compile_format("%ENVIRONMENT(GATEWAY_TEST_REGION):2%") == b"eu"


@pytest.mark.parametrize("name", sorted(PLAIN_OPERATORS))
def test_every_operator_of_the_grammar_has_a_value(name: str) -> None:
    """The parser knows no operator that the compiler does not."""
    facts: Any = KnownFacts(
        request=request(), termination_details="x", upstream_transport_failure="x", route=Called("r")
    )

    assert render(f"%{name}%", facts)
    assert {"REQ", "RESP"} == HEADER_OPERATORS
