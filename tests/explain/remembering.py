"""A whole gateway that remembers its requests, with an admin listener that can be asked about them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from support.stage import Stage, stage
from support.waiting import until

from gateway.admin import AdminListener
from gateway.cli import main
from gateway.telemetry.recorder import Recorder


class Remembering:
    """A running gateway, its recorder, and the address of its admin listener."""

    def __init__(self, running: Stage, recorder: Recorder, admin: str) -> None:
        self.running = running
        self.recorder = recorder
        self.admin = admin

    async def run(self, *arguments: str) -> Result:
        """A command of `gateway` that asks the admin listener."""
        return await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--admin", self.admin])

    async def told(self, *arguments: str) -> Any:
        """What it prints as JSON."""
        result = await self.run(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    async def ended(self, count: int = 1) -> None:
        """Waits until so many requests are over."""
        await until(lambda: len(self.recorder.recent) >= count)


@asynccontextmanager
async def remembering(folder: Path, config: str) -> AsyncIterator[Remembering]:
    """Serves `config`; see `support.stage`."""
    async with stage(folder, config) as running:
        gateway, recorder = running.gateway, Recorder()
        gateway.telemetry.observe(recorder.record)
        listener = AdminListener(address="127.0.0.1:0", recorder=recorder)
        await listener.start(gateway.control)
        try:
            yield Remembering(running, recorder, listener.address or "")
        finally:
            await listener.stop()
