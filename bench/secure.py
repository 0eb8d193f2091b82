"""The materials of the security scenario: certificates, a token, the policies, and Envoy with the same.

Lifetime: process.
"""

from __future__ import annotations

import base64
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.configs import settings
from bench.processes import LOAD_CORE, LOOPBACK, Child, free_port, tool
from bench.subjects import Envoy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLEEP = "cluster.local/ns/default/sa/sleep"
BACKEND = "cluster.local/ns/default/sa/reviews"


class Materials:
    """Certificates in files, and a signed token with the key that verifies it."""

    def __init__(self, directory: Path) -> None:
        # Made by the code that `gateway certs` and `gateway token` use; only here, beside the measurements.
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - as above
        from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415 - as above

        from gateway.tls import mint  # noqa: PLC0415 - as above

        self.folder = directory / "materials"
        authority = mint.make_authority("bench")
        for name, leaf in (
            ("edge", mint.Leaf(dns_names=("reviews",))),
            ("backend", mint.Leaf(principal=BACKEND, dns_names=("reviews",))),
            ("sleep", mint.Leaf(principal=SLEEP)),
        ):
            mint.write_credential(self.folder / name, mint.issue(authority, leaf), authority.pem)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        numbers = key.public_key().public_numbers()
        self.jwks = json.dumps(
            {"keys": [{"kty": "RSA", "kid": "k", "n": _number(numbers.n), "e": _number(numbers.e)}]}
        )
        claims = {"iss": "https://bench", "sub": "alice", "scope": "read", "exp": int(time.time()) + 86400}
        signed = f"{_part({'alg': 'RS256', 'kid': 'k', 'typ': 'JWT'})}.{_part(claims)}"
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        self.token = f"{signed}.{_b64(signature)}"

    def files(self, name: str) -> tuple[Path, Path, Path]:
        """Certificate, key, authorities."""
        place = self.folder / name
        return place / "tls.crt", place / "tls.key", place / "ca.crt"


def _b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _part(value: object) -> str:
    return _b64(json.dumps(value).encode())


def _number(value: int) -> str:
    return _b64(value.to_bytes((value.bit_length() + 7) // 8, "big"))


POLICIES = """\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens}}
spec: {{jwtRules: [{{issuer: https://bench, jwks: '{jwks}', forwardOriginalToken: true}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: no-admin}}
spec: {{action: DENY, rules: [{{to: [{{operation: {{paths: ["/admin*"]}}}}]}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: tokens-only}}
spec: {{action: DENY, rules: [{{from: [{{source: {{notRequestPrincipals: ["*"]}}}}]}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: allow-read}}
spec:
  action: ALLOW
  rules:
  - from: [{{source: {{principals: ["{sleep}"]}}}}]
    to: [{{operation: {{methods: [GET]}}}}]
    when: [{{key: "request.auth.claims[scope]", values: [read]}}]
---
"""
SERVICE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}, labels: {{app: reviews}}}}]
---
"""
EDGE = """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge}}
spec:
  servers:
  - port: {{number: {port}, name: https, protocol: HTTPS}}
    bind: 127.0.0.1
    hosts: [reviews]
    tls: {{mode: MUTUAL, serverCertificate: {crt}, privateKey: {key}, caCertificates: {ca}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: default}}
spec: {{mtls: {{mode: STRICT}}}}
---
"""
ORIGINATION = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: reviews}}
spec:
  host: reviews
  trafficPolicy:
    tls: {{mode: MUTUAL, clientCertificate: {crt}, privateKey: {key}, caCertificates: {ca},
      subjectAltNames: ["spiffe://{backend}"]}}
---
"""
ROUTE = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  gateways: [edge]
  http: [{route: [{destination: {host: reviews}}]}]
---
"""


def documents(port: int, backend: int, materials: Materials) -> dict[str, str]:
    """The configuration."""
    text = settings(port) + SERVICE.format(port=backend)
    text += POLICIES.format(jwks=materials.jwks, sleep=SLEEP)
    crt, key, ca = materials.files("edge")
    text += EDGE.format(port=port, crt=crt, key=key, ca=ca)
    crt, key, ca = materials.files("sleep")
    text += ORIGINATION.format(crt=crt, key=key, ca=ca, backend=BACKEND)
    return {"routes.yaml": text + ROUTE}


class RememberingEnvoy(Envoy):
    """Envoy that keeps verified tokens, as the gateway does."""

    def bootstrap(self, config: Path) -> str:
        """As `Envoy`."""
        made = json.loads(super().bootstrap(config))
        for listener in made["static_resources"]["listeners"]:
            for chain in listener["filter_chains"]:
                for item in chain["filters"][0]["typed_config"]["http_filters"]:
                    for provider in item["typed_config"].get("providers", {}).values():
                        provider["jwt_cache_config"] = {"jwt_cache_size": 1000}
        return json.dumps(made)


_NGINX = """
daemon off; master_process off; worker_processes 1; pid {directory}/{name}.pid;
error_log {directory}/{name}-error.log warn; worker_rlimit_nofile 20000;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
  uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
  {servers}
}}
"""
_BACKEND = """
  server {{
    listen {host}:{port} ssl backlog=4096; ssl_certificate {crt}; ssl_certificate_key {key};
    ssl_client_certificate {ca}; ssl_verify_client on; default_type text/plain;
    location / {{ return 200 "{body}"; }}
  }}
"""
_FRONT = """
  upstream subject-{port} {{ server {host}:{subject}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen {host}:{port} backlog=4096;
    location / {{
      proxy_pass https://subject-{port}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host reviews; proxy_ssl_certificate {crt}; proxy_ssl_certificate_key {key};
      proxy_ssl_server_name on; proxy_ssl_name reviews; proxy_buffering off;
    }}
  }}
"""


@contextmanager
def secure_backend(directory: Path, materials: Materials) -> Iterator[int]:
    """An nginx that wants a client certificate and answers 150 bytes; its port."""
    crt, key, ca = materials.files("backend")
    port = free_port()
    server = _BACKEND.format(host=LOOPBACK, port=port, crt=crt, key=key, ca=ca, body="x" * 150)
    with _nginx(directory, "secure-backend", server, [port]):
        yield port


@contextmanager
def fronts(directory: Path, materials: Materials, subjects: dict[str, int]) -> Iterator[dict[str, int]]:
    """A plain port in front of each subject, behind which `sleep` calls it with its certificate."""
    crt, key, _ = materials.files("sleep")
    ports = {name: free_port() for name in subjects}
    servers = "".join(
        _FRONT.format(host=LOOPBACK, port=ports[name], subject=subject, crt=crt, key=key)
        for name, subject in subjects.items()
    )
    with _nginx(directory, "fronts", servers, list(ports.values())):
        yield ports


@contextmanager
def _nginx(directory: Path, name: str, servers: str, ports: list[int]) -> Iterator[None]:
    conf = directory / f"{name}.conf"
    conf.write_text(_NGINX.format(directory=directory, name=name, servers=servers))
    command = [tool("nginx", "nginx-light"), "-e", directory / f"{name}-start.log", "-c", conf]
    with Child(name, command, directory, core=LOAD_CORE) as child:
        for port in ports:
            child.await_port(port)
        yield
