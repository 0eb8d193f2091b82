"""The same policies in real Envoy, as the export writes them: who is let in, and who is not."""

from __future__ import annotations

import base64
import http.client
import random
import ssl
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support import envoy
from support.documents import config_of
from support.policies import allowed, asked, peer, policy

from gateway.export.envoy_jwt import envoy_jwt
from gateway.export.envoy_policies import typed
from gateway.export.envoy_rbac import RBAC, envoy_rbac
from gateway.security import Guard

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.http.peer import Peer

pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))

SECRET = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"
SLEEP, WEB = "cluster.local/ns/default/sa/sleep", "other.test/ns/prod/sa/web"
POLICIES = 160
REQUESTS = 12
"""Per policy."""

# -- what is asked ---------------------------------------------------------------------------------

OPERATIONS = {
    "paths": ["/a", "/a/b", "/a*", "*/b", "*", "/{*}", "/a/{*}", "/a/{**}", "/{**}/b", "/{*}/b/{**}"],
    "hosts": ["a.test", "A.test", "*.test", "a*", "a.test:*", "*"],
    "methods": ["GET", "POST", "P*", "*T", "*"],
    "ports": ["1", "2"],
}
SOURCES = {
    "principals": [SLEEP, WEB, "cluster.local/*", "*/sa/web", "*"],
    "namespaces": ["default", "prod", "d*", "*d", "*", "pr.d"],
    "serviceAccounts": ["sleep", "prod/web", "default/web"],
    "requestPrincipals": ["https://i.test/x/jane", "https://i.test/x/*", "*/john", "*e", "*"],
    "ipBlocks": ["127.0.0.0/8", "10.0.0.0/8", "127.0.0.1"],
    "remoteIpBlocks": ["127.0.0.0/8", "10.0.0.0/8"],
}
CONDITIONS = {
    "request.headers[X-Role]": ["admin", "ad*", "*in", "*", "user"],
    "request.auth.claims[groups]": ["a", "b", "b*", "*"],
    "request.auth.claims[nested][role]": ["boss", "*"],
    "request.auth.audiences": ["shop", "other"],
    "request.auth.presenter": ["web", "*"],
    "source.namespace": ["default", "prod"],
    "source.principal": [SLEEP, "*"],
    "connection.sni": ["a.test", "*.test", "b.test"],
    "source.ip": ["127.0.0.1", "10.0.0.1"],
    "destination.port": ["1", "2"],
}
CLAIMS: list[dict[str, Any] | None] = [
    None,
    {"iss": "https://i.test/x", "sub": "jane", "groups": ["a", "b"], "aud": "shop", "azp": "web"},
    {
        "iss": "https://i.test/x",
        "sub": "john",
        "groups": "b",
        "aud": ["other", "more"],
        "nested": {"role": "boss"},
    },
]


def written(dice: random.Random) -> dict[str, Any]:
    """A random rule."""

    def some(values: list[str]) -> list[str]:
        return dice.sample(values, dice.randint(1, 2))

    def fields(table: dict[str, list[str]]) -> dict[str, list[str]]:
        names = dice.sample(sorted(table), dice.choice([1, 1, 2]))
        if "serviceAccounts" in names:
            names = ["serviceAccounts"]
        return {
            name if dice.random() < 0.7 else f"not{name[0].upper()}{name[1:]}": some(table[name])
            for name in names
        }

    rule: dict[str, Any] = {}
    if dice.random() < 0.6:
        rule["to"] = [{"operation": fields(OPERATIONS)} for _ in range(dice.choice([1, 1, 2]))]
    if dice.random() < 0.5:
        rule["from"] = [{"source": fields(SOURCES)} for _ in range(dice.choice([1, 1, 2]))]
    if dice.random() < 0.5:
        key = dice.choice(sorted(CONDITIONS))
        rule["when"] = [{"key": key, dice.choice(["values", "notValues"]): some(CONDITIONS[key])}]
    return rule


def asks(dice: random.Random) -> dict[str, Any]:
    """A random request."""
    return {
        "path": dice.choice(["/a", "/a/b", "/ab", "/b", "/a/b/c", "/a//", "/", "/x/a*b", "/a/"]),
        "host": dice.choice(["a.test", "A.Test", "a.test:80", "b.other"]),
        "method": dice.choice(["GET", "POST", "PUT"]),
        "role": dice.choice([None, "admin", "user", "adm"]),
        "claims": dice.choice(CLAIMS),
        "who": dice.choice(["none", "sleep", "web"]),
        "sni": dice.choice(["a.test", "b.test"]),
    }


# -- certificates ----------------------------------------------------------------------------------


class Authority:
    """A certificate authority for one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        certificate = self._built(self._name, self._key, [], authority=True)
        self.path = folder / "ca.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, *names: x509.GeneralName) -> tuple[Path, Path]:
        """Certificate and key of a leaf."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._built(x509.Name([]), key, list(names), authority=False)
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return paths

    def _built(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        names: list[x509.GeneralName],
        *,
        authority: bool,
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not subject)
        return builder.sign(self._key, hashes.SHA256())


# -- Envoy -----------------------------------------------------------------------------------------


def bootstrap(policies: list[str], authority: Authority) -> dict[str, Any]:
    """One listener; the header x-case chooses the policy."""
    routes = [
        {
            "match": {"prefix": "/", "headers": [{"name": "x-case", "string_match": {"exact": str(number)}}]},
            "direct_response": {"status": 200},
            "typed_per_filter_config": {RBAC: typed("filters.http.rbac.v3.RBACPerRoute", rbac=_rbac(text))},
        }
        for number, text in enumerate(policies)
    ]
    (document,) = config_of(REQUEST_AUTHENTICATION).request_authentications
    verified = envoy_jwt(document.spec.jwt_rules)
    assert verified is not None
    manager = typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="test",
        codec_type="HTTP1",
        use_remote_address=True,
        normalize_path=True,
        merge_slashes=True,
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        http_filters=[
            verified,
            {"name": RBAC, "typed_config": typed("filters.http.rbac.v3.RBAC")},
            {"name": "router", "typed_config": typed("filters.http.router.v3.Router")},
        ],
    )
    certificate, key = authority.issue("server", x509.DNSName("a.test"))
    tls = typed(
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={
            "tls_certificates": [
                {"certificate_chain": {"filename": str(certificate)}, "private_key": {"filename": str(key)}}
            ],
            "validation_context": {"trusted_ca": {"filename": str(authority.path)}},
        },
    )
    listener = {
        "name": "test",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "listener_filters": [
            {
                "name": "inspector",
                "typed_config": typed("filters.listener.tls_inspector.v3.TlsInspector"),
            }
        ],
        "filter_chains": [
            {
                "filters": [{"name": "manager", "typed_config": manager}],
                "transport_socket": {"name": "tls", "typed_config": tls},
            }
        ],
    }
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "static_resources": {"listeners": [listener]},
    }


def _rbac(text: str) -> dict[str, Any]:
    (found,) = envoy_rbac(config_of(text).authorization_policies)
    return {name: value for name, value in found["typed_config"].items() if name != "@type"}


REQUEST_AUTHENTICATION = f"""\
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: r}}
spec:
  jwtRules:
  - {{issuer: "https://i.test/x", jwks: '{{"keys": [{{"kty": "oct", "k": "{SECRET}", "alg": "HS256"}}]}}'}}
"""


def token(claims: dict[str, Any]) -> str:
    """Signed with the key that Envoy knows."""
    return jwt.encode(claims, base64.urlsafe_b64decode(f"{SECRET}=="), algorithm="HS256")


def _lines(role: str | list[bytes] | None) -> list[bytes]:
    if role is None:
        return []
    return [role.encode()] if isinstance(role, str) else role


class Clients:
    """Connections with one certificate and one server name each."""

    def __init__(self, port: int, authority: Authority) -> None:
        self._port = port
        self._authority = authority
        self._pairs = {
            "sleep": authority.issue("sleep", x509.UniformResourceIdentifier(f"spiffe://{SLEEP}")),
            "web": authority.issue("web", x509.UniformResourceIdentifier(f"spiffe://{WEB}")),
        }
        self._open: dict[tuple[str, str], http.client.HTTPConnection] = {}

    def status(self, case: int, ask: dict[str, Any]) -> int:
        """What Envoy answers."""
        connection = self._connection(ask["who"], ask["sni"])
        connection.putrequest(ask["method"], ask["path"], skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", ask["host"])
        connection.putheader("x-case", str(case))
        connection.putheader("content-length", "0")
        for line in _lines(ask["role"]):
            connection.putheader("x-role", line)
        if ask["claims"] is not None:
            connection.putheader("authorization", f"Bearer {token(ask['claims'])}")
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def _connection(self, who: str, sni: str) -> http.client.HTTPConnection:
        found = self._open.get((who, sni))
        if found is None:
            context = ssl.create_default_context(cafile=str(self._authority.path))
            context.check_hostname = False
            if who in self._pairs:
                context.load_cert_chain(*map(str, self._pairs[who]))
            found = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            found.connect()
            found.sock = context.wrap_socket(found.sock, server_hostname=sni)
            self._open[who, sni] = found
        return found

    def close(self) -> None:
        for connection in self._open.values():
            connection.close()


def ours(made: Guard, ask: dict[str, Any], port: int) -> bool:
    """What the gateway's policies say."""
    headers = [(b"x-role", line) for line in _lines(ask["role"])]
    by: Peer = {
        "none": peer(verified=False, sni=ask["sni"]),
        "sleep": peer(SLEEP, sni=ask["sni"]),
        "web": peer(WEB, sni=ask["sni"]),
    }[ask["who"]]
    path = ask["path"].replace("//", "/")
    request = asked(
        path,
        headers,
        method=ask["method"],
        host=ask["host"],
        by=by,
        claims=ask["claims"],
        client_ip="127.0.0.1",
        port=port,
    )
    return allowed(made, request)


def test_random_policies_mean_the_same_in_envoy(tmp_path: Path) -> None:
    """ALLOW and DENY policies of every field, with certificates and tokens: the same verdict for each request."""
    dice = random.Random(20)
    authority = Authority(tmp_path)
    rules = [[written(dice) for _ in range(dice.choice([1, 1, 2]))] for _ in range(POLICIES)]
    texts = [
        policy(
            f"rules: {str(rule).replace(chr(39), chr(34))}",
            action=dice.choice(["ALLOW", "DENY"]),
        )
        for rule in rules
    ]
    verdicts = {True: 0, False: 0}
    with envoy.Envoy(bootstrap(texts, authority), tmp_path) as theirs:
        clients = Clients(theirs.port, authority)
        try:
            for number, text in enumerate(texts):
                made = Guard(config_of(text))
                for _ in range(REQUESTS):
                    ask = asks(dice)
                    status, mine = clients.status(number, ask), ours(made, ask, theirs.port)
                    assert status in {200, 403}, (status, ask)
                    assert (status == 200) is mine, (text, ask, status)
                    verdicts[mine] += 1
        finally:
            clients.close()
    assert min(verdicts.values()) > POLICIES * REQUESTS // 10


ROLE = "rules: [{when: [{key: 'request.headers[x-role]', %s: %s}]}]"
STRICTER = [
    # a header that can be read in two ways
    (policy(ROLE % ("values", "[admin]")), {"role": [b"admin", b"user"]}),
    (policy(ROLE % ("notValues", "[admin]"), action="DENY"), {"role": [b"admin", b"user"]}),
    # an empty header is not something
    (policy(ROLE % ("values", "['*']")), {"role": ""}),
    # bytes that are no text
    (policy(ROLE % ("values", "[admin]"), action="DENY"), {"role": [b"adm\xefn"]}),
    # a number is what it reads like
    (
        policy("rules: [{when: [{key: 'request.auth.claims[level]', values: ['5']}]}]", action="DENY"),
        {"claims": {"iss": "https://i.test/x", "sub": "jane", "level": 5}},
    ),
    # the subject of another issuer
    (
        policy("rules: [{from: [{source: {requestPrincipals: ['https://i.test/x/a/b']}}]}]", action="DENY"),
        {"claims": {"iss": "https://i.test/x", "sub": "a/b"}},
    ),
]


def test_what_is_in_doubt_is_refused_here_and_passes_in_envoy(tmp_path: Path) -> None:
    """The differences there are, all of them on the safe side."""
    authority = Authority(tmp_path)
    usual = {"path": "/", "host": "a.test", "method": "GET", "role": None, "claims": None, "who": "none"}
    with envoy.Envoy(bootstrap([text for text, _ in STRICTER], authority), tmp_path) as theirs:
        clients = Clients(theirs.port, authority)
        try:
            for number, (text, asking) in enumerate(STRICTER):
                ask = {**usual, "sni": "a.test", **asking}
                assert clients.status(number, ask) == 200, text
                assert not ours(Guard(config_of(text)), ask, theirs.port), text
        finally:
            clients.close()
