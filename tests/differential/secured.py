"""Both proxies with TLS on both sides: `gateway run` on a configuration, real Envoy on its export."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import ssl
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from support.certificates import SLEEP, Certs, authority, leaf
from support.envoy import Envoy, validate
from support.process import free_port, gateway
from support.raw import CutOff, Raw
from support.tokens import jwk, jwks, private_key, token

from differential.backend import RecordingBackend
from differential.play import Ask, Outcome, anywhere
from gateway.config import load
from gateway.export import export_envoy
from gateway.tls import mint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

LOG, ENVOY_LOG = "access.log", "envoys.log"
BAD = "cluster.local/ns/default/sa/bad"
BACKEND = "cluster.local/ns/default/sa/backend"
TOKEN = token(exp=int(time.time()) + 600)

DOCUMENTS = """
apiVersion: gateway.asgi/v1
kind: GatewaySettings
metadata: {name: s}
spec: {admin: "off", accessLog: {path: %(log)s}, labels: {app: edge}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - {port: {number: %(secure)d, name: simple, protocol: HTTPS}, bind: 127.0.0.1,
     hosts: [simple.test, "*.wild.test"], tls: {mode: SIMPLE, credentialName: edge}}
  - {port: {number: %(secure)d, name: mutual, protocol: HTTPS}, bind: 127.0.0.1,
     hosts: [mutual.test, inner.wild.test, strict.test, jwt.test, apart.test, hold.test, wrong.test, mesh.test, any.test, quiet.test,
       alien.test],
     tls: {mode: MUTUAL, credentialName: edge}}
  - {port: {number: %(secure)d, name: optional, protocol: HTTPS}, bind: 127.0.0.1,
     hosts: [optional.test], tls: {mode: OPTIONAL_MUTUAL, credentialName: edge}}
  - {port: {number: %(secure)d, name: named, protocol: HTTPS}, bind: 127.0.0.1,
     hosts: [named.test], tls: {mode: MUTUAL, credentialName: edge, subjectAltNames: ["spiffe://%(sleep)s"]}}
  - {port: {number: %(secure)d, name: pinned, protocol: HTTPS}, bind: 127.0.0.1,
     hosts: [pinned.test], tls: {mode: MUTUAL, credentialName: edge, verifyCertificateHash: ["%(pin)s"]}}
  - {port: {number: %(secure)d, name: revoked, protocol: HTTPS}, bind: 127.0.0.1,
     hosts: [revoked.test], tls: {mode: MUTUAL, credentialName: listed}}
  - {port: {number: %(secure)d, name: mesh, protocol: HTTPS}, bind: 127.0.0.1,
     hosts: [istio.test], tls: {mode: ISTIO_MUTUAL}}
  - {port: {number: %(secure)d, name: newest, protocol: HTTPS}, bind: 127.0.0.1,
     hosts: [newest.test], tls: {mode: SIMPLE, credentialName: edge, minProtocolVersion: TLSV1_3}}
  - {port: {number: %(plain)d, name: plain, protocol: HTTP}, bind: 127.0.0.1,
     hosts: ["*"], tls: {httpsRedirect: true}}
  - {port: {number: %(open)d, name: open, protocol: HTTP}, bind: 127.0.0.1, hosts: ["*"]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict}
spec: {selector: {matchLabels: {app: strict}}, mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens}
spec: {jwtRules: [{issuer: "https://a", jwks: '%(jwks)s'}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody-bad}
spec: {action: DENY, rules: [{from: [{source: {principals: ["%(bad)s"]}}]}]}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: tokens-only}
spec:
  action: DENY
  rules:
  - from: [{source: {notRequestPrincipals: ["*"]}}]
    to: [{operation: {hosts: [jwt.test]}}]
  - from: [{source: {notPrincipals: ["cluster.local/ns/*"]}}]
    to: [{operation: {paths: ["/friends"]}}]
  - from: [{source: {notNamespaces: [default]}}]
    to: [{operation: {paths: ["/family"]}}]
  - when: [{key: connection.sni, notValues: [mutual.test]}]
    to: [{operation: {paths: ["/asked"]}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all}
spec:
  hosts: [simple.test, "*.wild.test", mutual.test, optional.test, named.test, pinned.test, revoked.test,
          istio.test, newest.test, jwt.test, open.test]
  http:
  - match: [{uri: {prefix: /strict}}]
    route: [{destination: {host: strict.example}}]
  - match: [{uri: {prefix: /some}}]
    route: [{destination: {host: strict.example}, weight: 100}, {destination: {host: plain.example}, weight: 0},
            {destination: {host: strict.example}, weight: 100}]
  - match: [{uri: {prefix: /direct}}]
    directResponse: {status: 200, body: {string: hi}}
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /here, derivePort: FROM_REQUEST_PORT}
  - route: [{destination: {host: plain.example}}]
"""
SERVICE = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %(name)s}
spec:
  hosts: [%(name)s.example]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %(port)d}, labels: {app: %(name)s}}]
"""
ORIGINATION = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: %(name)s}
spec: {host: %(name)s.example, trafficPolicy: {%(policy)s}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %(name)s}
spec: {hosts: [%(name)s.test], http: [{route: [{destination: {host: %(name)s.example}}]}]}
"""
BELIEVED = "caCertificates: certs/client/ca.crt"
SHOWN = f"clientCertificate: certs/client/tls.crt, privateKey: certs/client/tls.key, {BELIEVED}"
ORIGINATIONS = {
    "apart": f"tls: {{mode: MUTUAL, {SHOWN}, subjectAltNames: ['spiffe://{BACKEND}']}}",
    "wrong": f"tls: {{mode: MUTUAL, {SHOWN}, subjectAltNames: ['spiffe://{SLEEP}']}}",
    "hold": f"tls: {{mode: SIMPLE, {BELIEVED}}}",
    "mesh": "tls: {mode: DISABLE}, portLevelSettings: [{port: {number: 80}, tls: {mode: ISTIO_MUTUAL}}]",
    "quiet": f"tls: {{mode: SIMPLE, {BELIEVED}}}",
    "alien": "tls: {mode: SIMPLE, caCertificates: certs/stranger/ca.crt}",
    "any": f"tls: {{mode: MUTUAL, {SHOWN.removesuffix(f', {BELIEVED}')}, insecureSkipVerify: true}}"
}  # fmt: skip
"""Of a backend that asks for a certificate; the one behind `quiet` and `alien` does not."""


class People:
    """Clients, by the certificates they show."""

    def __init__(self, certs: Certs) -> None:
        self._certs = certs
        stranger = authority("stranger")
        hour = dt.timedelta(hours=1)
        self.pairs: dict[str, mint.Pair | None] = {
            "nobody": None,
            "sleep": leaf(principal=SLEEP, dns_names=("sleep.test",), common_name='odd, "name"'),
            "bad": leaf(principal=BAD),
            "foreign": leaf(stranger, principal=SLEEP),
            "expired": leaf(principal=SLEEP, valid=(-2 * hour, -hour)),
            "revoked": leaf(principal=SLEEP),
            "nameless": leaf(dns_names=("friend.test",)),
            "abroad": leaf(principal="other.test/ns/there/sa/x"),
            "two": leaf(principal=SLEEP, uris=(f"spiffe://{BACKEND}",)),
        }

    def context(self, name: str, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """What one of them connects with."""
        context = self._certs.client(self.pairs[name], name=name)
        context.check_hostname = False  # one certificate for every server
        if version is not None:
            context.maximum_version = version
        return context


class Secured:
    """Both proxies, the backends and the clients."""

    def __init__(self, ours: Mapping[str, int], theirs: Mapping[str, int], people: People) -> None:
        self.people = people
        self.ports = ours, theirs
        self.backends: list[RecordingBackend] = []

    async def ask(
        self,
        ask: Ask,
        who: str = "nobody",
        *,
        sni: str | None = "",
        port: str = "secure",
        version: ssl.TLSVersion | None = None,
        plain: bool = False,
    ) -> tuple[Outcome, Outcome]:
        """The same bytes to both. `sni`: empty for the Host header's, None for none; `plain`: without TLS, as on
        every other port.
        """
        name = ask.header("host")[0] if sni == "" else sni
        tls = self.people.context(who, version) if port == "secure" and not plain else None
        ours, theirs = [await self._one(ports[port], ask, tls, name) for ports in self.ports]
        return ours, theirs

    async def _one(self, port: int, ask: Ask, tls: ssl.SSLContext | None, name: str | None) -> Outcome:
        for backend in self.backends:
            backend.arrivals.clear()
        try:
            async with Raw(port, tls=tls, name=name) as raw:
                await raw.send(ask.data)
                answer = await raw.response()
        except (ssl.SSLError, ConnectionError, CutOff):
            return Outcome(0)
        arrivals = tuple(arrival for backend in self.backends for arrival in backend.arrivals)
        return Outcome(answer.status, tuple(answer.headers), answer.body, answer.interim, arrivals)


def prepare(folder: Path, ports: Mapping[str, int], services: Mapping[str, int]) -> tuple[People, str]:
    """Credentials in `folder/certs`, and the documents."""
    certs = Certs(folder / "certs")
    people = People(certs)
    sleep, revoked = people.pairs["sleep"], people.pairs["revoked"]
    assert sleep is not None
    assert revoked is not None
    edge = leaf(principal="cluster.local/ns/default/sa/edge", dns_names=("edge.test",))
    certs.put("edge", edge, authority())
    certs.put("default", edge, authority())
    certs.put("listed", edge, authority(), crl=mint.revoke(authority(), [revoked.certificate]))
    certs.put("client", leaf(principal="cluster.local/ns/default/sa/edge"), authority())
    certs.put("stranger", edge, authority("stranger"))
    text = DOCUMENTS % {
        **ports,
        "log": folder / LOG,
        "sleep": SLEEP,
        "bad": BAD,
        "pin": sleep.certificate.fingerprint(hashes.SHA256()).hex(),
        "jwks": jwks(jwk(private_key())),
    }
    text += "".join(SERVICE % {"name": name, "port": port} for name, port in services.items())
    text += "".join(ORIGINATION % {"name": name, "policy": rule} for name, rule in ORIGINATIONS.items())
    return people, text


@asynccontextmanager
async def secured(folder: Path, more: str = "") -> AsyncIterator[Secured]:
    """Starts the backends, then both proxies. `more`: further documents, made with the ports."""
    certs = Certs(folder / "certs")
    pair = leaf(principal=BACKEND, dns_names=("quiet.example", "hold.example"))
    asking, quiet = certs.server(pair, authority()), certs.server(pair)
    backends = [
        RecordingBackend("strict"),
        RecordingBackend("plain"),
        RecordingBackend("asking", tls=asking),
        RecordingBackend("quiet", tls=quiet),
    ]
    async with AsyncExitStack() as stack:
        for backend in backends:
            await stack.enter_async_context(backend)
        by_name = {backend.name: backend.port for backend in backends}
        services = {**dict.fromkeys(ORIGINATIONS, by_name.pop("asking")), **by_name}
        services["alien"] = services["quiet"]
        ports = {name: free_port() for name in ("secure", "plain", "open")}
        people, text = prepare(folder, ports, services)
        path = folder / "routes.yaml"
        path.write_text(text + (more % ports if more else more))
        made = export_envoy(load([path]).require(), [path])
        assert made.notes == ()
        bootstrap: dict[str, Any] = json.loads(made.dumps().replace(LOG, ENVOY_LOG))
        assert await asyncio.to_thread(validate, bootstrap, folder) == ""
        stack.enter_context(gateway(path, port=None))
        envoy = stack.enter_context(await asyncio.to_thread(Envoy, anywhere(bootstrap), folder))
        theirs = {name: envoy.ports[f"127.0.0.1_{port}"] for name, port in ports.items()}
        stage = Secured(ports, theirs, people)
        stage.backends = backends
        yield stage


def logged(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The access logs of both, after they have ended."""
    ours, theirs = [
        [json.loads(line) for line in (folder / name).read_text().splitlines()] for name in (LOG, ENVOY_LOG)
    ]
    return ours, theirs
