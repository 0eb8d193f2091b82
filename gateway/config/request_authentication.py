"""RequestAuthentication: which JWTs are accepted, in Istio's own shape.

Lifetime: config. Keys given in the document are read here as JSON; whether they can verify, security decides.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, Strict

from gateway.config.extension_providers import FRAMING
from gateway.config.fields import Bool, Checked, Duration, Many, NonEmpty, Problem, Str, rejection
from gateway.config.names import check_hostname, is_ip, is_token
from gateway.config.resource import Resource, register
from gateway.config.selector import EmptyIfNull, Targeted

if TYPE_CHECKING:
    from collections.abc import Iterator

_FRAMING = FRAMING | {"expect"}
"""Headers (lower-case) that carry the message itself, so no claim may become one of them."""
_CLAIM_HEADER = re.compile(r"[-_A-Za-z0-9]+\Z")
_BASE64URL = re.compile(r"[-_A-Za-z0-9]+\Z")
_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})


def _url(value: str) -> str:
    message = check_url(value)
    if message is not None:
        raise rejection(Problem("GW067", message))
    return value


def check_url(text: str) -> str | None:
    """An absolute http(s) URL without user and fragment."""
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        parts, port, host = urlsplit(""), None, ""
    named = is_ip(host) or check_hostname(host) is None
    plain = text.isascii() and text.isprintable() and " " not in text
    if parts.scheme in {"http", "https"} and named and plain and port != 0 and not parts.fragment:
        return None if "@" not in parts.netloc else f'"{text}" has a user in it'
    return f'"{text}" is not a URL such as https://issuer.example/keys.json'


class JWTHeader(Checked):
    """A header a token may stand in."""

    name: NonEmpty
    prefix: Str | None = None
    """Text before the token, such as `Bearer `; default: the whole value is the token."""

    def _rules(self) -> Iterator[Problem]:
        if not is_token(self.name):
            yield Problem("GW039", f'"{self.name}" is not a header name', ("name",))


class ClaimToHeader(Checked):
    """A claim of a verified token, sent on as a header."""

    header: NonEmpty
    claim: NonEmpty
    """`group`, nested `realm.role`; text, numbers and booleans only."""

    def _rules(self) -> Iterator[Problem]:
        yield from _output_problems(self.header, ("header",))


def _output_problems(name: str, at: tuple[str | int, ...]) -> Iterator[Problem]:
    if not _CLAIM_HEADER.match(name):
        yield Problem("GW039", f'"{name}" is not a header of letters, digits, "-" and "_"', at)
    elif name.lower() in _FRAMING:
        yield Problem("GW039", f'"{name}" carries the message itself and cannot be a claim', at)


class JWTRule(Checked):
    """One issuer, its keys, and where its tokens stand."""

    issuer: Str | None = None
    """Must equal the claim `iss`; empty accepts any issuer these keys sign for."""
    audiences: Many[NonEmpty] = ()
    """The token must be for one of these; empty: not checked."""
    jwks_uri: Annotated[str, Strict(), AfterValidator(_url)] | None = None
    """Where the keys are fetched; default: the issuer's OpenID discovery document."""
    jwks: Str | None = None
    """The keys themselves, a JSON Web Key Set."""
    from_headers: Many[JWTHeader] = ()
    """Any location named here, in a cookie or parameter replaces the default ones."""
    from_params: Many[NonEmpty] = ()
    from_cookies: Many[NonEmpty] = ()
    output_payload_to_header: NonEmpty | None = None
    """Header for the verified payload, base64url; a client's own is removed."""
    output_claim_to_headers: Many[ClaimToHeader] = ()
    forward_original_token: Bool | None = None
    """Whether the backend sees the token; default no."""
    timeout: Duration | None = None
    """Seconds to fetch the keys; default 5."""
    space_delimited_claims: Many[NonEmpty] = ()
    """Claims that are lists written as text, besides `scope` and `permission`."""

    def _rules(self) -> Iterator[Problem]:
        if not self.issuer and not self.jwks_uri and not self.jwks:
            yield Problem("GW032", "a JWT rule needs an issuer, jwksUri or jwks", ("issuer",))
        elif not self.jwks_uri and not self.jwks and check_url(self.issuer or "") is not None:
            message = f'the keys of "{self.issuer}" cannot be found: it is not a URL'
            hint = "give jwksUri or jwks; until then every token of it is refused"
            yield Problem("GW068", message, ("issuer",), hint, "warning", fatal=False)
        if self.jwks_uri and self.jwks:
            yield Problem("GW040", "only one of jwksUri and jwks", ("jwks",))
        if self.jwks is not None:
            yield from _key_problems(self.jwks)
        if self.output_payload_to_header is not None:
            yield from _output_problems(self.output_payload_to_header, ("outputPayloadToHeader",))
        headers = [item.header.lower() for item in self.output_claim_to_headers]
        for index, header in enumerate(headers):
            if header in headers[:index]:
                at = ("outputClaimToHeaders", index, "header")
                yield Problem("GW043", f'two claims go to the header "{header}"', at)


def _key_problems(text: str) -> Iterator[Problem]:
    """What is wrong with a JSON Web Key Set (RFC 7517)."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield Problem("GW064", f"not JSON: {error}", ("jwks",))
        return
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys:
        yield Problem("GW064", 'a key set is {"keys": [...]} with at least one key', ("jwks",))
        return
    for index, key in enumerate(keys):
        message = _check_key(key)
        if message is not None:
            yield Problem("GW064", f"key {index + 1}: {message}", ("jwks",))
        elif key["kty"] != "oct" and not _PRIVATE.isdisjoint(key):
            message = f"key {index + 1} is a private key: whoever reads this file can sign tokens"
            hint = "keep only the public members"
            yield Problem("GW065", message, ("jwks",), hint, "warning", fatal=False)


def _check_key(key: Any) -> str | None:
    if not isinstance(key, dict) or not isinstance(key.get("kty"), str):
        return "not an object with kty"
    needed = {"RSA": "ne", "EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "oct": "k"}.get(key["kty"], ())
    for member in needed:
        if not isinstance(key.get(member), str) or not key[member]:
            return f"a key of type {key['kty']} needs {member}"
    return _check_secret(key["k"], key.get("alg")) if key["kty"] == "oct" else None


def _check_secret(secret: str, algorithm: Any) -> str | None:
    """A secret is as long as the hash it is used with (RFC 7518 3.2), or it is found by trying."""
    if not _BASE64URL.match(secret):
        return "k is not base64url"
    size = len(secret) * 3 // 4
    name = algorithm if isinstance(algorithm, str) and algorithm in _SECRET_BYTES else "HS256"
    least = _SECRET_BYTES[name]
    return None if size >= least else f"a secret of {size} bytes; {name} needs {least} (RFC 7518 3.2)"


class RequestAuthenticationSpec(Targeted):
    """Rules; a token must satisfy one of them, no token satisfies all."""

    jwt_rules: Many[JWTRule] = ()


@register("security.istio.io", "RequestAuthentication", "v1", "v1beta1")
class RequestAuthentication(Resource):
    """Which JWTs the selected workloads accept."""

    spec: Annotated[RequestAuthenticationSpec, EmptyIfNull] = Field(default_factory=RequestAuthenticationSpec)
