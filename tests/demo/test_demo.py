from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

REPOSITORY = Path(__file__).parents[2]


class Demo:
    """A running `gateway demo --json`, and handles of the processes it started."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.ready: dict[str, Any] = {}
        self.children: dict[int, int] = {}
        """pid -> pidfd, which stays right when the pid is given to another process."""

    def event(self, kind: str) -> dict[str, Any]:
        """The next event of this kind; fails when the demo ends without it."""
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == kind:
                return event
        pytest.fail(f"the demo ended without {kind!r}: {self.process.stderr.read()}")

    def message(self, part: str) -> None:
        """Waits for a message with `part` in it."""
        while part not in self.event("message")["text"]:
            pass

    def ended(self, pidfd: int) -> bool:
        """Waits for a process to end, twenty seconds at most."""
        return bool(select.select([pidfd], [], [], 20)[0])


@contextmanager
def running(routes: Path, port: int, admin: int, *options: str) -> Iterator[Demo]:
    """A demo that has said it is ready; it and whatever it started are gone afterwards."""
    process = start(
        *("-c", str(routes), "--port", str(port), "--json", *options),
        admin=f"127.0.0.1:{admin}",
        temporary=routes.parent,  # what a killed demo cannot remove is removed with the test's directory
    )
    with ExitStack() as stack:
        stack.enter_context(process)
        stack.callback(process.kill)
        demo = Demo(process)
        demo.ready = demo.event("ready")
        pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        for pid in map(int, pids):
            demo.children[pid] = os.pidfd_open(pid)
            stack.callback(os.close, demo.children[pid])
        yield demo


def start(
    *arguments: str, admin: str = "off", cwd: Path = REPOSITORY, temporary: Path | None = None
) -> subprocess.Popen[str]:
    environment = os.environ | {"GATEWAY_ADMIN": admin, "PYTHONPATH": str(REPOSITORY)}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    environment.pop("GATEWAY_CONFIG", None)
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "demo", *arguments],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refused(*arguments: str, cwd: Path = REPOSITORY) -> tuple[int, str]:
    """Exit code and all messages of a demo that cannot start."""
    process = start(*arguments, cwd=cwd)
    out, error = process.communicate(timeout=50)
    assert "Traceback" not in error
    return process.returncode, out + error


@pytest.fixture
def ports() -> list[int]:
    """Two free ports: for the gateway and for its admin listener."""
    with socket.socket() as one, socket.socket() as two:
        for opened in (one, two):
            opened.bind(("127.0.0.1", 0))
        return [one.getsockname()[1], two.getsockname()[1]]


def replace(routes: Path, old: str, new: str) -> None:
    """Edits the file as editors do: a new file is renamed over it."""
    fresh = routes.with_name("new")
    fresh.write_text(routes.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    fresh.replace(routes)


def versions(url: str, count: int) -> set[str]:
    """Who answers `count` requests of nobody's browser to reviews."""
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        return {client.get("/reviews/0", headers={"host": "reviews"}).json()["version"] for _ in range(count)}


def test_traffic_is_split_and_follows_the_file(routes: Path, ports: list[int]):
    """Chrome gets v2, others mostly v1; an edit holds for the next request; a mistake changes nothing;
    Ctrl-C ends all processes."""
    with running(routes, *ports) as demo:
        url = demo.ready["url"]
        assert url == f"http://127.0.0.1:{ports[0]}"
        split = demo.event("split")
        while not split["chrome"] or "v1" not in split["others"]:
            split = demo.event("split")
        assert set(split["chrome"]) == {"v2"}
        assert set(split["others"]) <= {"v1", "v2"}
        assert split["failed"] == 0

        log = Path(demo.ready["access_log"])
        assert json.loads(log.read_text(encoding="utf-8").splitlines()[0])["response_code"] == 200

        replace(routes, "weight: 90", "weight: 0")
        demo.message("generation 2 serves")
        assert versions(url, 20) == {"v2"}
        replace(routes, "subset: v1", "subst: v1")
        demo.message("subst")
        assert versions(url, 20) == {"v2"}

        demo.process.send_signal(signal.SIGINT)
        assert demo.event("stopping")
        assert demo.process.wait(timeout=40) == 0
        assert len(demo.children) == 2
        assert all(demo.ended(pidfd) for pidfd in demo.children.values())
        assert not log.exists()


def test_children_end_with_a_killed_demo(routes: Path, ports: list[int]):
    """Not even SIGKILL leaves a process behind."""
    with running(routes, *ports, "--no-traffic") as demo:
        demo.process.kill()
        demo.process.wait(timeout=20)
        assert len(demo.children) == 2
        assert all(demo.ended(pidfd) for pidfd in demo.children.values())


def test_the_demo_ends_with_a_part_of_it(routes: Path, ports: list[int]):
    """When a child dies the demo says which, ends the other, and exits with 1."""
    with running(routes, *ports, "--no-traffic") as demo:
        backends = min(demo.children)
        signal.pidfd_send_signal(demo.children[backends], signal.SIGKILL)
        assert "The backends ended by itself" in demo.event("message")["text"]
        assert demo.process.wait(timeout=40) == 1
        assert all(demo.ended(pidfd) for pidfd in demo.children.values())


def test_a_taken_port_is_a_sentence_and_exit_code_3(routes: Path):
    """Nothing is started, and the sentence says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, error = refused("-c", str(routes), "--port", str(port))
    assert code == 3
    assert f"Cannot listen on 127.0.0.1:{port}: the port is taken" in error
    assert len(error.splitlines()) == 1


def test_a_taken_backend_port_is_a_sentence_and_exit_code_3(routes: Path, ports: list[int]):
    """The sentence names the backend whose port it is."""
    number = int(re.search(r"http: (\d+)", routes.read_text(encoding="utf-8"))[1])
    with socket.create_server(("127.0.0.1", number)):
        code, error = refused("-c", str(routes), "--port", str(ports[0]))
    assert code == 3
    assert "productpage v1 cannot listen" in error


def test_a_bad_file_is_shown_with_its_line(routes: Path, ports: list[int]):
    """The message is that of `gateway check`, the exit code 3."""
    replace(routes, "weight: 90", "wieght: 90")
    code, error = refused("-c", str(routes), "--port", str(ports[0]))
    assert code == 3
    assert re.search(r"routes\.yaml:\d+:\d+  error GW\d+", error)
    assert "weight" in error


def test_where_there_is_no_file_the_sample_is_written(tmp_path: Path):
    """An installed package brings a routes.yaml to try things on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, error = refused("--port", str(taken.getsockname()[1]), cwd=tmp_path)
    assert code == 3
    assert "wrote one to try things on" in error
    sample = (REPOSITORY / "routes.yaml").read_bytes()
    assert (tmp_path / "routes.yaml").read_bytes() == sample


def test_the_guide_is_for_the_file_and_address_in_use(routes: Path, ports: list[int]):
    """What is printed to paste names this port and this path."""
    process = start("-c", str(routes), "--port", str(ports[0]), "--no-traffic")
    with process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                break
        process.terminate()
        assert process.wait(timeout=40) == 0
    text = "".join(lines)
    assert f"http://127.0.0.1:{ports[0]}/reviews/0" in text
    assert f"check {routes}" in text
    assert (
        f"httpbin v2 :{re.findall(r'http: (?P<port>[0-9]+)', routes.read_text(encoding='utf-8'))[-2]}" in text
    )
