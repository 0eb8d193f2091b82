"""`gateway check`: what is printed, and the exit codes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.cli import main

HEAD = "apiVersion: networking.istio.io/v1\nkind: %s\nmetadata: {name: a}\nspec:\n"
ENTRY = HEAD % "ServiceEntry" + "  hosts: [a]\n  resolution: DNS\n  ports: [{number: 80, name: http}]\n---\n"
ROUTES = HEAD % "VirtualService" + "  hosts: [shop]\n  http:\n  - route: [{destination: {host: a}}]\n"
FINE = ENTRY + ROUTES
WARNING = FINE + "    mirrorPercentage: {value: 1}\n"
WRONG = FINE.replace("route:", "rout:")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GATEWAY_CONFIG", raising=False)
    return tmp_path


def check(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["check", *arguments])


def test_a_fine_file_says_what_is_in_it(here: Path) -> None:
    """One line, exit 0."""
    (here / "routes.yaml").write_text(FINE)
    result = check()

    assert result.output == "routes.yaml: fine (1 virtual service, 1 route, 1 service entry)\n"
    assert result.exit_code == 0


def test_an_error_is_shown_in_its_line(here: Path) -> None:
    """File, line, column, severity, code, message; the line, a caret and a suggestion; exit 1."""
    (here / "x.yaml").write_text(WRONG)
    result = check("x.yaml")

    assert result.output == (
        'x.yaml:15:5  error GW030  unknown field "rout"\n'
        " 15 |   - rout: [{destination: {host: a}}]\n"
        '    |     ^^^^ did you mean "route"?\n'
        "\n"
        "x.yaml: 1 error\n"
    )
    assert result.exit_code == 1


def test_a_missing_certificate_is_an_error(here: Path) -> None:
    """As at a start, which would end with it."""
    server = "{port: {number: 8443, name: s, protocol: HTTPS}, hosts: ['*'], tls: {mode: SIMPLE, credentialName: shop}}"
    (here / "routes.yaml").write_text(f"{FINE}---\n{HEAD % 'Gateway'}  servers: [{server}]\n")
    result = check()

    assert 'error GW281  credential "shop" is not there' in result.output
    assert "issue --name shop" in result.output
    assert result.exit_code == 1


def test_warnings_are_fine_unless_strict(here: Path) -> None:
    """Exit 0, with --strict 1; the same text."""
    (here / "x.yaml").write_text(WARNING)

    assert check("x.yaml").exit_code == 0
    assert check("--strict", "x.yaml").exit_code == 1
    assert check("x.yaml").output == check("--strict", "x.yaml").output
    assert check("x.yaml").output.splitlines()[-1].startswith("x.yaml: 1 warning (1 virtual service,")


def test_a_comment_silences_a_warning(here: Path) -> None:
    """On its line, by its code."""
    (here / "x.yaml").write_text(WARNING.replace("{value: 1}", "{value: 1}  # gateway: ignore GW051"))

    assert check("--strict", "x.yaml").exit_code == 0


def test_json_is_a_list_of_findings(here: Path) -> None:
    """And nothing else, also when all is fine."""
    (here / "x.yaml").write_text(WRONG)
    (here / "y.yaml").write_text(FINE)

    assert json.loads(check("--json", "x.yaml").output) == [
        {
            "path": "x.yaml",
            "line": 15,
            "column": 5,
            "severity": "error",
            "code": "GW030",
            "message": 'unknown field "rout"',
            "suggestion": 'did you mean "route"?',
            "fatal": True,
            "length": 4,
        }
    ]
    assert json.loads(check("--json", "y.yaml").output) == []
    assert check("--json", "x.yaml").exit_code == 1


def test_paths_come_from_the_environment(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$GATEWAY_CONFIG joins several; arguments go before it."""
    (here / "a.yaml").write_text(ENTRY)
    (here / "b.yaml").write_text(ROUTES)
    monkeypatch.setenv("GATEWAY_CONFIG", f"a.yaml{os.pathsep}b.yaml")

    assert check().output.startswith("a.yaml, b.yaml: fine")
    assert check("a.yaml").output == "a.yaml: fine (1 service entry)\n"


def test_a_missing_file_is_an_error(here: Path) -> None:
    """There is nothing to check: exit 1, not a traceback."""
    result = check()

    assert result.exit_code == 1
    assert result.output.splitlines()[0].startswith("routes.yaml:1:1  error GW001")


def test_a_wrong_option_is_a_usage_error(here: Path) -> None:
    """Exit 2."""
    assert check("--nope").exit_code == 2


def colors(path: Path, **environment: str) -> bool:
    """Whether `gateway check` in a terminal paints."""
    ours, theirs = pty.openpty()
    clean = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    command = [sys.executable, "-m", "gateway", "check", str(path)]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**clean, **environment})
    os.close(theirs)
    output = b""
    try:
        while chunk := os.read(ours, 4096):
            output += chunk
    except OSError:  # Linux: the other side of the terminal is closed
        pass
    finally:
        os.close(ours)
        process.wait(30)
    return b"\x1b[" in output


def test_only_a_terminal_is_painted(here: Path) -> None:
    """No colour when piped, nor with NO_COLOR."""
    path = here / "x.yaml"
    path.write_text(WRONG)

    assert colors(path)
    assert not colors(path, NO_COLOR="1")
    assert "\x1b[" not in check("x.yaml").output
