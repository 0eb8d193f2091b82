"""GatewaySettings `healthChecks`: endpoints that are asked how they are (an extension; Istio has none).

Lifetime: config.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, Field, Strict

from gateway.config.fields import Checked, Duration, Many, Port, Problem, rejection

if TYPE_CHECKING:
    from collections.abc import Iterator

_TARGET = re.compile(r"/[!-~]*")


def _path(value: str) -> str:
    if not _TARGET.fullmatch(value) or "#" in value:
        raise rejection(Problem("GW035", 'a path begins with "/" and has no blanks, such as /healthz'))
    return value


Threshold = Annotated[int, Strict(), Field(ge=1, le=1000)]


class HealthCheck(Checked):
    """`GET path` on every endpoint of a host; one that fails gets no requests until it answers again."""

    path: Annotated[str, Strict(), AfterValidator(_path)] = "/"
    """Path and query of the request."""
    port: Port | None = None
    """Where to ask; default: the endpoint's own port."""
    interval: Duration = 10.0
    """Seconds from the end of one check to the next."""
    timeout: Duration = 5.0
    """Seconds a check may take, the connection included."""
    unhealthy_threshold: Threshold = 3
    """Failures in a row that take an endpoint out."""
    healthy_threshold: Threshold = 2
    """Successes in a row that bring it back."""
    expected_statuses: Many[Annotated[int, Strict(), Field(ge=100, le=599)]] = (200,)
    """Statuses of a healthy endpoint."""

    def _rules(self) -> Iterator[Problem]:
        if not self.expected_statuses:
            yield Problem("GW032", "expectedStatuses names at least one status", ("expectedStatuses",))
