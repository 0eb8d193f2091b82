"""docs/jwt.md: what it shows is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from click.testing import CliRunner
from support.documents import config_of

from gateway.cli import main
from gateway.security import jwt_failure
from gateway.security.jwt_failure import Failure

PAGE = (Path(__file__).parents[2] / "docs/jwt.md").read_text(encoding="utf-8")


def test_the_policies_are_read() -> None:
    """They can be pasted into a file."""
    (text,) = re.findall(r"^```ya?ml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    config = config_of(text)

    assert [len(config.request_authentications), len(config.authorization_policies)] == [1, 1]


def test_the_command_works(tmp_path: Path) -> None:
    """As it is written, but for the key's place."""
    (line,) = re.findall(r"^(gateway token .*)$", PAGE, re.MULTILINE)
    done = CliRunner().invoke(main, [*shlex.split(line)[1:], "--key", str(tmp_path / "key")])

    assert (done.exit_code, len(done.stdout.splitlines())) == (0, 2)


def test_every_refusal_is_listed() -> None:
    """Each text that is not about one claim."""
    failures = [value for value in vars(jwt_failure).values() if isinstance(value, Failure)]
    general = {"Jwt header", "Jwt payload", "Jwt signature"}
    wanted = {item.text for item in failures if not item.text.startswith(tuple(general))}

    assert {text for text in wanted if f"`{text}`" not in PAGE} == set()
