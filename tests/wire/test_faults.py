"""Faults on purpose, through a whole gateway."""

from __future__ import annotations

import asyncio
from math import sqrt
from pathlib import Path

from support.scripted import forwards, lines, many, reply, scripted, status, told
from support.stage import route, service, stage
from support.waiting import until

SEED = Path(__file__).parent.parent / "config" / "seed"


def fault(path: str, fields: str, more: str = "") -> str:
    """A rule for one path with this fault."""
    return (
        f"\n  - {{match: [{{uri: {{exact: {path}}}}}], fault: {{{fields}}}{more},"
        " route: [{destination: {host: reviews}}]}"
    )


def delay(percent: float, time: str = "50ms") -> str:
    return f"delay: {{fixedDelay: {time}, percentage: {{value: {percent}}}}}"


def abort(percent: float, status: str = "httpStatus: 418") -> str:
    return f"abort: {{{status}, percentage: {{value: {percent}}}}}"


def test_delays_and_aborts_are_answered_and_logged_as_envoy_does(tmp_path: Path) -> None:
    """The delay is outside of the route's timeout, an abort reaches neither backend nor retries."""
    rules = (
        fault("/delayed", delay(100), ", timeout: 20ms")
        + fault("/aborted", abort(100), ", retries: {attempts: 3, retryOn: retriable-status-codes,418}")
        + fault("/both", f"{delay(100)}, {abort(100)}")
        + fault("/never", f"{delay(0, '1h')}, {abort(0)}")
        + fault("/call", abort(100, "grpcStatus: UNAVAILABLE"))
        + forwards()
    ).replace("retryOn: retriable-status-codes,418", 'retryOn: "418"')

    async def main() -> None:
        backend = scripted(reply(200, b"hello"))
        config = service("reviews", backend.port)
        async with backend.running():
            config = service("reviews", backend.port) + route("reviews", rules)
            async with stage(tmp_path, config) as gateway:
                answers = {
                    path: await gateway.get(path, headers=headers)
                    for path, headers in (
                        ("/delayed", ""),
                        ("/aborted", ""),
                        ("/both", ""),
                        ("/never", ""),
                        ("/call", "Content-Type: application/grpc\r\n"),
                    )
                }
                assert {path: status(answer) for path, answer in answers.items()} == {
                    "/delayed": 200, "/aborted": 418, "/both": 418, "/never": 200, "/call": 200,
                }  # fmt: skip
                assert answers["/aborted"].endswith(b"\r\n\r\nfault filter abort")
                assert b"\r\ngrpc-status: 14\r\n" in answers["/call"]
                assert [asked.target for asked in backend.asked] == ["/delayed", "/never"]
                assert {item["path"]: item["response_flags"] for item in lines(gateway)} == {
                    "/delayed": "DI", "/aborted": "FI", "/both": "DI,FI", "/never": "-", "/call": "FI",
                }  # fmt: skip
                details = {item["path"]: item["response_code_details"] for item in lines(gateway)}
                assert details["/both"] == "fault_filter_abort"
                assert next(item for item in lines(gateway) if item["path"] == "/delayed")["duration"] >= 50

    asyncio.run(main())


def test_shares_come_true(tmp_path: Path) -> None:
    """A third of 900 within 4 sigma."""
    count, share = 900, 1 / 3

    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + route("reviews", fault("/", abort(33.3333)))
            async with stage(tmp_path, config) as gateway:
                aborted = (await many(gateway, count)).count(418)
                assert abs(aborted - share * count) <= 4 * sqrt(count * share * (1 - share))
                assert len(backend.asked) == count - aborted

    asyncio.run(main())


def test_a_client_that_leaves_ends_its_delay(tmp_path: Path) -> None:
    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running():
            config = service("reviews", backend.port) + route("reviews", fault("/", delay(100, "1h")))
            async with stage(tmp_path, config) as gateway:
                before = asyncio.all_tasks()
                _, writer = await gateway.connect()
                writer.write(b"GET / HTTP/1.1\r\nHost: reviews\r\n\r\n")
                await until(lambda: bool(asyncio.all_tasks() - before))  # it waits now
                writer.close()
                await until(lambda: not asyncio.all_tasks() - before)
                assert told(gateway)[:2] == (0, "DI,DC")
                assert backend.asked == []

    asyncio.run(main())


def test_the_fault_injection_block_of_the_founding_document(tmp_path: Path) -> None:
    """One of twenty is a 500, one of ten waits five seconds first; who has to wait is not waited for here."""
    seed = (SEED / "fault.yaml").read_text() + "\n---"
    count = 400

    async def main() -> None:
        backend = scripted(reply(200))
        async with backend.running(), stage(tmp_path, seed + service("ratings", backend.port)) as gateway:
            asking = [asyncio.create_task(gateway.get(host="ratings")) for _ in range(count)]
            done, waiting = await asyncio.wait(asking, timeout=2)
            statuses = [status(task.result()) for task in done]
            for task in waiting:
                task.cancel()
            assert set(statuses) == {200, 500}
            assert abs(len(waiting) - 0.1 * count) <= 4 * sqrt(count * 0.1 * 0.9)
            assert abs(statuses.count(500) - 0.045 * count) <= 4 * sqrt(count * 0.045 * 0.955)

    asyncio.run(main())
