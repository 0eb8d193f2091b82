"""An answer the gateway makes itself.

Lifetime: request; the common ones are constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gateway.http.flags import Flag

ENDS_WITH_HEAD: Final = frozenset({204, 304})
"""Statuses whose response has no body, whatever its headers say (RFC 9112 6.3)."""


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers and body sent instead of an upstream's answer, with what the log says about it."""

    status: int
    body: bytes = b""
    flag: Flag | None = None
    """Envoy's response flag; None prints as `-`."""
    details: str = ""
    """Envoy's `%RESPONSE_CODE_DETAILS%`."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Headers beyond content-type and content-length, lower-case names."""
    close: bool = False
    """Close the downstream connection afterwards: its framing can no longer be trusted."""
    operated: bool = True
    """Whether the route's header operations are for it, too; a preflight's answer is made before they are."""


NO_ROUTE = Reply(404, b"", Flag.NO_ROUTE, "route_not_found")
NO_CLUSTER = Reply(503, b"", Flag.NO_CLUSTER, "cluster_not_found")
NO_HEALTHY_UPSTREAM = Reply(503, b"no healthy upstream", Flag.NO_HEALTHY_UPSTREAM, "no_healthy_upstream")
UPSTREAM_TIMEOUT = Reply(504, b"upstream request timeout", Flag.UPSTREAM_TIMEOUT, "response_timeout")
STREAM_TIMEOUT = Reply(504, b"stream timeout", Flag.STREAM_IDLE_TIMEOUT, "stream_idle_timeout")
UPLOAD_STALLED = Reply(408, b"stream timeout", Flag.STREAM_IDLE_TIMEOUT, "stream_idle_timeout")
"""The same, while the client still had some of its request to send."""


def bad_request(
    details: str,
    *,
    status: int = 400,
    body: bytes = b"",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    close: bool = True,
) -> Reply:
    """A request refused by hygiene; `details` names the rule."""
    return Reply(status, body, Flag.DOWNSTREAM_PROTOCOL_ERROR if close else None, details, headers, close)


class ClientLeft(Exception):  # noqa: N818 - an event, not an error
    """The client is gone, or was cut off: nothing more comes from it, and nothing arrives there."""
