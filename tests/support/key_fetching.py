"""A security state that fetches keys from issuers of the test's own.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any, Self

from support.clock import FakeClock, FakeSleep
from support.documents import config_of
from support.jwks import IssuerServer
from support.routing import request
from support.tokens import NOW

from gateway.security.jwks import FetchedKeys
from gateway.security.jwt import compile_jwt
from gateway.security.state import SecurityState

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.http.reply import Reply


def config(*rules: dict[str, Any]) -> Config:
    documents = [
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "RequestAuthentication",
            "metadata": {"name": "p"},
            "spec": {"jwtRules": list(rules)},
        }
    ]
    return config_of("\n---\n".join(map(json.dumps, documents)))


class Running:
    """The state of a process that follows one rule."""

    def __init__(self, config: Config, **more: Any) -> None:
        self.config = config
        self.clock, self.wall, self.sleep = FakeClock(), FakeClock(NOW), FakeSleep()
        self.state = SecurityState(clock=self.clock, wall=self.wall, sleep=self.sleep, **more)

    async def __aenter__(self) -> Self:
        await self.state.start(self.config)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.state.stop()

    @property
    def keys(self) -> FetchedKeys:
        (rule,) = self.config.request_authentications[0].spec.jwt_rules
        found = self.state.provider(rule).keys
        assert isinstance(found, FetchedKeys)
        return found

    def reply(self, text: str) -> Reply | None:
        check = compile_jwt(self.config.request_authentications, self.state, clock=self.wall)
        assert check is not None
        return check(request("/", {"authorization": f"Bearer {text}"}), Random(1))

    def says(self, text: str) -> str:
        reply = self.reply(text)
        return "in" if reply is None else reply.body.decode()


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


def on(server: IssuerServer, path: str = "/keys", **more: Any) -> dict[str, Any]:
    return {"issuer": "https://a", "jwksUri": server.url + path, **more}
