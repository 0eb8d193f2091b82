"""A real Prometheus scrapes a real gateway under traffic, and answers what dashboards ask.

One gateway and one Prometheus for all tests here: they ask until there is an answer.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from support.backend import RecordingBackend, dead_port
from support.certificates import Certs, authority, leaf
from support.otlp import HttpReceiver
from support.process import GatewayServer, gateway
from support.prometheus import Prometheus, complaints

HERE = Path(__file__).parents[2] / "deploy" / "observability"
RULES = sorted((HERE / "prometheus").glob("*.rules.yaml"))
DASHBOARDS = sorted((HERE / "grafana" / "dashboards").glob("*.json"))
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
kind: ServiceEntry
metadata: {name: vault}
spec:
  hosts: [vault.default.svc.cluster.local]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  location: MESH_INTERNAL
  endpoints: [{address: 127.0.0.1, ports: {http: %(vault)d}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: vault}
spec: {host: vault, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
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
  - name: secured
    match: [{uri: {prefix: /secured}}]
    route: [{destination: {host: vault}}]
  - name: all
    retries: {attempts: 3, retryOn: "connect-failure,5xx"}
    route: [{destination: {host: shop}}]
"""
PATHS = ("/", "/", "/", "/late", "/faulty", "/copied", "/secured", "/few", "/few")
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
WHO = "spiffe://cluster.local/ns/default/sa/vault"


# -- the world ---------------------------------------------------------------------------------


async def ask(port: int, path: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n"
    writer.write(f"{head}traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\n\r\n".encode())
    await reader.read()
    writer.close()


async def traffic(port: int, over: asyncio.Event) -> None:
    """What a demo does, and a broken request now and then."""
    while not over.is_set():
        await asyncio.gather(*(ask(port, path) for path in PATHS))
        with socket.create_connection(("127.0.0.1", port)) as broken:
            broken.sendall(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        await asyncio.sleep(0.1)


async def vaulted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A backend behind mutual TLS."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
    await writer.drain()
    writer.close()


class World:
    """Backends, a gateway with traffic, and a Prometheus that scrapes it in both formats."""

    prometheus: Prometheus

    def __init__(self, folder: Path, spans: HttpReceiver) -> None:
        self._folder = folder
        self._spans = spans
        self._ready: threading.Event = threading.Event()
        self._over: Callable[[], object] = lambda: None
        self._failed: BaseException | None = None
        self.server: GatewayServer | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def start(self) -> None:
        """Comes back when requests are answered."""
        self._thread.start()
        self._ready.wait(60)
        if self._failed is not None:
            raise self._failed

    def stop(self) -> None:
        """Ends traffic, gateway and backends."""
        self._over()
        self._thread.join(60)

    async def _main(self) -> None:
        over, loop = asyncio.Event(), asyncio.get_running_loop()
        self._over = lambda: loop.call_soon_threadsafe(over.set)
        try:
            async with RecordingBackend(ANSWER) as good, RecordingBackend(lambda _: b"") as slow:
                vault = await asyncio.start_server(vaulted, "127.0.0.1", 0, ssl=self._tls())
                async with vault:
                    ports = {"good": good.port, "slow": slow.port, "dead": dead_port()}
                    ports["vault"] = vault.sockets[0].getsockname()[1]
                    await self._serve(ports, over)
        except BaseException as error:
            self._failed = error
            raise
        finally:
            self._ready.set()

    async def _serve(self, ports: dict[str, int], over: asyncio.Event) -> None:
        path = self._folder / "routes.yaml"
        path.write_text(ROUTES % {**ports, "log": self._folder / "log"})
        environment = {**self._spans.environment, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        server = await asyncio.to_thread(gateway, path, admin="127.0.0.1:0", env=environment)
        with server:
            self.server = server
            await ask(server.port, "/")
            self._ready.set()
            await traffic(server.port, over)

    def _tls(self) -> ssl.SSLContext:
        certs = Certs(self._folder / "certs")
        certs.put("default", leaf(principal="cluster.local/ns/default/sa/gateway"), authority())
        return certs.server(leaf(principal=WHO.removeprefix("spiffe://")), authority())

    def metrics(self, accept: str) -> tuple[str, str]:
        """Content type and text of the admin's page."""
        return fetched(self.address, accept)

    @property
    def address(self) -> str:
        """Of the admin's page."""
        assert self.server is not None
        return f"http://127.0.0.1:{self.server.admin_port}/metrics"

    def answered(self, queries: Mapping[str, str]) -> dict[str, str]:
        """The queries that never returned anything."""
        left = dict(queries)
        for _ in range(60):
            left = {title: query for title, query in left.items() if not self.prometheus.query(query)}
            if not left:
                break
            threading.Event().wait(1.0)
        return left


def fetched(address: str, accept: str) -> tuple[str, str]:
    request = urllib.request.Request(address, headers={"accept": accept})
    with urllib.request.urlopen(request) as answer:
        return answer.headers["content-type"], answer.read().decode()


class PlainRelay:
    """The page as a scraper gets it that knows no OpenMetrics. A context manager; gives its port."""

    def __init__(self, world: World) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, text = world.metrics("text/plain;version=0.0.4")
                self.send_response(200)
                self.send_header("content-type", kind)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> int:
        self._thread.start()
        return self._server.server_port

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def config_of(folder: Path, admin: int, plain: int) -> Path:
    """deploy's own configuration, with this gateway's address and a second in place of a quarter minute."""
    config = yaml.safe_load((HERE / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{admin}"]
    config["scrape_configs"].append(
        {"job_name": "plain", "static_configs": [{"targets": [f"127.0.0.1:{plain}"]}]}
    )
    config["rule_files"] = [str(path) for path in RULES]
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All of it."""
    folder = tmp_path_factory.mktemp("scrape")
    with HttpReceiver() as spans:
        it = World(folder, spans)
        try:
            it.start()
            assert it.server is not None
            assert it.server.admin_port is not None
            with PlainRelay(it) as plain:
                config = config_of(folder, it.server.admin_port, plain)
                with Prometheus(config, folder / "data") as it.prometheus:
                    yield it
        finally:
            it.stop()


# -- formats -----------------------------------------------------------------------------------


def numbers(families) -> dict[str, set[tuple[tuple[str, str], ...]]]:
    """Which series there are, by name."""
    found: dict[str, set[tuple[tuple[str, str], ...]]] = {}
    for family in families:
        for sample in family.samples:
            found.setdefault(sample.name, set()).add(tuple(sorted(sample.labels.items())))
    return found


@pytest.mark.timeout(120)
def test_text_and_openmetrics_are_the_same_series(world: World) -> None:
    """Both are well formed, say what they are, and a scraper that changes between them loses nothing."""
    # Until the numbers of the first requests are there in both.
    assert world.answered({"slow": 'istio_requests_total{response_flags="UT"}'}) == {}
    kind, text = world.metrics("*/*")
    assert kind.startswith("text/plain; version=0.0.4")
    assert "trace_id" not in text
    # Istio named it so.
    (only,) = complaints(text)
    assert only.startswith("istio_request_duration_milliseconds use base unit")
    kind, openmetrics = world.metrics("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.endswith("# EOF\n")

    plain, other = numbers(parse_text(text)), numbers(parse_openmetrics(openmetrics))
    assert set(plain) == set(other)
    assert len(plain["istio_requests_total"]) > 3
    bounds = {dict(labels)["le"] for labels in plain["istio_request_duration_milliseconds_bucket"]}
    assert bounds == {dict(labels)["le"] for labels in other["istio_request_duration_milliseconds_bucket"]}


@pytest.mark.timeout(120)
def test_prometheus_scrapes_both(world: World) -> None:
    """It asks for OpenMetrics by itself; the other job gets text. Both have the numbers of the control."""
    queries = {
        f"{query} {job}": f'{query}{{job="{job}"}} > 0'
        for query in ("up", "gateway_ready", "istio_requests_total", "gateway_config_reloads_total")
        for job in ("asgi-gateway", "plain")
    }

    assert world.answered(queries) == {}


@pytest.mark.timeout(120)
def test_prometheus_finds_the_trace_behind_a_duration(world: World) -> None:
    """The exemplar of a bucket is the trace of a request in it."""
    for name in ("istio_request_duration_milliseconds", "gateway_route_duration_seconds"):
        for _ in range(30):
            found = world.prometheus.exemplars(f"{name}_bucket")
            if found:
                break
            threading.Event().wait(1.0)
        assert {exemplar["labels"]["trace_id"] for exemplar in found} == {TRACE}


# -- dashboards --------------------------------------------------------------------------------


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Of our own dashboards."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']}", target["expr"]


def rules() -> list[dict[str, str]]:
    texts = [path.read_text(encoding="utf-8") for path in RULES]
    return [rule for text in texts for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


@pytest.mark.timeout(120)
def test_prometheus_answers_every_query_of_dashboards_and_rules(world: World) -> None:
    """Under demo traffic none of them returns nothing."""
    wanted = {
        f"{title} {query}": query.replace("$__rate_interval", "10s").replace('"$job"', '".*"')
        .replace('"$instance"', '".*"')
        for title, query in dashboard_queries()
    } | {rule["record"]: rule["record"] for rule in rules() if "record" in rule}  # fmt: skip
    assert len(wanted) > 60

    assert world.answered(wanted) == {}
    for rule in rules():
        if "alert" in rule:
            world.prometheus.query(rule["expr"])


SIDE = 'reporter=~"source|waypoint"'
SERVICE = 'destination_service=~"shop.default.svc.cluster.local"'
INTO = 'destination_workload="shop", destination_workload_namespace="default"'
OUT = 'source_workload="asgi-gateway", source_workload_namespace="default"'
WORKLOAD = "destination_workload, destination_workload_namespace"


def joined(query: str) -> str:
    """A row of the tables of Istio's mesh dashboard."""
    return f'label_join({query}, "destination_workload_var", ".", {_quoted(WORKLOAD)})'


def _quoted(names: str) -> str:
    return ", ".join(f'"{name}"' for name in names.split(", "))


def quantile(what: str, labels: str, by: str = "") -> str:
    """One of the many percentiles."""
    return f"histogram_quantile(0.99, sum(irate({what}_bucket{{{labels}}}[10s])) by (le{by and ', ' + by}))"


def total(labels: str, by: str = "") -> str:
    """One of the many rates."""
    return f"round(sum(irate(istio_requests_total{{{labels}}}[10s])){by and f' by ({by})'}, 0.001)"


def share(labels: str, by: str = "") -> str:
    """Of requests that did not fail."""
    grouped = by and f" by ({by})"
    good = f'sum(rate(istio_requests_total{{{labels}, response_code!~"5.."}}[10s])){grouped}'
    return f"{good} / sum(rate(istio_requests_total{{{labels}}}[10s])){grouped}"


DURATION, SENT, RECEIVED = (
    "istio_request_duration_milliseconds",
    "istio_response_bytes",
    "istio_request_bytes",
)
ISTIO = {
    "mesh: global request volume": total(SIDE),
    "mesh: global success rate": share(SIDE),
    "mesh: 4xx": f'round(sum(rate(istio_requests_total{{{SIDE}, response_code=~"4.."}}[10s])), 0.01)',
    "mesh: 5xx": f'round(sum(rate(istio_requests_total{{{SIDE}, response_code=~"5.."}}[10s])), 0.01)',
    "mesh: workloads": joined(
        f"sum(rate(istio_requests_total{{{SIDE}}}[10s])) by ({WORKLOAD}, destination_service)"
    ),
    "mesh: latency of workloads": joined(quantile(DURATION, SIDE, WORKLOAD)),
    "mesh: success of workloads": joined(share(SIDE, WORKLOAD)),
    "service: $service": "sum(istio_requests_total{}) by (destination_service)",
    "service: client volume": total(f"{SIDE}, {SERVICE}"),
    "service: client success": share(f"{SIDE}, {SERVICE}"),
    "service: client duration": quantile(DURATION, f"{SIDE}, {SERVICE}") + " / 1000",
    "service: by source and code": total(
        f'connection_security_policy!="mutual_tls", {SIDE}, {SERVICE}, {OUT}',
        "source_workload, source_workload_namespace, response_code",
    ),
    "service: request size": quantile(RECEIVED, f"{SIDE}, {SERVICE}", "source_workload"),
    "service: response size": quantile(SENT, f"{SIDE}, {SERVICE}", "source_workload"),
    "service: by workload": total(f"{SIDE}, {SERVICE}", f"{WORKLOAD}, response_code"),
    "workload: $namespace": "sum(istio_requests_total) by (destination_workload_namespace)",
    "workload: incoming volume": total(f'{INTO}, reporter=~"source"'),
    "workload: incoming by source": total(
        f'connection_security_policy!="mutual_tls", {INTO}', "source_workload, response_code"
    ),
    "workload: incoming success": share(INTO, "source_workload, source_workload_namespace"),
    "workload: outgoing over mTLS": total(
        f'destination_principal=~"spiffe.*", {OUT}, reporter="source"', "destination_service, response_code"
    ),
    "workload: outgoing": total(
        f'destination_principal!~"spiffe.*", {OUT}, reporter="source"', "destination_service, response_code"
    ),
    "workload: outgoing duration": quantile(DURATION, f'{OUT}, reporter="source"', "destination_service"),
    "workload: outgoing size": quantile(RECEIVED, f'{OUT}, reporter="source"', "destination_service"),
}
"""The HTTP panels of Istio's mesh, service and workload dashboards (manifests/addons/dashboards)."""


@pytest.mark.timeout(120)
def test_istios_dashboards_show_the_gateway(world: World) -> None:
    """With the variables that a reader would choose; by their standard labels alone."""
    assert world.answered(ISTIO) == {}
    labels = {name for query in ISTIO.values() for name in re.findall(r"\b(?:source|destination)_\w+", query)}
    assert len(labels) > 6


@pytest.mark.timeout(120)
def test_the_certificates_of_both_sides_are_told(world: World) -> None:
    """What Istio's workload dashboard tells mutual TLS by."""
    query = f'istio_requests_total{{destination_principal="{WHO}", source_principal=~".*/sa/gateway"}}'

    assert world.answered({"principals": query}) == {}
