"""How an attempt fails, as one exception that carries what the reply, the log and the retry policy need.

Lifetime: request.
"""

from __future__ import annotations

from gateway.http.flags import Flag


class UpstreamError(Exception):
    """The upstream did not give a complete answer. `str()` is Envoy's reset reason."""

    def __init__(
        self, flag: Flag, reason: str, *, transport_failure: str = "", cause: str = "", sent: bool = False
    ) -> None:
        super().__init__(reason)
        self.flag = flag
        """UF, UC, UPE, UT, SI, LR or UO."""
        self.reason = reason
        """Envoy's reset reason, such as `connection termination`."""
        self.transport_failure = transport_failure
        """Why there is no connection, as logs print it: `delayed_connect_error:_Connection_refused`."""
        self.cause = cause
        """What exactly was wrong, for people: `two Content-Length headers`."""
        self.sent = sent
        """Whether a byte of the request may have reached the upstream: then only safe requests repeat."""

    @property
    def status(self) -> int:
        """Status of the reply when nothing was sent downstream yet."""
        return 502 if self.flag is Flag.UPSTREAM_PROTOCOL_ERROR else 503

    @property
    def body(self) -> bytes:
        """Body of that reply (without the words Envoy adds after a retry).

        Like Envoy 1.40 it does not show the transport failure to the client.
        """
        return (
            b"upstream connect error or disconnect/reset before headers. reset reason: "
            + self.reason.encode()
        )

    def details(self, *, started: bool = False) -> str:
        """Envoy's `%RESPONSE_CODE_DETAILS%`; `started`: the response had begun downstream."""
        when = "after" if started else "before"
        reason = f"{self.reason}|{self.transport_failure}" if self.transport_failure else self.reason
        return f"upstream_reset_{when}_response_started{{{reason.replace(' ', '_')}}}"


class Stalled(UpstreamError):  # noqa: N818 - an event, not an error
    """Neither side sent a byte for too long while the response was awaited (`timeouts.streamIdle`)."""

    def __init__(self) -> None:
        super().__init__(Flag.STREAM_IDLE_TIMEOUT, "stream idle timeout", sent=True)

    def details(self, *, started: bool = False) -> str:  # noqa: ARG002 - there is one word for both
        """Envoy's."""
        return "stream_idle_timeout"


class BrokenOff(UpstreamError):  # noqa: N818 - an event, not an error
    """The connection closed inside a body that was held until it is whole (`limits.responseHoldBytes`)."""

    def __init__(self) -> None:
        super().__init__(
            Flag.UPSTREAM_PROTOCOL_ERROR, "protocol error", cause="closed inside the body", sent=True
        )

    def details(self, *, started: bool = False) -> str:
        """Envoy's, and that it was HTTP as far as it went: Envoy holds nothing, and has no word for it."""
        return super().details(started=started).replace("}", "|body_cut_off}")


def terminated(*, sent: bool) -> UpstreamError:
    """The connection closed before any byte of a response."""
    return UpstreamError(Flag.UPSTREAM_TERMINATION, "connection termination", sent=sent)


def protocol_error(cause: str) -> UpstreamError:
    """Bytes that are not the response the request asked for, or not all of it."""
    return UpstreamError(Flag.UPSTREAM_PROTOCOL_ERROR, "protocol error", cause=cause, sent=True)


def local_reset(*, sent: bool) -> UpstreamError:
    """The gateway itself gave the attempt up."""
    return UpstreamError(Flag.LOCAL_RESET, "local reset", sent=sent)
