"""Exchanges for tests of what reads them."""

from __future__ import annotations

from typing import Any

from gateway.config import load
from gateway.exchange.exchange import Exchange
from gateway.http.place import Place
from gateway.http.request import Request
from gateway.routing.snapshot import Snapshot, compile_snapshot
from gateway.upstream import plan


def empty_snapshot() -> Snapshot:
    """A generation without a document."""
    config = load([], texts={"routes.yaml": ""}).config
    assert config is not None
    return compile_snapshot(config, plan(config), {}, generation=1)


def exchange(
    request: Request, request_id: str = "id-1", started_at: float = 100.0, **fields: Any
) -> Exchange:
    """An exchange with this request; `fields` are set on it."""
    made = Exchange(empty_snapshot(), started_at, Place(("127.0.0.1", 5000), ("127.0.0.1", 8080)))
    made.request, made.request_id = request, request_id
    for name, value in fields.items():
        setattr(made, name, value)
    return made
