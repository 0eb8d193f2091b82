"""How commands print: labelled lines, coloured for people, plain when piped.

Lifetime: process.
"""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH = 110
"""Columns of a sentence, where there are more."""
LABEL = 13
"""Columns of the labels at the left."""
GOOD, BAD, FAINT, STRONG = "green", "red", "dim", "bold"


def printable(text: str) -> str:
    """`text` without anything that could move a terminal's cursor: names come from files and clients."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def console() -> Console:
    """Standard output: no colour unless it is a terminal (NO_COLOR is respected), no line broken."""
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


class Page:
    """Lines with a label at the left, printed as they come."""

    def __init__(self, out: Console | None = None) -> None:
        self._out = out or console()

    @property
    def width(self) -> int:
        """Columns of a line: the terminal's, or WIDTH where there is none."""
        return min(self._out.width, WIDTH) if self._out.is_terminal else WIDTH

    def line(self, text: str = "", style: str = "") -> None:
        """One line from the margin."""
        self._out.print(Text(printable(text), style=style))

    def item(self, label: str, *parts: str | tuple[str, str]) -> None:
        """A labelled line; parts are texts, or texts with a style."""
        line = Text(f"{label:<{LABEL}}", style=STRONG if label else "")
        for part in parts:
            text, style = (part, "") if isinstance(part, str) else part
            line.append(printable(text), style=style or "not bold")
        line.rstrip()
        self._out.print(line)

    def text(self, label: str, text: str, style: str = "") -> None:
        """A labelled sentence, broken into lines between words."""
        lines = wrap(
            printable(text), max(40, self.width - LABEL), break_long_words=False, break_on_hyphens=False
        )
        for number, line in enumerate(lines):
            self.item("" if number else label, (line, style))

    def items(self, label: str, lines: Iterable[str]) -> None:
        """A label and lines beneath each other."""
        for number, text in enumerate(lines):
            self.item("" if number else label, text)


def seconds(value: float) -> str:
    """A duration for people: `1.5 s`, `25 ms`, `340 us`."""
    if value >= 1:
        return f"{value:.3g} s"
    return f"{value * 1000:.3g} ms" if value >= 0.001 else f"{value * 1e6:.0f} us"


def percent(value: float) -> str:
    """`12.5 %`."""
    return f"{value:g} %"


def short_cluster(name: str) -> str:
    """`outbound|9080|v1|reviews.default.svc.cluster.local` as `reviews.default:9080 v1`."""
    parts = name.split("|")
    if len(parts) != 4:
        return name
    _, port, subset, host = parts
    head, _, _ = host.partition(".svc.")
    return f"{head}:{port}" + (f" {subset}" if subset else "")


def sentence(text: str) -> str:
    """`text` with a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."


def worker(row: dict[str, Any]) -> str:
    """One of several processes, as the admin listener tells of it: `worker 2 (pid 17)`."""
    return f"worker {row['worker']} (pid {row['pid']})" if row["pid"] else f"worker {row['worker']}"
