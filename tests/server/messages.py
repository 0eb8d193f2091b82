"""What tests of the protocol send: raw requests, and applications that answer with given messages."""

from __future__ import annotations

from typing import Any

GET = b"GET /ok HTTP/1.1\r\nHost: gw.test\r\n\r\n"
CLOSE = b"GET /ok HTTP/1.1\r\nHost: gw.test\r\nConnection: close\r\n\r\n"


def request(method: bytes = b"GET", headers: bytes = b"", body: bytes = b"", target: bytes = b"/ok") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return method + b" " + target + b" HTTP/1.1\r\nHost: gw.test\r\n" + headers + length + b"\r\n" + body


def answering(*messages: dict[str, Any]) -> Any:
    """An application that sends these messages, whatever is asked."""

    async def app(scope, receive, send) -> None:
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes = b"", *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}
