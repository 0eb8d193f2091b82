"""Keys that are fetched: from a real server, on time, and never at a request's cost."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from support.jwks import IssuerServer, moved, page
from support.key_fetching import Running, config, on, run
from support.tokens import NOW, jwk, jwks, private_key, token

from gateway.security.jwks import COOLDOWN, LEAST_REFRESH, MOST_REFRESH, MOST_WAITING, REFRESH, FetchedKeys
from gateway.security.jwks_fetch import DISCOVERY, MOST_BYTES, Fetched
from gateway.security.jwt_failure import Undecided

KEYS = jwks(jwk(private_key()))
NEW = private_key("RSA", "b")


def test_keys_are_there_when_the_first_request_comes() -> None:
    """`start` waits for them; the request asks for nothing compressed and sends no cookie."""

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}) as server, Running(config(on(server))) as running:
            assert running.says(token()) == "in"
            assert server.asked == ["/keys"]
            assert b"accept-encoding: identity" in server.heads[0].lower()
            assert b"cookie" not in server.heads[0].lower()
            (known,) = running.state.providers
            assert (known["issuer"], known["source"]) == ("https://a", f"{server.url}/keys")
            assert (known["last_success"], known["last_error"], known["generation"]) == (NOW, "", 1)
            assert [key["kid"] for key in known["keys"]] == ["k1"]
            assert private_key().public_key().public_numbers().n > 0
            assert jwk(private_key())["n"] not in repr(known)

    run(main)


def test_keys_are_found_by_discovery() -> None:
    """The issuer's document says where they are."""

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}) as server:
            found = {"issuer": server.url, "jwks_uri": f"{server.url}/keys"}
            server.answers[DISCOVERY] = page(json.dumps(found))
            async with Running(config({"issuer": server.url})) as running:
                assert running.says(token(iss=server.url)) == "in"
                assert server.asked == [DISCOVERY, "/keys"]

    run(main)


async def _never() -> bytes:
    await asyncio.Event().wait()
    return b""


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LARGE = b"x" * (MOST_BYTES + 1)
BAD_ANSWERS: dict[str, tuple[Any, str]] = {
    "missing": (page("", status="404 Not Found"), "status 404"),
    "broken": (page("", status="500 Oops"), "status 500"),
    "large": (page(LARGE), "more than"),
    "large without length": (HEAD + b"Connection: close\r\n\r\n" + LARGE, "more than"),
    "compressed": (page(b"\x1f\x8b", "Content-Encoding: gzip"), "compressed"),
    "cut off": (HEAD + b"Content-Length: 100\r\n\r\n{", "ProtocolError"),
    "not http": (b"hello\r\n\r\n", "ProtocolError"),
    "silent": (b"", "ProtocolError"),
    "not json": (page("<html>"), "not a JSON object"),
    "no keys": (page("{}"), "no list of keys"),
    "empty": (page(jwks()), "no usable key"),
    "malformed key": (page(jwks({"kty": "RSA", "n": "AQAB", "e": "AQAB"})), "no usable key"),
    "weak key": (page(jwks(jwk(b"short"))), "no usable key"),
    "redirect in a circle": (moved("/keys"), "too many redirects"),
    "redirect to a file": (moved("file:///etc/passwd"), "not a URL"),
    "redirect to plain http": (moved("http://10.255.255.1/"), "plain HTTP"),
    "redirect to nowhere": (moved("http://[::"), "InvalidURL|not a URL|RemoteProtocolError"),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answers_leave_the_keys_there_are(name: str) -> None:
    """Whatever comes: no exception, known tokens go on, and why is told (J10)."""
    answer, says = BAD_ANSWERS[name]

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}) as server, Running(config(on(server))) as running:
            server.answers["/keys"] = answer
            await running.keys.refresh()
            (known,) = running.state.providers

            assert running.says(token()) == "in"
            assert running.keys.generation == 1
            assert any(part in known["last_error"] for part in says.split("|")), known["last_error"]
            assert known["last_success"] == NOW

    run(main)


def test_a_fetched_secret_that_is_too_short_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    """J14: the other keys go on, and the log says why, once a set."""

    async def main() -> None:
        keys = jwks(jwk(private_key()), jwk(b"s" * 31, "k2"))
        async with IssuerServer({"/keys": page(keys)}) as server, Running(config(on(server))) as running:
            assert running.says(token()) == "in"
            await running.keys.refresh()
            (known,) = running.state.providers
            assert [key["kid"] for key in known["keys"]] == ["k1"]

    run(main)
    said = [record.getMessage() for record in caplog.records if "31 bytes" in record.getMessage()]
    assert len(said) == 1
    assert "key 2: a secret of 31 bytes; HS256 needs 32 (RFC 7518 3.2); it verifies nothing" in said[0]


def test_without_keys_every_token_is_refused() -> None:
    """A server that is down when we start: refused as Envoy does, and let in once it is up."""

    async def main() -> None:
        async with IssuerServer() as server, Running(config(on(server))) as running:
            assert running.says(token()) == "Jwks remote fetch is failed"
            server.answers["/keys"] = page(KEYS)
            await running.sleep.asleep()
            running.sleep.wake()
            await server.asked_times(2)
            await running.sleep.asleep()
            assert running.says(token()) == "in"

    run(main)


def test_failures_are_repeated_ever_more_slowly() -> None:
    """1, 2, 4 seconds, and so on to a minute."""

    async def main() -> None:
        async with IssuerServer() as server, Running(config(on(server))) as running:
            for count in range(1, 9):
                await server.asked_times(count)
                await running.sleep.asleep()
                running.sleep.wake()
            asked = running.sleep.asked[:8]
            longest = [1, 2, 4, 8, 16, 32, 60, 60]
            assert all(0.9 * most <= pause <= most for pause, most in zip(asked, longest, strict=True)), asked

    run(main)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("X-None: 1", REFRESH),
        ("Cache-Control: public, max-age=900", 900.0),
        ("Cache-Control: max-age=5", LEAST_REFRESH),
        ("Cache-Control: max-age=999999999999", MOST_REFRESH),
        ("Cache-Control: max-age=x", REFRESH),
    ],
)
def test_keys_are_fetched_as_often_as_their_server_says(header: str, expected: float) -> None:
    """Within reason."""

    async def main() -> None:
        async with (
            IssuerServer({"/keys": page(KEYS, header)}) as server,
            Running(config(on(server))) as running,
        ):
            await running.sleep.asleep()
            (pause,) = running.sleep.asked
            assert 0.9 * expected <= pause <= expected

    run(main)


def test_rotation() -> None:
    """A new key beside the old one, then alone: no valid token is refused, and the old key's end with it (J11)."""
    first, second = token(), token(NEW, "k2")

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}) as server, Running(config(on(server))) as running:

            async def refreshed(*keys: dict[str, Any]) -> None:
                server.answers["/keys"] = page(jwks(*keys))
                await running.sleep.asleep()
                running.sleep.wake()
                await running.sleep.asleep()

            assert running.says(first) == "in"
            await refreshed(jwk(private_key()), jwk(NEW, "k2"))
            assert [running.says(first), running.says(second)] == ["in", "in"]
            await refreshed(jwk(NEW, "k2"))
            assert running.says(second) == "in"
            assert running.says(first) == "Jwks doesn't have key to match kid or alg from Jwt"
            assert running.keys.generation == 3
            await refreshed(jwk(NEW, "k2"))
            assert (running.keys.generation, running.state.providers[0]["cached_tokens"]) == (3, 1)

    run(main)


def test_an_unknown_key_is_asked_for() -> None:
    """A token with a new key may come before the refresh: whoever waits gets its answer."""

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}) as server, Running(config(on(server))) as running:
            server.answers["/keys"] = page(jwks(jwk(NEW, "k2")))
            running.clock.advance(COOLDOWN)
            reply = running.reply(token(NEW, "k2"))
            assert isinstance(reply, Undecided)
            assert reply.settled is not None
            assert await reply.settled() is True
            assert running.says(token(NEW, "k2")) == "in"

    run(main)


def test_a_storm_of_unknown_keys_causes_one_fetch() -> None:
    """A thousand made-up key ids: one fetch in a cooldown, and the requests are refused at once (J09)."""

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}) as server, Running(config(on(server))) as running:
            made_up = [token(kid=f"x{number}") for number in range(1000)]
            replies = [running.reply(text) for text in made_up]
            assert {type(reply) for reply in replies} != {Undecided}
            assert all(reply is not None and not isinstance(reply, Undecided) for reply in replies)
            assert server.asked == ["/keys"]

            running.clock.advance(COOLDOWN)
            replies = [running.reply(text) for text in made_up]
            await running.keys.refresh()
            assert running.keys.fetches == 2
            assert len(server.asked) == 2
            assert all(reply is not None and reply.status == 401 for reply in replies)
            assert not isinstance(running.reply(made_up[0]), Undecided)
            assert running.says(token()) == "in"

    run(main)


def test_only_so_many_requests_wait() -> None:
    """The others are refused at once."""
    made_up = [token(kid=f"x{number}") for number in range(MOST_WAITING + 5)]

    async def main() -> None:
        done = asyncio.Event()

        async def late() -> bytes:
            await done.wait()
            return page("", status="500 Oops")

        async with IssuerServer({"/keys": page(KEYS)}) as server, Running(config(on(server))) as running:
            server.answers["/keys"] = late
            running.clock.advance(COOLDOWN)
            waiting = []
            for text in made_up:
                reply = running.reply(text)
                if isinstance(reply, Undecided) and reply.settled is not None:
                    waiting.append(asyncio.ensure_future(reply.settled()))
                    await asyncio.sleep(0)
            assert len(waiting) == MOST_WAITING
            done.set()
            assert set(await asyncio.gather(*waiting)) == {False}
            assert server.asked == ["/keys", "/keys"]

    run(main)


def test_who_waits_is_let_go_in_time() -> None:
    """A fetch that takes long holds no request."""

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}) as server, Running(config(on(server))) as running:
            server.answers["/keys"] = _never
            running.clock.advance(COOLDOWN)
            running.keys.patience = 0.01
            reply = running.reply(token(kid="x"))
            assert isinstance(reply, Undecided)
            assert reply.settled is not None
            assert await reply.settled() is False

    run(main)


def test_a_bad_signature_causes_no_fetch() -> None:
    """The key is known; only the token is wrong."""

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}) as server, Running(config(on(server))) as running:
            running.clock.advance(COOLDOWN)
            assert running.says(token(NEW)) == "Jwt verification fails"
            assert running.keys.fetches == 1
            assert server.asked == ["/keys"]

    run(main)


def test_nothing_in_a_token_is_fetched() -> None:
    """`jku` and `x5u` are addresses an attacker wrote (J07)."""

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}) as server, Running(config(on(server))) as running:
            running.clock.advance(COOLDOWN)
            evil = {"jku": f"{server.url}/evil", "x5u": f"{server.url}/evil", "jwk": jwk(NEW)}
            assert running.says(token(NEW, header=evil)) == "Jwt verification fails"
            assert server.asked == ["/keys"]

    run(main)


def test_rules_with_the_same_keys_fetch_them_once() -> None:
    """Also when they differ in what they allow."""

    async def main() -> None:
        async with IssuerServer({"/keys": page(KEYS)}) as server:
            rules = on(server), on(server, audiences=["x"])
            async with Running(config(*rules)) as running:
                assert len(running.state.providers) == 2
                assert server.asked == ["/keys"]

    run(main)


def test_a_reload_keeps_keys_and_lets_go_of_those_it_does_not_name() -> None:
    """What stays is not fetched again; what is gone is not fetched any more."""

    async def main() -> None:
        async with (
            IssuerServer({"/keys": page(KEYS), "/other": page(KEYS)}) as server,
            Running(config(on(server))) as running,
        ):
            kept = running.keys
            assert running.says(token()) == "in"
            await running.state.follow(config(on(server), on(server, "/other")))
            assert server.asked == ["/keys", "/other"]
            assert running.state.providers[0]["cached_tokens"] == 1
            await running.state.follow(config(on(server, "/other")))
            assert [known["source"] for known in running.state.providers] == [f"{server.url}/other"]
            running.sleep.wake()
            await server.asked_times(3)
            await running.sleep.asleep()
            assert server.asked == ["/keys", "/other", "/other"]
            assert kept.current is not None

    run(main)


def test_a_start_does_not_wait_for_ever() -> None:
    """An issuer that does not answer holds nobody up; its keys come when they come."""
    answered = asyncio.Event()

    async def main() -> None:
        async def late() -> bytes:
            await answered.wait()
            return page(KEYS)

        async with (
            IssuerServer({"/keys": late}) as server,
            Running(config(on(server, timeout="60s")), patience=0.05) as running,
        ):
            assert running.says(token()) == "Jwks remote fetch is failed"
            answered.set()
            await running.sleep.asleep()
            assert running.says(token()) == "in"
            assert server.asked == ["/keys"]

    run(main)


def test_following_is_undisturbed_by_what_no_loop_runs() -> None:
    """A decision that is only explained, without a running gateway, starts nothing."""
    running = Running(config({"issuer": "https://a", "jwksUri": "https://127.0.0.1:1/k"}))

    assert running.says(token()) == "Jwks remote fetch is failed"
    assert running.keys.fetches == 0


def test_an_error_nobody_thought_of_is_one_failure() -> None:
    """Keys stay, and fetching goes on."""

    async def main() -> None:
        answers: list[Any] = [Fetched(KEYS.encode()), RuntimeError("?"), Fetched(jwks(jwk(NEW)).encode())]

        async def fetch() -> Fetched:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            assert isinstance(answer, Fetched)
            return answer

        keys = FetchedKeys("test", fetch)
        seen = []
        for _ in range(3):
            await keys.refresh()
            seen.append((keys.generation, keys.last_error))
        assert seen == [(1, ""), (1, "RuntimeError"), (2, "")]

    run(main)
