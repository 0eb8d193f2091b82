"""What a serving process says on stderr: lines for people, or one JSON object a line for programs.

Lifetime: process.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any


class JsonLines(logging.Formatter):
    """A log record as an object: time, level, logger, text."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        told = {
            "event": "log",
            "time": self.formatTime(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told)


class Speech:
    """Where `gateway run` says that it serves, or why it does not."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json

    def listen_to_logs(self, level: str) -> None:
        """Sends every log record to stderr as well."""
        handler = logging.StreamHandler(sys.stderr)
        plain = "%(asctime)s %(levelname)s %(name)s: %(message)s"
        handler.setFormatter(JsonLines() if self._json else logging.Formatter(plain))
        logging.basicConfig(handlers=[handler])
        logging.getLogger().setLevel(level.upper())

    def say(self, text: str, event: str, **facts: Any) -> None:
        """Writes `text`; in JSON `event` and its `facts`, or the text when there are none."""
        line = json.dumps({"event": event, **(facts or {"text": text})}) if self._json else text
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
