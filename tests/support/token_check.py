"""The check of RequestAuthentication by itself, on requests made by hand.

Lifetime: request. No I/O.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from support.clock import FakeClock
from support.routing import request
from support.tokens import NOW, policy

from gateway.security.jwt import compile_jwt
from gateway.security.state import SecurityState

if TYPE_CHECKING:
    from gateway.http.reply import Reply
    from gateway.http.request import Request


class TokenCheck:
    """The check of some rules at a fixed time."""

    def __init__(self, *rules: dict[str, Any]) -> None:
        self.clock = FakeClock(NOW)
        self.state = SecurityState()
        check = compile_jwt([policy(*rules)], self.state, clock=self.clock)
        assert check is not None
        self._check = check

    def ask(self, asked: Request) -> Reply | None:
        """The refusal; None when the request may go on."""
        return self._check(asked, Random(1))

    def says(self, text: str) -> str:
        """What becomes of a request with this bearer token: its principal, or the refusal."""
        return self.answer(bearer(text))

    def answer(self, asked: Request) -> str:
        """The same for any request."""
        reply = self.ask(asked)
        return asked.request_principal if reply is None else f"{reply.status} {reply.body.decode()}"


def bearer(text: str, path: str = "/", **more: str) -> Request:
    """A request with a bearer token."""
    return request(path, {"authorization": f"Bearer {text}", **more})
