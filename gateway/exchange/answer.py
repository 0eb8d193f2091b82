"""What the gateway answers when no upstream did.

Lifetime: request (plain functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.exchange.exchange import ClientGone, TimedOut, UploadStuck
from gateway.exchange.hygiene import NO_BODY, new_request_id
from gateway.exchange.replay import TOO_LARGE
from gateway.exchange.retry import TRY_TIMED_OUT, TryTimedOut, reset_body
from gateway.http.flags import Flag
from gateway.http.reply import STREAM_TIMEOUT, UPLOAD_STALLED, UPSTREAM_TIMEOUT, Reply
from gateway.http.request import Request

if TYPE_CHECKING:
    from gateway.exchange.downstream import Downstream
    from gateway.exchange.exchange import Exchange
    from gateway.upstream.errors import UpstreamError

_UNFLAGGED = frozenset({"body", "method", "overloaded"})
_OVERLOADED = ((b"x-envoy-overloaded", b"true"),)


def failure(exchange: Exchange, error: UpstreamError | None) -> Reply:
    """Step 10's table: the reply to an exchange that ended in `error`; ClientGone when nobody waits."""
    if exchange.gone:
        raise ClientGone from None
    assert error is not None
    exchange.failure = error
    if isinstance(error, TimedOut):
        return UPSTREAM_TIMEOUT
    if isinstance(error, TryTimedOut):
        return TRY_TIMED_OUT
    if isinstance(error, UploadStuck):
        return TOO_LARGE
    if error.flag is Flag.STREAM_IDLE_TIMEOUT:
        unsent = exchange.connection is not None and not exchange.upload_done
        return UPLOAD_STALLED if unsent else STREAM_TIMEOUT
    exchange.transport_failure = error.transport_failure
    headers = _OVERLOADED if error.flag is Flag.UPSTREAM_OVERFLOW else ()
    body = reset_body(error, retried=exchange.retries is not None and exchange.retries.retried)
    details = unrepeated(error.details(), exchange.retries_denied)
    return Reply(error.status, body, error.flag, details, headers)


def unrepeated(details: str, denied: str) -> str:
    """Details that say why there was no retry, unless a flag does (URX, UO)."""
    return f"{details},retry_denied{{{denied}}}" if denied in _UNFLAGGED else details


def crude(exchange: Exchange, downstream: Downstream) -> None:
    """Gives `exchange` a request for the log, of a head that hygiene refused: as it came, cut to size."""
    raw, query = downstream.raw_path[:2048], downstream.query[:2048]
    exchange.request = Request(downstream.method, downstream.place.scheme, b"", "", raw or b"/", query, [])
    exchange.request.client_ip = downstream.place.peer_ip
    exchange.request_id = new_request_id()
    exchange.body = NO_BODY
