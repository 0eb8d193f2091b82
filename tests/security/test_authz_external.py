"""CUSTOM policies: who is asked what, and what becomes of the answer."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.documents import validated
from support.policies import HTTPBIN, asked, guard, policy
from support.waiting import until

from gateway.config.extension_providers import EnvoyExtAuthzHttp, MeshExtensionProvider
from gateway.http.flags import Flag
from gateway.security.callouts import MOST_BODY, CalloutError, Callouts
from gateway.security.external import Provider

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.http.reply import Reply
    from gateway.http.request import Request

ALLOWED = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Oracle:
    """A service that answers every question with the same bytes, and keeps the heads it was sent."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heads.append(head)
                if not self.answer:
                    await reader.read()  # Says nothing until the other side gives up.
                    break
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Oracle]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()


CUSTOM = policy(
    "rules: [{to: [{operation: {paths: ['/admin*']}}]}], provider: {name: authz}", action="CUSTOM"
)


def decided(answer: bytes, *requests: Request, **settings: Any) -> tuple[list[Reply | None], list[bytes]]:
    """The replies to these requests where a provider answers so, and the heads it was sent."""

    async def main() -> tuple[list[Reply | None], list[bytes]]:
        callouts = Callouts()
        async with Oracle(answer).running() as oracle:
            given = {"service": "authz", "port": oracle.port, **settings}
            http = EnvoyExtAuthzHttp.model_validate(given)
            provider = Provider("authz", http, [("127.0.0.1", oracle.port)], callouts)
            gate = guard(CUSTOM, providers={"authz": provider}).everywhere.gate
            assert gate is not None
            replies = [await gate(request) for request in requests]
            await callouts.stop()
            return replies, oracle.heads

    return asyncio.run(main())


def test_only_what_a_rule_takes_is_asked_about() -> None:
    """Other requests cost no question."""
    replies, heads = decided(ALLOWED, asked("/public"), asked("/admin"))

    assert replies == [None, None]
    assert [head.split(b"\r\n")[0] for head in heads] == [b"GET /admin HTTP/1.1"]


def test_the_question_is_the_head_of_the_request() -> None:
    """Method, path, query, Host and Authorization; of other headers what the settings name; no body."""
    request = asked(
        "/admin/../x",
        {
            "Authorization": "Bearer t",
            "Cookie": "s=1",
            "X-Team-A": "1",
            "X-Other": "2",
            "Content-Length": "5",
        },
        method="POST",
        host="a.test:80",
        query="q=1",
    )

    _, (head,) = decided(
        ALLOWED,
        request,
        pathPrefix="/check",
        includeRequestHeadersInCheck=["x-team-*", "content-length"],
        includeAdditionalHeadersInCheck={"x-gateway": "edge", "authorization": "none"},
    )

    first, *lines = head.decode().rstrip().split("\r\n")
    assert first == "POST /check/admin/../x?q=1 HTTP/1.1"
    assert sorted(line.lower() for line in lines) == [
        "authorization: none",
        "content-length: 0",
        "host: a.test:80",
        "x-gateway: edge",
        "x-team-a: 1",
    ]


def test_a_refusal_is_the_providers() -> None:
    """Status, body and headers reach the client; flag and details tell the log who refused."""
    answer = (
        b"HTTP/1.1 302 Found\r\nLocation: https://login.test/\r\nSet-Cookie: a=1\r\nX-Why: no\r\n"
        b"Connection: keep-alive\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nlogin"
    )

    (reply,), _ = decided(answer, asked("/admin"))
    assert reply is not None
    assert (reply.status, reply.body, reply.flag, reply.details) == (
        302,
        b"login",
        Flag.EXT_AUTHZ_DENIED,
        "ext_authz_denied",
    )
    assert reply.headers == (
        (b"location", b"https://login.test/"),
        (b"set-cookie", b"a=1"),
        (b"x-why", b"no"),
        (b"content-type", b"text/html"),
    )

    (reply,), _ = decided(answer, asked("/admin"), headersToDownstreamOnDeny=["x-*"])
    assert reply is not None
    assert [name for name, _ in reply.headers] == [b"location", b"x-why", b"content-type"]


def test_an_allowed_request_gets_the_headers_that_are_named() -> None:
    """They replace those of the client; others, and those that frame, are left out."""
    answer = b"HTTP/1.1 200 OK\r\nX-User: jane\r\nX-Group: a\r\nX-Group: b\r\nX-Secret: 1\r\nContent-Length: 0\r\n\r\n"
    request = asked("/admin", {"x-user": "root", "x-keep": "1"})

    replies, _ = decided(answer, request, headersToUpstreamOnAllow=["X-User", "x-group"])

    assert replies == [None]
    assert request.headers == [
        (b"x-keep", b"1"),
        (b"x-user", b"jane"),
        (b"x-group", b"a"),
        (b"x-group", b"b"),
    ]
    assert request.header(b"x-user") == b"jane"
    assert request.header_values(b"x-group") == [b"a", b"b"]


BAD = [
    b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 503 Oops\r\nContent-Length: 0\r\n\r\n",
    b"nonsense\r\n\r\n",
    b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n" % (MOST_BODY + 1) + b"x" * (MOST_BODY + 1),
]


@pytest.mark.parametrize("answer", BAD, ids=["500", "503", "not-http", "too-long"])
def test_an_error_refuses_unless_it_is_to_pass(answer: bytes) -> None:
    """403 or `statusOnError`; `failOpen` lets pass."""
    (reply,), _ = decided(answer, asked("/admin"))
    assert reply is not None
    assert (reply.status, reply.body, reply.flag, reply.details) == (
        403,
        b"",
        Flag.EXT_AUTHZ_DENIED,
        "ext_authz_error",
    )
    (reply,), _ = decided(answer, asked("/admin"), statusOnError="503")
    assert reply is not None
    assert reply.status == 503
    assert decided(answer, asked("/admin"), failOpen=True)[0] == [None]


def test_a_provider_that_is_silent_or_gone_is_an_error() -> None:
    """The timeout is for the whole decision."""
    (reply,), heads = decided(b"", asked("/admin"), timeout="50ms")
    assert reply is not None
    assert (reply.details, len(heads)) == ("ext_authz_error", 1)

    async def gone() -> Reply | None:
        callouts = Callouts()
        http = EnvoyExtAuthzHttp(service="authz", port=1)
        reply = await Provider("authz", http, [("127.0.0.1", 1)], callouts).decide(asked())
        await callouts.stop()
        return reply

    reply = asyncio.run(gone())
    assert reply is not None
    assert reply.details == "ext_authz_error"


def test_an_answer_is_never_taken_for_the_next_questions() -> None:
    """A second answer behind the first is thrown away with its connection."""
    refused = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"

    replies, heads = decided(refused + ALLOWED, *(asked("/admin") for _ in range(3)))

    assert [reply.status if reply is not None else 200 for reply in replies] == [403, 403, 403]
    assert len(heads) == 3


def test_a_client_that_leaves_does_not_disturb_the_next() -> None:
    """The question goes on by itself, and its end is not reported to anybody."""

    async def main() -> None:
        callouts = Callouts()
        async with Oracle(b"").running() as oracle:
            asking = asyncio.ensure_future(callouts.ask(("127.0.0.1", oracle.port), "GET", b"/", [], 10.0))
            await until(lambda: oracle.heads)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert repr(callouts) == "<Callouts under way 1>"
            await callouts.stop()
            assert repr(callouts) == "<Callouts under way 0>"
        async with Oracle(ALLOWED).running() as oracle:
            answer = await callouts.ask(("127.0.0.1", oracle.port), "GET", b"/", [], 10.0)
            assert answer.status == 200
            await callouts.stop()

    asyncio.run(main())


def test_a_policy_without_its_provider_refuses_everything() -> None:
    """Also what its rules do not take: who would have decided is not known (Istio)."""

    async def main() -> list[Reply | None]:
        gate = guard(CUSTOM).everywhere.gate
        assert gate is not None
        return [await gate(asked("/admin")), await gate(asked("/public"))]

    for reply in asyncio.run(main()):
        assert reply is not None
        assert reply.details == "rbac_access_denied_matched_policy[default-deny-all-due-to-bad-CUSTOM-action]"


def test_a_policy_for_a_destination_is_asked_about_there() -> None:
    """The gateway asks nobody then."""
    made = guard(CUSTOM.replace("spec: {", "spec: {selector: {matchLabels: {app: httpbin}}, "))

    assert made.everywhere.gate is None
    assert made.destination(HTTPBIN).gate is not None


class _Broken:
    name = "authz"

    async def decide(self, _: object) -> None:
        raise RuntimeError("broken")


def test_whatever_goes_wrong_refuses() -> None:
    """An exception is no permission."""

    async def main() -> Reply | None:
        made = guard(CUSTOM, providers={"authz": _Broken()})
        assert made.everywhere.gate is not None
        return await made.everywhere.gate(asked("/admin"))

    reply = asyncio.run(main())
    assert reply is not None
    assert reply.status == 403


def test_a_provider_without_endpoints_is_an_error() -> None:
    """Nobody can be asked."""
    http = EnvoyExtAuthzHttp(service="authz", port=80)

    reply = asyncio.run(Provider("authz", http, [], Callouts()).decide(asked()))

    assert reply is not None
    assert reply.details == "ext_authz_error"


def test_a_name_that_is_not_found_is_an_error() -> None:
    """What the resolver says is not the client's business."""

    async def main() -> None:
        callouts = Callouts()
        with pytest.raises(CalloutError):
            await callouts.ask(("authz.invalid", 80), "GET", b"/", [], 5.0)
        await callouts.stop()

    asyncio.run(main())


# -- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "code"),
    [
        ("{name: a, envoyExtAuthzHttp: {service: a.test, port: 80}}", ""),
        ("{name: a, envoyExtAuthzHttp: {service: ns/a.test, port: 80, timeout: 1s, failOpen: true}}", ""),
        ("{name: a}", "GW032"),
        ("{name: a, envoyExtAuthzGrpc: {service: a.test, port: 80}}", "GW045"),
        ("{name: a, envoyExtAuthzHttp: {service: a b, port: 80}}", "GW035"),
        ("{name: a, envoyExtAuthzHttp: {service: a.test, port: 80, pathPrefix: x}}", "GW035"),
        ("{name: a, envoyExtAuthzHttp: {service: a.test, port: 80, statusOnError: '200'}}", "GW037"),
        (
            "{name: a, envoyExtAuthzHttp: {service: a.test, port: 80, includeRequestBodyInCheck: {maxRequestBytes: 1}}}",
            "GW045",
        ),
        (
            "{name: a, envoyExtAuthzHttp: {service: a.test, port: 80, headersToDownstreamOnAllow: [a]}}",
            "GW045",
        ),
        (
            "{name: a, envoyExtAuthzHttp: {service: a.test, port: 80, headersToUpstreamOnAllow: [Host]}}",
            "GW039",
        ),
        (
            "{name: a, envoyExtAuthzHttp: {service: a.test, port: 80, includeAdditionalHeadersInCheck: {te: a}}}",
            "GW039",
        ),
        (
            '{name: a, envoyExtAuthzHttp: {service: a.test, port: 80, includeAdditionalHeadersInCheck: {a: "b\\nc"}}}',
            "GW039",
        ),
    ],
)
def test_settings_of_a_provider(provider: str, code: str) -> None:
    """Istio's shape; what cannot be done is an error that says so."""
    text = f"""
    apiVersion: gateway.asgi/v1
    kind: GatewaySettings
    metadata: {{name: s}}
    spec: {{extensionProviders: [{provider}]}}
    """
    assert [found[0] for found in validated(text)] == ([code] if code else [])


def test_providers_have_names_of_their_own() -> None:
    """Two of one name would be a matter of luck."""
    one = MeshExtensionProvider.model_validate(
        {"name": "a", "envoyExtAuthzHttp": {"service": "a.test", "port": 80}}
    )
    text = """
    apiVersion: gateway.asgi/v1
    kind: GatewaySettings
    metadata: {name: s}
    spec:
      extensionProviders:
      - {name: a, envoyExtAuthzHttp: {service: a.test, port: 80}}
      - {name: a, envoyExtAuthzHttp: {service: b.test, port: 80}}
    """
    assert one.envoy_ext_authz_http is not None
    assert [found[0] for found in validated(text)] == ["GW043"]
