"""Calls that a program makes through a gateway of its own.

Lifetime: process.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx

import gateway

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def client(path: Path, patience: float = 10.0, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client whose transport is a gateway on this configuration."""
    async with httpx.AsyncClient(transport=gateway.Transport(path, **settings), timeout=patience) as made:
        yield made


def told(response: httpx.Response) -> Any:
    """How the call went."""
    return response.extensions["gateway"]
