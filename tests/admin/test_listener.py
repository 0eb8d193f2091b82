"""The admin listener over real HTTP: what it answers, to whom, and what it never shows."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from gateway.admin import AdminListener
from gateway.admin.app import Exposition
from gateway.control import Control, State

SECRET = "s3cr3t-v4lue"
GOOD = f"""\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, weight: 3, ports: {{http: 9081}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: "reviews"}}
spec:
  hosts: [reviews]
  http:
  - name: first
    match: [{{headers: {{authorization: {{exact: "Bearer {SECRET}"}}}}}}]
    directResponse: {{status: 204}}
  - route: [{{destination: {{host: reviews}}}}]
    headers: {{request: {{set: {{authorization: "Basic {SECRET}"}}}}}}
"""
BAD = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hots: [a]}\n"
ADMIN = {"x-gateway-admin": "1"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "<b>routes.yaml"
    path.write_text(GOOD)
    return path


def write(file: Path, text: str) -> None:
    file.write_text(text)


def serve(
    file: Path,
    play: Callable[[httpx.AsyncClient, Control], Awaitable[None]],
    *,
    address: str = "127.0.0.1:0",
    metrics: Exposition | None = None,
) -> None:
    """Runs `play` with a client of a real listener."""

    async def main() -> None:
        control = Control(file, watch=False)
        control.load_first()
        await control.start()
        listener = AdminListener(address=address, metrics=metrics)
        await listener.start(control)
        try:
            async with httpx.AsyncClient(base_url=f"http://{listener.address}") as client:
                await play(client, control)
        finally:
            await listener.stop()
            await control.stop()

    asyncio.run(main())


def test_readiness_follows_the_state(file: Path) -> None:
    """Load balancers stay away before the start is complete and once it drains."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        answers = []
        for state in State:
            control.state = state
            answer = await client.get("/ready")
            answers.append((answer.status_code, answer.text.strip()))
        assert answers == [(503, "starting"), (200, "ready"), (503, "draining")]
        assert (await client.get("/healthz")).status_code == 200

    serve(file, play)


def test_draining_is_asked_for_once(file: Path) -> None:
    """POST /drain; the process goes on answering."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        assert (await client.post("/drain", headers=ADMIN)).status_code == 200
        assert (control.state, (await client.get("/ready")).status_code) == (State.DRAINING, 503)

    serve(file, play)


def test_a_reload_tells_what_became_of_it(file: Path) -> None:
    """Applied and unchanged are fine; refused is 422 with every finding, and the old generation serves."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        seen = []
        for text in (GOOD + "# more\n", GOOD + "# more\n", BAD):
            write(file, text)
            answer = await client.post("/reload", headers=ADMIN)
            seen.append((answer.status_code, answer.json()["outcome"], answer.json()["generation"]))
        assert seen == [(200, "applied", 2), (200, "unchanged", 2), (422, "refused", 2)]
        (finding,) = [item for item in answer.json()["findings"] if item["fatal"]]
        assert (finding["path"], finding["line"], finding["column"]) == (str(file), 4, 8)
        assert control.generation == 2

    serve(file, play)


def test_the_dump_shows_what_serves_without_secrets(file: Path) -> None:
    """Documents, files, virtual hosts, clusters, and the attempt that failed since."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        write(file, BAD)
        await control.reload()
        answer = await client.get("/config_dump")
        dump = answer.json()
        assert SECRET not in answer.text
        assert "[redacted sha256:" in answer.text
        assert (dump["generation"], dump["last_reload"]["outcome"]) == (1, "refused")
        assert [item["fatal"] for item in dump["last_reload"]["findings"]] == [True]
        assert [item["path"] for item in dump["sources"]] == [str(file)]
        assert [item["kind"] for item in dump["documents"]] == [
            "GatewaySettings",
            "VirtualService",
            "ServiceEntry",
        ]
        (host,) = [host for item in dump["listeners"] for host in item["virtual_hosts"]]
        assert "reviews" in host["domains"]
        assert [route["name"] for route in host["routes"]] == ["first", ""]
        assert host["routes"][1]["destinations"][0]["known"] is True

    serve(file, play)


def test_documents_are_shown_as_they_were_written(file: Path) -> None:
    """Istio's names, and no defaults that nobody wrote: what is shown can be applied again."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        documents = (await client.get("/config_dump")).json()["documents"]
        (entry,) = [item for item in documents if item["kind"] == "ServiceEntry"]
        assert entry["spec"] == {
            "hosts": ["reviews"],
            "ports": [{"number": 9080, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "endpoints": [{"address": "127.0.0.1", "weight": 3, "ports": {"http": 9081}}],
        }

    serve(file, play)


def test_clusters_are_shown_as_json_and_as_text(file: Path) -> None:
    """Address, weight and what is going on at each endpoint."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        found = (await client.get("/clusters?format=json")).json()
        (cluster,) = [item for item in found["clusters"] if item["host"].startswith("reviews")]
        (endpoint,) = cluster["endpoints"]
        assert (endpoint["address"], endpoint["weight"], endpoint["active"]) == ("127.0.0.1:9081", 3, 0)
        assert (endpoint["health"], endpoint["connections"]) == ("healthy", 0)
        text = (await client.get("/clusters")).text
        assert f"{cluster['name']}::127.0.0.1:9081::weight::3\n" in text
        assert (await client.get("/clusters?format=xml")).status_code == 400

    serve(file, play)


def test_metrics_are_what_telemetry_writes(file: Path) -> None:
    """In the format that is asked for, at both addresses."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        for path in ("/metrics", "/stats/prometheus"):
            for accept, kind in (("*/*", "text/plain"), ("application/openmetrics-text", "application/")):
                answer = await client.get(path, headers={"accept": accept})
                assert answer.headers["content-type"].startswith(kind)
                assert answer.headers["vary"] == "accept"
                assert answer.text == f"openmetrics {kind != 'text/plain'}"

    def written(*, openmetrics: bool) -> bytes:
        return f"openmetrics {openmetrics}".encode()

    serve(file, play, metrics=written)


def test_without_telemetry_there_are_the_numbers_of_the_control(file: Path) -> None:
    """What was applied and what was refused."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        write(file, BAD)
        await control.reload()
        answer = await client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.text.splitlines()
        assert "gateway_config_reload_errors_total 1.0" in lines
        assert "gateway_config_generation 1.0" in lines
        assert "gateway_config_last_reload_successful 0.0" in lines
        assert not any(line.startswith("istio_") for line in lines)

    serve(file, play)


def test_log_levels_are_read_and_set(file: Path) -> None:
    """For all of the gateway or one logger; never for somebody else's."""
    logger = logging.getLogger("gateway.control.control")
    usual = logger.level

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        answer = await client.post("/logging?level=debug&logger=gateway.control.control", headers=ADMIN)
        assert answer.json()["gateway.control.control"] == "debug"
        assert logger.level == logging.DEBUG
        assert (await client.get("/logging")).json()["gateway.control.control"] == "debug"
        refused = [
            (await client.post(f"/logging?{query}", headers=ADMIN)).status_code
            for query in ("level=loud", "level=debug&logger=httpx", "level=debug&logger=gateway.nothing")
        ]
        assert refused == [400, 404, 404]

    try:
        serve(file, play)
    finally:
        logger.setLevel(usual)


def test_a_rebound_name_is_refused(file: Path) -> None:
    """A page of evil.example whose name now means 127.0.0.1 reads nothing (CVE-2018-14505)."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        for path in ("/", "/config_dump", "/metrics", "/nothing"):
            answer = await client.get(path, headers={"host": "evil.example:15000"})
            assert (answer.status_code, "reviews" in answer.text) == (421, False)
        answer = await client.post("/drain", headers={"host": "evil.example:15000", **ADMIN})
        assert (answer.status_code, control.state) == (421, State.READY)

    serve(file, play)


def test_a_write_without_the_header_is_refused(file: Path) -> None:
    """A form or a fetch of another site cannot add it: nobody answers its preflight."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        write(file, GOOD + "# more\n")
        for headers in ({}, {"x-gateway-admin": "0"}, {"origin": "https://evil.example"}):
            for path in ("/reload", "/drain", "/logging?level=debug"):
                assert (await client.post(path, headers=headers)).status_code == 403
        assert (control.generation, control.state) == (1, State.READY)
        preflight = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        answer = await client.options("/reload", headers=preflight)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control-")]

    serve(file, play)


def test_reads_change_nothing(file: Path) -> None:
    """A GET of what needs POST is 405: a link or an image cannot drain."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        assert [(await client.get(path)).status_code for path in ("/reload", "/drain")] == [405, 405]
        assert control.state is State.READY

    serve(file, play)


def test_answers_cannot_be_framed_sniffed_or_shared(file: Path) -> None:
    """On every answer, the refusals included."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        answers = [await client.get(path) for path in ("/", "/config_dump", "/nothing")]
        answers.append(await client.get("/", headers={"host": "evil.example"}))
        for answer in answers:
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers
            assert "access-control-allow-origin" not in answer.headers

    serve(file, play)


def test_the_index_escapes_what_it_did_not_write(file: Path) -> None:
    """A file may be called anything (CVE-2026-73546)."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        answer = await client.get("/help")
        assert answer.headers["content-type"].startswith("text/html")
        assert "&lt;b&gt;routes.yaml" in answer.text
        assert "<b>" not in answer.text

    serve(file, play)


def test_two_hosts_are_one_too_many(file: Path) -> None:
    """Which of them would be checked is nobody's guess."""

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        host, port = client.base_url.host, client.base_url.port
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /config_dump HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        answer = await reader.readuntil(b"\r\n")
        writer.close()
        assert b" 400 " in answer

    serve(file, play)


def test_a_taken_port_is_a_warning(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The gateway goes on without the pages."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        async def main() -> None:
            control = Control(file, watch=False)
            control.load_first()
            await control.start()
            listener = AdminListener(address=address)
            await listener.start(control)
            assert listener.address is None
            await listener.stop()
            await control.stop()

        asyncio.run(main())

    assert [record.levelname for record in caplog.records if address in record.getMessage()] == ["WARNING"]


@pytest.mark.parametrize(
    ("given", "variable", "setting", "listens"),
    [
        (None, None, "127.0.0.1:0", True),
        (None, None, "off", False),
        (None, "off", "127.0.0.1:0", False),
        (None, "127.0.0.1:0", "off", True),
        ("off", "127.0.0.1:0", "127.0.0.1:0", False),
    ],
)
def test_who_says_where_it_listens(file: Path, monkeypatch, given, variable, setting, listens: bool) -> None:
    """The program, else GATEWAY_ADMIN, else the settings; `off` opens nothing."""
    monkeypatch.delenv("GATEWAY_ADMIN", raising=False)
    if variable is not None:
        monkeypatch.setenv("GATEWAY_ADMIN", variable)
    settings = (
        "apiVersion: gateway.asgi/v1\nkind: GatewaySettings\nmetadata: {name: s}\nspec: {admin: '%s'}\n"
    )
    file.write_text(f"{settings % setting}---\n{GOOD}")

    async def main() -> None:
        control = Control(file, watch=False)
        control.load_first()
        await control.start()
        listener = AdminListener(address=given)
        await listener.start(control)
        assert (listener.address is not None) is listens
        await listener.stop()
        await control.stop()

    asyncio.run(main())


def test_other_loggers_are_left_alone(file: Path) -> None:
    """The listener's server must not silence the access log of the one in front."""
    access = logging.getLogger("uvicorn.access")
    handler = logging.NullHandler()
    access.addHandler(handler)
    before = access.propagate

    async def play(client: httpx.AsyncClient, control: Control) -> None:
        await client.get("/healthz")
        assert (handler in access.handlers, access.propagate) == (True, before)

    try:
        serve(file, play)
    finally:
        access.removeHandler(handler)
