"""`gateway certs`: a development authority, SPIFFE certificates, and what a certificate says.

Lifetime: process.
"""

from __future__ import annotations

import datetime as dt
import json
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from gateway.cli._help import closing
from gateway.tls import mint
from gateway.tls.certificate import Unreadable, parsed
from gateway.tls.credentials import FOLDERS_VARIABLE, folders_beside
from gateway.tls.material import CredentialError, content

AUTHORITY = "authority"
"""Folder of the development authority: `ca.crt`, `ca.key`."""
_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
IGNORE = "*\n!.gitignore\n!README.md\n"


class Lifetime(click.ParamType):  # type: ignore[type-arg] # generic in newer releases only
    """`90d`, `12h`, `30m`, `45s`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.timedelta:
        """A duration from its text."""
        if isinstance(value, dt.timedelta):
            return value
        match = _DURATION.fullmatch(value)
        if match is None or not int(match[1]):
            self.fail(f'"{value}" is not a duration such as 24h or 90d', param, ctx)
        return dt.timedelta(**{_UNITS[match[2]]: int(match[1])})


def _folder_option(command: Any) -> Any:
    return click.option(
        "--certs",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        help=f"Folder of the credentials. Default: ${FOLDERS_VARIABLE}, or certs.",
    )(command)


_as_json = click.option("--json", "as_json", is_flag=True, help="Print one object.")


CODES = "0 fine, 1 nothing usable found, 2 usage, 3 could not write"


@click.group(
    "certs",
    short_help="Certificates for development; what a certificate says.",
    epilog=closing(
        "gateway certs init",
        "gateway certs issue --name shop --dns localhost --ip 127.0.0.1",
        "gateway certs show shop",
        codes=CODES,
    ),
)
def command() -> None:
    """Makes certificates for development, and says what is in one.

    For production use your mesh's authority, SPIRE or cert-manager: the gateway follows their files.
    """


@command.command(
    "init",
    short_help="Makes an authority.",
    epilog=closing("gateway certs init --lifetime 365d", codes=CODES),
)
@_folder_option
@click.option("--name", default="development authority", show_default=True, help="Common name.")
@click.option(
    "--lifetime", type=Lifetime(), default="90d", show_default=True, help="How long it is good for."
)
@click.option("--force", is_flag=True, help="Replace an authority that exists; its certificates lose trust.")
@_as_json
def init(*, folder: Path | None, name: str, lifetime: dt.timedelta, force: bool, as_json: bool) -> None:
    """Makes an authority: certs/authority/ca.crt and ca.key. Keep the key on this machine."""
    place = _folder(folder)
    home = place / AUTHORITY
    if (home / "ca.key").exists() and not force:
        _fail(f"{home / 'ca.key'} exists; --force replaces it, and certificates it signed lose trust", 1)
    made = mint.make_authority(name, lifetime=lifetime)
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not (place / ".gitignore").exists():
            mint.write(place / ".gitignore", IGNORE.encode())
        mint.write(home / "ca.key", made.key_pem, mode=mint.PRIVATE)
        mint.write(home / "ca.crt", made.pem)
    except OSError as error:
        _fail(f"{place}: {error.strerror}", 3)
    _say(as_json, {"authority": str(home / "ca.crt"), "key": str(home / "ca.key"), **_facts(made.pem)[0]})


@command.command(
    "issue",
    short_help="Signs a certificate for a client or a listener.",
    epilog=closing(
        "gateway certs issue --principal cluster.local/ns/default/sa/sleep",
        "gateway certs issue --name shop --dns localhost --ip 127.0.0.1",
        codes=CODES,
    ),
)
@_folder_option
@click.option("--principal", default="", metavar="ID", help="SPIFFE identity.")
@click.option("--dns", "dns_names", multiple=True, metavar="NAME", help="DNS name, repeatable.")
@click.option("--ip", "addresses", multiple=True, metavar="ADDRESS", help="IP address, repeatable.")
@click.option(
    "--name", metavar="CREDENTIAL", help="Folder to write to. Default: the service account, or host."
)
@click.option(
    "--lifetime", type=Lifetime(), default="24h", show_default=True, help="How long it is good for."
)
@_as_json
def issue(  # noqa: PLR0913 - one argument an option
    *,
    folder: Path | None,
    principal: str,
    dns_names: tuple[str, ...],
    addresses: tuple[str, ...],
    name: str | None,
    lifetime: dt.timedelta,
    as_json: bool,
) -> None:
    """Signs a certificate with a new key: certs/NAME/tls.crt, tls.key and the authority's ca.crt.

    A client needs --principal, a listener the names that clients ask for.
    """
    place = _folder(folder)
    leaf = mint.Leaf(
        principal=principal.removeprefix("spiffe://"),
        dns_names=dns_names,
        addresses=addresses,
        lifetime=lifetime,
    )
    if problem := leaf.problem():
        raise click.UsageError(problem)
    credential = name or (leaf.principal or [*dns_names, *addresses][0]).rpartition("/")[2]
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", credential) or credential == AUTHORITY:
        raise click.UsageError(f'"{credential}" cannot be the name of a credential; say another with --name')
    home = place / AUTHORITY
    try:
        authority = mint.read_authority(home / "ca.crt", home / "ca.key")
    except CredentialError as error:
        _fail(f"{error}; `gateway certs init` makes an authority", 1)
    made = mint.issue(authority, leaf)
    try:
        mint.write_credential(place / credential, made, authority.pem)
    except OSError as error:
        _fail(f"{place / credential}: {error.strerror}", 3)
    _say(as_json, {"credential": credential, "folder": str(place / credential), **_facts(made.pem)[0]})


@command.command(
    "show",
    short_help="What certificates say: names, principal, dates.",
    epilog=closing("gateway certs show sleep", "gateway certs show /etc/ssl/shop.pem", codes=CODES),
)
@click.argument("what", metavar="FILE|CREDENTIAL")
@_folder_option
@_as_json
def show(*, what: str, folder: Path | None, as_json: bool) -> None:
    """Prints what the certificates of a file or credential say: names, principal, dates, chain."""
    path = Path(what)
    if not path.is_file():
        place = path if path.is_dir() else _folder(folder) / what
        candidates = (place / "tls.crt", place / "ca.crt", place.with_name(f"{place.name}.crt"))
        path = next((item for item in candidates if item.is_file()), path)
        if not path.is_file():
            _fail(f"neither a file nor a credential: {what}", 1)
    try:
        facts = _facts(content(path))
    except (CredentialError, ValueError):
        _fail(f"{path}: no certificate in PEM", 1)
    if as_json:
        click.echo(json.dumps({"file": str(path), "certificates": facts}, indent=2))
        return
    for number, fact in enumerate(facts):
        if number:
            click.echo()
        _table(fact)


def _folder(folder: Path | None) -> Path:
    return folder or folders_beside([Path("routes.yaml")])[0]


def _facts(pem: bytes) -> list[dict[str, Any]]:
    """What each certificate says. ValueError when there is none."""
    from cryptography import x509  # noqa: PLC0415 - `gateway certs --help` need not wait for it
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - as above

    facts: list[dict[str, Any]] = []
    now = dt.datetime.now(dt.UTC)
    for certificate in x509.load_pem_x509_certificates(pem):
        fact: dict[str, Any] = {
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "serial": f"{certificate.serial_number:x}",
            "not_before": certificate.not_valid_before_utc.isoformat(),
            "not_after": certificate.not_valid_after_utc.isoformat(),
            "valid": certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc,
        }
        try:
            known = parsed(certificate.public_bytes(Encoding.DER))
        except Unreadable as why:
            fact["unreadable"] = str(why)
        else:
            fact |= {
                "principal": known.principal,
                "uris": list(known.uris),
                "dns_names": list(known.dns_names),
                "addresses": list(known.addresses),
                "sha256": known.digest,
                "spki_sha256": known.spki,
            }
        facts.append(fact)
    return facts


def _say(as_json: bool, fact: dict[str, Any]) -> None:
    if as_json:
        click.echo(json.dumps(fact, indent=2))
    else:
        _table(fact)


def _table(fact: dict[str, Any]) -> None:
    from gateway.cli._page import Page  # noqa: PLC0415 - --help need not load rich

    page = Page()
    for name, value in fact.items():
        text = ", ".join(value) if isinstance(value, list) else str(value)
        if text:
            page.item(name.replace("_", " "), text)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
