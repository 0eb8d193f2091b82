"""`gateway status` against a real admin listener."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gateway.admin import AdminListener
from gateway.cli import main
from gateway.control import Control

GOOD = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  ports: [{number: 9080, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: 9081}}]
"""
BAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hots: [a]}\n"


def status(file: Path, *arguments: str, then: str | None = None) -> Result:
    """What the command prints about a gateway with `file`, after `then` was written into it."""

    async def ask() -> Result:
        control = Control(file, watch=False)
        control.load_first()
        await control.start()
        listener = AdminListener(address="127.0.0.1:0")
        await listener.start(control)
        try:
            if then is not None:
                await asyncio.to_thread(file.write_text, then)
                await control.reload()
            given = ["status", "--admin", listener.address or "", *arguments]
            return await asyncio.to_thread(CliRunner().invoke, main, given)
        finally:
            await listener.stop()
            await control.stop()

    return asyncio.run(ask())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    path.write_text(GOOD)
    return path


def test_a_healthy_gateway_is_told_on_a_page(file: Path) -> None:
    """State, generation, and each endpoint of each cluster."""
    result = status(file)

    assert result.exit_code == 0
    assert result.output.startswith("ready, generation 1 since ")
    assert "127.0.0.1:9081" in result.output


def test_a_refused_reload_is_exit_one(file: Path) -> None:
    """With every finding, as `gateway check` names them."""
    result = status(file, then=BAD)

    assert result.exit_code == 1
    assert "generation 1" in result.output
    assert f"{file}:4:8  error GW" in result.output


def test_json_has_all_of_it(file: Path) -> None:
    """One object, for programs."""
    result = status(file, "--json")
    found = json.loads(result.output)

    assert (result.exit_code, found["state"], found["generation"]) == (0, "ready", 1)
    assert [endpoint["address"] for item in found["clusters"] for endpoint in item["endpoints"]] == [
        "127.0.0.1:9081"
    ]


def test_nobody_there_is_exit_three() -> None:
    """A sentence, no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    result = CliRunner().invoke(main, ["status", "--admin", address])

    assert result.exit_code == 3
    assert f"no gateway answers on {address}" in result.output


def test_something_else_there_is_exit_three(file: Path) -> None:
    """Whoever answers in another way is no admin listener."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(10)
        address = f"127.0.0.1:{other.getsockname()[1]}"

        async def talk() -> Result:
            asking = asyncio.create_task(
                asyncio.to_thread(CliRunner().invoke, main, ["status", "--admin", address])
            )
            connection, _ = await asyncio.to_thread(other.accept)
            with connection:
                await asyncio.to_thread(connection.sendall, b"220 mail.example ready\r\n")
            return await asking

        result = asyncio.run(talk())

    assert (result.exit_code, "no gateway answers" in result.output) == (3, True)


def test_an_address_that_is_none_is_exit_two() -> None:
    """Usage."""
    assert CliRunner().invoke(main, ["status", "--admin", "nowhere"]).exit_code == 2
