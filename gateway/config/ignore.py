"""Comments that silence a finding: `# gateway: ignore GW220` at the end of its line.

Lifetime: config. Errors are never silenced.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gateway.config.findings import Finding

_COMMENT = re.compile(r"(?:^|\s)#\s*gateway:\s*ignore\s+(GW\d{3}(?:[\s,]+GW\d{3})*)\s*$")
_LINE_END = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")


def without_ignored(findings: Iterable[Finding], sources: Mapping[str, str]) -> tuple[Finding, ...]:
    """The findings that no comment on their line silences."""
    ignored: dict[str, dict[int, set[str]]] = {}
    kept = []
    for finding in findings:
        if finding.path not in ignored:
            ignored[finding.path] = _ignored(sources.get(finding.path, ""))
        codes = ignored[finding.path].get(finding.line, ())
        if finding.severity == "error" or finding.code not in codes:
            kept.append(finding)
    return tuple(kept)


def _ignored(text: str) -> dict[int, set[str]]:
    """Line, counted from 1 -> codes that its comment names."""
    if "gateway:" not in text:
        return {}
    found: dict[int, set[str]] = {}
    for number, line in enumerate(_LINE_END.split(text), 1):
        comment = _COMMENT.search(line)
        if comment is not None:
            found[number] = set(re.findall(r"GW\d{3}", comment[1]))
    return found
