"""The clients' side: uvicorn's protocol class with limits and deadlines, listeners, workers, shutdown."""

from __future__ import annotations

from gateway.server.protocol import EdgeProtocol

__all__ = ["EdgeProtocol"]
