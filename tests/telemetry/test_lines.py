"""Lines of the access log: Istio's keys and text, formats of one's own, and nothing that escapes its value."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.finished import REVIEWS, finished, snapshot_of

from gateway.http.flags import Flag
from gateway.http.peer import Peer
from gateway.http.place import Place
from gateway.telemetry.lines import LONGEST_VALUE, MOST_CACHED, JsonFormat, JsonLine, TextLine

KEYS = {
    "start_time", "route_name", "method", "path", "protocol", "response_code", "response_flags",
    "response_code_details", "connection_termination_details", "bytes_received", "bytes_sent", "duration",
    "upstream_service_time", "x_forwarded_for", "user_agent", "request_id", "authority", "upstream_host",
    "upstream_cluster", "upstream_local_address", "downstream_local_address", "downstream_remote_address",
    "requested_server_name", "upstream_transport_failure_reason",
}  # fmt: skip
SNAPSHOT = snapshot_of()
CLUSTER = "outbound|9080||reviews.default.svc.cluster.local"


def agent(value: bytes):
    return finished(SNAPSHOT, headers=[(b"user-agent", value)])


def test_a_line_has_the_keys_of_istio() -> None:
    """All of them, whatever happened."""
    answered, refused = (
        finished(SNAPSHOT),
        finished(SNAPSHOT, routed=False, status=404, flags=(Flag.NO_ROUTE,)),
    )

    assert set(json.loads(JsonLine()(*answered, 1.0))) == KEYS
    assert set(json.loads(JsonLine()(*refused, 1.0))) == KEYS


def test_a_line_says_what_happened() -> None:
    """Numbers are numbers, times are UTC, the endpoint is the one that answered."""
    exchange, end = finished(SNAPSHOT, seconds=0.25, endpoint=1)
    line = json.loads(JsonLine()(exchange, end, 1000.5))

    assert (line["response_code"], line["response_flags"], line["duration"]) == (200, "-", 250)
    assert (line["path"], line["start_time"]) == (
        "/productpage/reviews/17?lang=en",
        "1970-01-01T00:16:40.250Z",
    )
    assert (line["upstream_host"], line["upstream_cluster"]) == ("10.0.0.18:9080", CLUSTER)
    assert (line["upstream_service_time"], line["route_name"]) == (125, "all")
    assert (line["downstream_remote_address"], line["downstream_local_address"]) == (
        "192.0.2.44:51234",
        "10.0.0.1:8080",
    )


@pytest.mark.parametrize("text", ['"', "\\", "\n", "x\x1b[2J", '","a","'])
def test_whatever_a_foreign_server_says_is_quoted(text: str) -> None:
    """Inside of another application, method and client address may be anything."""
    exchange, end = finished(SNAPSHOT, method=text)
    exchange.place, exchange.request.client_ip = Place((text, 1), None, protocol=text), text
    written = JsonLine()(exchange, end, 1.0)
    line = json.loads(written)

    assert written[:-1].isprintable()
    assert (line["method"], line["protocol"], line["downstream_remote_address"]) == (text, text, f"{text}:1")


def test_the_host_that_was_sent_upstream_is_logged() -> None:
    """As in Envoy: after a rewrite, while the path is the one before it."""
    exchange, end = finished(SNAPSHOT)
    exchange.parts = (b"/elsewhere", b"inside.example.com", [])
    line = json.loads(JsonLine()(exchange, end, 1.0))

    assert line["authority"] == "inside.example.com"
    assert line["path"] == "/productpage/reviews/17?lang=en"
    assert '"inside.example.com"' in TextLine()(exchange, end, 1.0)


def test_a_route_without_a_name_has_none() -> None:
    """Not an empty one: null in JSON, a dash in text."""
    exchange, end = finished(snapshot_of(REVIEWS.replace("  - name: all\n    route", "  - route")))

    assert json.loads(JsonLine()(exchange, end, 1.0))["route_name"] is None
    assert TextLine("%ROUTE_NAME%")(exchange, end, 1.0) == "-\n"


def test_a_failure_is_told_by_flags_and_details() -> None:
    """Several flags stand in the order they were set; what is not there is null."""
    flags = (Flag.UPSTREAM_CONNECT_FAILURE, Flag.RETRIES_EXHAUSTED)
    exchange, end = finished(
        SNAPSHOT, status=503, flags=flags, details="upstream_reset_before_response_started{x}"
    )
    exchange.transport_failure = "delayed_connect_error:_111"
    line = json.loads(JsonLine()(exchange, end, 1.0))

    assert line["response_flags"] == "UF,URX"
    assert line["response_code_details"] == "upstream_reset_before_response_started{x}"
    assert line["upstream_transport_failure_reason"] == "delayed_connect_error:_111"
    assert line["upstream_service_time"] is None


def test_one_formatter_tells_every_exchange_apart() -> None:
    """What it remembers of one line never shows in another."""
    line = JsonLine()
    first = json.loads(line(*finished(SNAPSHOT, endpoint=0), 1.0))
    second = json.loads(line(*finished(SNAPSHOT, endpoint=1, headers=[]), 2.0))
    third = json.loads(line(*finished(SNAPSHOT, routed=False, status=404, answer=None), 3.0))

    assert [item["upstream_host"] for item in (first, second, third)] == [
        "10.0.0.17:9080",
        "10.0.0.18:9080",
        None,
    ]
    assert second["user_agent"] is None
    assert third["route_name"] is None


def test_the_server_name_of_the_handshake_is_logged() -> None:
    """SNI comes from the TLS side of the connection."""
    exchange, end = finished(SNAPSHOT)
    exchange.request.peer = Peer(sni="shop.example.com")

    assert json.loads(JsonLine()(exchange, end, 1.0))["requested_server_name"] == "shop.example.com"


def test_remembered_values_are_bounded() -> None:
    """A client that changes its user agent with every request does not fill the memory."""
    line = JsonLine()
    for number in range(MOST_CACHED + 10):
        line(*agent(b"agent %d" % number), 1.0)

    assert len(line._clients) <= MOST_CACHED


@settings(max_examples=200)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_whatever_a_client_sends_stays_one_value_of_one_json_line(value: bytes, path: bytes) -> None:
    """No byte ends the line, starts a key, or reaches a terminal as it is."""
    exchange, end = finished(SNAPSHOT, headers=[(b"user-agent", value)], path=b"/" + path)
    text = JsonLine()(exchange, end, 1.0)
    line = json.loads(text)

    assert text.isascii()
    assert text[:-1].isprintable()
    assert set(line) == KEYS
    assert line["user_agent"] == value.decode("latin-1")
    assert line["path"] == (b"/" + path + b"?lang=en").decode("latin-1")


@settings(max_examples=200)
@given(st.binary(max_size=60))
def test_whatever_a_client_sends_stays_one_value_of_one_text_line(value: bytes) -> None:
    """Quotes inside of a value are escaped, so the number of fields is always the same."""
    text = TextLine()(*agent(value), 1.0)

    assert text.endswith("\n")
    assert text[:-1].isprintable()
    assert text.count('"') == 14


def test_the_text_format_is_istios() -> None:
    """Every operator of the default format is filled in."""
    line = TextLine()(*finished(SNAPSHOT), 1.0)

    assert '"GET /productpage/reviews/17?lang=en HTTP/1.1" 200 - via_upstream - "-" 0 150 ' in line
    assert f'"10.0.0.17:9080" {CLUSTER} 10.0.0.1:43210 10.0.0.1:8080 192.0.2.44:51234 - all\n' in line


def test_long_values_are_cut() -> None:
    """A header of a hundred kilobytes costs the disk four."""
    exchange = agent(b"a" * 100_000)

    assert len(json.loads(JsonLine()(*exchange, 1.0))["user_agent"]) == LONGEST_VALUE
    assert len(TextLine("%REQ(user-agent)%")(*exchange, 1.0)) == LONGEST_VALUE + 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("%REQ(:METHOD)% %RESPONSE_CODE%", "GET 200\n"),
        ("%REQ(x-none)%|%RESP(CONTENT-TYPE)%", "-|application/json\n"),
        ("only words, 100%%", "only words, 100%\n"),
        ("%REQ(USER-AGENT):7%", "Mozilla\n"),
    ],
)
def test_a_text_format_of_ones_own(text: str, line: str) -> None:
    """Operators as in Envoy, `-` for what is not there."""
    assert TextLine(text)(*finished(SNAPSHOT), 1.0) == line


def test_a_json_format_of_ones_own() -> None:
    """One operator alone keeps its type; text around it makes text."""
    fields = {
        "code": "%RESPONSE_CODE%",
        "who": '%REQ(end-user)%"',
        "none": "%REQ(x-none)%",
        "text": "%REQ(x-none)% %PROTOCOL%",
        "fixed": "é",
        'ke"y': "%ROUTE_NAME%",
    }
    line = json.loads(JsonFormat(fields)(*finished(SNAPSHOT), 1.0))

    assert line == {
        "code": 200,
        "who": 'jason"',
        "none": None,
        "text": "- HTTP/1.1",
        "fixed": "é",
        'ke"y': "all",
    }
