"""One JSON line per exchange, with Istio's keys (semantics of `accessLogEncoding: JSON`).

Lifetime: process. Lines are collected on the event loop and written by a thread of their own, so a slow
disk or a stopped reader of stdout never blocks a request; what cannot be kept is counted, not waited for.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from json.encoder import encode_basestring_ascii as quote
from queue import SimpleQueue
from time import gmtime, strftime
from typing import TYPE_CHECKING

from gateway.exchange.facts import ExchangeFacts
from gateway.routing.operators import compile_format

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from gateway.exchange.exchange import Exchange

LONGEST_VALUE = 4096
"""Characters of one logged value; longer ones are cut (log injection and disk flooding)."""

FLUSH_AFTER = 0.1
"""Seconds a line may wait for company."""

MOST_PENDING_BATCHES = 100
"""Batches the writer may lag behind (about 10 s of traffic) before lines are dropped."""


def _text(value: bytes | None) -> str:
    if value is None:
        return "null"
    return str(quote(value[:LONGEST_VALUE].decode("latin-1")))


class _Seconds:
    """The date part of a timestamp, formatted once a second."""

    __slots__ = ("second", "text")

    def __init__(self) -> None:
        self.second = -1
        self.text = ""

    def stamp(self, moment: float) -> str:
        second = int(moment)
        if second != self.second:
            self.second = second
            self.text = strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        return f"{self.text}.{int((moment - second) * 1000):03d}Z"


class JsonLine:
    """Formats an exchange as one line of JSON."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds = _Seconds()

    def __call__(self, exchange: Exchange, ended_at: float, now: float) -> str:
        """The line, newline included; `ended_at` is of the monotonic clock, `now` seconds since the epoch."""
        request = exchange.request
        headers = request.header_map
        connection = exchange.connection
        destination = exchange.destination
        route = exchange.route
        duration = ended_at - exchange.started_at
        path = request.path + b"?" + request.query if request.query else request.path
        service = int(exchange.service_time * 1000) if exchange.service_time >= 0 else "null"
        return (
            f'{{"start_time":"{self._seconds.stamp(now - duration)}"'
            f',"method":{quote(request.method)},"path":{_text(path)},"protocol":"{exchange.protocol}"'
            f',"response_code":{exchange.status},"response_flags":"{",".join(exchange.flags) or "-"}"'
            f',"response_code_details":{quote(exchange.details) if exchange.details else "null"}'
            f',"connection_termination_details":null'
            f',"upstream_transport_failure_reason":'
            f"{quote(exchange.transport_failure) if exchange.transport_failure else 'null'}"
            f',"bytes_received":{exchange.bytes_received},"bytes_sent":{exchange.bytes_sent}'
            f',"duration":{int(duration * 1000)},"upstream_service_time":{service}'
            f',"x_forwarded_for":{_text(headers.get(b"x-forwarded-for"))}'
            f',"user_agent":{_text(headers.get(b"user-agent"))},"request_id":"{exchange.request_id}"'
            f',"authority":{_text(request.authority)}'
            f',"upstream_host":{quote(exchange.endpoint.address) if exchange.endpoint else "null"}'
            f',"upstream_cluster":{quote(destination.cluster_name) if destination else "null"}'
            f',"upstream_local_address":{quote(connection.local_address) if connection else "null"}'
            f',"downstream_local_address":"{exchange.downstream_local_address}"'
            f',"downstream_remote_address":"{exchange.downstream_remote_address}"'
            f',"requested_server_name":null,"route_name":{quote(route.name) if route else "null"}}}\n'
        )


DEFAULT_TEXT = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%"'
    " %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS%"
    ' "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% %BYTES_SENT% %DURATION%'
    ' %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%"'
    ' "%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW%'
    " %UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS%"
    " %REQUESTED_SERVER_NAME% %ROUTE_NAME%"
)
"""Istio's default text format."""
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))}
"""What could move a terminal's cursor or begin a line is written as an escape."""


class TextLine:
    """Formats an exchange as one line of Istio's default text."""

    __slots__ = ("_format",)

    def __init__(self) -> None:
        self._format = compile_format(DEFAULT_TEXT, missing=b"-")

    def __call__(self, exchange: Exchange, ended_at: float, now: float) -> str:  # noqa: ARG002 - as JsonLine
        """The line, newline included."""
        line = self._format if isinstance(self._format, bytes) else self._format(ExchangeFacts(exchange))
        return line.decode("latin-1").translate(_CONTROL) + "\n"


class Writer:
    """Batches lines and hands them to a thread that writes them to a file descriptor."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines: list[str] = []
        self._queue: SimpleQueue[list[str] | None] = SimpleQueue()
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """Lines lost because the reader of the log did not keep up."""

    def write(self, line: str, later: Callable[..., asyncio.TimerHandle]) -> None:
        """Takes one line; `later` is the loop's call_later."""
        self._lines.append(line)
        if self._timer is None:
            self._timer = later(FLUSH_AFTER, self.flush)

    def flush(self) -> None:
        """Hands what was collected to the writing thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        if self._queue.qsize() >= MOST_PENDING_BATCHES:
            self.dropped += len(lines)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
            self._thread.start()
        self._queue.put(lines)

    def close(self) -> None:
        """Writes what is left and ends the thread; waits at most two seconds for a stuck reader."""
        self.flush()
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(2.0)
            self._thread = None

    def _run(self) -> None:
        descriptor = -1
        try:
            while (lines := self._queue.get()) is not None:
                descriptor = self._reopened(descriptor)
                _write_all(descriptor, "".join(lines).encode("ascii", "backslashreplace"))
        except OSError as error:
            logging.getLogger("gateway").error(  # noqa: TRY400 - the sentence says it all
                "access log %s: %s; logging stops", self._path, error.strerror
            )
            self.dropped += 1
        finally:
            if descriptor > 2:
                os.close(descriptor)

    def _reopened(self, descriptor: int) -> int:
        """The descriptor to write to: a file that log rotation moved away is opened anew."""
        if self._path in {"/dev/stdout", "-"}:
            return sys.__stdout__.fileno() if sys.__stdout__ is not None else 1
        if descriptor >= 0:
            try:
                here, there = os.stat(self._path), os.fstat(descriptor)  # noqa: PTH116 - beside fstat
            except FileNotFoundError:
                pass
            else:
                if (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev):
                    return descriptor
            os.close(descriptor)
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
