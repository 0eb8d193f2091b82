"""The lifespan of an application behind a gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.fronted import written

import gateway


async def lived(app: Any, path: Path, until: str = "lifespan.shutdown") -> list[dict[str, Any]]:
    """What a gateway in front of `app` says to a server that starts and ends it."""
    asked = iter(("lifespan.startup", until))
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": next(asked)}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await gateway.Gateway(app, config=path)({"type": "lifespan", "state": {}}, receive, send)
    return said


def telling(events: list[str], *, failing: str = "") -> Callable[..., Any]:
    """An application that notes what it is told, and can fail at one of the steps."""

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        for _ in range(2):
            kind = (await receive())["type"]
            events.append(kind)
            if kind == failing:
                await send({"type": f"{kind}.failed", "message": "no database"})
                return
            await send({"type": f"{kind}.complete"})

    return app


def test_both_start_and_both_end(tmp_path: Path) -> None:
    events: list[str] = []
    said = asyncio.run(lived(telling(events), written(tmp_path, "")))
    assert events == ["lifespan.startup", "lifespan.shutdown"]
    assert [message["type"] for message in said] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


def test_an_application_that_cannot_start_stops_the_start(tmp_path: Path) -> None:
    """With its own words."""
    said = asyncio.run(lived(telling([], failing="lifespan.startup"), written(tmp_path, "")))
    assert said == [{"type": "lifespan.startup.failed", "message": "no database"}]


def test_an_application_that_raises_at_its_start_stops_the_start(tmp_path: Path) -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        raise LookupError("no database")

    said = asyncio.run(lived(app, written(tmp_path, "")))
    assert said == [{"type": "lifespan.startup.failed", "message": "LookupError: no database"}]


def test_an_application_without_lifespan_is_left_alone(tmp_path: Path) -> None:
    """Raising at once, or returning, is how they say that they know of none."""

    async def raising(scope: dict[str, Any], receive: Any, send: Any) -> None:
        raise AssertionError(scope["type"])

    async def returning(scope: dict[str, Any], receive: Any, send: Any) -> None:
        pass

    for app in (raising, returning):
        said = asyncio.run(lived(app, written(tmp_path, "")))
        assert [message["type"] for message in said] == [
            "lifespan.startup.complete",
            "lifespan.shutdown.complete",
        ]


def test_a_bad_configuration_ends_the_application_again(tmp_path: Path, capsys: Any) -> None:
    """What was started is shut down before the start fails."""
    events: list[str] = []
    path = tmp_path / "routes.yaml"
    path.write_text("kind: VirtualService\n")
    said = asyncio.run(lived(telling(events), path))
    assert events == ["lifespan.startup", "lifespan.shutdown"]
    assert said == [{"type": "lifespan.startup.failed", "message": "the configuration has errors"}]
    assert "routes.yaml:1" in capsys.readouterr().err


def test_a_complaint_at_the_end_is_passed_on(tmp_path: Path) -> None:
    said = asyncio.run(lived(telling([], failing="lifespan.shutdown"), written(tmp_path, "")))
    assert said[-1] == {"type": "lifespan.shutdown.failed", "message": "no database"}
