"""`/requests` and `/stats.json` of the admin listener, on exchanges made by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from gateway.admin import AdminListener
from gateway.control import Control
from gateway.exchange.exchange import Attempt, Exchange
from gateway.http.flags import Flag
from gateway.http.peer import Peer
from gateway.http.place import Place
from gateway.http.request import Request
from gateway.server.refusal import SEVERAL_HOSTS, Refusals
from gateway.telemetry.recorder import Recorder

SECRET = "pl4nt3dS3cr3t"
JWT = f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJ{SECRET}In0.{SECRET}"
CONFIG = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  ports: [{number: 9080, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: 9081}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: keyed
    match: [{headers: {x-api-key: {exact: pl4nt3dS3cr3t}}}]
    directResponse: {status: 204}
  - name: slow
    match: [{uri: {prefix: /slow}}]
    route: [{destination: {host: reviews}}]
    timeout: 2s
  - route: [{destination: {host: reviews}}]
"""

Play = Callable[[httpx.AsyncClient, Recorder, Control], Awaitable[None]]


def serve(folder: Path, play: Play, **more: Any) -> None:
    async def main() -> None:
        file = folder / "routes.yaml"
        await asyncio.to_thread(file.write_text, CONFIG)
        control = Control(file, watch=False)
        control.load_first()
        await control.start()
        recorder = Recorder()
        listener = AdminListener(address="127.0.0.1:0", recorder=recorder, **more)
        await listener.start(control)
        try:
            async with httpx.AsyncClient(base_url=f"http://{listener.address}") as client:
                await play(client, recorder, control)
        finally:
            await listener.stop()
            await control.stop()

    asyncio.run(main())


def ended(
    control: Control, path: str = "/", status: int = 200, *, took: float = 0.01, **more: Any
) -> Exchange:
    """An exchange that ends now."""
    now = time.monotonic()
    made = Exchange(control.snapshot, now - took, Place(("127.0.0.1", 5000), ("127.0.0.1", 80)))
    name, _, query = path.partition("?")
    headers = more.pop("headers", [])
    made.request = Request(
        "GET",
        "http",
        b"reviews",
        more.pop("host", "reviews"),
        name.encode(),
        query.encode(),
        headers,
        80,
        "127.0.0.1",
        "127.0.0.1",
    )
    made.request_id = more.pop("request_id", f"id{path}")
    made.status, made.ended_at = status, now
    made.route = control.snapshot.default.match(made.request)
    if made.route is not None and made.route.answer is None:
        made.destination = made.route.choose(0)
        assert made.destination.cluster is not None
        made.endpoint = made.destination.cluster.endpoints[0]
        made.attempt_at, made.waiting_since = now - took, now - took
        made.upstream_status, made.service_time = status, took
    for key, value in more.items():
        setattr(made, key, value)
    return made


def fill(recorder: Recorder, control: Control) -> None:
    for made in (
        ended(control, "/a"),
        ended(control, "/slow/1", 504, took=2.0, flags=(Flag.UPSTREAM_TIMEOUT,), details="response_timeout"),
        ended(control, "/b", 503, flags=(Flag.UPSTREAM_CONNECT_FAILURE,), details="upstream_reset_before_response_started{connection_timeout}"),
        ended(control, "/none", 404, host="other", flags=(Flag.NO_ROUTE,), details="route_not_found"),
    ):  # fmt: skip
        recorder.record(made, made.ended_at)


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("", ["/none", "/b", "/slow/1", "/a"]),
        ("limit=2", ["/none", "/b"]),
        ("failed=1", ["/b", "/slow/1"]),
        ("status=503", ["/b"]),
        ("status=5xx", ["/b", "/slow/1"]),
        ("flag=UF", ["/b"]),
        ("flag=any", ["/none", "/b", "/slow/1"]),
        ("route=slow", ["/slow/1"]),
        ("route=default/reviews http[2]", ["/b", "/a"]),
        ("cluster=reviews", ["/b", "/slow/1", "/a"]),
        ("endpoint=127.0.0.1:9081", ["/b", "/slow/1", "/a"]),
        ("path=/slow", ["/slow/1"]),
        ("min_ms=1000", ["/slow/1"]),
        ("id=id/a", ["/a"]),
        ("status=5xx&path=/b", ["/b"]),
    ],
)
def test_requests_are_filtered(tmp_path: Path, query: str, paths: list[str]) -> None:
    """The newest first."""

    async def play(client: httpx.AsyncClient, recorder: Recorder, control: Control) -> None:
        fill(recorder, control)
        answer = await client.get(f"/requests?{query}")
        assert [item["path"] for item in answer.json()["requests"]] == paths
        assert answer.json()["kept"] == {"recent": 4, "failed": 2, "refused": 1}

    serve(tmp_path, play)


@pytest.mark.parametrize("query", ["status=abc", "limit=-1", "min_ms=x", "colour=red"])
def test_a_question_without_sense_is_refused(tmp_path: Path, query: str) -> None:
    """And not answered with everything."""

    async def play(client: httpx.AsyncClient, recorder: Recorder, control: Control) -> None:
        answer = await client.get(f"/requests?{query}")
        assert answer.status_code == 400
        assert answer.text.strip()

    serve(tmp_path, play)


def test_one_request_has_its_whole_story(tmp_path: Path) -> None:
    """Attempts with their times, the decision, cause and remedy."""

    async def play(client: httpx.AsyncClient, recorder: Recorder, control: Control) -> None:
        made = ended(
            control, "/slow/1", 504, took=2.0, flags=(Flag.UPSTREAM_TIMEOUT,), details="response_timeout"
        )
        endpoint = made.endpoint
        assert endpoint is not None
        began = made.started_at
        details = "upstream_reset_before_response_started{remote_connection_failure}"
        first = Attempt(
            endpoint,
            began + 0.1,
            None,
            None,
            began + 0.2,
            0,
            Flag.UPSTREAM_CONNECT_FAILURE,
            details,
            False,
            "",
        )
        made.earlier, made.attempt_at, made.connected_at, made.upstream_status = (
            (first,),
            began + 0.25,
            began + 0.5,
            0,
        )
        recorder.record(made, made.ended_at)
        told = (await client.get("/requests/id/slow/1")).json()

        assert [attempt["flag"] for attempt in told["attempts"]] == ["UF", "-"]
        assert (told["attempts"][0]["start_ms"], told["attempts"][0]["connected_ms"]) == (100.0, None)
        assert (told["attempts"][1]["start_ms"], told["attempts"][1]["connected_ms"]) == (250.0, 500.0)
        assert told["attempts"][1]["end_ms"] == pytest.approx(2000, abs=0.01)
        assert "no complete answer within 2 s" in told["cause"]
        assert "127.0.0.1:9081" in told["culprit"]
        assert told["notes"][0].startswith("It was tried 2 times")
        assert told["decision"]["route"]["name"] == "slow"
        assert (told["generation"], told["changed"]) == (1, "")

    serve(tmp_path, play)


def test_a_story_survives_a_reload(tmp_path: Path) -> None:
    """What took it then, and what would now."""

    async def play(client: httpx.AsyncClient, recorder: Recorder, control: Control) -> None:
        fill(recorder, control)
        file = tmp_path / "routes.yaml"
        await asyncio.to_thread(file.write_text, CONFIG.replace("/slow", "/quick"))
        await control.reload()
        told = (await client.get("/requests/id/slow/1")).json()
        assert (told["generation"], told["route"]) == (1, "slow")
        assert told["changed"] == (
            "the configuration changed since: then default/reviews http[1].match[0] took it,"
            " now default/reviews http[2] would"
        )

    serve(tmp_path, play)


def test_a_request_turned_away_before_routing_did_not_see_another_configuration(tmp_path: Path) -> None:
    """It has no route because it came to none; 404 has none because there was none."""

    async def play(client: httpx.AsyncClient, recorder: Recorder, control: Control) -> None:
        for number, (flag, details) in enumerate(
            ((Flag.RATE_LIMITED, "local_rate_limited"), (Flag.NO_ROUTE, "route_not_found"))
        ):
            made = ended(
                control, "/slow/1", 400, flags=(flag,), details=details, route=None, request_id=f"a{number}"
            )
            made.destination = made.endpoint = None
            recorder.record(made, made.ended_at)
        limited, unrouted = [(await client.get(f"/requests/a{number}")).json() for number in range(2)]
        assert limited["changed"] == ""
        assert limited["decision"]["route"]["name"] == "slow"
        assert unrouted["changed"].startswith("the configuration changed since: then no route took it")

    serve(tmp_path, play)


def test_an_unknown_request_is_404(tmp_path: Path) -> None:
    """With a sentence."""

    async def play(client: httpx.AsyncClient, recorder: Recorder, control: Control) -> None:
        answer = await client.get("/requests/nothing")
        assert answer.status_code == 404
        assert "no such request" in answer.text

    serve(tmp_path, play)


def test_a_request_that_was_no_valid_http_is_told(tmp_path: Path) -> None:
    """It has an id as well; what it sent is shown without credentials."""
    refusals = Refusals()
    head = b"GET /a?token=pl4nt3dS3cr3t HTTP/1.1\r\nHost: a\r\nHost: b\r\nCookie: id=pl4nt3dS3cr3t\r\n\r\n"
    wanted = refusals.record(SEVERAL_HOSTS, head, ("203.0.113.7", 5000), 1_700_000_000.0)

    async def play(client: httpx.AsyncClient, recorder: Recorder, control: Control) -> None:
        answer = await client.get(f"/requests/{wanted}")
        told = answer.json()
        assert (told["status"], told["details"], told["method"]) == (400, "several_hosts", "GET")
        assert "Host header" in told["cause"]
        assert SECRET not in answer.text

    serve(tmp_path, play, edge=lambda: SimpleNamespace(refusals=refusals))


def test_planted_secrets_never_show(tmp_path: Path) -> None:
    """Headers, query, referer, certificates, conditions of routes: in lists and in stories."""

    async def play(client: httpx.AsyncClient, recorder: Recorder, control: Control) -> None:
        headers = [
            (name, f"{before}{SECRET}".encode())
            for name, before in (
                (b"authorization", "Bearer "), (b"cookie", "id="), (b"set-cookie", "id="), (b"x-api-key", ""),
                (b"x-auth-token", ""), (b"referer", "http://u:p@h/?token="), (b"x-forwarded-client-cert", "Cert="),
            )
        ]  # fmt: skip
        headers.append((b"x-other", f"Bearer {JWT}".encode()))
        path = f"/a/{JWT}?access_token={SECRET}&api_key={SECRET}&q=1"
        for status, flags in ((200, ()), (503, (Flag.UPSTREAM_TERMINATION,)), (404, (Flag.NO_ROUTE,))):
            made = ended(control, path, status, headers=list(headers), flags=flags, request_id=f"id{status}")
            made.response_headers = [(b"set-cookie", SECRET.encode())]
            made.request.claims = {"sub": SECRET}
            made.request.peer = Peer(pem=SECRET)
            recorder.record(made, made.ended_at)
        texts = [
            (await client.get(path)).text
            for path in ("/requests", "/requests/id200", "/requests/id503", "/requests/id404", "/stats.json")
        ]
        assert not [text for text in texts if SECRET in text]
        assert all("[redacted]" in text for text in texts[:-1])

    serve(tmp_path, play)


def test_stats_tell_routes_and_clusters(tmp_path: Path) -> None:
    """Of whole seconds; clusters without requests as well."""

    async def play(client: httpx.AsyncClient, recorder: Recorder, control: Control) -> None:
        fill(recorder, control)
        recorder._close(recorder._next)
        told = (await client.get("/stats.json?seconds=10")).json()
        assert (told["total"]["requests"], told["total"]["failures"]) == (4, 2)
        assert told["total"]["success_percent"] == 50.0
        assert {row["route"]: row["requests"] for row in told["routes"]} == {
            "default/reviews http[2]": 2,
            "slow": 1,
            "": 1,
        }
        (cluster,) = told["clusters"]
        assert (cluster["requests"], cluster["endpoints"], cluster["ejected"], cluster["in_flight"]) == (
            3,
            1,
            0,
            0,
        )
        assert cluster["p99_ms"] == pytest.approx(2000, rel=0.15)
        for bad in ("0", "61", "x"):
            assert (await client.get(f"/stats.json?seconds={bad}")).status_code == 400

    serve(tmp_path, play)
