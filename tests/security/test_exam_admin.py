"""The admin listener of a real `gateway run` (security.md D27, D28): pages of other sites, rebound names, paths, and
credentials of every kind in what it shows.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING

import pytest
from support.attacks import get
from support.raw import PATIENCE, Raw
from support.tokens import jwk, jwks, private_key
from support.whole import CLOSE, House, houses

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = """\
  extensionProviders:
  - name: authz
    envoyExtAuthzHttp: {service: authz.test, port: 80, includeAdditionalHeadersInCheck: {%(pairs)s}}
"""
NAMES = (
    "authorization", "cookie", "proxy-authorization", "x-api-key", "x-apikey", "apikey", "x-auth-token", "x-access-token",
    "x-jwt", "x-jwt-assertion", "x-session", "x-session-id", "x-csrf-token", "x-secret", "x-client-secret", "x-password",
    "x-amz-security-token", "x-goog-api-key", "x-hub-signature", "x-vault-token", "ocp-apim-subscription-key",
    "x-functions-key", "private-token", "x-auth", "x-otp", "x-pin", "x-credentials",
)  # fmt: skip
PLAIN = "Zq8plain"
"""What is no secret, and stays readable."""


def secret(name: str, where: str) -> str:
    return f"Zq9{where}{NAMES.index(name):02}x"


def pairs(where: str) -> str:
    return ", ".join(f'{name}: "{secret(name, where)}"' for name in NAMES)


MATCHES = ", ".join(f'{{headers: {{{name}: {{exact: "{secret(name, "m")}"}}}}}}' for name in NAMES)
WHEN = ", ".join(f'{{key: "request.headers[{name}]", values: ["{secret(name, "w")}"]}}' for name in NAMES)
SCHEMES = (
    "Bearer Zq9bearerAbcdef",
    "Basic Zq9basicAbcdef12",
    "eyJhbGciOiJub25lIn0.eyJacSI6OX0.Zq9jwtSignature",
)
ODD = ", ".join(f'x-harmless-{number}: "{text}"' for number, text in enumerate(SCHEMES))
OCT = b"Zq9oct" + b"k" * 40
CONFIG = f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: gw, annotations: {{note: "https://Zq9user:Zq9pass@wiki.test/"}}}}
spec:
  hosts: [gw.test]
  http:
  - name: "<img src=x onerror=alert(1)>"
    match: [{{headers: {{x-plain: {{exact: {PLAIN}}}}}}}, {MATCHES}]
    headers: {{request: {{set: {{{pairs("s")}, {ODD}, x-plain: {PLAIN}}}, add: {{{pairs("a")}}}}}, response: {{set: {{set-cookie: "Zq9setcookie"}}}}}}
    directResponse: {{status: 200}}
  - redirect: {{uri: "/login"}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens}}
spec: {{jwtRules: [{{issuer: https://a, jwks: '%(keys)s'}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: no}}
spec: {{action: DENY, rules: [{{when: [{WHEN}]}}]}}
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("admin")
    keys = jwks(jwk(private_key()), jwk(OCT, "o"))
    yield from houses(
        folder,
        CONFIG % {"keys": keys},
        settings=SETTINGS % {"pairs": pairs("e")},
        admin="127.0.0.1:0",
    )


PAGES = (
    "/", "/help", "/ready", "/healthz", "/status", "/config_dump", "/clusters", "/clusters?format=json", "/metrics", "/requests", "/stats.json",
    "/logging", "/console/api/overview", "/console/api/graph", "/console/api/routes", "/console/api/clusters",
    "/console/api/rejected", "/console/api/identities", "/console/api/traces", "/console/api/generations",
    "/console/api/documents",
)  # fmt: skip


@pytest.mark.parametrize("page", PAGES)
def test_d28_no_secret_of_the_configuration_is_shown(page: str, house: House) -> None:
    """By the name it stands under, or by its shape, wherever it was written; what is none can be read."""
    house.ask(get(b"X-Plain: " + PLAIN.encode() + b"\r\nAuthorization: Bearer Zq9client\r\n" + CLOSE))
    answer = house.admin(page)
    assert answer.status == 200
    shown = answer.body.decode()
    assert sorted({shown[at : at + 30] for at in range(len(shown)) if shown.startswith("Zq9", at)}) == []
    assert base64.urlsafe_b64encode(OCT)[:20].decode() not in shown
    if page == "/config_dump":
        assert PLAIN in shown
        assert "[redacted sha256:" in shown


@pytest.mark.parametrize("page", ["/", "/help", "/console/api/routes", "/config_dump"])
def test_d27_names_of_the_configuration_are_no_markup(page: str, house: House) -> None:
    """A route is called `<img src=x onerror=...>`: as HTML it is escaped, as JSON it is nothing else."""
    answer = house.admin(page)
    kind = answer.header("content-type") or ""
    assert answer.header("x-content-type-options") == "nosniff"
    assert "default-src 'none'" in (answer.header("content-security-policy") or "")
    if kind.startswith("text/html"):
        assert b"<img src=x" not in answer.body
    else:
        assert kind.startswith("application/json")
        json.loads(answer.body)


HOSTS = {
    "attacker.test": 421,
    "localhost.attacker.test": 421,
    "127.0.0.1.attacker.test": 421,
    "attacker.test:15000": 421,
    "localhost.": 421,
    "localhost@attacker.test": 421,
    "attacker.test#localhost": 421,
    "0.0.0.0": 421,
    "0": 421,
    "2130706433": 421,
    "0x7f000001": 421,
    "127.1": 421,
    "017700000001": 421,
    "[::]": 421,
    "[::ffff:127.0.0.1]": 421,
    "192.168.0.1": 421,
    "169.254.169.254": 421,
    "": 421,
    "localhost": 200,
    "LOCALHOST:80": 200,
    "127.0.0.1:1": 200,
    "127.0.0.2": 200,
    "[::1]:15000": 200,
}


@pytest.mark.parametrize("host", HOSTS)
def test_d27_a_rebound_name_is_refused(host: str, house: House) -> None:
    """Whatever a page's name resolves to, it is that name in Host."""
    headers = f"Host: {host}\r\nX-Forwarded-Host: localhost\r\n".encode()
    assert house.admin("/config_dump", headers=headers).status == HOSTS[host]


def test_d27_one_host_is_named(house: House) -> None:
    """None, two, and one in the target are refused, or are the one that counts."""
    assert house.plays_admin(b"GET /status HTTP/1.1\r\n\r\n").status == 400
    assert (
        house.plays_admin(b"GET /status HTTP/1.1\r\nHost: localhost\r\nHost: attacker.test\r\n\r\n").status
        == 400
    )
    absolute = b"GET http://localhost/status HTTP/1.1\r\nHost: attacker.test\r\nConnection: close\r\n\r\n"
    assert house.plays_admin(absolute).status in {400, 404, 421}


SIMPLE = (
    b"",
    b"Content-Type: application/x-www-form-urlencoded\r\n",
    b"Content-Type: text/plain\r\n",
    b"Content-Type: multipart/form-data; boundary=x\r\n",
    b"Origin: http://localhost\r\nSec-Fetch-Site: same-site\r\n",
    b"X-HTTP-Method-Override: POST\r\n",
    b"x-gateway-admin: 0\r\n",
    b"x-gateway-admin:\r\n",
    b"x-gateway-admin: 1, 1\r\n",
    b"x_gateway_admin: 1\r\n",
)


@pytest.mark.parametrize("more", SIMPLE)
@pytest.mark.parametrize("path", ["/drain", "/reload", "/logging?level=debug"])
def test_d27_another_site_s_form_changes_nothing(path: str, more: bytes, house: House) -> None:
    """What a browser sends for any page without asking: 403; a read by another method: 405."""
    host = b"Host: localhost\r\n"
    assert house.admin(path, method="POST", headers=host + more).status == 403
    assert house.admin(path, method="PUT", headers=host + more).status == 403
    if path != "/logging?level=debug":
        assert house.admin(path, method="GET", headers=host + more).status == 405
    assert house.admin("/ready").status == 200
    assert json.loads(house.admin("/status").body)["generation"] == 1


def test_d27_no_permission_for_other_origins(house: House) -> None:
    """A preflight gets none, and no answer names an origin."""
    ask = (
        b"Host: localhost\r\nOrigin: http://attacker.test\r\nAccess-Control-Request-Method: POST\r\n"
        b"Access-Control-Request-Headers: x-gateway-admin\r\nAccess-Control-Request-Private-Network: true\r\n"
    )
    for method in ("OPTIONS", "GET"):
        answer = house.admin("/status", method=method, headers=ask)
        assert not [name for name, _ in answer.headers if name.startswith("access-control-")]
        assert answer.header("cross-origin-resource-policy") == "same-origin"


TRAVERSALS = (
    "/../../../../etc/passwd", "/console/../../../etc/passwd", "/console/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/console/..%2f..%2f..%2fetc%2fpasswd", "/console/....//....//etc/passwd", "/console//etc/passwd", "/console/%00",
    "/console/..%5c..%5cetc%5cpasswd", "/console/__init__.py", "/console/../api.py", "/console/static/../api.py",
    "/console/api/../../admin.py", "/console/api/documents/../../../../etc/passwd", "/console/file:///etc/passwd",
    "/console/.git/config", "/console/%252e%252e/api.py",
)  # fmt: skip


@pytest.mark.parametrize("path", TRAVERSALS)
def test_d27_files_outside_the_console_are_not_served(path: str, house: House) -> None:
    """Only files that were read from the package at the start have a name."""
    answer = house.admin(path)
    assert answer.status in {400, 404}
    assert b"root:" not in answer.body
    assert b"from __future__" not in answer.body


def test_the_listener_is_not_a_proxy(house: House) -> None:
    """CONNECT, TRACE, absolute addresses of others: refused."""
    for sent in (
        b"CONNECT evil.test:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: localhost\r\nx-gateway-admin: 1\r\nConnection: close\r\n\r\n",
        b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n",
    ):
        answer = house.plays_admin(sent)
        assert answer.status >= 400
        assert b"evil.test" not in answer.body


def test_a_crowd_at_the_admin_listener_is_the_listener_s_own(house: House) -> None:
    """A hundred and fifty connections that say nothing there: requests are served all the same."""

    async def main() -> int:
        assert house.process.admin_port is not None
        crowd = [await asyncio.open_connection("127.0.0.1", house.process.admin_port) for _ in range(150)]
        try:
            async with asyncio.timeout(PATIENCE), Raw(house.port()) as client:
                await client.send(get(b"X-Plain: " + PLAIN.encode() + b"\r\n"))
                return (await client.response()).status
        finally:
            for _, writer in crowd:
                writer.transport.abort()

    assert house.run(main()) == 200
