"""deploy/: what its files say exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from gateway.cli import main
from gateway.config import load, render
from gateway.config.settings import Timeouts

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCUMENTS = {
    document["kind"]: document
    for document in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8"))
}
DRAIN = Timeouts().drain


def container() -> dict[str, object]:
    """The one of the Deployment."""
    (found,) = DOCUMENTS["Deployment"]["spec"]["template"]["spec"]["containers"]
    return found


def dockerfile(instruction: str) -> str:
    """The last one of its kind."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    return re.findall(rf"^{instruction} (.*)$", text, re.MULTILINE)[-1]


def command_lines() -> dict[str, list[str]]:
    """Arguments of `gateway` in each file."""
    unit = (DEPLOY / "asgi-gateway.service").read_text(encoding="utf-8")
    (started,) = re.findall(r"^ExecStart=\S+/gateway (.*)$", unit, re.MULTILINE)
    return {
        "service": shlex.split(started),
        "Dockerfile": yaml.safe_load(dockerfile("CMD")),
        "kubernetes": container()["args"],
    }


@pytest.mark.parametrize("file", command_lines())
def test_the_command_line_is_one_the_gateway_takes(file: str) -> None:
    """Parsed as `gateway` would, without starting anything."""
    name, *rest = command_lines()[file]
    command = main.get_command(click.Context(main), name)
    assert command is not None
    command.make_context(name, rest)


def test_the_image_starts_the_gateway() -> None:
    """Any other command can be given instead of `run`."""
    assert yaml.safe_load(dockerfile("ENTRYPOINT")) == ["gateway"]
    assert CliRunner().invoke(main, ["--version"]).exit_code == 0


def test_what_the_image_copies_is_there() -> None:
    """And not kept out by .dockerignore."""
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line[:1] == "!"
    }
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    names = {name for line in copied for name in line.split()}
    assert names == kept
    assert [name for name in names if not (ROOT / name).exists()] == []


def test_extras_of_the_image_exist() -> None:
    """pip only warns about one that does not."""
    (extras,) = re.findall(r"^ARG EXTRAS=(.*)$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert [name for name in extras.split(",") if f"\n{name} = [" not in project] == []


def test_the_configmap_has_no_findings(tmp_path: Path) -> None:
    """Its files are what the container is started with."""
    for name, text in DOCUMENTS["ConfigMap"]["data"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    loaded = load([tmp_path])
    assert render(loaded.findings, loaded.sources) == ""
    assert loaded.config is not None
    assert loaded.config.settings.spec.listen.endswith(f":{container()['ports'][0]['containerPort']}")


def test_supervisors_wait_longer_than_a_drain() -> None:
    """Otherwise they kill what is still being answered."""
    pod = DOCUMENTS["Deployment"]["spec"]["template"]["spec"]
    pause = int(container()["lifecycle"]["preStop"]["exec"]["command"][1])
    unit = (DEPLOY / "asgi-gateway.service").read_text(encoding="utf-8")
    (stop,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert pod["terminationGracePeriodSeconds"] > pause + DRAIN
    assert int(stop) > DRAIN


def test_the_service_finds_the_pods() -> None:
    """Selectors and labels are the same everywhere."""
    labels = DOCUMENTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert DOCUMENTS["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert DOCUMENTS["Service"]["spec"]["selector"] == labels
    assert DOCUMENTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
