"""Explanations as JSON has them: dictionaries, lists, strings, numbers.

Lifetime: request.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.explain.offline import Explanation
    from gateway.routing.explain import Choice, Tried


def explanation_json(told: Explanation) -> dict[str, Any]:
    """The whole of it."""
    return {
        "generation": told.generation,
        "listener": told.listener,
        "request": None if told.request is None else asdict(told.request),
        "decision": None if told.choice is None else choice_json(told.choice),
        "policies": [asdict(verdict) for verdict in told.verdicts],
        "notes": list(told.notes),
        "plan": None if told.plan is None else asdict(told.plan),
        "destinations": [asdict(target) for target in told.targets],
        "answer": None if told.answer is None else asdict(told.answer),
        "diagnosis": asdict(told.diagnosis) if told.refused else None,
        "refused": told.refused,
    }


def choice_json(choice: Choice) -> dict[str, Any]:
    """Virtual host, routes tried, near misses."""
    taken = next((item for item in choice.tried if item.outcome == "taken"), None)
    return {
        "listener": choice.listener,
        "virtual_host": asdict(choice.host),
        "route": None if taken is None else _tried(taken),
        "tried": [_tried(item) for item in choice.tried if item.outcome != "not reached"],
        "nearest": [_tried(item) for item in choice.nearest],
        "routes": len(choice.tried),
    }


def _tried(item: Tried) -> dict[str, Any]:
    return {**asdict(item), "because": item.because, "failed": [str(test) for test in item.failed]}
