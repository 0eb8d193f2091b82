"""What the demo says while it runs: lines, and on a terminal one live line below them.

Lifetime: process.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from gateway.demo.traffic import Split

_CLEAR_LINE = "\r\x1b[K"


class Screen:
    """Writes for a person on a terminal, for a file, or (JSON) for a program: one object a line."""

    def __init__(self, out: TextIO, *, as_json: bool = False) -> None:
        self._out = out
        self._json = as_json
        self._live = not as_json and out.isatty()
        self._status = ""

    def say(self, text: str, event: str = "message", **facts: Any) -> None:
        """Writes `text`; in JSON `event` and its `facts`, or the text when there are none."""
        if self._json:
            self._write(json.dumps({"event": event, **(facts or {"text": text})}) + "\n")
        elif self._live:
            self._write(f"{_CLEAR_LINE}{text}\n{self._status}")
        else:
            self._write(text + "\n")

    def show(self, split: Split) -> None:
        """Writes how traffic was split; on a terminal over the line that said so before."""
        if self._live:
            # A wrapped line could not be written over.
            self._status = str(split)[: shutil.get_terminal_size().columns - 1]
            self._write(_CLEAR_LINE + self._status)
        else:
            self.say(str(split), "split", **split.as_dict())

    def end_status(self) -> None:
        """Leaves the live line as it is; what follows comes below it."""
        if self._status:
            self._status = ""
            self._write("\n")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
