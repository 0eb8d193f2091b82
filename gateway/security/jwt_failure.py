"""Why a token is refused, and the reply that says so; the texts are Envoy's (jwt_authn).

Lifetime: config (constants).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from gateway.http.reply import Reply
from gateway.http.secrets import shown_target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.http.request import Request


class Failure(NamedTuple):
    """One reason."""

    text: str
    """The body of the reply."""
    status: int = 401


FORM = Failure("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")
HEADER_BASE64 = Failure("Jwt header is an invalid Base64url encoded")
HEADER_JSON = Failure("Jwt header is an invalid JSON")
ALG_MISSING = Failure("Jwt header [alg] field is required and must be a string")
ALG_UNKNOWN = Failure("Jwt header [alg] is not supported")
KID_TYPE = Failure("Jwt header [kid] field is not a string")
CRITICAL = Failure("Jwt header [crit] is not supported")
UNENCODED = Failure("Jwt header [b64] is not supported")
OTHER_KIND = Failure("Jwt header [typ] is not supported")
PAYLOAD_BASE64 = Failure("Jwt payload is an invalid Base64url encoded")
PAYLOAD_JSON = Failure("Jwt payload is an invalid JSON")
AUDIENCE_TYPE = Failure("Jwt payload [aud] field is not a string or string list")
SIGNATURE_BASE64 = Failure("Jwt signature is an invalid Base64url encoded")
ISSUER = Failure("Jwt issuer is not configured")
NOT_YET = Failure("Jwt not yet valid")
EXPIRED = Failure("Jwt is expired")
AUDIENCE = Failure("Audiences in Jwt are not allowed", 403)
NO_KEY = Failure("Jwks doesn't have key to match kid or alg from Jwt")
NO_VALID_KEYS = Failure("Jwks doesn't have any valid public key")
FETCH = Failure("Jwks remote fetch is failed")
SIGNATURE = Failure("Jwt verification fails")
SEVERAL = Failure("Found multiple Jwt tokens")


def not_text(claim: str) -> Failure:
    """A claim that must be text and is not."""
    return Failure(f"Jwt payload [{claim}] field is not a string")


def not_integer(claim: str) -> Failure:
    """A time that is not a whole number."""
    return Failure(f"Jwt payload [{claim}] field is not an integer")


def out_of_range(claim: str) -> Failure:
    """A time before 1970, or beyond 64 bits."""
    return Failure(f"Jwt payload [{claim}] field is not a positive 64 bit integer")


@dataclass(frozen=True, slots=True)
class Undecided(Reply):
    """A refusal for want of a key, while the key set is being fetched anew.

    Whoever may wait awaits `settled()` and asks the check again when it says True; whoever may not just sends
    this reply.
    """

    settled: Callable[[], Awaitable[bool]] | None = None
    """Waits until the fetch is over, at most the rule's timeout; whether there are other keys now."""


REALM_PATH = 256
"""Longest path in a challenge, as in Envoy."""


def challenge(request: Request) -> bytes:
    """`www-authenticate`; the realm is the address asked for, without tokens, and so without the query."""
    uri = b"%b://%b%b" % (
        request.scheme.encode(),
        request.authority,
        shown_target(request.path, b"")[:REALM_PATH],
    )
    realm = uri.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'Bearer realm="%b", error="invalid_token"' % realm


def refuse(failure: Failure, request: Request, settled: Callable[[], Awaitable[bool]] | None = None) -> Reply:
    """The reply to a request whose token is no good."""
    text, status = failure
    details = f"jwt_authn_access_denied{{{text.replace(' ', '_')}}}"
    headers = ((b"www-authenticate", challenge(request)),)
    if settled is None:
        return Reply(status, text.encode(), None, details, headers)
    return Undecided(status, text.encode(), None, details, headers, settled=settled)
