"""Istio's CorsPolicy: answers preflights and marks responses for allowed origins.

Lifetime: config. Never refuses an actual request: browsers do that when the marks are missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http.reply import Reply
from gateway.routing.strings import compile_match, exact

if TYPE_CHECKING:
    from random import Random

    from gateway.config.http_policies import CorsPolicy
    from gateway.http.headers import Headers
    from gateway.http.request import Request


class Cors:
    """A route's CORS policy."""

    __slots__ = (
        "_answers_all",
        "_any_headers",
        "_any_methods",
        "_credentials",
        "_exposed",
        "_headers",
        "_max_age",
        "_methods",
        "_origins",
        "_owned",
    )

    def __init__(self, policy: CorsPolicy) -> None:
        patterns = [compile_match(match) for match in policy.allow_origins]
        patterns = patterns or [exact(origin.encode()) for origin in policy.allow_origin]
        # A pattern that matches a star is meant to match everything.
        self._origins = () if any(p.test(b"*") for p in patterns) else tuple(p.test for p in patterns)
        if not patterns:
            self._origins = (lambda _: False,)
        self._methods = ",".join(policy.allow_methods).encode()
        self._headers = ",".join(policy.allow_headers).encode()
        self._any_methods = policy.allow_methods == ("*",)
        self._any_headers = policy.allow_headers == ("*",)
        exposed = ",".join(policy.expose_headers).encode()
        self._exposed = ((b"access-control-expose-headers", exposed),) if exposed else ()
        self._max_age = b"" if policy.max_age is None else b"%d" % int(policy.max_age)
        yes = ((b"access-control-allow-credentials", b"true"),)
        self._credentials = yes if policy.allow_credentials else ()
        self._answers_all = policy.unmatched_preflights == "IGNORE"
        written = (*self._credentials, *self._exposed, (b"access-control-allow-origin", b""))
        self._owned = frozenset(name for name, _ in written)

    def _allows(self, origin: bytes) -> bool:
        return not self._origins or any(test(origin) for test in self._origins)

    def preflight(self, request: Request, _: Random) -> Reply | None:
        """The answer to a preflight request; None when it is not one, or goes to the upstream."""
        if request.method != "OPTIONS":
            return None
        origin = request.header(b"origin")
        method = request.header(b"access-control-request-method")
        if not origin or not method:
            return None
        allowed = self._allows(origin)
        if not allowed and not self._answers_all:
            return None
        headers: Headers = []
        if allowed:
            headers += [(b"access-control-allow-origin", origin), *self._credentials]
        else:
            headers += self._credentials
        methods = method if self._any_methods else self._methods
        if methods:
            headers.append((b"access-control-allow-methods", methods))
        wanted = request.header(b"access-control-request-headers") or b""
        names = wanted if self._any_headers else self._headers
        if names:
            headers.append((b"access-control-allow-headers", names))
        if self._max_age:
            headers.append((b"access-control-max-age", self._max_age))
        if allowed:
            headers += self._exposed
        return Reply(200, details="cors_response", headers=tuple(headers), operated=False)

    def mark(self, request: Request, headers: Headers) -> Headers:
        """Response headers with what an allowed origin may do; the same list when there is nothing to say."""
        origin = request.header(b"origin")
        if not origin or not self._allows(origin):
            return headers
        kept = [pair for pair in headers if pair[0] not in self._owned]
        kept.append((b"access-control-allow-origin", origin))
        kept += self._credentials
        kept += self._exposed
        return kept

    def __repr__(self) -> str:
        return f"<Cors methods {self._methods.decode()!r} headers {self._headers.decode()!r}>"
