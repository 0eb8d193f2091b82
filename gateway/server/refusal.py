"""Requests that never reach the application: why, with which status, and a memory of the last ones.

Lifetime: config (`Refusal` constants) and process (`Refusals`).
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from uuid import uuid4

KEPT: Final = 50
"""Refused requests that are remembered."""
KEPT_BYTES: Final = 1024
"""Of each, the first bytes of its head."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rule of the protocol class, and the status that answers its breach."""

    status: int
    reason: str
    """Label of `gateway_rejected_total`; never told to the client."""
    headers: bytes = b""
    """Header lines beyond the usual ones, each with its line end."""


MALFORMED = Refusal(400, "malformed_request")
REQUEST_LINE = Refusal(400, "bad_request_line")
TARGET = Refusal(400, "bad_target")
AUTHORITY_MISMATCH = Refusal(400, "authority_mismatch")
SCHEME_MISMATCH = Refusal(400, "scheme_mismatch")
NO_HOST = Refusal(400, "no_host")
SEVERAL_HOSTS = Refusal(400, "several_hosts")
BAD_HOST = Refusal(400, "bad_host")
SEVERAL_AUTHORIZATIONS = Refusal(400, "several_authorizations")
LENGTH_AND_ENCODING = Refusal(400, "content_length_and_transfer_encoding")
BAD_LENGTH = Refusal(400, "bad_content_length")
SEVERAL_ENCODINGS = Refusal(400, "several_transfer_encodings")
BAD_CHUNK = Refusal(400, "bad_chunk")
CHUNK_EXTENSION = Refusal(400, "chunk_extension_too_long")
UPGRADE = Refusal(403, "upgrade")
METHOD = Refusal(405, "method", b"allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n")
HEAD_TIMEOUT = Refusal(408, "request_head_timeout")
BODY_TIMEOUT = Refusal(408, "request_body_timeout")
BODY_TOO_SLOW = Refusal(408, "request_body_too_slow")
BODY_TOO_LARGE = Refusal(413, "request_body_too_large")
TARGET_TOO_LONG = Refusal(414, "request_target_too_long")
EXPECTATION = Refusal(417, "expectation")
HTTP_1_0 = Refusal(426, "http_1_0", b"upgrade: HTTP/1.1\r\n")
HEAD_TOO_LARGE = Refusal(431, "request_head_too_large")
TOO_MANY_HEADERS = Refusal(431, "too_many_headers")
TRAILERS_TOO_LARGE = Refusal(431, "trailers_too_large")
ENCODING = Refusal(501, "transfer_encoding")
CONNECTIONS = Refusal(503, "too_many_connections")
VERSION = Refusal(505, "http_version")


class Refused(Exception):  # noqa: N818 - an outcome, not an error
    """Carries a refusal from the grammar to the connection; never leaves `gateway.server`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


def render(refusal: Refusal, request_id: str, lines: bytes, *, bodiless: bool = False) -> bytes:
    """The complete answer. `lines`: the date and server lines; the body names the status and no reason."""
    status = HTTPStatus(refusal.status)
    body = b"%d %s\n" % (status, status.phrase.encode())
    connection = b"close, upgrade" if refusal is HTTP_1_0 else b"close"
    return b"".join(
        (
            b"HTTP/1.1 %d %s\r\n" % (status, status.phrase.encode()),
            b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(body),
            b"connection: %s\r\nx-request-id: %s\r\n" % (connection, request_id.encode()),
            refusal.headers,
            lines,
            b"\r\n",
            b"" if bodiless else body,
        )
    )


@dataclass(frozen=True, slots=True)
class Rejected:
    """One refused request, for the operator's eyes."""

    at: float
    """Seconds since the epoch."""
    request_id: str
    reason: str
    status: int
    client: str
    """`ip:port`, empty on a unix socket."""
    head: bytes
    """First bytes as received, secrets blotted out."""


class Refusals:
    """How many requests were refused, by reason, and the last ones' heads.

    Lifetime: process. Bounded: one counter a reason, `KEPT` heads of `KEPT_BYTES`.
    """

    __slots__ = ("counts", "last")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.last: deque[Rejected] = deque(maxlen=KEPT)

    def __repr__(self) -> str:
        return f"<Refusals {self.counts}>"

    def record(self, refusal: Refusal, head: bytes, client: tuple[str, int] | None, at: float) -> str:
        """Counts and remembers a refusal; returns the request id that the answer carries."""
        self.counts[refusal.reason] = self.counts.get(refusal.reason, 0) + 1
        request_id = str(uuid4())
        peer = "{}:{}".format(*client) if client else ""
        self.last.append(
            Rejected(at, request_id, refusal.reason, refusal.status, peer, without_secrets(head[:KEPT_BYTES]))
        )
        return request_id


_LINE_ENDS = re.compile(rb"([\r\n]+)")
_SECRET = re.compile(
    rb"(?i)[ \t]*[\w-]*(?:authorization|cookie|token|secret|passw|key|session|jwt|credential|client-cert)"
    rb"[\w-]*"
)
_PARAMETER = re.compile(rb"(?i)([?&;][^=&\s]*(?:token|secret|passw|key|jwt|auth|code|sig)[^=&\s]*=)[^&\s]*")
_USERINFO = re.compile(rb"(://)[^/@\s]*@")


def without_secrets(head: bytes) -> bytes:
    """`head` with credentials blotted out, however broken it is: rather too much than too little."""
    pieces: list[bytes] = []
    hiding = False
    for piece in _LINE_ENDS.split(head):
        if piece[:1] in (b"\r", b"\n", b""):
            pieces.append(piece)
        elif hiding and piece[:1] in (b" ", b"\t"):  # a folded value
            pieces.append(b" [redacted]")
        else:
            name = _SECRET.match(piece)
            hiding = name is not None
            pieces.append(piece if name is None else name[0] + b": [redacted]")
    return _USERINFO.sub(rb"\1[redacted]@", _PARAMETER.sub(rb"\1[redacted]", b"".join(pieces)))
