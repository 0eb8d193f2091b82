"""The floor: what an ASGI server costs when its application does nothing."""

from __future__ import annotations

BODY = b"x" * 150


async def app(scope, _receive, send):
    """Answers 150 bytes."""
    if scope["type"] == "http":
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/plain"), (b"content-length", b"150")],
            }
        )
        await send({"type": "http.response.body", "body": BODY})
