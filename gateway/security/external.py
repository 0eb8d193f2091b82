"""CUSTOM policies: whether a request must be decided elsewhere, and asking there (Envoy `ext_authz`).

Lifetime: config; the connections are the process's.
"""

from __future__ import annotations

import logging
from itertools import count
from typing import TYPE_CHECKING

from gateway.config.extension_providers import FRAMING
from gateway.http.flags import Flag
from gateway.http.headers import HOP_BY_HOP
from gateway.http.reply import Reply
from gateway.security.callouts import Answer, CalloutError, Callouts
from gateway.security.index import compile_find
from gateway.security.policies import NOT_ALLOWED, denied
from gateway.security.text import Test, compile_test, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gateway.config.extension_providers import EnvoyExtAuthzHttp
    from gateway.http.headers import Headers
    from gateway.http.request import Request
    from gateway.security.counts import PolicyCounts
    from gateway.security.policies import CompiledPolicy, Taker

logger = logging.getLogger(__name__)

NO_PROVIDER = denied("default-deny-all-due-to-bad-CUSTOM-action")
"""What every request gets where a CUSTOM policy names a provider that there is not (Istio)."""

_KEPT_BACK = frozenset(name.encode() for name in FRAMING) | HOP_BY_HOP | {b"date", b"server", b"x-request-id"}
"""Headers of an answer that are never handed on."""
_ALWAYS = frozenset({"www-authenticate", "location", "content-type"})
"""Headers of a refusal that the client gets whatever the list says; without the type it is no page."""


class Provider:
    """A service that decides, as one generation knows it."""

    __slots__ = (
        "_added",
        "_callouts",
        "_deny",
        "_error",
        "_origins",
        "_sent",
        "_settings",
        "_turn",
        "_upstream",
        "name",
    )

    def __init__(
        self,
        name: str,
        settings: EnvoyExtAuthzHttp,
        origins: Sequence[tuple[str, int]],
        callouts: Callouts,
    ) -> None:
        """`origins`: host and port of every place that serves it; asked in turn."""
        self.name = name
        self._settings = settings
        self._origins = tuple(origins)
        self._callouts = callouts
        self._turn = count()
        sent = (*settings.include_headers_in_check, *settings.include_request_headers_in_check)
        self._sent = _names(("authorization", *sent))
        added = settings.include_additional_headers_in_check.items()
        self._added = [(name.lower().encode(), value.encode()) for name, value in added]
        self._upstream = _names(settings.headers_to_upstream_on_allow)
        passed = settings.headers_to_downstream_on_deny
        self._deny = _names((*passed, *_ALWAYS)) if passed else None
        self._error = Reply(int(settings.status_on_error), b"", Flag.EXT_AUTHZ_DENIED, "ext_authz_error")

    async def decide(self, request: Request) -> Reply | None:
        """The refusal, or None; then the request has the headers that the service gave it."""
        try:
            answer = await self._ask(request)
        except CalloutError as error:
            logger.warning("provider %s: %s", self.name, error)
            if not self._settings.fail_open:
                return self._error
            answer = Answer(200, [], b"")
        if answer.status == 200:
            self._mark(request, answer.headers)
            return None
        headers = tuple(
            (name, value)
            for name, value in answer.headers
            if name not in _KEPT_BACK and (self._deny is None or self._deny(name.decode("latin-1")))
        )
        return Reply(answer.status, answer.body, Flag.EXT_AUTHZ_DENIED, "ext_authz_denied", headers)

    async def _ask(self, request: Request) -> Answer:
        if not self._origins:
            raise CalloutError("it has no endpoint")
        origin = self._origins[next(self._turn) % len(self._origins)]
        target = self._settings.path_prefix.encode() + request.path
        if request.query:
            target += b"?" + request.query
        settings = self._settings
        answer = await self._callouts.ask(
            origin, request.method, target, self._head(request), settings.timeout
        )
        if not 200 <= answer.status < 500:
            raise CalloutError(f"it answered {answer.status}")
        return answer

    def _head(self, request: Request) -> Headers:
        """The head of the request, as far as it is the service's business; never a body."""
        added = {name for name, _ in self._added}
        head = [(b"host", request.authority), (b"content-length", b"0")]
        head += [
            (name, value)
            for name, value in request.headers
            if name not in _KEPT_BACK and name not in added and self._sent(name.decode("latin-1"))
        ]
        return [*head, *self._added]

    def _mark(self, request: Request, answered: Headers) -> None:
        """Hands on what the service gave. A header that is its to give is taken from the client unless the
        service saw it and let it stand: nobody vouches for any other.
        """
        given = [
            (name, value)
            for name, value in answered
            if name not in _KEPT_BACK and self._upstream(name.decode("latin-1"))
        ]
        names = {name for name, _ in given}
        kept = [pair for pair in request.headers if pair[0] not in names and not self._claimed(pair[0])]
        if given or len(kept) != len(request.headers):
            request.headers[:] = [*kept, *given]
            request.header_map = dict(request.headers)
            request.repeated = len(request.header_map) != len(request.headers)

    def _claimed(self, name: bytes) -> bool:
        text = name.decode("latin-1")
        return self._upstream(text) and not self._sent(text)


def _names(patterns: Iterable[str]) -> Test:
    return compile_test([parse(pattern.lower()) for pattern in patterns])


class Gate:
    """Asks the providers whose policies take a request, each once, until one refuses."""

    __slots__ = ("_counts", "_finds", "_refusal")

    def __init__(
        self, policies: Iterable[CompiledPolicy], providers: Mapping[str, Provider], counts: PolicyCounts
    ) -> None:
        by_name: dict[str, list[Taker]] = {}
        for policy in policies:
            by_name.setdefault(policy.provider, []).extend(policy.takers)
        self._finds: tuple[tuple[Callable[[Request], Taker | None], Provider], ...] = tuple(
            (compile_find(takers), providers[name]) for name, takers in by_name.items() if name in providers
        )
        self._refusal = None if len(self._finds) == len(by_name) else NO_PROVIDER
        self._counts = counts

    async def __call__(self, request: Request) -> Reply | None:
        """The refusal, or None. Whatever goes wrong refuses."""
        if self._refusal is not None:
            return self._refusal
        try:
            for find, provider in self._finds:
                taker = find(request)
                if taker is not None:
                    taker.tally.taken += 1
                    reply = await provider.decide(request)
                    if reply is not None:
                        return reply
        except Exception:
            logger.exception("a CUSTOM policy could not be evaluated; the request was refused")
            self._counts.errors += 1
            return NOT_ALLOWED
        return None
