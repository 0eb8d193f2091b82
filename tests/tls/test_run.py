"""`gateway run` with Gateway documents that ask for TLS."""

from __future__ import annotations

import asyncio
import http.client
import signal
import ssl
from pathlib import Path

import pytest
from support.certificates import SLEEP, Certs, authority, leaf
from support.process import DidNotStart, GatewayServer, free_port, gateway

ROUTES = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - {port: {number: %d, name: https, protocol: HTTPS}, bind: 127.0.0.1, hosts: [shop.test],
     tls: {mode: %s, credentialName: shop}}
  - {port: {number: %d, name: http, protocol: HTTP}, bind: 127.0.0.1, hosts: [shop.test],
     tls: {httpsRedirect: true}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.test]
  gateways: [edge]
  http:
  - directResponse: {status: 200, body: {string: hello}}
"""


def routes(folder: Path, mode: str) -> tuple[Path, int, int]:
    """The document, its TLS port and its plain one."""
    path, secure, plain = folder / "routes.yaml", free_port(), free_port()
    path.write_text(ROUTES % (secure, mode, plain))
    return path, secure, plain


class Connection(http.client.HTTPSConnection):
    """To 127.0.0.1, under the name shop.test."""

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname="shop.test")  # type: ignore[attr-defined]


def get(port: int, context: ssl.SSLContext) -> tuple[int, bytes]:
    connection = Connection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": "shop.test"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tls_and_redirect(tmp_path: Path, certs: Certs, workers: str) -> None:
    """Both listeners are opened, in every worker; a drain ends with 0."""
    path, secure, plain = routes(tmp_path, "SIMPLE")
    with gateway(path, port=None, arguments=["--workers", workers]) as process:
        listening = process.wait_for_line(r"listening on (.*)")[1]
        assert listening == f"https://127.0.0.1:{secure} http://127.0.0.1:{plain}"
        context = certs.client()
        assert {get(secure, context) for _ in range(8)} == {(200, b"hello")}
        connection = http.client.HTTPConnection("127.0.0.1", plain, timeout=10)
        connection.request("GET", "/a", headers={"Host": "shop.test"})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("location")) == (301, "https://shop.test/a")
        connection.close()
        process.send(signal.SIGTERM)
        assert process.wait() == 0


def test_mutual_tls_lets_only_its_own_in(tmp_path: Path, certs: Certs) -> None:
    """And the log says why another did not get in, without the client learning it."""
    path, secure, _ = routes(tmp_path, "MUTUAL")
    with gateway(path, port=None) as process:
        assert get(secure, certs.client(leaf(principal=SLEEP))) == (200, b"hello")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get(secure, certs.client(leaf(authority("stranger"), principal=SLEEP)))
        process.wait_for_line("TLS handshake failed: certificate_verify_failed .*server name 'shop.test'")


def test_a_drain_finishes_what_is_under_way(tmp_path: Path, certs: Certs) -> None:
    """On TLS connections as on others: the last answer says that there is no next one."""
    path, secure, _ = routes(tmp_path, "SIMPLE")

    async def main(process: GatewayServer) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", secure, ssl=certs.client(), server_hostname="shop.test"
        )
        writer.write(b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 4\r\n\r\nab")
        await writer.drain()
        process.send(signal.SIGTERM)
        writer.write(b"cd")
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nhello")
        writer.close()

    with gateway(path, port=None) as process:
        asyncio.run(main(process))
        assert process.wait() == 0


def test_a_missing_credential_is_no_start(tmp_path: Path) -> None:
    """Exit 3, with the place that names it."""
    path, _, _ = routes(tmp_path, "SIMPLE")
    with pytest.raises(DidNotStart) as caught:
        gateway(path, port=None)
    assert caught.value.code == 3
    assert 'routes.yaml:7:6  error GW281  credential "shop" is not there' in str(caught.value)


def test_passthrough_is_no_start(tmp_path: Path, certs: Certs) -> None:
    """It cannot be routed."""
    path, _, _ = routes(tmp_path, "PASSTHROUGH")
    with pytest.raises(DidNotStart) as caught:
        gateway(path, port=None)
    assert caught.value.code == 3
    assert "GW331  Gateway default/edge: PASSTHROUGH" in str(caught.value)


def test_a_tls_port_that_a_reload_adds_speaks_tls_at_once(tmp_path: Path, certs: Certs) -> None:
    """With the credential that its own document names."""
    path, secure, _ = routes(tmp_path, "SIMPLE")
    more = free_port()
    with gateway(path, port=None) as process:
        assert get(secure, certs.client()) == (200, b"hello")
        added = (
            f"  - {{port: {{number: {more}, name: more, protocol: HTTPS}}, bind: 127.0.0.1, hosts: [shop.test],\n"
            "     tls: {mode: SIMPLE, credentialName: shop}}\n"
        )
        text = path.read_text().replace("  servers:\n", "  servers:\n" + added)
        fresh = tmp_path / "fresh"
        fresh.write_text(text)
        fresh.replace(path)
        process.wait_for_line(f"listening on https://127.0.0.1:{more} too")
        assert get(more, certs.client()) == (200, b"hello")
        assert process.stop() == 0
