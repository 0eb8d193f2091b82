"""deploy/observability: rules, dashboards, compose; and a real Prometheus that scrapes a real gateway."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.backend import RecordingBackend, dead_port
from support.process import gateway
from support.prometheus import Prometheus, promtool

from gateway.telemetry.catalog import CATALOG
from gateway.telemetry.runtime import Runtime

HERE = Path(__file__).parents[2] / "deploy" / "observability"
RULES = sorted((HERE / "prometheus").glob("*.rules.yaml"))
DASHBOARDS = sorted((HERE / "grafana" / "dashboards").glob("*.json"))


def load(path: Path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def dashboard_queries() -> Iterator[tuple[str, str]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def rules() -> list[dict[str, str]]:
    return [rule for path in RULES for group in load(path)["groups"] for rule in group["rules"]]


# -- what is written ---------------------------------------------------------------------------


def test_rules_and_configuration_are_what_prometheus_takes() -> None:
    """promtool reads all of it."""
    promtool("check", "rules", *map(str, RULES))
    promtool("check", "config", str(HERE / "prometheus" / "prometheus.yaml"))


def test_alerts_fire_when_they_should_and_not_before() -> None:
    """Burn rates in several windows, and every other alert, against made-up series."""
    promtool("test", "rules", str(HERE / "prometheus" / "rules.test.yaml"))


def test_every_alert_is_tested() -> None:
    """An alert nobody has seen firing may never fire."""
    tests = (HERE / "prometheus" / "rules.test.yaml").read_text()

    assert [rule["alert"] for rule in rules() if "alert" in rule and rule["alert"] not in tests] == []


def test_alerts_say_what_to_do() -> None:
    """A summary, what it means, and a page that has the heading it names."""
    page = (HERE.parents[1] / "docs" / "observability.md").read_text(encoding="utf-8")
    for rule in rules():
        if "alert" in rule:
            assert {"summary", "description", "runbook"} == set(rule["annotations"])
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert f"`{rule['alert']}`" in page


def test_dashboards_are_what_the_script_writes() -> None:
    """They are changed there."""
    made = runpy.run_path(str(HERE / "grafana" / "dashboards.py"))["dashboards"]()

    assert {path.name: json.loads(path.read_text()) for path in DASHBOARDS} == made


def test_dashboards_and_rules_ask_for_metrics_that_exist() -> None:
    """A metric that was renamed would leave an empty panel."""
    known = {metric.name for metric in CATALOG}
    known |= {family.metric.name for family in Runtime().read()}
    asked = " ".join([*(query for _, query in dashboard_queries()), *(rule["expr"] for rule in rules())])
    names = set(re.findall(r"\b(?:istio|gateway|process|python)_[a-z_]+", asked))

    assert {re.sub(r"_(bucket|sum|count)$", "", name) for name in names} - known == set()


def test_panels_lie_beside_each_other() -> None:
    """None covers another, none is wider than the page, each has an id of its own."""
    for path in DASHBOARDS:
        panels = json.loads(path.read_text())["panels"]
        taken: set[tuple[int, int]] = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells
        assert len({panel["id"] for panel in panels}) == len(panels)


def test_what_compose_mounts_is_there() -> None:
    """And nothing is published beyond loopback."""
    compose = load(HERE / "compose.yaml")
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (HERE / source).exists()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    sources = load(HERE / "grafana/provisioning/datasources/datasources.yaml")["datasources"]

    assert {"prometheus", "jaeger"} == {source["uid"] for source in sources}
    assert "latest" not in (HERE / "compose.yaml").read_text()


# -- what happens ------------------------------------------------------------------------------

ROUTES = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: gateway}
spec:
  accessLog: {path: %(log)s}
  timeouts: {requestHead: 1s}
  rateLimits: [{name: few, requests: 1, per: 1s, match: {paths: [/few]}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop}
spec:
  hosts: [shop.default.svc.cluster.local]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints:
  - {address: 127.0.0.1, ports: {http: %(good)d}, labels: {app: shop, version: v1}}
  - {address: 127.0.0.1, ports: {http: %(dead)d}, labels: {app: shop, version: v2}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: slow}
spec:
  hosts: [slow.default.svc.cluster.local]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints: [{address: 127.0.0.1, ports: {http: %(slow)d}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 50}, http: {http1MaxPendingRequests: 50}}
    outlierDetection: {consecutive5xxErrors: 5, baseEjectionTime: 1s, interval: 1s}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
  - name: late
    match: [{uri: {prefix: /late}}]
    timeout: 100ms
    route: [{destination: {host: slow}}]
  - name: faulty
    match: [{uri: {prefix: /faulty}}]
    fault:
      delay: {percentage: {value: 100}, fixedDelay: 1ms}
      abort: {percentage: {value: 100}, httpStatus: 500}
    route: [{destination: {host: shop}}]
  - name: copied
    match: [{uri: {prefix: /copied}}]
    mirrors: [{destination: {host: shop}}]
    route: [{destination: {host: shop}}]
  - name: all
    retries: {attempts: 3, retryOn: "connect-failure,5xx"}
    route: [{destination: {host: shop}}]
"""
PATHS = ("/", "/", "/", "/late", "/faulty", "/copied", "/few", "/few")


def config_of(folder: Path, admin: int) -> Path:
    """deploy's own configuration, with this gateway's address and a second in place of a quarter minute."""
    config = load(HERE / "prometheus" / "prometheus.yaml")
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{admin}"]
    config["rule_files"] = [str(path) for path in RULES]
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


async def ask(port: int, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode())
    await reader.read()
    writer.close()


async def traffic(port: int, over: asyncio.Event) -> None:
    """What a demo does, and a broken request now and then."""
    while not over.is_set():
        await asyncio.gather(*(ask(port, path) for path in PATHS))
        with socket.create_connection(("127.0.0.1", port)) as broken:
            broken.sendall(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        await asyncio.sleep(0.1)


@pytest.mark.timeout(120)
def test_prometheus_answers_every_query_of_dashboards_and_rules(tmp_path: Path) -> None:
    """Under demo traffic none of them returns nothing."""
    queries = dict(dashboard_queries())
    wanted = {
        f"{title} {query}": query.replace("$__rate_interval", "10s").replace('"$job"', '".*"')
        .replace('"$instance"', '".*"')
        for title, query in dashboard_queries()
    } | {rule["record"]: rule["record"] for rule in rules() if "record" in rule}  # fmt: skip
    assert len(queries) > 50

    def silent(_: bytes) -> bytes:
        return b""

    async def main() -> dict[str, str]:
        async with RecordingBackend(ANSWER) as good, RecordingBackend(silent) as slow:
            path = tmp_path / "routes.yaml"
            ports = {"good": good.port, "slow": slow.port, "dead": dead_port(), "log": tmp_path / "log"}
            path.write_text(ROUTES % ports)
            over = asyncio.Event()
            server = await asyncio.to_thread(gateway, path, admin="127.0.0.1:0")
            with server:
                going = asyncio.create_task(traffic(server.port, over))
                try:
                    config = config_of(tmp_path, server.admin_port)
                    return await asyncio.to_thread(answered, config, tmp_path / "data", wanted)
                finally:
                    over.set()
                    await going

    assert asyncio.run(main()) == {}


ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


def answered(config: Path, storage: Path, queries: dict[str, str]) -> dict[str, str]:
    """The queries that never returned anything."""
    with Prometheus(config, storage) as prometheus:
        open_queries = dict(queries)
        for _ in range(60):
            open_queries = {
                title: query for title, query in open_queries.items() if not prometheus.query(query)
            }
            if not open_queries:
                break
            _pause()
        for rule in rules():
            if "alert" in rule:
                prometheus.query(rule["expr"])
        return open_queries


def _pause() -> None:
    import threading

    threading.Event().wait(1.0)
