"""What clients and files may not do to a real `gateway run`: fill its memory, its metrics, its log; be half there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from support.attacks import get
from support.odd import CONFIG, SECRET, helper
from support.raw import Raw
from support.tokens import raw
from support.whole import CLOSE, House, houses, memory

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = '  rateLimits: [{name: keyed, requests: 1000000, per: 1h, key: ["header:x-key"]}]'


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("load")
    yield from houses(folder, CONFIG, helpers=[helper], settings=SETTINGS, admin="127.0.0.1:0")


def test_d21_a_long_path_is_a_short_value(house: House) -> None:
    """16 KiB of path and of agent are 4 KiB at most in the log, and one line."""
    target = b"/long" + b"a" * 15000
    house.ask(get(b"User-Agent: " + b"u" * 15000 + b"\r\n" + CLOSE, target=target))
    line = house.logged(lambda told: told["path"].startswith("/longa"))
    assert len(line["path"]) <= 4096
    assert len(line["user_agent"]) <= 4096


def series(house: House) -> int:
    """Lines of `/metrics` that are numbers."""
    return sum(not line.startswith("#") for line in house.admin("/metrics").body.decode().splitlines())


def test_d22_clients_make_no_series(house: House) -> None:
    """Methods, paths, Hosts, agents, versions, claims, keys: after the first of each kind, nothing is added."""

    def asked(number: int) -> bytes:
        methods = (b"GET", b"PURGE", b"MKCOL", b"REPORT", b"SEARCH", b"UNLINK", b"PROPFIND")
        headers = b"User-Agent: a%d\r\nX-Version: v%d\r\nX-Key: k%d\r\nX-Envoy-Peer-Metadata: %d\r\n" % (
            (number,) * 4
        )
        host = b"Host: gw.test\r\n" if number % 2 else b"Host: h%d.test\r\n" % number
        sent = get(headers, target=b"/p%d?q=%d" % (number, number), host=host)
        return sent.replace(b"GET", methods[number % len(methods)], 1)

    first = b"".join(asked(number) for number in range(28))
    assert len(house.ask(first + get(CLOSE)).statuses) == 29
    before = series(house)
    more = b"".join(asked(number) for number in range(1000, 1500))
    assert len(house.ask(more + get(CLOSE)).statuses) == 501
    assert series(house) == before


@pytest.mark.parametrize(
    ("headers", "statuses"),
    [
        (b"Baggage: " + b"a=b," * 16384 + b"c=d\r\n", (431,)),
        (b"Tracestate: " + b",".join(b"k%d=v" % number for number in range(1000)) + b"\r\n", (200,)),
        (b"Traceparent: 00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01\r\n", (200,)),
        (b"Traceparent: ff-" + b"a" * 32 + b"-" + b"b" * 16 + b"-ff\r\nTraceparent: x\r\n", (200,)),
        (b"B3: 1\r\nX-B3-Sampled: d\r\nX-B3-Flags: 1\r\n", (200,)),
    ],
    ids=["64 KiB of baggage", "1000 states", "zeros", "twice, unknown version", "debug"],
)
def test_d23_trace_headers_break_nothing(headers: bytes, statuses: tuple[int, ...], house: House) -> None:
    """Too large is 431; what is no context is no reason to refuse a request."""
    assert house.ask(get(headers + CLOSE)).statuses == statuses


BAD = {
    "alias bomb": "a0: &a0 [x, x]\n"
    + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)),
    "python tag": "a: !!python/object/apply:os.system [id]\n",
    "deep": "a: " + "[" * 5000 + "]" * 5000 + "\n",
    "large": "a: " + "x" * (2 << 20) + "\n",
    "a key twice": "kind: a\nkind: b\n",
    "merge keys": "a: &a {b: c}\nd: {<<: *a}\n",
    "an exponential expression that RE2 has not": (
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: x}\n"
        "spec: {hosts: [x.test], http: [{match: [{uri: {regex: '(a)\\1'}}], directResponse: {status: 200}}]}\n"
    ),
    "a credential outside its folder": (
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: x}\n"
        "spec: {servers: [{port: {number: 1, name: x, protocol: HTTPS}, hosts: ['*'],"
        " tls: {mode: SIMPLE, credentialName: ../../etc/ssl}}]}\n"
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_d11_d12_d29_a_hostile_file_changes_nothing(what: str, house: House) -> None:
    """Reloaded into a running process: refused at its place, and what served goes on serving."""
    text = house.routes.read_text()

    def write(whole: str) -> None:
        fresh = house.folder / "fresh"
        fresh.write_text(whole)
        fresh.replace(house.routes)

    try:
        write(text + "\n---\n" + BAD[what])
        result = house.reload()
        assert result["outcome"] == "refused"
        assert any(item["fatal"] for item in result["findings"])
        assert house.ask(get(CLOSE)).statuses == (200,)
    finally:
        write(text)
        assert house.reload()["outcome"] == "unchanged"


def test_a_file_that_is_being_written_is_not_served(house: House) -> None:
    """Written in place, again and again, while it is watched and reloads are asked for: the policy at its end
    holds all the time, and so do the routes at its begin.
    """
    text = house.routes.read_text()
    filler = "# a line that says nothing at all\n" * 15000

    async def rewrite() -> None:
        for number in range(20):
            await asyncio.to_thread(
                house.routes.write_text, text.replace("\n---\n", f"\n---\n# {number}\n{filler}", 1)
            )
            await asyncio.sleep(0.03)

    async def main() -> set[int]:
        writing = asyncio.ensure_future(rewrite())
        found: set[int] = set()
        while not writing.done():
            reloading = asyncio.ensure_future(house._admin(RELOAD))
            async with Raw(house.port()) as client:
                while not reloading.done():
                    await client.send(get(target=b"/denied") + get(target=b"/odd/x"))
                    found.add((await client.response()).status)
                    found.add((await client.response()).status)
            await reloading
        return found

    try:
        assert house.run(main()) == {403, 200}
    finally:
        house.routes.write_text(text)
        house.reload()


RELOAD = b"POST /reload HTTP/1.1\r\nHost: localhost\r\nx-gateway-admin: 1\r\nConnection: close\r\n\r\n"


def flood(first: int, count: int) -> bytes:
    """Requests of which each brings kilobytes that were never seen before, wherever clients can put them."""
    made = []
    for number in range(first, first + count):
        word = b"%d-" % number * 400
        claims = {"iss": "https://a", "sub": word.decode()[:1500], "exp": 4_000_000_000}
        token = raw({"alg": "HS256", "kid": "k1"}, claims, SECRET, "HS256").encode()
        headers = (
            b"Authorization: Bearer " + token + b"\r\nX-Key: " + word + b"\r\nUser-Agent: " + word
            + b"\r\nX-%d: a\r\nCookie: a=" % number + word + b"\r\nReferer: http://a/?q=" + word
            + b"\r\nX-Request-Id: " + word + b"\r\nOrigin: https://" + word + b"\r\n"
        )  # fmt: skip
        made.append(get(headers, target=b"/" + word + b"?" + word))
        made.append(get(b"Authorization: Bearer " + token[:-3] + b"AAA\r\n"))
        made.append(get(host=b"Host: h%d.test\r\n" % number))
    return b"".join(made)


def test_d30_what_clients_send_is_not_kept(house: House) -> None:
    """Keys of limits, subjects, header names, Hosts, agents, paths: after caches have filled, twenty megabytes
    more that are all different leave the process no larger.
    """

    async def pour(first: int, count: int) -> None:
        async with Raw(house.port()) as client:
            for begin in range(first, first + count, 20):
                house.backend.forget()
                await client.send(flood(begin, 20))
                for _ in range(60):
                    await client.response()

    house.run(pour(0, 1000))
    before = memory(house)
    house.run(pour(100_000, 800))
    assert memory(house) - before < 6 << 20


def test_settings_of_a_reload_hold_on_connections_that_stand(house: House) -> None:
    """The same header section before and after: a proxy that is not trusted any more, underscores, a service."""
    text = house.routes.read_text()
    section = b"X-Forwarded-For: 6.6.6.6\r\nX_A: 1\r\nX-Key: a\r\n"

    def settings(more: str) -> None:
        fresh = house.folder / "fresh"
        fresh.write_text(text.replace("spec:\n", f"spec:\n{more}", 1))
        fresh.replace(house.routes)

    async def main() -> list[tuple[int, list[bytes]]]:
        found = []
        async with Raw(house.port()) as client:
            for more in (
                "  trustedProxies: [127.0.0.1/32]\n  underscoreHeaders: ALLOW\n",
                "  underscoreHeaders: DROP\n",
                "  underscoreHeaders: REJECT\n",
            ):
                settings(more)
                await house._admin(RELOAD)
                for _ in range(2):
                    house.backend.forget()
                    await client.send(get(section))
                    status = (await client.response()).status
                    seen = house.backend.requests
                    found.append(
                        (
                            status,
                            [
                                value
                                for item in seen
                                for value in (*item.values(b"x-forwarded-for"), *item.values(b"x_a"))
                            ],
                        )
                    )
        return found

    try:
        found = house.run(main())
    finally:
        settings("")
        house.reload()
    believed, dropped, refused = (200, [b"6.6.6.6,127.0.0.1", b"1"]), (200, [b"127.0.0.1"]), (400, [])
    assert found == [believed, believed, dropped, dropped, refused, refused]
