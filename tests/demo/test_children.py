from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.demo.children import Child

REPOSITORY = Path(__file__).parents[2]

SPEAK = """
import signal, sys
print("careful", file=sys.stderr, flush=True)
print("ready", flush=True)
signal.pause()
"""

DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""

PARENT = """
import asyncio
from gateway.demo.children import Child

async def main():
    speak = "import signal; print('ready', flush=True); signal.pause()"
    child = await Child.start("child", ["-c", speak], print)
    await child.first_line()
    print(child.process.pid, flush=True)
    await child.exited

asyncio.run(main())
"""


def test_a_child_hands_on_what_it_says_and_stops_when_told():
    """Its first line comes from stdout, its messages from stderr, its exit code from the signal."""

    async def main() -> tuple[str, list[str], int]:
        heard: list[str] = []
        child = await Child.start("child", ["-c", SPEAK], heard.append)
        first = await child.first_line()
        return first, heard, await child.stop()

    first, heard, code = asyncio.run(main())
    assert (first, heard, code) == ("ready", ["careful"], -signal.SIGTERM)


def test_stopping_a_child_that_ended_gives_its_exit_code():
    """A child that is gone is no error."""

    async def main() -> int:
        child = await Child.start("child", ["-c", "raise SystemExit(7)"], print)
        await child.exited
        return await child.stop()

    assert asyncio.run(main()) == 7


def test_a_child_that_does_not_listen_is_killed():
    """`kill` ends what SIGTERM does not."""

    async def main() -> int:
        child = await Child.start("child", ["-c", DEAF], print)
        assert await child.first_line() == "ready"
        child.process.terminate()
        child.kill()
        return await child.stop()

    assert asyncio.run(main()) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_children_end_with_a_killed_parent():
    """SIGKILL leaves no time for cleaning up, and yet nothing is left behind."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    try:
        pid = int(parent.stdout.readline())
        handle = os.pidfd_open(pid)
    finally:
        parent.kill()
        parent.wait(timeout=20)
        parent.stdout.close()
    try:
        ended, _, _ = select.select([handle], [], [], 20)
    finally:
        os.close(handle)
    assert ended, f"process {pid} outlived its parent"
