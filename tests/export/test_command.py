"""`gateway export envoy`."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from gateway.cli.export import export

EVERYTHING = str(Path(__file__).parent / "everything.yaml")


def test_it_prints_the_bootstrap_and_tells_notes_apart() -> None:
    """Standard output is only JSON, so that it can be piped into a file."""
    done = CliRunner().invoke(export, ["envoy", "-c", EVERYTHING])

    assert done.exit_code == 0
    assert "static_resources" in json.loads(done.stdout)
    assert done.stderr.startswith("note: VirtualService default/reviews: status 600")


def test_it_writes_a_file(tmp_path: Path) -> None:
    """Nothing is printed then."""
    target = tmp_path / "envoy.json"
    done = CliRunner().invoke(export, ["envoy", "-c", EVERYTHING, "--output", str(target)])

    assert (done.exit_code, done.stdout) == (0, "")
    assert "static_resources" in json.loads(target.read_text())


def test_json_holds_the_notes_too() -> None:
    """One object for scripts."""
    done = CliRunner().invoke(export, ["envoy", "-c", EVERYTHING, "--json"])

    assert set(json.loads(done.stdout)) == {"bootstrap", "notes"}


def test_a_configuration_with_errors_is_not_exported(tmp_path: Path) -> None:
    """The findings are those of `gateway check`, and nothing is printed that Envoy could start with."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hsts: [a]}\n"
    )
    done = CliRunner().invoke(export, ["envoy", "-c", str(bad)])

    assert (done.exit_code, done.stdout) == (1, "")
    assert "bad.yaml:4:" in done.stderr


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """Exit 3, no traceback."""
    done = CliRunner().invoke(
        export, ["envoy", "-c", EVERYTHING, "-o", str(tmp_path / "no" / "such" / "place")]
    )

    assert done.exit_code == 3
    assert "No such file or directory" in done.stderr
