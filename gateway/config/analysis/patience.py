"""Analyzer of timeouts: does another limit end a silent request before its own does?

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config.codes import define

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.analysis.survey import Survey
    from gateway.config.findings import Finding

define(
    "GW235",
    "timeout beyond the limit of silence",
    "info",
    "A request of which nothing moves in either direction for timeouts.streamIdle of the GatewaySettings"
    " (five minutes unless set) is ended with 504 and flag SI, whatever timeout its route has: a backend that"
    " thinks for longer than that needs a larger streamIdle. An answer that keeps coming is not concerned.",
)


def long_timeouts(survey: Survey) -> Iterator[Finding]:
    """Timeouts of routes, and of single tries, that are longer than `timeouts.streamIdle`."""
    silence = survey.config.settings.spec.timeouts.stream_idle
    for service in survey.config.virtual_services:
        for number, http in enumerate(service.spec.http):
            tries = http.retries.per_try_timeout if http.retries is not None else None
            for path, seconds in ((("timeout",), http.timeout), (("retries", "perTryTimeout"), tries)):
                if seconds is not None and seconds > silence:
                    message = (
                        f"a backend that is silent is waited for {silence:g} s (timeouts.streamIdle of the"
                        f" GatewaySettings), not {seconds:g} s"
                    )
                    yield survey.finding(service, ("spec", "http", number, *path), "GW235", message)
