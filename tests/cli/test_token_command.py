"""`gateway token`."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives import serialization
from support.routing import request
from support.tokens import policy, private_key

from gateway.cli import main
from gateway.security.jwt import compile_jwt
from gateway.security.state import SecurityState


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["token", *map(str, arguments)])


def principal(token: str, keys: str, **fields: Any) -> str:
    """Who is let in by a rule with these keys; or why not."""
    rule = {"issuer": "https://dev.test", "jwks": keys, **fields}
    check = compile_jwt([policy(rule)], SecurityState())
    assert check is not None
    asked = request("/", {"authorization": f"Bearer {token}"})
    reply = check(asked, Random(1))
    return asked.request_principal if reply is None else reply.body.decode()


def test_a_token_and_its_keys_fit(tmp_path: Path) -> None:
    """A rule with the printed key set lets the printed token in; the key is made once, for its owner only."""
    key = tmp_path / "made" / "token.key"
    first = run("--key", key, "--jwks", "--audience", "api")
    token, keys = first.stdout.splitlines()

    assert first.exit_code == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert "made a development key" in first.stderr
    assert principal(token, keys, audiences=["api"]) == "https://dev.test/dev"
    again = run("--key", key, "--subject", "alice")
    assert (again.stderr, len(again.stdout.splitlines())) == ("", 1)
    assert principal(again.stdout.strip(), keys) == "https://dev.test/alice"


def test_claims(tmp_path: Path) -> None:
    """JSON where it reads as JSON, else text; a further claim replaces what is there."""
    arguments = ["--claim", 'groups=["a"]', "--claim", "n=5", "--claim", "t=a=b", "--claim", "sub=eve"]
    told = json.loads(
        run("--key", tmp_path / "k", "--json", "--audience", "a", "--audience", "b", *arguments).stdout
    )

    assert told["claims"] | {"iat": 0, "exp": 0} == {
        "iss": "https://dev.test", "sub": "eve", "aud": ["a", "b"], "groups": ["a"], "n": 5, "t": "a=b",
        "iat": 0, "exp": 0,
    }  # fmt: skip
    assert principal(told["token"], json.dumps(told["jwks"])) == "https://dev.test/eve"
    assert "d" not in told["jwks"]["keys"][0]


@pytest.mark.parametrize(("expires", "expected"), [("1h", 3600), ("90s", 90), ("-1h", -3600), ("0", None)])
def test_expiry(tmp_path: Path, expires: str, expected: int | None) -> None:
    """From now on; also in the past, to see it refused."""
    before = int(time.time())
    claims = json.loads(run("--key", tmp_path / "k", "--json", "--expires", expires).stdout)["claims"]

    assert claims["iat"] - before in range(60)
    assert claims.get("exp") == (None if expected is None else claims["iat"] + expected)


@pytest.mark.parametrize("kind", ["RSA", "P-256", "P-384", "P-521", "Ed25519"])
def test_a_key_of_one_s_own(tmp_path: Path, kind: str) -> None:
    """Of any kind that signs tokens; that others can read it is said."""
    path = tmp_path / "own.pem"
    path.write_bytes(
        private_key(kind).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o644)
    done = run("--key", path, "--jwks")

    assert "chmod 600" in done.stderr
    assert principal(*done.stdout.splitlines()) == "https://dev.test/dev"


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """Exit code 3 and a sentence."""
    path = tmp_path / "key"
    path.write_text("hello")
    for key in (path, tmp_path, path / "below"):
        done = run("--key", key)
        assert done.exit_code in {2, 3}
        assert done.stdout == ""
    encrypted = private_key("P-256").private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    )
    path.write_bytes(encrypted)
    assert "it is encrypted" in run("--key", path).stderr


@pytest.mark.parametrize("arguments", [["--claim", "a"], ["--claim", "=b"], ["--expires", "5"]])
def test_usage(tmp_path: Path, arguments: list[str]) -> None:
    """What cannot be read makes no token and no key."""
    assert run("--key", tmp_path / "k", *arguments).exit_code == 2
    assert not (tmp_path / "k").exists()
