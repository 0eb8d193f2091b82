"""The tour of the first page, typed as it stands there."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from socket import create_server

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MEASURED = runpy.run_path(str(ROOT / "scripts" / "measured.py"))
LOOSE = ("for i in", "gateway top")
"""Commands whose output differs each time in more than times and ids."""
CHANGES = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID"),
    (r"\d{4}-\d\d-\d\dT[0-9:.+]+", "TIME"),
    (r" +[0-9.]+ (us|ms|s)\b", " LONG"),
    (r"\|[|.c=-]+\|", "|BAR|"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"reset reason: .*", "reset reason"),
)


def steps() -> list[tuple[str, str]]:
    """Each command of the tour with what the page shows behind it."""
    tour = README.partition("## A tour of sixty seconds")[2].partition("\n## ")[0]
    found: list[tuple[str, str]] = []
    for block in re.findall(r"^```console\n(.*?)^```$", tour, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            found.append((command, shown))
    return [step for step in found if step[0] != "scripts/demo"]


def steady(text: str) -> list[str]:
    """The lines without what changes from time to time."""
    for pattern, word in CHANGES:
        text = re.sub(pattern, word, text)
    return [line.rstrip() for line in text.strip().splitlines()]


def moved(text: str, ports: dict[str, int]) -> str:
    """`text` with other ports."""
    return re.sub(r"(?<=127\.0\.0\.1:)\d+|(?<=      http: )\d+", lambda found: str(ports[found[0]]), text)


@pytest.fixture
def ports() -> dict[str, int]:
    """Free ones for all that the sample uses; nobody listens on them."""
    used = ["8080", "15000", *(str(9080 + number) for number in range(10))]
    with ExitStack() as stack:
        opened = [stack.enter_context(create_server(("127.0.0.1", 0))) for _ in used]
        return {old: new.getsockname()[1] for old, new in zip(used, opened, strict=True)}


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_the_tour_shows_what_happens(tmp_path: Path, ports: dict[str, int]) -> None:
    """Every command of it prints what stands behind it, but for ids, times and ports."""
    (tmp_path / "routes.yaml").write_text(moved((ROOT / "routes.yaml").read_text(encoding="utf-8"), ports))
    environment = os.environ | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "GATEWAY_ADMIN": f"127.0.0.1:{ports['15000']}",
        "TMPDIR": str(tmp_path),
    }
    environment.pop("GATEWAY_CONFIG", None)
    demo = [sys.executable, "-m", "gateway", "demo", "--port", str(ports["8080"]), "--no-traffic", "--json"]
    with subprocess.Popen(demo, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any('"ready"' in line for line in process.stdout)
            mark = "=== next ==="
            script = "\n".join(f"{moved(command, ports)}\necho '{mark}'" for command, _ in steps())
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=50,
                check=False,
            )
        finally:
            process.terminate()
            process.communicate(timeout=40)
    assert done.stderr == ""
    answers = done.stdout.split(mark)
    assert len(answers) == len(steps()) + 1
    for (command, shown), answer in zip(steps(), answers, strict=False):
        if command.startswith("for i in"):
            assert set(re.findall("v[12]", answer)) <= {"v1", "v2"}, command
            assert len(re.findall(r"^ +\d+ ", answer, re.MULTILINE)) in {1, 2}, command
        elif not command.startswith(LOOSE):
            assert steady(answer) == steady(shown), command


def test_the_tour_is_long_enough() -> None:
    """The pattern above sees its commands."""
    assert len(steps()) >= 12


def test_the_costs_are_those_of_the_benchmark() -> None:
    """`scripts/docs` writes them."""
    assert MEASURED["page"]() == README
