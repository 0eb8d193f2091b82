"""examples/embedding, run as it stands."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from support.fronted import served
from support.stage import Backend, answering

from gateway.config import load, render

FOLDER = Path(__file__).parents[2] / "examples/embedding"


def shop(folder: Path, port: int) -> Any:
    """The example's application, with the service at another port."""
    for name in ("shop.py", "routes.yaml"):
        text = (FOLDER / name).read_text()
        (folder / name).write_text(text.replace("{http: 9080}", f"{{http: {port}}}"))
    spec = importlib.util.spec_from_file_location("shop", folder / "shop.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.app


def test_its_routes_have_no_findings() -> None:
    loaded = load([FOLDER / "routes.yaml"])
    assert render(loaded.findings, loaded.sources) == ""


def test_it_does_what_its_comments_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes to the application and to a service, what passes, what is refused, and a call."""
    monkeypatch.setenv("GATEWAY_ADMIN", "off")

    async def main() -> None:
        async with Backend(answering).running() as backend, served(shop(tmp_path, backend.port)) as client:
            home = (await client.get("/")).json()
            assert (home["route"], home["principal"]) == ("home", "")
            rating = (await client.get("/shop/rating")).json()
            assert (rating["status"], rating["flags"], rating["attempts"]) == (200, [], 1)
            assert (await client.get("/about")).json() == {"about": "shop"}
            assert (await client.get("/admin")).status_code == 403
            assert (await client.get("/reviews/1")).text == "hello"
            assert home["id"] != ""
            call = backend.calls[0].seen
            assert call.startswith(b"GET /reviews/1 HTTP/1.1\r\nhost: reviews:9080\r\n")

    asyncio.run(main())
