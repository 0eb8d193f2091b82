"""`gateway run --json`: what a program reads on stderr."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.server.speech import JsonLines, Speech

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "run", "--json", "--port", "0", *arguments],
        cwd=ROOT,
        env=os.environ | {"GATEWAY_ADMIN": "off"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_every_line_is_an_object() -> None:
    """The first says where it listens, the log follows in the same shape, and SIGTERM still drains."""
    with start("-c", "examples/canary.yaml") as process:
        first = json.loads(process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        rest = [json.loads(line) for line in process.stderr]
        assert process.wait(timeout=30) == 0
    assert first["event"] == "serving"
    assert first["listening"][0].startswith("http://127.0.0.1:")
    assert first["admin"] is None
    assert {line["event"] for line in rest} <= {"log"}


def test_a_refused_configuration_is_a_list_of_findings(tmp_path: Path) -> None:
    """With place and code, as `gateway check --json` has them."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [}")
    with start("-c", str(bad)) as process:
        (line,) = process.stderr.readlines()
        assert process.wait(timeout=30) == 3
    told = json.loads(line)
    assert (told["event"], told["findings"][0]["code"]) == ("refused", "GW004")


def test_a_record_stays_one_line() -> None:
    """Line breaks and exceptions of a log record are escaped."""
    try:
        int("two\nlines")
    except ValueError:
        record = logging.LogRecord("a", logging.ERROR, "", 1, "one\n%s", ("two",), sys.exc_info())
    (line,) = JsonLines().format(record).splitlines()
    told = json.loads(line)
    assert told["text"] == "one\ntwo"
    assert "ValueError: invalid literal" in told["exception"]


def test_people_get_the_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Facts are for programs."""
    Speech(as_json=False).say("hello", "serving", port=1)
    Speech(as_json=True).say("hello", "message")
    assert capsys.readouterr().err.splitlines() == ["hello", '{"event": "message", "text": "hello"}']
