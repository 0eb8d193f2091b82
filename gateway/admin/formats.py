"""Which of Prometheus' formats a scraper wants.

Lifetime: request (pure functions).
"""

from __future__ import annotations

from typing import Final

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_VERSIONS: Final = frozenset({"", "0.0.1", "1.0.0"})
"""Of OpenMetrics that are answered with 1.0.0; empty: any will do."""


def wants_openmetrics(accept: str) -> bool:
    """Whether an `Accept` header asks for OpenMetrics by name, and likes plain text no better (RFC 9110
    section 12.5.1). `*/*` gets text, as every exporter answers it.
    """
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for item in accept.split(","):
        kind, *parameters = (part.strip() for part in item.split(";"))
        given = {
            name.strip().lower(): value.strip().strip('"')
            for name, _, value in (parameter.partition("=") for parameter in parameters)
        }
        kind = kind.lower()
        if kind not in best or (kind != "text/plain" and given.get("version", "") not in _VERSIONS):
            continue
        best[kind] = max(best[kind], _quality(given.get("q", "1")))
    openmetrics, text = best.values()
    return openmetrics > 0.0 and openmetrics >= text


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
