"""A gateway under traffic, and a Prometheus that scrapes it in both formats.

Lifetime: process.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml
from support.backend import RecordingBackend, dead_port
from support.certificates import Certs, authority, leaf
from support.otlp import HttpReceiver
from support.process import GatewayServer, gateway
from support.prometheus import Prometheus

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
        for _ in range(600):
            left = {title: query for title, query in left.items() if not self.prometheus.query(query)}
            if not left:
                break
            threading.Event().wait(0.1)
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
