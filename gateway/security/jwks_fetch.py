"""Fetches key sets and discovery documents: small, in time, and only from where configuration says.

Lifetime: process. The address never comes from a request. What a discovery document or a redirect names is
held to the rules of configuration itself, and to one more: it does not lead from elsewhere to this machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from gateway.config.request_authentication import check_url
from gateway.security.jwt_token import read_object

if TYPE_CHECKING:
    from collections.abc import Awaitable

    import httpx

MOST_BYTES = 256 * 1024
"""Largest document. Key sets with certificate chains have some tens of KiB."""
MOST_REDIRECTS = 3
DISCOVERY = "/.well-known/openid-configuration"
OK = 200
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class FetchError(Exception):
    """Nothing usable came; the text says why, without what was received."""


class Fetched(NamedTuple):
    """A document, and how long its server says it is good for."""

    body: bytes
    max_age: float | None = None
    """Seconds; None: not said."""


class Fetcher:
    """The process's client for key sets. `close` it at the end."""

    def __init__(self, *, allow_http: bool = False, verify: ssl.SSLContext | None = None) -> None:
        """`allow_http`: plain HTTP also from other machines. `verify`: whom to trust; default: the system."""
        self.allow_http = allow_http
        self._verify = verify
        self._client: httpx.AsyncClient | None = None

    async def keys(self, uri: str, timeout: float) -> Fetched:  # noqa: ASYNC109 - the rule's own field
        """A key set, within `timeout` seconds altogether."""
        return await self._within(timeout, self._document(uri, ""))

    async def discovered(self, issuer: str, timeout: float) -> Fetched:  # noqa: ASYNC109 - as above
        """The key set of an issuer, found by its OpenID discovery document (OpenID Connect Discovery 4)."""
        return await self._within(timeout, self._discover(issuer))

    async def close(self) -> None:
        """Ends every connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def _within(self, timeout: float, fetching: Awaitable[Fetched]) -> Fetched:  # noqa: ASYNC109
        import httpx  # noqa: PLC0415 - a quarter of a second that only fetching is worth

        try:
            async with asyncio.timeout(timeout):
                return await fetching
        except TimeoutError:
            raise FetchError(f"no answer within {timeout:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            raise FetchError(f"{type(error).__name__}: {error}"[:200]) from error

    async def _discover(self, issuer: str) -> Fetched:
        found = read_object((await self._document(issuer.rstrip("/") + DISCOVERY, "")).body)
        if found is None:
            raise FetchError("the discovery document is not a JSON object")
        if found.get("issuer") != issuer:
            raise FetchError("the discovery document is another issuer's")
        uri = found.get("jwks_uri")
        if not isinstance(uri, str):
            raise FetchError("the discovery document names no jwks_uri")
        return await self._document(uri, issuer)

    async def _document(self, uri: str, came_from: str) -> Fetched:
        """The document at `uri`, which `came_from` (an address; empty: configuration) named."""
        for _ in range(MOST_REDIRECTS + 1):
            self._allow(uri, came_from)
            answer = await self._get(uri)
            if isinstance(answer, Fetched):
                return answer
            came_from, uri = uri, answer
        raise FetchError("too many redirects")

    def _allow(self, uri: str, came_from: str) -> None:
        if (message := check_url(uri)) is not None:
            raise FetchError(message[:200])
        local = is_loopback(uri)
        if uri.startswith("http:") and not local and not self.allow_http:
            raise FetchError("keys are not fetched over plain HTTP (GatewaySettings jwks.allowHttp)")
        if came_from and local and not is_loopback(came_from):
            raise FetchError("another machine does not say what is fetched from this one")
        if came_from.startswith("https:") and not uri.startswith("https:"):
            raise FetchError("a redirect away from https")

    async def _get(self, uri: str) -> Fetched | str:
        """The document, or the address it has moved to."""
        async with self._http().stream("GET", uri) as answer:
            if answer.status_code in REDIRECTS and "location" in answer.headers:
                return str(answer.url.join(answer.headers["location"]))
            if answer.status_code != OK:
                raise FetchError(f"status {answer.status_code}")
            if answer.headers.get("content-encoding", "identity") != "identity":
                raise FetchError("a compressed answer, which was not asked for")
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk
                if len(body) > MOST_BYTES:
                    raise FetchError(f"more than {MOST_BYTES} bytes")
            return Fetched(bytes(body), _max_age(answer.headers.get("cache-control", "")))

    def _http(self) -> httpx.AsyncClient:
        if self._client is None:
            import httpx  # noqa: PLC0415 - as above

            self._client = httpx.AsyncClient(
                verify=self._verify or ssl.create_default_context(),
                headers={"accept": "application/json", "accept-encoding": "identity"},
                follow_redirects=False,
                trust_env=False,  # No HTTP_PROXY and no ~/.netrc in the way of keys.
                timeout=None,  # noqa: S113 - `_within` bounds all of it together
                limits=httpx.Limits(max_connections=8, max_keepalive_connections=0),
            )
        return self._client


def is_loopback(uri: str) -> bool:
    """Whether an address is of this machine."""
    host = urlsplit(uri).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _max_age(value: str) -> float | None:
    for word in value.lower().split(","):
        name, _, seconds = word.strip().partition("=")
        if name == "max-age" and seconds.isascii() and seconds.isdigit():
            return float(seconds[:9])
    return None
