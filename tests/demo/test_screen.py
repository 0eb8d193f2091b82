from __future__ import annotations

import io
import json

from gateway.demo.screen import Screen
from gateway.demo.traffic import CURL, Ask, Split


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def one_answer() -> Split:
    split = Split()
    split.record(Ask(1, "reviews", "/", CURL), "v1")
    return split


def test_a_file_gets_plain_lines():
    """No control characters when nobody looks."""
    out = io.StringIO()
    screen = Screen(out)
    screen.say("hello")
    screen.show(one_answer())
    assert out.getvalue() == f"hello\n{one_answer()}\n"


def test_a_terminal_keeps_the_split_below_the_messages():
    """The line is rewritten in place, and a message moves it down."""
    out = Terminal()
    screen = Screen(out)
    screen.show(one_answer())
    screen.say("reloaded")
    screen.end_status()
    line = str(one_answer())
    assert out.getvalue() == f"\r\x1b[K{line}\r\x1b[Kreloaded\n{line}\n"


def test_json_is_one_object_a_line():
    """A program reads events; a message without facts carries its text."""
    out = Terminal()
    screen = Screen(out, as_json=True)
    screen.say("hello")
    screen.say("long text", "ready", url="http://127.0.0.1:1")
    screen.show(one_answer())
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert events == [
        {"event": "message", "text": "hello"},
        {"event": "ready", "url": "http://127.0.0.1:1"},
        {"event": "split", "chrome": {}, "others": {"v1": 1}, "answered": 1, "meant_to_fail": 0, "failed": 0},
    ]
