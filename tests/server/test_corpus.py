"""Raw bytes of known attacks (security.md S, H, P, U, D), and the answers they get from the protocol class."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest
from serving import Echo, reply, run, serving
from support.attacks import CASES, CHUNKED, END, MARKER, Case, get, post
from support.raw import CutOff, Raw
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.server.protocol import EdgeProtocol


async def play(case: Case, *, slowly: bool) -> None:
    app = Echo()
    async with serving(app) as server, Raw(server.port) as raw:
        with suppress(ConnectionError):  # refused before the last byte; the answer can still be read
            await (raw.send_slowly(case.sent) if slowly else raw.send(case.sent))
        responses = [await raw.response() for _ in case.statuses]
        assert case.statuses == tuple(response.status for response in responses)
        if case.reason:
            assert responses[-1].header("connection") == (
                "close, upgrade" if case.reason == "http_1_0" else "close"
            )
            assert responses[-1].header("content-type") == "text/plain; charset=utf-8"
            assert await raw.closed() == b""
            assert server.edge.refusals.counts == {case.reason: 1}
        else:
            await raw.send(END)
            assert (await raw.response()).body == b"/end "
            assert await raw.closed() == b""
            assert server.edge.refusals.counts == {}
            app.log.requests.pop()
        whole = tuple(seen.scope["raw_path"] for seen in app.log.requests if seen.ended == "complete")
        assert case.seen == whole


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bytes_get_their_answer(case: Case) -> None:
    """All at once."""
    run(play(case, slowly=False))


@pytest.mark.parametrize("case", [each for each in CASES if len(each.sent) < 1000], ids=lambda case: case.id)
def test_bytes_get_the_same_answer_one_by_one(case: Case) -> None:
    """However they arrive."""
    run(play(case, slowly=True))


def test_a_body_error_known_at_once_never_starts_the_application() -> None:
    """S32 in one segment: the application is not called for what will be refused."""

    async def main() -> None:
        app = Echo()
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(CHUNKED + b"2;\nxx\r\n0\r\n\r\n" + MARKER)
            assert (await raw.response()).status == 400
            assert app.log.requests == []

    run(main())


@pytest.mark.parametrize("gap", [False, True], ids=["at once", "D04 after the application started"])
def test_trailers_never_become_headers(gap: bool) -> None:
    """F1: neither the scope the application got nor the list it keeps grows."""

    async def main() -> None:
        app = Echo()
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(CHUNKED + b"2\r\nhi\r\n")
            if gap:
                await until(lambda: app.log.requests and app.log.requests[0].body == b"hi")
            await raw.send(b"0\r\nAuthorization: Bearer x\r\nX-User: admin\r\n\r\n")
            assert (await raw.response()).body == b"/ok hi"
            expected = [(b"host", b"gw.test"), (b"transfer-encoding", b"chunked")]
            assert app.log.requests[0].headers == app.log.requests[0].scope["headers"] == expected

    run(main())


def test_continue_is_sent_when_the_application_reads_and_not_before() -> None:
    """S50: a denied request never gets its 100."""

    async def app(scope, receive, send) -> None:
        if scope["path"] == "/denied":
            await reply(send, 403, b"no")
            return
        await receive()
        await reply(send, 200, b"yes")

    async def main() -> None:
        expect = b"Expect: 100-continue\r\nContent-Length: 2\r\n"
        async with serving(app) as server:
            async with Raw(server.port) as raw:
                await raw.send(post(expect))
                await raw.until(b"HTTP/1.1 100 Continue\r\n\r\n")
                await raw.send(b"hi")
                assert (await raw.response()).body == b"yes"
            async with Raw(server.port) as raw:
                await raw.send(post(expect).replace(b"/ok", b"/denied"))
                response = await raw.response()
                # The client may send the body after all or never: the connection is of no further use.
                assert (response.status, response.interim, response.header("connection")) == (
                    403,
                    (),
                    "close",
                )
                assert await raw.closed() == b""

    run(main())


# --- D: time

PARTIAL = b"GET /ok HTTP/1.1\r\nHost: gw.test\r\nX-a: "


async def stalled(sent: Sequence[bytes], seconds: Sequence[float]) -> tuple[bytes, Echo]:
    """Sends pieces of a head with time between them; gives what comes until the server closes."""
    app = Echo()
    async with serving(app) as server, Raw(server.port) as raw:
        (connection,) = await server.connected()
        arrived = 0
        for piece, pause in zip(sent, seconds, strict=True):
            await raw.send(piece)
            arrived += len(piece)
            await until(partial(has_arrived, connection, arrived))
            server.pass_time(pause)
        return await raw.closed(), app


def has_arrived(connection: EdgeProtocol, size: int) -> bool:
    return connection._head is not None and len(connection._head.raw) == size


def test_d01_a_silent_connection_is_closed_after_ten_seconds() -> None:
    """Without a word: nothing was asked."""

    async def main() -> None:
        async with serving(Echo()) as server, Raw(server.port) as raw:
            await server.connected()
            server.pass_time(10.0)
            assert not server.connections[0].transport.is_closing()
            server.pass_time(1.0)
            assert await raw.closed() == b""

    run(main())


def test_d02_a_head_that_does_not_end_is_answered_408() -> None:
    """Also when a byte comes every second."""

    async def main() -> None:
        once, _ = await stalled([PARTIAL], [11.0])
        assert once.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        trickle, app = await stalled([PARTIAL, *([b"x"] * 10)], [1.0] * 11)
        assert trickle.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        assert app.log.requests == []

    run(main())


def test_d03_a_body_that_stops_is_answered_408_and_the_application_told() -> None:
    """R.U.D.Y.: the application's receive() ends, so what it holds upstream is freed."""

    async def main() -> None:
        app = Echo()
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(post(b"Content-Length: 10\r\n", b"x"))
            await until(lambda: app.log.requests and app.log.requests[0].body == b"x")
            server.pass_time(60.0)
            assert app.log.requests[0].ended == ""
            server.pass_time(1.0)
            assert (await raw.response()).status == 408
            assert await raw.closed() == b""
            await until(lambda: app.log.requests[0].ended == "http.disconnect")
            assert server.edge.refusals.counts == {"request_body_timeout": 1}

    run(main())


def test_d03_a_body_that_stops_under_a_response_cuts_it_off() -> None:
    """A second status line in the middle of a body would be worse than none."""

    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"part", "more_body": True})
        while (await receive())["type"] == "http.request":
            pass

    async def main() -> None:
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(post(b"Content-Length: 10\r\n", b"x"))
            await raw.until(b"part\r\n")
            server.pass_time(61.0)
            with pytest.raises(CutOff):
                await raw.response()

    run(main())


def test_d05_a_second_request_behind_an_unknown_upgrade_is_never_seen() -> None:
    """The first is refused, and takes the connection with it."""

    async def main() -> None:
        app = Echo()
        async with serving(app) as server, Raw(server.port) as raw:
            await raw.send(get(b"Connection: Upgrade\r\nUpgrade: foo\r\n"))
            assert (await raw.response()).status == 403
            await raw.send(MARKER)
            assert await raw.closed() == b""
            assert app.log.requests == []

    run(main())


def test_d06_an_idle_connection_lives_75_seconds() -> None:
    """Longer than the 60 s for which load balancers keep connections."""

    async def main() -> None:
        async with serving(Echo()) as server, Raw(server.port) as raw:
            await raw.send(get())
            await raw.response()
            server.pass_time(75.0)
            await raw.send(get())
            await raw.response()
            server.pass_time(76.0)
            assert await raw.closed() == b""
            assert server.edge.refusals.counts == {}

    run(main())
