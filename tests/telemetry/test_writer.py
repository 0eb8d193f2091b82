"""The writer of the access log: order, rotation, full disks, slow readers."""

from __future__ import annotations

import errno
import json
import os
import threading
from pathlib import Path

import pytest
from support.finished import finished, snapshot_of

from gateway.config.settings import AccessLog as Settings
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.scope import LogChoice
from gateway.telemetry.writer import LARGEST_BATCH, MOST_PENDING_BATCHES, Writer, write_all


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
    """One timer for a batch; the name, not the inode, is where lines go."""
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
    assert (writer.written, writer.dropped) == (3, 0)


def test_a_file_that_is_rotated_between_two_batches_loses_nothing(tmp_path: Path) -> None:
    """The same writing thread notices that its file has another name now."""
    path, old = tmp_path / "access.log", tmp_path / "access.log.1"
    writer, timer = Writer(str(path)), Timer()
    writer.write("one\n", timer)
    writer.flush()
    _until(lambda: writer.written == 1)
    path.rename(old)
    writer.write("two\n", timer)
    writer.close()

    assert (old.read_text(), path.read_text()) == ("one\n", "two\n")


def test_a_file_that_cannot_be_written_costs_its_lines_and_nothing_more(tmp_path: Path, caplog) -> None:
    """One complaint a minute; when the folder is there again, so is the log."""
    path = tmp_path / "gone" / "access.log"
    now = [0.0]
    writer, timer = Writer(str(path), clock=lambda: now[0]), Timer()
    for _ in range(3):
        writer.write("lost\n", timer)
        writer.flush()
        _until(writer._queue.empty)
    _until(lambda: writer.dropped == 3)
    path.parent.mkdir()
    writer.write("kept\n", timer)
    writer.close()

    assert path.read_text() == "kept\n"
    assert (writer.written, writer.dropped) == (1, 3)
    assert len([record for record in caplog.records if "lines are lost" in record.getMessage()]) == 1


def test_a_reader_that_does_not_read_costs_lines_and_no_waiting(tmp_path: Path) -> None:
    """A pipe nobody empties: what does not fit is counted, the caller never waits."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writer, timer = Writer(str(path)), Timer()
    try:
        for _ in range(MOST_PENDING_BATCHES + 20):
            writer.write("x" * 100_000, timer)
            writer.flush()
        assert writer.dropped >= 10
    finally:
        os.close(reader)
        writer.close()


def test_a_large_batch_does_not_wait_for_the_timer(tmp_path: Path) -> None:
    """Memory is bounded also when lines come faster than the timer fires."""
    path = tmp_path / "access.log"
    writer, timer = Writer(str(path)), Timer()
    for _ in range(LARGEST_BATCH):
        writer.write("x\n", timer)
    _until(lambda: writer.written == LARGEST_BATCH)
    writer.close()


def test_a_pipe_somebody_made_nonblocking_gets_everything() -> None:
    """stdout is shared with whoever started us, and so are its flags."""
    reader, sink = os.pipe()
    os.set_blocking(sink, False)
    content = bytes(range(256)) * 2000
    got: list[bytes] = []

    def read() -> None:
        while chunk := os.read(reader, 65536):
            got.append(chunk)

    thread = threading.Thread(target=read)
    thread.start()
    write_all(sink, content)
    os.close(sink)
    thread.join()
    os.close(reader)

    assert b"".join(got) == content


def test_a_closed_pipe_is_an_error() -> None:
    """It is not tried again for ever."""
    reader, sink = os.pipe()
    os.close(reader)
    with pytest.raises(OSError) as error:
        write_all(sink, b"x")
    os.close(sink)

    assert error.value.errno == errno.EPIPE


# -- what is logged ----------------------------------------------------------------------------

SNAPSHOT = snapshot_of()


def logged(path: Path, choice: LogChoice, *exchanges, **named) -> str:
    log = AccessLog()
    log.follow(Settings(path=str(path), **named), choice)
    for exchange, end in exchanges:
        log.record(exchange, end, 1.0, Timer())
    log.close()
    return path.read_text() if path.exists() else ""


def test_a_filter_decides_what_is_logged(tmp_path: Path) -> None:
    """Where the expression says true; where it fails, nothing."""
    good, bad = finished(SNAPSHOT), finished(SNAPSHOT, status=503)
    text = logged(tmp_path / "a", LogChoice(expression="response.code >= 400"), good, bad)
    failing = logged(tmp_path / "b", LogChoice(expression="request.referer == 'x'"), good, bad)

    assert [json.loads(line)["response_code"] for line in text.splitlines()] == [503]
    assert failing == ""


def test_a_disabled_log_writes_nothing(tmp_path: Path) -> None:
    """Neither by Telemetry nor by `encoding: OFF` is a file even made."""
    assert logged(tmp_path / "a", LogChoice(enabled=False), finished(SNAPSHOT)) == ""
    assert logged(tmp_path / "b", LogChoice(), finished(SNAPSHOT), encoding="OFF") == ""
    assert list(tmp_path.iterdir()) == []


def test_the_settings_choose_the_form_of_a_line(tmp_path: Path) -> None:
    """A format is text, a jsonFormat is JSON, without them encoding says which of Istio's."""
    exchange = finished(SNAPSHOT)

    assert logged(tmp_path / "a", LogChoice(), exchange, format="%RESPONSE_CODE%") == "200\n"
    assert (
        logged(tmp_path / "b", LogChoice(), exchange, json_format={"c": "%RESPONSE_CODE%"}) == '{"c":200}\n'
    )
    assert logged(tmp_path / "c", LogChoice(), exchange, encoding="TEXT").startswith("[")
    assert logged(tmp_path / "d", LogChoice(), exchange).startswith("{")


def test_counts_survive_another_path(tmp_path: Path) -> None:
    """A reload that moves the log does not make its counters fall."""
    log = AccessLog()
    for name in ("a", "b"):
        log.follow(Settings(path=str(tmp_path / name)), LogChoice())
        exchange, end = finished(SNAPSHOT)
        log.record(exchange, end, 1.0, Timer())
    log.close()

    assert (log.written, log.dropped) == (2, 0)


def _until(done) -> None:
    moment = threading.Event()
    for _ in range(2000):
        if done():
            return
        moment.wait(0.005)
    raise AssertionError("it never came to that")
