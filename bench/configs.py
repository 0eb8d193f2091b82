"""The configurations that are measured, as the YAML both the gateway and (exported) Envoy run.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.processes import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

    from bench.backends import Backends

SETTINGS = """\
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {{name: bench}}
spec:
  listen: {host}:{port}
  admin: "off"
  accessLog: {log}
---
"""

REVIEWS = """\
apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  ports: [{{number: 9080, name: http, protocol: HTTP}}]
  resolution: STATIC
  endpoints:
  - {{address: 127.0.0.1, ports: {{http: {v1}}}, labels: {{version: v1}}}}
  - {{address: 127.0.0.1, ports: {{http: {v2}}}, labels: {{version: v2}}}}
---
apiVersion: networking.istio.io/v1beta1
kind: DestinationRule
metadata: {{name: reviews}}
spec:
  host: reviews
  subsets:
  - {{name: v1, labels: {{version: v1}}}}
  - {{name: v2, labels: {{version: v2}}}}
---
"""

CANARY = """\
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts:
  - reviews
  http:
  - match:
    - headers:
        user-agent:
          regex: ".*Chrome.*"
    route:
    - destination:
        host: reviews
        subset: v2
      weight: 100
    timeout: 10s
  - route:
    - destination:
        host: reviews
        subset: v1
      weight: 90
    - destination:
        host: reviews
        subset: v2
      weight: 10
    timeout: 10s
"""

PER_FILE = 1000
"""Routes a file: a file has at most 1 MiB."""


def settings(port: int, log: Path | None = None) -> str:
    """The process: its address, and its access log when a file is given."""
    written = f"{{encoding: JSON, path: {log}}}" if log else '{encoding: "OFF"}'
    return SETTINGS.format(host=LOOPBACK, port=port, log=written)


def canary(port: int, services: Backends, log: Path) -> dict[str, str]:
    """The founding document's canary with its timeout, and the access log."""
    return {"routes.yaml": settings(port, log) + REVIEWS.format(v1=services.v1, v2=services.v2) + CANARY}


def stream(port: int, services: Backends) -> dict[str, str]:
    """One route down, one up."""
    text = REVIEWS.format(v1=services.v1, v2=services.sink)
    return {
        "routes.yaml": settings(port)
        + text
        + """\
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /upload}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
"""
    }


def many_routes(
    port: int, services: Backends, count: int, kind: str, *, generation: int = 0
) -> dict[str, str]:
    """`count` routes of one host that differ by path, as prefixes or regular expressions.

    Answers carry the generation, so that a reload can be seen from outside.
    """
    files = {"routes.yaml": settings(port) + REVIEWS.format(v1=services.v1, v2=services.v2)}
    for start in range(0, count, PER_FILE):
        rules = "".join(_rule(number, kind) for number in range(start, min(start + PER_FILE, count)))
        files[f"routes-{start:05}.yaml"] = (
            "apiVersion: networking.istio.io/v1beta1\nkind: VirtualService\n"
            f"metadata: {{name: reviews-{start:05}}}\nspec:\n  hosts: [reviews]\n  http:\n{rules}"
        )
    if generation:
        last = f"routes-{(count - 1) // PER_FILE * PER_FILE:05}.yaml"
        headers = f'    headers: {{response: {{set: {{x-generation: "{generation}"}}}}}}\n'
        files[last] += headers
    return files


def many_policies(port: int, services: Backends, count: int) -> dict[str, str]:
    """The canary's services with `count` policies, none of which is about `/reviews`: half DENY, half ALLOW.

    One more ALLOW policy lets everybody read.
    """
    text = settings(port) + REVIEWS.format(v1=services.v1, v2=services.v2) + CANARY + "---\n"
    policies = "".join(_policy(number) for number in range(count - 1))
    return {"routes.yaml": text, "policies.yaml": policies + _READ}


_READ = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: read}
spec: {rules: [{to: [{operation: {methods: [GET], paths: ["/reviews/*"]}}]}]}
"""


def _policy(number: int) -> str:
    action = "DENY" if number % 2 else "ALLOW"
    source = f'{{source: {{principals: ["cluster.local/ns/default/sa/team-{number}"]}}}}'
    return (
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
        f"metadata: {{name: other-{number:05}}}\nspec:\n  action: {action}\n  rules:\n"
        f'  - {{from: [{source}], to: [{{operation: {{paths: ["/team-{number}/*"]}}}}]}}\n---\n'
    )


def last_path(count: int) -> str:
    """A request for the last of `many_routes`."""
    return f"/r{count - 1:05}/7"


def _rule(number: int, kind: str) -> str:
    match = f"{{prefix: /r{number:05}/}}" if kind == "prefix" else f"{{regex: '/r{number:05}/[0-9]+'}}"
    return f"  - match: [{{uri: {match}}}]\n    route: [{{destination: {{host: reviews, subset: v1}}}}]\n"
