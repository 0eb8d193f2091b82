"""What needs attention: said once, with the place to look at."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from console.minted import certificate

from gateway.admin.console import Sources
from gateway.admin.console.flows import Flows
from gateway.admin.console.overview import overview
from gateway.control import Control, State

CONFIG = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}, {address: 127.0.0.2}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a}
spec:
  host: a.example
  trafficPolicy:
    connectionPool: {tcp: {maxConnections: 1}}
    tls: {mode: SIMPLE, caCertificates: MISSING}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: empty}
spec:
  hosts: [empty.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
"""


def told(tmp_path: Path, change: Any) -> list[str]:
    """The sentences, after `change` was done to a started control."""
    path = tmp_path / "routes.yaml"
    path.write_text(CONFIG.replace("MISSING", str(certificate(tmp_path, "missing", 3))))

    async def main() -> list[str]:
        control = Control(path, watch=False)
        control.load_first()
        await control.start()
        try:
            await change(control)
            answer = overview(Sources(control), Flows(None))
            return [f"{item['severity']}: {item['text']}" for item in answer["attention"]]
        finally:
            await control.stop()

    return asyncio.run(main())


def test_everything_that_is_wrong_is_said(tmp_path: Path) -> None:
    """A refused change, draining, a certificate nobody can read, an empty cluster, ejected and failing, full."""

    async def change(control: Control) -> None:
        cluster = control.snapshot.clusters["outbound|80||a.example"]
        cluster.endpoints[0].failed_check = True
        cluster.endpoints[1].track = SimpleNamespace(ejected_until=1e9)  # type: ignore[assignment]
        cluster.pool.connections = 1
        (tmp_path / "missing.pem").unlink()
        gone = control.tls.refresh()
        assert gone is not None
        control.tls.commit(gone)
        control.paths[0].write_text("kind: Nothing\n- [")
        await control.reload()
        control.drain()

    sentences = told(tmp_path, change)
    wanted = (
        "error: The last change was refused: ",
        "warning: The gateway is draining: load balancers stay away.",
        f"warning: {tmp_path}/missing.pem: no such file",
        "warning: 127.0.0.2:80 ejected from a.example",
        "warning: 127.0.0.1:80 failing the health checks of a.example",
        "warning: a.example is at its limit: max connections",
        "error: outbound|80||empty.example has no endpoint",
    )
    assert [text for text in wanted if not any(sentence.startswith(text) for sentence in sentences)] == []


def test_what_is_well_is_not_mentioned(tmp_path: Path) -> None:
    """Only the empty cluster, and the certificate that ends in three days."""

    async def change(control: Control) -> None:
        assert control.state is State.READY

    assert [
        text for text in told(tmp_path, change) if "a.example" in text and "missing.pem" not in text
    ] == []
