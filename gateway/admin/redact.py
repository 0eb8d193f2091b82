"""Takes the secrets out of documents before they are shown.

Lifetime: config (pure functions).

A dump is made to be pasted into a bug report. Each secret becomes `[redacted sha256:…]`: equal secrets of one
process look equal. The digest is keyed with a number of this process, so that a weak secret cannot be guessed
from it.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.http.secrets import is_secret

_KEY = secrets.token_bytes(32)

_SECRET_NAMES = re.compile(
    r"(?:^|[-_.])(?:authorization|cookie2?|set-cookie|token|secret|password|passwd|credentials?|signature"
    r"|(?:api|access|auth|secret)[-_]?key)(?:$|[-_.])",
    re.IGNORECASE,
)
"""Names of headers, parameters, cookies and claims whose value is a credential, however they are written."""

_CREDENTIAL = re.compile(r"(?i)(?:bearer|basic|digest|negotiate)\s+[A-Za-z0-9._~+/=-]{6,}")
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*)*")
"""Values that are credentials whatever they are called."""

_PRIVATE_JWK = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Members of a JSON Web Key that nobody else may know (RFC 7518 6.2.2, 6.3.2, 6.4.1)."""

_PRIVATE_PEM = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----")

_USERINFO = re.compile(r"(?<=://)[^/?#\s@]*@")

_NAMED = re.compile(r"\[([^\[\]]+)\]$")


def _names_secret(name: str) -> bool:
    """Whether what stands under `name` is a credential. Fields of documents are camelCase, so a name with a
    dash, or without capitals, is a client's, and for those rather too much is hidden.
    """
    if _SECRET_NAMES.search(name):
        return True
    return name != "key" and ("-" in name or name.islower()) and is_secret(name)


def mark(secret: str) -> str:
    """What stands in the place of `secret`."""
    return (
        f"[redacted sha256:{hmac.digest(_KEY, secret.encode(errors='surrogatepass'), 'sha256').hex()[:12]}]"
    )


def redact(value: Any, name: str = "") -> Any:
    """A copy of a JSON-like value without its secrets; `name` is the key it stands under."""
    if isinstance(value, Mapping):
        return _redact_map(value, name)
    if isinstance(value, str):
        return _redact_text(value, name)
    if isinstance(value, Sequence):
        return [redact(item, name) for item in value]
    return value


def _redact_map(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    if _names_secret(name):
        # A match on a credential: {exact: ...}, {prefix: ...}, {regex: ...}.
        return {key: _hide(item) for key, item in value.items()}
    hidden = _condition_on_secret(value)
    return {key: _hide(item) if key in hidden else redact(item, key) for key, item in value.items()}


def _condition_on_secret(value: Mapping[str, Any]) -> frozenset[str]:
    """`{key: "request.headers[authorization]", values: [...]}` of an AuthorizationPolicy."""
    key = value.get("key")
    named = _NAMED.search(key) if isinstance(key, str) else None
    if named is not None and _names_secret(named[1]):
        return frozenset({"values", "notValues", "not_values"})
    return frozenset()


def _redact_text(value: str, name: str) -> str:
    if name == "jwks":
        return _redact_jwks(value)
    if _names_secret(name) or _PRIVATE_PEM.search(value) or _CREDENTIAL.fullmatch(value):
        return mark(value)
    value = _JWT.sub(lambda found: mark(found[0]), value)
    return _USERINFO.sub(lambda found: mark(found[0][:-1]) + "@", value)


def _redact_jwks(text: str) -> str:
    """Public parts stay readable; what is no JSON is hidden whole."""
    try:
        return json.dumps(_without_private_parts(json.loads(text)))
    except (ValueError, RecursionError):
        return mark(text)


def _without_private_parts(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _hide(item) if key in _PRIVATE_JWK else _without_private_parts(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_private_parts(item) for item in value]
    return value


def _hide(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _hide(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_hide(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return mark(str(value))
