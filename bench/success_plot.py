"""docs/success_rate.md and its picture, from what was measured.

Lifetime: process.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.report import BEGIN, END, Result, table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.crowd import Seen

COLOURS = ("#c0392b", "#2471a3", "#7d8790", "#b9770e", "#1e8449", "#6c3483")
WIDTH, LEFT = 760, 190
BIN = 0.25
"""Seconds of one point of the timeline."""


@dataclass(frozen=True, slots=True)
class Story:
    """Part one, one subject."""

    title: str
    seen: Seen
    did: Counter[str]
    """What the backends did, by kind."""

    @property
    def without_cuts(self) -> float:
        """Success of all but the requests whose answer broke off after its first byte, percent."""
        outcomes = self.seen.outcomes
        return 100.0 * outcomes["200"] / max(1, self.seen.total - outcomes["cut off"])


@dataclass(frozen=True, slots=True)
class Timeline:
    """Part two."""

    seen: Seen
    name: str
    """Who was killed."""
    killed: float
    restarted: float
    ends: float

    @property
    def told(self) -> list[str]:
        """What came of it, in sentences."""
        errors = self.seen.total - self.seen.outcomes["200"]
        times = [at for at, backend in self.seen.served if backend == self.name]
        last = max((at for at in times if at < self.restarted), default=0.0)
        first = min((at for at in times if at > self.restarted), default=float("nan"))
        return [
            f"killed and restarted: {self.seen.total:,} requests, {errors} that clients saw fail",
            (
                f"killed after {self.killed:.2f} s; its last answer after {last:.2f} s; listens again after"
                f" {self.restarted:.2f} s; its next answer after {first:.2f} s"
            ),
            f"the slowest answer took {max(self.seen.waits) * 1e3:.0f} ms",
        ]


def write_page(
    stories: Sequence[Story], timeline: Timeline, result: Result, machine: dict[str, Any], docs: Path
) -> None:
    """Replaces the results of the page, and the picture."""
    page = docs / "success_rate.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = [
        "",
        " · ".join(str(value) for value in machine.values()),
        "",
        f"{result.title[0].upper()}{result.title[1:]}.",
        "",
    ]
    lines += table(result)
    page.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)
    (docs / "success_rate.svg").write_text(picture(stories, timeline))


def picture(stories: Sequence[Story], timeline: Timeline) -> str:
    """Failed requests of each subject by what the client saw; and who answered, second by second."""
    parts: list[str] = []
    bottom = _bars(stories, parts)
    bottom = _lines(timeline, bottom + 50, parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 20}"'
        ' font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#ffffff"/>'
        + "".join(parts)
        + "</svg>\n"
    )


def _bars(stories: Sequence[Story], parts: list[str]) -> int:
    parts.append(_text(10, 24, "Requests that failed, of 100 000, by what the client saw", bold=True))
    kinds = list(
        dict.fromkeys(kind for story in stories for kind in sorted(story.seen.outcomes) if kind != "200")
    )
    scaled = [
        {kind: story.seen.outcomes[kind] * 100_000 / story.seen.total for kind in kinds} for story in stories
    ]
    most = max(1.0, *(sum(item.values()) for item in scaled))
    for index, (story, item) in enumerate(zip(stories, scaled, strict=True)):
        y, x = 44 + index * 30, float(LEFT)
        parts.append(_text(10, y + 14, story.title))
        for number, kind in enumerate(kinds):
            width = item[kind] / most * (WIDTH - LEFT - 170)
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="20" fill="{COLOURS[number % 6]}"/>'
            )
            x += width
        label = f"{sum(item.values()):.0f} ({story.seen.success:.3f} % succeed)"
        parts.append(_text(x + 6, y + 14, label))
    y = 44 + len(stories) * 30 + 16
    for number, kind in enumerate(kinds):
        x = LEFT + number * 105
        parts.append(f'<rect x="{x}" y="{y - 10}" width="10" height="10" fill="{COLOURS[number % 6]}"/>')
        parts.append(_text(x + 14, y, kind))
    return y


def _lines(timeline: Timeline, top: int, parts: list[str]) -> int:
    parts.append(
        _text(10, top, "Answers a second by endpoint: one of four is killed and started again", bold=True)
    )
    names = sorted({backend for _, backend in timeline.seen.served})
    bins = {name: Counter[int]() for name in names}
    for at, backend in timeline.seen.served:
        bins[backend][int(at / BIN)] += 1
    count = int(timeline.ends / BIN)
    most = max(max(found.values(), default=1) for found in bins.values()) / BIN
    height, y = 160, top + 16
    for share in (0.0, 0.5, 1.0):
        at = y + height * (1 - share)
        parts.append(f'<line x1="60" x2="{WIDTH - 20}" y1="{at}" y2="{at}" stroke="#dddddd"/>')
        parts.append(_text(10, at + 4, f"{most * share:,.0f}"))
    across = (WIDTH - 80) / timeline.ends
    for at, what in ((timeline.killed, "killed"), (timeline.restarted, "listens again")):
        x = 60 + at * across
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + height}" stroke="#555" stroke-dasharray="4"/>'
        )
        parts.append(_text(x + 4, y + 12, what))
    for number, name in enumerate(names):
        points = " ".join(
            f"{60 + (index + 0.5) * BIN * across:.1f},{y + height * (1 - bins[name][index] / BIN / most):.1f}"
            for index in range(count)
        )
        colour = COLOURS[0] if name == timeline.name else COLOURS[1 + (number % 5)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(_text(60 + number * 90, y + height + 34, name, colour=colour))
    parts += [
        _text(60 + second * across - 4, y + height + 16, f"{second} s")
        for second in range(0, int(timeline.ends) + 1, 5)
    ]
    return y + height + 36


def _text(x: float, y: float, text: str, *, bold: bool = False, colour: str = "#222222") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}"{weight}>{text}</text>'
