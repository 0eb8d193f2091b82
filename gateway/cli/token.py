"""`gateway token`: a test JWT, signed with a development key that is made when there is none.

Lifetime: process.
"""

from __future__ import annotations

import json
import os
import sys
import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli._help import closing

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_KEY = "certs/token.key"
DEFAULT_ISSUER = "https://dev.test"
MODE = 0o600


@click.command(
    "token",
    short_help="A JWT for tests, and the key set that verifies it.",
    epilog=closing(
        "gateway token --subject alice --audience shop --jwks",
        "gateway token --claim 'groups=[\"admin\"]' --expires 8h",
        codes="0 printed, 2 usage, 3 the key cannot be read or made",
    ),
)
@click.option("--issuer", default=DEFAULT_ISSUER, show_default=True, help="Claim `iss`.")
@click.option("--subject", default="dev", show_default=True, help="Claim `sub`.")
@click.option("--audience", "audiences", multiple=True, help="Claim `aud`, repeatable.")
@click.option(
    "--claim",
    "claims",
    multiple=True,
    metavar="NAME=VALUE",
    help="A further claim, repeatable; VALUE is JSON if it reads as JSON, else text.",
)
@click.option(
    "--expires",
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How long it is good for, such as 10s or 8h; 0 for ever, -1h since an hour no more.",
)
@click.option(
    "--key",
    "path",
    default=DEFAULT_KEY,
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Private key (PEM: P-256, P-384, P-521, RSA, Ed25519); made when it does not exist.",
)
@click.option("--jwks", is_flag=True, help="Print the key set that verifies it, too, on a second line.")
@click.option("--json", "as_json", is_flag=True, help="Print one object: token, claims, jwks, key.")
def command(  # noqa: PLR0913 - one a claim
    *,
    issuer: str,
    subject: str,
    audiences: tuple[str, ...],
    claims: tuple[str, ...],
    expires: str,
    path: Path,
    jwks: bool,
    as_json: bool,
) -> None:
    """Prints a JWT for tests, for a RequestAuthentication whose `jwks` is what --jwks prints.

    The key is this machine's: whoever has it can be anybody where its key set is trusted, so it has no place
    in production.
    """
    made = payload(issuer, subject, audiences, claims, expires, time.time())
    try:
        token, keys = sign(made, read_or_make(path))
    except (OSError, ValueError) as error:
        click.echo(f"the key {path} cannot be used: {error}", err=True)
        sys.exit(3)
    if as_json:
        told = {"token": token, "claims": made, "jwks": keys, "key": str(path)}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(token)
    if jwks:
        click.echo(json.dumps(keys))


def payload(
    issuer: str, subject: str, audiences: Sequence[str], claims: Sequence[str], expires: str, now: float
) -> dict[str, Any]:
    """The claims; a further one replaces what is there."""
    from gateway.config.fields import parse_duration  # noqa: PLC0415 - `gateway --help` need not load it

    nanoseconds = parse_duration(expires)
    if nanoseconds is None:
        raise click.BadParameter(f'"{expires}" is not a duration', param_hint="--expires")
    made: dict[str, Any] = {"iss": issuer, "sub": subject, "iat": int(now)}
    if nanoseconds:
        made["exp"] = int(now) + nanoseconds // 10**9
    if audiences:
        made["aud"] = audiences[0] if len(audiences) == 1 else list(audiences)
    for claim in claims:
        name, equals, value = claim.partition("=")
        if not name or not equals:
            raise click.BadParameter(f'"{claim}" is not NAME=VALUE', param_hint="--claim")
        try:
            made[name] = json.loads(value)
        except ValueError:
            made[name] = value
    return made


def read_or_make(path: Path) -> Any:
    """The private key in a file; a new P-256 key, for its owner only, when there is no file."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - as above

    if path.exists():
        if path.stat().st_mode & 0o077:
            click.echo(f"others can read {path}: chmod 600 it", err=True)
        try:
            return serialization.load_pem_private_key(path.read_bytes(), None)
        except TypeError as error:
            raise ValueError("it is encrypted") from error
    private = ec.generate_private_key(ec.SECP256R1())
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "wb") as file:
        file.write(text)
    click.echo(f"made a development key, {path}", err=True)
    return private


def sign(claims: dict[str, Any], private: Any) -> tuple[str, dict[str, Any]]:
    """A token, and the key set that verifies it; ValueError for a key that signs no tokens."""
    import jwt  # noqa: PLC0415 - as above

    algorithm = _algorithm(private)
    public = jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key(), as_dict=True)
    member = {name: value for name, value in public.items() if name != "key_ops"}
    member |= {"kid": _thumbprint(member), "use": "sig", "alg": algorithm}
    return jwt.encode(claims, private, algorithm, headers={"kid": member["kid"]}), {"keys": [member]}


def _algorithm(private: Any) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415 - as above

    curves = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in curves:
        return curves[private.curve.name]
    if isinstance(private, rsa.RSAPrivateKey):
        return "RS256"
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "EdDSA"
    raise ValueError("a key of this kind signs no tokens")


def _thumbprint(member: dict[str, Any]) -> str:
    """RFC 7638: the same key has the same id everywhere."""
    needed = {name: member[name] for name in ("crv", "e", "kty", "n", "x", "y") if name in member}
    text = json.dumps(needed, separators=(",", ":"), sort_keys=True)
    return urlsafe_b64encode(sha256(text.encode()).digest()).rstrip(b"=").decode()
