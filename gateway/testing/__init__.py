"""Tests of routes: a pytest plugin with two fixtures, `gateway_routes` and `gateway_server`.

Lifetime: process. It is installed with the package; until a test asks for a fixture, this module is all of it
that is loaded. docs/testing.md has a full example.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.testing.decision import Routes
    from gateway.testing.server import RunningGateway

    LoadRoutes = Callable[..., Routes]
    """`routes(*paths, host="")`."""
    StartGateway = Callable[..., RunningGateway]
    """`server(*paths)`."""

_compiled = pytest.StashKey[dict[tuple[str, ...], "Routes"]]()


@pytest.fixture
def gateway_routes(request: pytest.FixtureRequest) -> LoadRoutes:
    """Gives `routes(*paths, host="")`: what becomes of requests, decided without a network.

    Relative paths are looked up beside the test file, then in each directory above it.
    """
    from gateway.testing.decision import Routes  # noqa: PLC0415 - only who asks pays

    known = request.config.stash.setdefault(_compiled, {})

    def routes(*paths: Path | str, host: str = "") -> Routes:
        places = tuple(str(_found(path, request)) for path in paths or ("routes.yaml",))
        if places not in known:
            known[places] = Routes.load(places)
        return known[places].at(host)

    return routes


@pytest.fixture
def gateway_server(request: pytest.FixtureRequest) -> Iterator[StartGateway]:
    """Gives `server(*paths)`: a gateway on loopback with these routes, before backends that are played.

    Paths are looked up as `gateway_routes` does. All of it ends with the test.
    """
    from gateway.testing.server import RunningGateway  # noqa: PLC0415 - only who asks pays

    running: list[RunningGateway] = []

    def server(*paths: Path | str) -> RunningGateway:
        places = [_found(path, request) for path in paths or ("routes.yaml",)]
        gateway = RunningGateway(places)
        running.append(gateway)
        return gateway

    try:
        yield server
    finally:
        for gateway in running:
            gateway.close()


def _found(path: Path | str, request: pytest.FixtureRequest) -> Path:
    wanted = Path(path)
    if wanted.is_absolute():
        return wanted
    top = request.config.rootpath
    for folder in (request.path.parent, *request.path.parent.parents):
        if (folder / wanted).exists():
            return folder / wanted
        if folder == top:
            break
    raise FileNotFoundError(f"{path} is neither beside {request.path.name} nor in a directory above it")
