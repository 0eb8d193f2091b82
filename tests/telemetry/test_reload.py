"""Telemetry documents in a running gateway, and what a reload changes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parse
from support.stage import Backend, answering, route, service, stage
from support.waiting import until

FILTER = """
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: errors, namespace: istio-system}
spec: {accessLogging: [{filter: {expression: "%s"}}]}
---"""
LABEL = """
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: labels}
spec: {metrics: [{overrides: [{tagOverrides: {request_method: {value: request.method}}}]}]}
---"""
ROUTE = "\n  - {name: all, route: [{destination: {host: reviews}}]}"


def numbers(text: bytes, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (sample.labels, sample.value)
        for family in parse(text.decode())
        for sample in family.samples
        if sample.name == name
    ]


async def statuses(gateway) -> list[int]:
    """Of the lines that are in the file; what is collected is handed over first."""
    log = gateway.gateway.telemetry.log
    wanted = log.written + len(log._writer._lines)
    log.flush()
    await until(lambda: log.written >= wanted)
    return [json.loads(line)["response_code"] for line in gateway.log.read_text().splitlines()]


def test_a_reload_changes_what_is_logged_and_counted(tmp_path: Path) -> None:
    """The filter, the labels; counters go on from where they were."""

    async def main() -> None:
        async with Backend(answering).running() as backend:
            plain = service("reviews", backend.port) + route("reviews", ROUTE)
            async with stage(tmp_path, plain + FILTER % "response.code >= 400") as gateway:
                await gateway.get()
                await gateway.get(host="nobody")
                assert await statuses(gateway) == [404]

                text = gateway.config.read_text().replace("response.code >= 400", "response.code < 400")
                gateway.config.write_text(text + LABEL)
                await gateway.gateway.control.reload()
                await gateway.get()
                await gateway.get(host="nobody")
                assert await statuses(gateway) == [404, 200]
                exposition = await asyncio.to_thread(gateway.gateway.telemetry.exposition)

        found = numbers(exposition, "istio_requests_total")
        assert [value for _, value in found] == [1.0] * 4
        assert {(labels["response_code"], labels.get("request_method")) for labels, _ in found} == {
            ("200", None),
            ("404", None),
            ("200", "GET"),
            ("404", "GET"),
        }
        assert numbers(exposition, "gateway_access_log_lines_total") == [({}, 2.0)]

    asyncio.run(main())


def test_a_reload_that_is_refused_changes_nothing(tmp_path: Path) -> None:
    """An expression that cannot work: the old one goes on."""

    async def main() -> None:
        async with Backend(answering).running() as backend:
            plain = service("reviews", backend.port) + route("reviews", ROUTE)
            async with stage(tmp_path, plain + FILTER % "response.code >= 400") as gateway:
                gateway.config.write_text(gateway.config.read_text().replace(">= 400", ">= "))
                result = await gateway.gateway.control.reload()
                assert [finding.code for finding in result.findings if finding.fatal] == ["GW046"]
                await gateway.get(host="nobody")
                assert await statuses(gateway) == [404]

    asyncio.run(main())
