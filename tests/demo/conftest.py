"""What the tests of the demo share: ports nobody has, and the sample configuration moved to them."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that were free a moment ago, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    """A copy of routes.yaml whose backends have ports of their own."""
    text = (REPOSITORY / "routes.yaml").read_text(encoding="utf-8")
    old = re.findall(r"^      http: (\d+)$", text, re.MULTILINE)
    for before, after in zip(old, free_ports(len(old)), strict=True):
        text = text.replace(f"      http: {before}\n", f"      http: {after}\n")
    path = tmp_path / "routes.yaml"
    path.write_text(text, encoding="utf-8")
    return path
