"""The access log: Istio's keys, safe escaping, a writer that never blocks."""

from __future__ import annotations

import json
from pathlib import Path

from support.exchanges import exchange as make_exchange

from gateway.exchange.exchange import Exchange
from gateway.http.flags import Flag
from gateway.http.request import Request
from gateway.telemetry.access_log import LONGEST_VALUE, JsonLine, TextLine, Writer

KEYS = {
    "start_time",
    "route_name",
    "method",
    "path",
    "protocol",
    "response_code",
    "response_flags",
    "response_code_details",
    "connection_termination_details",
    "bytes_received",
    "bytes_sent",
    "duration",
    "upstream_service_time",
    "x_forwarded_for",
    "user_agent",
    "request_id",
    "authority",
    "upstream_host",
    "upstream_cluster",
    "upstream_local_address",
    "downstream_local_address",
    "downstream_remote_address",
    "requested_server_name",
    "upstream_transport_failure_reason",
}


def exchange(agent: bytes = b"curl") -> Exchange:
    request = Request(
        "GET", "http", b"h", "h", b"/p", b"q=1", [(b"user-agent", agent)], 8080, "192.0.2.1", "192.0.2.1"
    )
    return make_exchange(request)


def test_a_line_has_the_keys_of_istio() -> None:
    done = exchange()
    done.status, done.flags = 503, (Flag.UPSTREAM_CONNECT_FAILURE, Flag.RETRIES_EXHAUSTED)
    line = json.loads(JsonLine()(done, 100.25, 1000.5))

    assert set(line) == KEYS
    assert (line["response_code"], line["response_flags"], line["duration"]) == (503, "UF,URX", 250)
    assert (line["path"], line["start_time"]) == ("/p?q=1", "1970-01-01T00:16:40.250Z")
    assert line["upstream_host"] is None


def test_a_hostile_user_agent_stays_one_value_of_one_line() -> None:
    agent = b'x"}\r\n{"a":1}\x1b[2J\xff\x00'
    text = JsonLine()(exchange(agent), 100.0, 1.0)

    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert json.loads(text)["user_agent"] == agent.decode("latin-1")


def test_the_text_format_is_istios_and_safe() -> None:
    done = exchange(b"evil\x1b[2J\x9b")
    done.status, done.peer, done.local = 200, ("192.0.2.1", 5000), ("127.0.0.1", 8080)
    line = TextLine()(done, 100.0, 1.0)

    assert '"GET /p?q=1 HTTP/1.1" 200 - via_upstream - "-" 0 0 ' in line
    assert '"evil\\x1b[2J\\x9b"' in line
    assert line.endswith(" 127.0.0.1:8080 192.0.2.1:5000 - -\n")
    assert line[:-1].isprintable()


def test_long_values_are_cut() -> None:
    line = json.loads(JsonLine()(exchange(b"a" * 100_000), 100.0, 1.0))

    assert len(line["user_agent"]) == LONGEST_VALUE


class Timer:
    """A loop's timer that fires when told to."""

    def __init__(self) -> None:
        self.calls = []

    def __call__(self, delay, callback):
        self.calls.append(callback)
        return self

    def cancel(self) -> None:
        pass


def test_lines_reach_the_file_in_order_and_a_rotated_file_is_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    writer, timer = Writer(str(path)), Timer()
    writer.write("one\n", timer)
    writer.write("two\n", timer)
    assert len(timer.calls) == 1
    writer.close()
    assert path.read_text() == "one\ntwo\n"

    path.rename(tmp_path / "access.log.1")
    writer.write("three\n", timer)
    writer.close()

    assert path.read_text() == "three\n"
