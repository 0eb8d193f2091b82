"""`gateway certs`: what it makes is what the gateway takes."""

from __future__ import annotations

import json
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main
from gateway.tls.credentials import Named

SLEEP = "cluster.local/ns/default/sa/sleep"


def certs(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["certs", arguments[0], "--certs", str(folder), *arguments[1:]])


def made(folder: Path, *arguments: str) -> Any:
    """What it says as JSON; fails when it fails."""
    result = certs(folder, *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_authority_and_a_certificate(tmp_path: Path) -> None:
    """A credential in the shape that `credentialName` finds; keys are for their owner alone."""
    folder = tmp_path / "certs"
    authority = made(folder, "init", "--name", "dev")
    assert authority["subject"] == "CN=dev"
    fact = made(folder, "issue", "--principal", SLEEP, "--dns", "localhost", "--ip", "127.0.0.1")
    assert fact["credential"] == "sleep"
    assert (fact["principal"], fact["dns_names"], fact["addresses"]) == (SLEEP, ["localhost"], ["127.0.0.1"])
    (material,) = Named("sleep", (folder,), trust=True).read()
    assert material.roots[0].subject == material.chain[0].issuer
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "sleep/tls.crt", folder / "sleep/tls.key")
    assert [mode(folder / name) for name in ("authority/ca.key", "sleep/tls.key")] == [0o600, 0o600]
    assert (folder / ".gitignore").read_text().startswith("*\n")


def test_lifetimes_are_short_unless_asked_for(tmp_path: Path) -> None:
    """A day for a certificate."""
    made(tmp_path, "init")
    for arguments, hours in (((), 24), (("--lifetime", "2h"), 2), (("--lifetime", "30d"), 720)):
        certificate = Named(
            made(tmp_path, "issue", "--dns", "a", *arguments)["credential"], (tmp_path,)
        ).read()[0]
        leaf = certificate.chain[0]
        seconds = (leaf.not_valid_after_utc - leaf.not_valid_before_utc).total_seconds()
        assert seconds == hours * 3600 + 300


def test_an_authority_is_not_replaced_by_accident(tmp_path: Path) -> None:
    """Its certificates would lose their trust."""
    made(tmp_path, "init")
    before = (tmp_path / "authority/ca.key").read_bytes()
    refused = certs(tmp_path, "init")
    assert (refused.exit_code, (tmp_path / "authority/ca.key").read_bytes()) == (1, before)
    made(tmp_path, "init", "--force")
    assert (tmp_path / "authority/ca.key").read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("issue",), 2, "a certificate needs a name"),
        (("issue", "--principal", "sleep"), 2, "is not a principal such as"),
        (("issue", "--ip", "localhost"), 2, "is not an IP address"),
        (("issue", "--dns", "a", "--name", "../a"), 2, "cannot be the name of a credential"),
        (("issue", "--dns", "a", "--name", "authority"), 2, "cannot be the name of a credential"),
        (("issue", "--dns", "a", "--lifetime", "soon"), 2, "is not a duration"),
        (("issue", "--dns", "a"), 1, "`gateway certs init` makes an authority"),
        (("show", "nothing"), 1, "neither a file nor a credential: nothing"),
    ],
)
def test_what_cannot_be_done_is_said(
    tmp_path: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    """Usage is 2, what is not there is 1."""
    result = certs(tmp_path, *arguments)
    assert result.exit_code == code
    assert message in result.output


def test_show_says_what_is_in_a_file(tmp_path: Path) -> None:
    """By path or by credential, for people and for programs."""
    made(tmp_path, "init")
    made(tmp_path, "issue", "--principal", SLEEP)
    for what in ("sleep", str(tmp_path / "sleep"), str(tmp_path / "sleep/tls.crt")):
        (fact,) = made(tmp_path, "show", what)["certificates"]
        assert fact["principal"] == SLEEP
        assert fact["valid"] is True
    page = certs(tmp_path, "show", "sleep")
    assert SLEEP in page.stdout
    assert "PRIVATE" not in page.stdout
    (tmp_path / "bad.pem").write_text("?")
    assert certs(tmp_path, "show", str(tmp_path / "bad.pem")).exit_code == 1


def test_the_folder_is_the_environment_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`GATEWAY_CERTS`, as for the gateway."""
    monkeypatch.setenv("GATEWAY_CERTS", str(tmp_path / "here"))
    assert CliRunner().invoke(main, ["certs", "init"]).exit_code == 0
    assert (tmp_path / "here/authority/ca.crt").exists()
