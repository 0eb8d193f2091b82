"""Backends that are not who they should be (security.md T14, T09), behind a real `gateway run`: 503 with `UF`, and
not one byte of the request reaches them.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support import chains
from support.attacks import get
from support.certificates import HOUR, Certs, authority, leaf
from support.chains import CLIENT, SERVER, dns, uri
from support.whole import CLOSE, House, houses

from gateway.tls import mint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from support.whole import Told

ROOT = chains.authority()
BETWEEN = chains.authority(ROOT, "between", permitted=[dns("other.test")])
REVIEWS = "cluster.local/ns/default/sa/reviews"
PINNED = f"mode: SIMPLE, caCertificates: %(folder)s/ca.crt, subjectAltNames: ['spiffe://{REVIEWS}']"
NAMED = "mode: SIMPLE, caCertificates: %(folder)s/ca.crt, sni: shop.test, subjectAltNames: [shop.test]"
FROM_ROOT = "mode: SIMPLE, caCertificates: %(folder)s/root.crt, sni: shop.test, subjectAltNames: [shop.test]"
REVOKED = leaf(dns_names=("shop.test",))

GOOD = {
    "the name": (NAMED, leaf(dns_names=("shop.test",))),
    "a wildcard of one label": (NAMED, leaf(dns_names=("*.test",))),
    "the principal": (PINNED, leaf(principal=REVIEWS)),
    "through an authority": (FROM_ROOT, chains.leaf(chains.authority(ROOT, "b"), [dns("shop.test")])),
}
WRONG = {
    "another name": (NAMED, leaf(dns_names=("other.test",))),
    "a longer name": (NAMED, leaf(dns_names=("shop.test.evil",))),
    "a name below": (NAMED, leaf(dns_names=("a.shop.test",))),
    "a wildcard of everything": (NAMED, leaf(dns_names=("*",))),
    "a wildcard of two labels": (NAMED, leaf(dns_names=("*.*",))),
    "a wildcard inside a label": (NAMED, leaf(dns_names=("s*p.test",))),
    "a common name alone": (NAMED, leaf(dns_names=("other.test",), common_name="shop.test")),
    "the name as an address": (NAMED, leaf(uris=("https://shop.test/",))),
    "another authority": (NAMED, leaf(authority("stranger"), dns_names=("shop.test",))),
    "expired": (NAMED, leaf(dns_names=("shop.test",), valid=(-2 * HOUR, -HOUR))),
    "not yet valid": (NAMED, leaf(dns_names=("shop.test",), valid=(HOUR, 2 * HOUR))),
    "for clients only": (NAMED, leaf(dns_names=("shop.test",), server=False)),
    "self-signed": (NAMED, mint.make_authority("shop.test")),
    "revoked": (NAMED + ", caCrl: %(folder)s/revoked.crl", REVOKED),
    "another principal": (PINNED, leaf(principal=REVIEWS + "-v2")),
    "another trust domain": (PINNED, leaf(principal=REVIEWS.replace("cluster.local", "cluster.local.evil"))),
    "the principal as a DNS name": (PINNED, leaf(dns_names=("reviews.default.cluster.local",))),
    "a constrained authority": (FROM_ROOT, chains.leaf(BETWEEN, [dns("shop.test")])),
    "a constrained authority's wildcard": (FROM_ROOT, chains.leaf(BETWEEN, [dns("*.test")])),
    "a leaf that signs": (FROM_ROOT, chains.leaf(chains.leaf(ROOT, [dns("shop.test")]), [dns("shop.test")])),
    "an authority for clients": (
        FROM_ROOT,
        chains.leaf(chains.authority(ROOT, "c", purposes=[CLIENT]), [dns("shop.test")]),
    ),
    "a name of another kind": (FROM_ROOT, chains.leaf(ROOT, [uri("shop.test")], purposes=[SERVER])),
}
BACKENDS = {**GOOD, **WRONG}
NUMBERS = {name: number for number, name in enumerate(BACKENDS)}
SEEN: dict[int, bytes] = {}
"""What each backend was sent, after its handshake."""


def document(number: int, tls: str) -> str:
    return f"""\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: to-{number}}}
spec:
  hosts: [to-{number}.test]
  ports: [{{number: 443, name: https, protocol: HTTPS}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{https: %(to{number})d}}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: to-{number}}}
spec: {{host: to-{number}.test, trafficPolicy: {{tls: {{{tls}}}}}}}
---
"""


UNVERIFIED = document(99, "mode: SIMPLE, insecureSkipVerify: true") % {"to99": 99}
CONFIG = "".join(document(NUMBERS[name], tls) for name, (tls, _) in BACKENDS.items()) + (
    UNVERIFIED
    + """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gw}
spec:
  hosts: [gw.test]
  http:
"""
    + "".join(
        f"  - {{match: [{{uri: {{exact: /{number}}}}}],"
        f" route: [{{destination: {{host: to-{number}.test, port: {{number: 443}}}}}}], retries: {{attempts: 0}}}}\n"
        for number in NUMBERS.values()
    )
)


@asynccontextmanager
async def backends(house: House) -> AsyncIterator[dict[str, Any]]:
    """One for each certificate; what they are sent goes to SEEN."""
    (house.folder / "ca.crt").write_bytes(authority().pem)
    (house.folder / "root.crt").write_bytes(ROOT.pem)
    (house.folder / "revoked.crl").write_bytes(mint.revoke(authority(), [REVOKED.certificate]))
    servers, tasks = [], set()

    async def serve(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            while piece := await reader.read(65536):
                SEEN[number] = SEEN.get(number, b"") + piece
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except OSError:
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    ports = {}
    for name, (_, pair) in BACKENDS.items():
        number = NUMBERS[name]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if isinstance(pair, chains.Signed):
            context.load_cert_chain(pair.written(house.folder, f"to{number}"))
        else:
            place = Certs(house.folder).put(f".to{number}", pair)
            context.load_cert_chain(place / "tls.crt", place / "tls.key")

        async def accepted(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int = number
        ) -> None:
            await serve(number, reader, writer)

        server = await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        ports[f"to{number}"] = server.sockets[0].getsockname()[1]
    try:
        yield ports
    finally:
        for server in servers:
            server.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in servers:
            await server.wait_closed()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    SEEN.clear()
    yield from houses(tmp_path_factory.mktemp("origination"), CONFIG, helpers=[backends])


SECRET = b"Authorization: Bearer secret\r\n" + CLOSE


@pytest.fixture(scope="module")
def strangers(house: House) -> dict[str, Told]:
    """What became of a request to each of them; the log has all of them then."""
    return {who: house.ask(get(SECRET, target=b"/%d" % NUMBERS[who])) for who in WRONG}


@pytest.mark.parametrize("who", WRONG)
def test_t14_a_stranger_gets_no_request(who: str, strangers: dict[str, Told], house: House) -> None:
    """503, flag `UF`, and the failure of the handshake in the log; the client does not learn the reason."""
    assert strangers[who].statuses == (503,)
    assert NUMBERS[who] not in SEEN
    line = house.logged(lambda told: told["path"] == f"/{NUMBERS[who]}")
    assert line["response_flags"] == "UF"
    assert line["upstream_transport_failure_reason"].startswith("TLS_error")


@pytest.mark.parametrize("who", GOOD)
def test_t14_the_right_one_does(who: str, house: House) -> None:
    """Or the tests above would hold for a gateway that reaches nobody."""
    assert house.ask(get(SECRET, target=b"/%d" % NUMBERS[who])).statuses == (200,)
    assert SEEN[NUMBERS[who]].startswith(b"GET /%d HTTP/1.1\r\n" % NUMBERS[who])


def test_t14_unverified_tls_has_to_be_asked_for_by_its_name(house: House) -> None:
    """`insecureSkipVerify` is said at every start; there is no shorter way to switch verifying off."""
    said = "warning GW091  insecureSkipVerify: anyone on the path can pretend to be this host"
    house.process.wait_for_line(said)
    assert house.process.output.count(said) == 1
