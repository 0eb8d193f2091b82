"""Past attempts, the documents of a generation without secrets, and what changed between two of them.

Lifetime: request; `documents` keeps the last few it made, as texts.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict
from difflib import unified_diff
from typing import TYPE_CHECKING, Any, Final

import yaml

from gateway.admin.dump import moment
from gateway.admin.redact import redact
from gateway.config import load

if TYPE_CHECKING:
    from gateway.config import Finding
    from gateway.control.control import Control
    from gateway.control.history import Attempt

MOST_FINDINGS: Final = 200
MOST_LINES: Final = 4000
"""Lines of one document that are compared; difflib takes quadratic time."""
KEPT: Final = 4
"""Generations whose documents are kept as texts: the two that are compared, and their neighbours."""


def generations(control: Control) -> dict[str, Any]:
    """The serving generation with its findings, and every attempt that is remembered, youngest first."""
    return {
        "serving": control.generation,
        "refused": control.refused,
        "paths": [str(path) for path in control.paths],
        "findings": _findings(control.serving_findings),
        "attempts": [_attempt(attempt) for attempt in reversed(list(control.history.attempts))],
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    result = attempt.result
    return {
        "outcome": str(result.outcome),
        "generation": result.generation,
        "reason": result.reason,
        "at": moment(result.at),
        "seconds": round(result.seconds, 4),
        "digest": attempt.digest[:12],
        "comparable": attempt.sources is not None,
        "files": len(attempt.sources or ()),
        "findings": _findings(result.findings),
        "more_findings": max(len(result.findings) - MOST_FINDINGS, 0),
    }


def _findings(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
    worst_first = sorted(findings, key=lambda item: ("error", "warning", "info").index(item.severity))
    return [asdict(finding) for finding in worst_first[:MOST_FINDINGS]]


class Documents:
    """Documents by name, as YAML without secrets, of the generations that control remembers."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._kept: OrderedDict[str, dict[str, str]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Documents of {len(self._kept)} generations>"

    def of(self, generation: int) -> dict[str, str] | None:
        """`Kind namespace/name` to YAML, in the order they were written; None when it is forgotten.

        Takes as long as a load, so call it in a thread.
        """
        attempt = self._control.history.generation(generation)
        if attempt is None or attempt.sources is None:
            return None
        kept = self._kept.get(attempt.digest)
        if kept is None:
            config = load([], texts=attempt.sources).config
            if config is None:
                return None
            kept = {}
            for resource in (config.settings, *config.resources()):
                document = redact(resource.model_dump(mode="json", by_alias=True, exclude_unset=True))
                name = f"{resource.kind} {resource.metadata.namespace}/{resource.metadata.name}"
                while name in kept:
                    name += " (again)"
                kept[name] = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
            self._kept[attempt.digest] = kept
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return kept

    def shown(self, generation: int) -> dict[str, Any] | None:
        """For a page."""
        documents = self.of(generation)
        if documents is None:
            return None
        return {
            "generation": generation,
            "documents": [{"name": name, "text": text} for name, text in documents.items()],
        }

    def compared(self, old: int, new: int) -> dict[str, Any] | None:
        """What `new` changed: each document that was added, removed or changed, with its lines."""
        before, after = self.of(old), self.of(new)
        if before is None or after is None:
            return None
        changes = []
        for name in dict.fromkeys((*before, *after)):
            was, now = before.get(name), after.get(name)
            if was != now:
                kind = "added" if was is None else "removed" if now is None else "changed"
                changes.append({"name": name, "change": kind, "lines": _lines(was or "", now or "")})
        return {"old": old, "new": new, "changes": changes, "unchanged": len(after) - _still(before, after)}


def _still(before: dict[str, str], after: dict[str, str]) -> int:
    return sum(before.get(name) != text for name, text in after.items())


def _lines(was: str, now: str) -> list[list[str]]:
    """`[sign, text]`; the sign is `+`, `-`, a blank, or `@` where lines are left out."""
    lines = unified_diff(was.splitlines()[:MOST_LINES], now.splitlines()[:MOST_LINES], lineterm="", n=3)
    return [[line[:1], line[1:]] if line[:1] != "@" else ["@", line] for line in list(lines)[2:]]
