"""Policies and token rules of destinations, at the gateway and at real Envoy on its export."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from support import envoy
from support.certificates import Certs, authority, leaf
from support.jwks import IssuerServer, page
from support.tokens import jwk, jwks, private_key, token

from differential.difference import compare
from differential.gaps import KNOWN
from differential.play import Ask, Outcome, Theatre, theatre
from gateway.tls import mint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))

KEY_B = private_key("RSA", "b")
SOON = int(time.time()) + 600
TOKEN_A = token(exp=SOON)
TOKEN_B = token(KEY_B, "kb", iss="https://b", sub="bob", exp=SOON)

DOCUMENTS = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: s}
spec: {admin: "off", accessLog: {encoding: "OFF"}, labels: {app: edge}}
"""
SERVICE = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %(name)s, namespace: %(namespace)s}
spec:
  hosts: [%(name)s.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %(port)d}, labels: {app: %(name)s}}]
"""
ROUTES = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all}
spec:
  hosts: [a.test]
  http:
  - match: [{uri: {prefix: /judged}}]
    route: [{destination: {host: judged.example}}]
  - match: [{uri: {prefix: /abroad}}]
    route: [{destination: {host: abroad.example}}]
  - match: [{uri: {prefix: /first}}]
    route: [{destination: {host: judged.example}, weight: 100}, {destination: {host: free.example}, weight: 0}]
  - match: [{uri: {prefix: /second}}]
    route: [{destination: {host: judged.example}, weight: 0}, {destination: {host: free.example}, weight: 100}]
  - match: [{uri: {prefix: /copied}}]
    mirror: {host: judged.example}
    route: [{destination: {host: free.example}}]
  - match: [{uri: {prefix: /unknown}}]
    route: [{destination: {host: unknown.example}}]
  - match: [{uri: {prefix: /cors}}]
    corsPolicy: {allowOrigins: [{exact: "https://o.test"}]}
    route: [{destination: {host: judged.example}}]
  - match: [{uri: {prefix: /direct}}]
    directResponse: {status: 200, body: {string: hi}}
  - match: [{uri: {prefix: /free}}]
    route: [{destination: {host: free.example}}]
"""
CLAIMING = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: claiming}
spec:
  hosts: [claims.test]
  http:
  - match: [{headers: {"@request.auth.claims.sub": {exact: root}}}]
    directResponse: {status: 200, body: {string: root}}
  - match: [{headers: {"@request.auth.claims[org][https://name]": {prefix: ac}, x-a: {}}}]
    directResponse: {status: 200, body: {string: acme}}
  - match: [{headers: {"@request.auth.claims.groups": {exact: staff}}}]
    directResponse: {status: 200, body: {string: staff}}
  - match: [{headers: {"@request.auth.claims.scope": {regex: "re.*"}}}]
    directResponse: {status: 200, body: {string: reads}}
  - match: [{headers: {"@request.auth.claims.nick": {}}}]
    directResponse: {status: 200, body: {string: has a nick}}
  - match: [{withoutHeaders: {"@request.auth.claims.sub": {exact: alice}}, uri: {prefix: /}}]
    directResponse: {status: 200, body: {string: not alice}}
  - route: [{destination: {host: free.example}}]
"""
SELECT = "selector: {matchLabels: {app: judged}}"
POLICY = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: %s, namespace: %s%s}
spec: {%s}
"""
TOKENS = """
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: %s}
spec: {%s, jwtRules: [{issuer: "%s", forwardOriginalToken: %s, jwks: '%s'}]}
"""
PEERS = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: %s}
spec: {%s}
"""
A, B = jwks(jwk(private_key())), jwks(jwk(KEY_B, "kb"))


def policy(name: str, spec: str, *, namespace: str = "default", dry: bool = False) -> str:
    """One document."""
    note = ', annotations: {"istio.io/dry-run": "true"}' if dry else ""
    return POLICY % (name, namespace, note, spec)


def to(*paths: str) -> str:
    """Rules that take these paths."""
    return f"rules: [{{to: [{{operation: {{paths: {list(paths)}}}}}]}}]"


YES, NO = to("*/yes"), to("*/no")
LATE = policy("own", to("*/yes", "/direct")) + policy("allow", SELECT + ", " + to("/judged*"))
"""The gateway's own ALLOW policy is judged at destinations, with theirs."""
SETS = {
    "deny": policy("deny", f"{SELECT}, action: DENY, {NO}"),
    "allow": policy("allow", f"{SELECT}, {YES}"),
    "nothing but": policy("nothing", "") + policy("allow", f"{SELECT}, {YES}"),
    "gateway's": policy("own", "selector: {matchLabels: {app: edge}}, " + to("*/yes", "/direct"))
    + policy("allow", SELECT + ", " + to("/judged*")),
    "late": LATE,
    "abroad": policy("there", YES, namespace="abroad") + policy("here", to("/abroad*")),
    "abroad, late": LATE + policy("there", to("/abroad/y*"), namespace="abroad"),
    "abroad, late, not": LATE + policy("there", to("/abroad/n*"), namespace="abroad"),
    "certificates": PEERS % ("default", "mtls: {mode: STRICT}")
    + PEERS % ("free", "selector: {matchLabels: {app: free}}, mtls: {mode: DISABLE}"),
    "certificates of the mesh": (PEERS % ("default", "mtls: {mode: STRICT}")).replace("name: d", "namespace: istio-system, name: d")
    + PEERS % ("free", "selector: {matchLabels: {app: free}}, mtls: {mode: PERMISSIVE}"),
    "dry": policy("deny", f"{SELECT}, action: DENY, {NO}", dry=True)
    + policy("allow", f"{SELECT}, {YES}", dry=True)
    + policy("audit", SELECT + ", action: AUDIT, " + to("*")),
    "tokens": TOKENS % ("b", SELECT, "https://b", "false", B)
    + policy("must", SELECT + ', action: DENY, rules: [{from: [{source: {notRequestPrincipals: ["*"]}}]}]'),
    "both tokens": TOKENS % ("a", "selector: {matchLabels: {app: edge}}", "https://a", "false", A)
    + TOKENS % ("b", SELECT, "https://b", "true", B),
    "forwarded": (TOKENS % ("a", "", "https://a", "true", A)).replace("{, ", "{")
    + TOKENS % ("b", SELECT, "https://b", "false", B)
    + policy("alice", SELECT + ', rules: [{from: [{source: {requestPrincipals: ["https://a/alice"]}}]}]'),
}  # fmt: skip
PLACES = (
    "/judged",
    "/first",
    "/second",
    "/free",
    "/abroad",
    "/unknown",
    "/direct",
    "/nowhere",
    "/copied",
    "/cors",
)
ASKS = [
    *(Ask.of(target=f"{place}{end}") for place in PLACES for end in ("", "/yes", "/no")),
    *(
        Ask.of(target=place, headers=[("authorization", f"Bearer {bearer}")])
        for place in ("/judged", "/first", "/second", "/free")
        for bearer in (TOKEN_A, TOKEN_B, "a.b.c")
    ),
    *(
        Ask.of("OPTIONS", f"/cors{end}", headers=[("origin", "https://o.test"), ("access-control-request-method", "GET")])
        for end in ("", "/no")
    ),
    Ask.of(host="nobody.test"),
]  # fmt: skip


CLAIMS: list[dict[str, Any]] = [
    {},
    {"sub": "root"},
    {"sub": "bob"},
    {"sub": ...},
    {"org": {"https://name": "acme"}},
    {"org": {"https://name": "big"}},
    {"org": "acme"},
    {"groups": ["a", "staff"]},
    {"groups": "staff"},
    {"groups": [1, {"staff": 1}]},
    {"scope": "write read"},
    {"scope": "write"},
    {"nick": ""},
    {"nick": "a\nb"},
    {"nick": 5},
    {"nick": []},
    {"nick": [""]},
    {"nick": None},
]  # fmt: skip


def stage_of(folder: Path, documents: str) -> AbstractAsyncContextManager[Theatre]:
    """Both, on the routes above and these documents."""

    def configuration(ports: Mapping[str, int]) -> str:
        services = (
            SERVICE % {"name": name, "port": port, "namespace": "abroad" if name == "abroad" else "default"}
            for name, port in ports.items()
        )
        return DOCUMENTS + "".join(services) + ROUTES + documents

    return theatre(folder, configuration, ["judged", "free", "abroad"])


def play(folder: Path, documents: str, asks: Sequence[Ask] = ASKS) -> list[tuple[Ask, Outcome, Outcome]]:
    """What becomes of each request at both."""

    async def main() -> list[tuple[Ask, Outcome, Outcome]]:
        async with stage_of(folder, documents) as stage:
            return [(ask, *await stage.ask(ask)) for ask in asks]

    return asyncio.run(main())


@pytest.mark.parametrize("name", SETS)
def test_destinations_are_judged_alike(name: str, tmp_path: Path) -> None:
    """On one destination and several, behind CORS, for copies; where the gateway judges early, and where late."""
    played = play(tmp_path, SETS[name])

    different = {ask.data: found for ask, *both in played if (found := compare(ask, *both, KNOWN))}
    assert different == {}
    statuses = {ours.status for _, ours, _ in played}
    assert statuses >= ({200, 404} if name == "dry" else {200, 401} if "tokens" in name else {200, 403})


def test_routes_are_chosen_by_the_same_claims(tmp_path: Path) -> None:
    """Text, members of lists and of objects; what is no text matches nothing; without token there is none."""
    rule = (TOKENS % ("a", "", "https://a", "true", A)).replace("{, ", "{")
    bearers = [token(**{"exp": SOON, **claims}) for claims in CLAIMS]
    asks = [
        Ask.of(host="claims.test", headers=[("x-a", "1"), ("authorization", f"Bearer {text}")])
        for text in bearers
    ]
    asks += [
        Ask.of(host="claims.test"),
        Ask.of(host="claims.test", headers=[("authorization", "Bearer a.b")]),
    ]
    played = play(tmp_path, CLAIMING + rule, asks)

    different = {
        index: found for index, (ask, *both) in enumerate(played) if (found := compare(ask, *both, KNOWN))
    }
    assert different == {}
    assert {ours.body for _, ours, _ in played} >= {
        b"root",
        b"acme",
        b"staff",
        b"reads",
        b"has a nick",
        b"not alice",
        b"hello",
    }


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_keys_are_fetched_by_both(scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the first request; over TLS from whom the system's authorities vouch for."""
    certs = Certs(tmp_path / "issuer")
    mint.write(tmp_path / "authorities.pem", authority().pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authorities.pem"))
    tls = certs.server(leaf(addresses=("127.0.0.1",))) if scheme == "https" else None
    asks = [
        Ask.of(target="/free", headers=[("authorization", f"Bearer {bearer}")])
        for bearer in (TOKEN_A, TOKEN_B, "a.b.c")
    ]

    async def main() -> tuple[list[tuple[Ask, Outcome, Outcome]], list[str]]:
        async with IssuerServer({"/keys": page(A)}, tls=tls) as issuer:
            rule = TOKENS.replace("jwks:", "jwksUri:") % ("a", "", "https://a", "true", f"{issuer.url}/keys")
            async with stage_of(tmp_path, rule.replace("{, ", "{")) as stage:
                return [(ask, *await stage.ask(ask)) for ask in asks], issuer.asked

    played, asked = asyncio.run(main())
    assert [compare(ask, *both, KNOWN) for ask, *both in played] == [[], [], []]
    assert [ours.status for _, ours, _ in played] == [200, 401, 401]
    assert asked == ["/keys", "/keys"]
