"""Findings about a configuration, and how they are printed.

Lifetime: config.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.config.codes import CODES, Code, define

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.config.model import Severity

__all__ = ["CODES", "Code", "ConfigError", "Finding", "Position", "define", "render"]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file; line and column count from 1."""

    path: str
    line: int = 1
    column: int = 1
    length: int = 1
    """Characters to underline."""

    @property
    def where(self) -> tuple[str, int, int]:
        """Path, line and column: how a `Finding` begins."""
        return self.path, self.line, self.column


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know about a configuration, where it stands and what to do."""

    path: str
    line: int
    column: int
    severity: Severity
    code: str
    message: str
    suggestion: str | None = None
    fatal: bool = False
    """Whether the configuration cannot be used at all. Only errors are."""
    length: int = 1
    """Characters to underline."""

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}:{self.column}"
        return f"{where}  {self.severity} {self.code}  {self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used; `str()` is what `gateway check` prints."""

    def __init__(self, findings: Iterable[Finding], sources: Mapping[str, str]) -> None:
        self.findings = tuple(findings)
        self.sources = sources
        super().__init__(render(self.findings, sources))


# libyaml ends lines at these, so the line numbers of a finding do as well.
_LINE_END = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_COLORS = {"error": "\x1b[31m", "warning": "\x1b[33m", "info": "\x1b[36m"}
_WIDEST = 160


def render(findings: Iterable[Finding], sources: Mapping[str, str], *, color: bool = False) -> str:
    """Every finding as `file:line:col  severity CODE  message`, with its line, a caret and a suggestion."""
    lines: dict[str, list[str]] = {}
    parts = []
    for finding in findings:
        if finding.path not in lines:
            lines[finding.path] = _LINE_END.split(sources.get(finding.path, ""))
        parts.append(_render_one(finding, lines[finding.path], color))
    return "\n".join(parts)


def _render_one(finding: Finding, lines: list[str], color: bool) -> str:
    paint, bold, plain = (_COLORS[finding.severity], "\x1b[1m", "\x1b[0m") if color else ("", "", "")
    where = f"{finding.path}:{finding.line}:{finding.column}"
    head = (
        f"{bold}{where}{plain}  {paint}{finding.severity} {finding.code}{plain}  {_visible(finding.message)}"
    )
    hint = _visible(finding.suggestion or "")
    source = lines[finding.line - 1] if finding.line <= len(lines) else ""
    if not source.strip():
        return f"{head}\n    = {hint}" if hint else head
    number = str(finding.line)
    text, before, length = _window(source, finding.column - 1, finding.length)
    caret = f"{paint}{'^' * max(1, length)}{plain}"
    below = f" {' ' * len(number)} | {' ' * before}{caret} {hint}".rstrip()
    return f"{head}\n {number} | {text}\n{below}"


def _window(source: str, column: int, length: int) -> tuple[str, int, int]:
    """The part of a source line to show, where its caret begins, and how wide the caret is."""
    column = min(column, len(source))
    start = 0
    if len(source) > _WIDEST:
        start = max(0, min(column - _WIDEST // 4, len(source) - _WIDEST))
    shown = source[start : start + _WIDEST]
    before = _visible(shown[: column - start])
    marked = _visible(shown[column - start :][:length])
    return _visible(shown), _width(before), _width(marked)


def _visible(text: str) -> str:
    """`text` without anything that could move a terminal's cursor."""
    return "".join(
        char if char.isprintable() else " " if char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def _width(text: str) -> int:
    """Columns `text` takes on a terminal."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
