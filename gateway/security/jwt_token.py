"""From the bytes of a JSON Web Token to its parts, strictly (RFC 7515, 7519, 8725); none is trusted yet.

Lifetime: request.

Stricter than Envoy, because what two readers read differently is how tokens are forged: exactly two dots,
canonical base64url without padding, each member of an object once, times that are whole numbers, no extension
that must be understood (`crit`), no NUL in any text.
"""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from gateway.security import jwt_failure as why

if TYPE_CHECKING:
    from gateway.security.jwt_failure import Failure

MOST_BYTES = 8192
"""Longest token that is looked at; whatever is longer is refused before it is decoded."""
MOST_DEPTH = 32
"""Deepest nesting of a header or payload."""
ALGORITHMS = frozenset(
    f"{family}{bits}" for family in ("RS", "PS", "ES", "HS") for bits in (256, 384, 512)
) | {"EdDSA"}
"""What a token may name; which of them a key can do, the key says."""
OTHER_KINDS = frozenset({"dpop+jwt", "logout+jwt", "secevent+jwt", "oauth-authz-req+jwt", "jwk-set+jwt"})
"""Types (RFC 8725 3.11) of tokens that are no credential of whoever sends them."""
_is_base64url = re.compile(rb"[A-Za-z0-9_-]+").fullmatch


class Token(NamedTuple):
    """The parts of a token that is well-formed. Whether it is genuine is another question."""

    algorithm: str
    key_id: str
    """Empty: it names none."""
    payload: dict[str, Any]
    issuer: str
    subject: str
    audiences: tuple[str, ...]
    expires_at: int | None
    """Seconds since the epoch; None: never."""
    valid_from: int
    """Seconds since the epoch; 0: always."""
    signed: bytes
    """What the signature is about: header and payload as they came."""
    payload_text: bytes
    """The payload as it came, base64url."""
    signature: bytes


def parse(text: bytes) -> Token | Failure:
    """The parts of a compact JWS, or what is wrong with it. Never raises."""
    if len(text) > MOST_BYTES or text.count(b".") != 2:
        return why.FORM
    signed, _, signature_text = text.rpartition(b".")
    header_text, _, payload_text = signed.partition(b".")
    if not header_text or not payload_text or not signature_text:
        return why.FORM
    if (header := decode(header_text)) is None:
        return why.HEADER_BASE64
    if (head := read_object(header)) is None:
        return why.HEADER_JSON
    if (failure := _head_failure(head)) is not None:
        return failure
    if (decoded := decode(payload_text)) is None:
        return why.PAYLOAD_BASE64
    if (payload := read_object(decoded)) is None:
        return why.PAYLOAD_JSON
    if (failure := _payload_failure(payload)) is not None:
        return failure
    if (signature := decode(signature_text)) is None:
        return why.SIGNATURE_BASE64
    audience = payload.get("aud", ())
    return Token(
        head["alg"],
        head.get("kid", ""),
        payload,
        payload.get("iss", ""),
        payload.get("sub", ""),
        (audience,) if isinstance(audience, str) else tuple(audience),
        payload.get("exp"),
        payload.get("nbf", 0),
        signed,
        payload_text,
        signature,
    )


def _head_failure(head: dict[str, Any]) -> Failure | None:
    algorithm = head.get("alg")
    if not isinstance(algorithm, str):
        return why.ALG_MISSING
    if algorithm not in ALGORITHMS:
        return why.ALG_UNKNOWN
    if not isinstance(head.get("kid", ""), str):
        return why.KID_TYPE
    if "crit" in head:
        return why.CRITICAL
    if head.get("b64", True) is not True:
        return why.UNENCODED
    kind = head.get("typ")
    if isinstance(kind, str) and kind.lower().removeprefix("application/") in OTHER_KINDS:
        return why.OTHER_KIND
    return None


def _payload_failure(payload: dict[str, Any]) -> Failure | None:
    for claim in ("iss", "sub"):
        if not isinstance(payload.get(claim, ""), str):
            return why.not_text(claim)
    for claim in ("iat", "nbf", "exp"):
        value = payload.get(claim, 0)
        if type(value) is not int:
            return why.not_integer(claim)
        if not 0 <= value < 2**64:
            return why.out_of_range(claim)
    if not isinstance(payload.get("jti", ""), str):
        return why.not_text("jti")
    audience = payload.get("aud", "")
    members = audience if isinstance(audience, list) else (audience,)
    return None if all(isinstance(member, str) for member in members) else why.AUDIENCE_TYPE


def decode(text: bytes) -> bytes | None:
    """The bytes of canonical base64url without padding (RFC 7515 2); None when it is not that."""
    if not _is_base64url(text) or len(text) % 4 == 1:
        return None
    decoded = urlsafe_b64decode(text + b"==")
    # Bits that are left over must be 0, or several texts would mean the same bytes.
    return decoded if encode(decoded) == text else None


def encode(value: bytes) -> bytes:
    """Base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=")


def read_object(text: bytes) -> dict[str, Any] | None:
    """A JSON object; None when it is not one, or one that two readers may read differently."""
    try:
        value = json.loads(
            text.decode(), object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse
        )
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and _sound(value) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member appears twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number beyond 64 bits")
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _sound(value: Any) -> bool:
    """Whether nothing is nested too deeply and every text is Unicode without NUL."""
    level = [value]
    for _ in range(MOST_DEPTH):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below.extend(item)
                below.extend(item.values())
            elif isinstance(item, list):
                below.extend(item)
            elif isinstance(item, str) and not _is_text(item):
                return False
        if not below:
            return True
        level = below
    return False


def _is_text(value: str) -> bool:
    if "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False  # Half of a surrogate pair.
    return True
