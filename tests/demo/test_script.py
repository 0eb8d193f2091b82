"""`scripts/demo`: what it installs before it begins. The script is real, what it calls writes down that it was called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.process import ROOT

COLLECTOR = "http://127.0.0.1:4318"


def played(folder: Path, arguments: tuple[str, ...] = (), **environment: str) -> tuple[str, str]:
    """What is installed, and what is run."""
    scripts, programs = folder / "scripts", folder / ".venv" / "bin"
    scripts.mkdir()
    programs.mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "demo", scripts)
    for name, program in (("installed", scripts / "venv"), ("run", programs / "python")):
        program.write_text(f'#!/bin/sh\necho "$@" > "{folder}/{name}"\n')
        program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    subprocess.run([scripts / "demo", *arguments], check=True, env={**kept, **environment})
    return (folder / "installed").read_text().strip(), (folder / "run").read_text().strip()


@pytest.mark.parametrize(
    ("environment", "extras"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR}, "otel"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{COLLECTOR}/v1/traces"}, "otel"),
        ({"OTEL_TRACES_EXPORTER": "console"}, "otel"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "otel-grpc"),
    ],
)
def test_what_sends_traces_is_installed_when_they_are_wanted(
    tmp_path: Path, environment: dict[str, str], extras: str
) -> None:
    """Who only looks at the demo does not wait for OpenTelemetry."""
    installed, run = played(tmp_path, ("--port", "8090"), **environment)

    assert installed == extras
    assert run == "-m gateway demo --port 8090"
