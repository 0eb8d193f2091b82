"""What is remembered of a client's header section: never more than what its next request says again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.turns import VirtualLoop, World, run

from gateway.config.settings import GatewaySettingsSpec
from gateway.exchange.exchange import Exchange
from gateway.exchange.hygiene import Hygiene
from gateway.http.reply import Reply

if TYPE_CHECKING:
    from support.parties import Client

RULES = (
    {},
    {"underscoreHeaders": "DROP"},
    {"underscoreHeaders": "ALLOW", "pathNormalization": "NONE"},
    {"trustedProxies": ["127.0.0.0/8"]},
    {"numTrustedProxies": 1},
)
LINES = (
    "",
    "Connection: close\r\n",
    "Connection: keep-alive, x-hop\r\nX-Hop: 1\r\n",
    "Connection: authorization\r\nAuthorization: Bearer a\r\n",
    "Authorization: Bearer a\r\n",
    "X_Under: 1\r\n",
    "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Request-Id: mine\r\n",
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
    "Upgrade: websocket\r\n",
    "Content-Length: 3\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 3\r\nExpect: 100-continue\r\n",
    "Transfer-Encoding: chunked\r\n",
    "X-Long: " + "a" * 3000 + "\r\n",
)
TARGETS = ("/", "/a//b", "/a%2Fb", "/%zz", "/a?q=1")
Asked = tuple[str, str, str, str, int]


def _sequences(hosts: list[str], lines: list[str]) -> st.SearchStrategy[list[Asked]]:
    """Requests of a client that says few different things of itself."""
    asked = st.tuples(
        st.sampled_from(["GET", "HEAD", "POST", "OPTIONS"]),
        st.sampled_from(TARGETS),
        st.sampled_from(hosts),
        st.sampled_from(lines),
        st.sampled_from(range(len(RULES))),
    )
    return st.lists(asked, min_size=2, max_size=8)


sequences = st.lists(st.sampled_from(LINES), min_size=1, max_size=2).flatmap(
    lambda lines: _sequences(["reviews", "other:8080"][: len(lines)], lines)
)


class Admitting(World):
    """Judges requests and answers 200; `told` is what became of each."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__(loop)
        self.rules = [Hygiene(GatewaySettingsSpec.model_validate(each)) for each in RULES]
        self.chosen = 0
        self.told: list[Any] = []

    async def direct(self, stream: Any) -> None:
        exchange = Exchange(self.snapshot, 0.0, stream.place)
        reply = self.rules[self.chosen].admit(exchange, stream)
        if isinstance(reply, Reply):
            self.told.append((reply.status, reply.details))
            stream.respond(reply.status, [(b"content-length", b"0")], b"", last=True)
            return
        request = exchange.request
        fixed = [pair for pair in request.headers if pair[0] != b"x-request-id" or pair[1] == b"mine"]
        names = {name: value for name, value in request.header_map.items() if name != b"x-request-id"}
        said = (request.method, request.path, request.query, request.host, request.authority, request.scheme)
        self.told.append((*said, request.client_ip, fixed, names, exchange.body, stream.keep_alive))
        # What becomes of a request must not show in the next one.
        request.headers.append((b"x-user", b"mallory"))
        request.header_map[b"x-user"] = b"mallory"
        request.header_map.pop(b"authorization", None)
        stream.respond(200, [(b"content-length", b"0")], b"", last=True)


async def _ask(world: Admitting, client: Client, request: Asked) -> Any:
    method, target, host, lines, world.chosen = request
    body = {"Content-Length: 3": "abc", "Transfer-Encoding": "3\r\nabc\r\n0\r\n\r\n"}
    ending = next((text for start, text in body.items() if lines.startswith(start)), "")
    before = len(world.told)
    client.outbox = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n{ending}".encode()
    client.deliver()
    await world.turn(3)
    return world.told[before:]


@settings(max_examples=200, deadline=None)
@given(sequences)
def test_a_request_is_judged_as_if_it_were_the_first_of_its_connection(requests: list[Asked]) -> None:
    """Whatever came before it with the same headers, and whichever rules held then."""

    async def main(loop: VirtualLoop) -> None:
        world = Admitting(loop)
        client = world.client()
        for request in requests:
            alone = world.client()
            expected = await _ask(world, alone, request)
            alone.reset()
            if client.closing or client.eof:
                client = world.client()
            assert await _ask(world, client, request) == expected
        client.reset()
        await world.turn(3)
        await world.registry.close()
        world.edge.sweeper.stop()

    run(main)
