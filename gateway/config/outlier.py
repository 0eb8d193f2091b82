"""DestinationRule `outlierDetection`: when an endpoint is ejected.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, Strict

from gateway.config.fields import Bool, Checked, Duration, Int, Many, Percentage, Problem, Uint32

if TYPE_CHECKING:
    from collections.abc import Iterator

StatusCode = Annotated[int, Strict(), Field(ge=100, le=599)]


class OutlierDetection(Checked):
    """Ejects endpoints that keep failing."""

    consecutive_errors: Int | None = None
    """Deprecated. Its Istio 1.7 meaning: gateway errors (502, 503, 504, connection failures) in a row."""
    split_external_local_origin_errors: Bool | None = None
    consecutive_local_origin_failures: Uint32 | None = None
    """Connection failures in a row, counted apart; default 5 when split."""
    consecutive_gateway_errors: Uint32 | None = None
    """502, 503, 504 in a row; default off."""
    consecutive_5xx_errors: Uint32 | None = None
    """5xx in a row; default 5, 0 disables."""
    interval: Duration | None = None
    """Seconds between sweeps; default 10."""
    base_ejection_time: Duration | None = None
    """Seconds, multiplied by the number of ejections; default 30."""
    max_ejection_percent: Percentage | None = None
    """Default 10; at least one endpoint can always be ejected."""
    min_health_percent: Percentage | None = None
    """Below this share of healthy endpoints all are used; default 0: never."""
    outlier_detection_http_error_codes: Many[StatusCode] = ()
    """When given, exactly these statuses count as errors."""

    def _rules(self) -> Iterator[Problem]:
        if self.consecutive_local_origin_failures and not self.split_external_local_origin_errors:
            yield Problem(
                "GW092",
                "consecutiveLocalOriginFailures needs splitExternalLocalOriginErrors: true",
                ("consecutiveLocalOriginFailures",),
            )
        if self.consecutive_errors is None:
            return
        if self.consecutive_errors < 0:
            yield Problem("GW037", "a count is not negative", ("consecutiveErrors",))
        yield Problem(
            "GW090",
            "consecutiveErrors is deprecated; it is read as in Istio 1.7:"
            " 502, 503, 504 and connection failures in a row",
            ("consecutiveErrors",),
            "write consecutiveGatewayErrors, and consecutive5xxErrors: 0",
            severity="info",
        )
