"""Certificates of strangers, of people who are nearly somebody, and the ports they knock at.

Lifetime: config. For tests/security/test_exam_tls.py.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from cryptography import x509
from support import chains
from support.attacks import get
from support.certificates import SLEEP, authority, leaf, with_names
from support.chains import CLIENT, SERVER, Signed, dns, uri
from support.whole import CLOSE, entry

from gateway.tls import mint

HOUR = dt.timedelta(hours=1)
PORTS = ("mutual", "optional", "names", "chains", "revoking", "stale", "rotating", "plain")
CONFIG = (
    entry("backend")
    + """\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  servers:
  - {port: {number: %(mutual)d, name: mutual, protocol: HTTPS}, bind: 127.0.0.1, hosts: [gw.test],
     tls: {mode: MUTUAL, credentialName: edge}}
  - {port: {number: %(optional)d, name: optional, protocol: HTTPS}, bind: 127.0.0.1, hosts: [gw.test],
     tls: {mode: OPTIONAL_MUTUAL, credentialName: edge}}
  - {port: {number: %(names)d, name: open, protocol: HTTPS}, bind: 127.0.0.1, hosts: [open.test],
     tls: {mode: SIMPLE, credentialName: edge}}
  - {port: {number: %(names)d, name: closed, protocol: HTTPS}, bind: 127.0.0.1, hosts: [closed.test],
     tls: {mode: MUTUAL, credentialName: edge}}
  - {port: {number: %(chains)d, name: chains, protocol: HTTPS}, bind: 127.0.0.1, hosts: [gw.test],
     tls: {mode: MUTUAL, credentialName: chains}}
  - {port: {number: %(revoking)d, name: revoking, protocol: HTTPS}, bind: 127.0.0.1, hosts: [gw.test],
     tls: {mode: MUTUAL, credentialName: revoking}}
  - {port: {number: %(stale)d, name: stale, protocol: HTTPS}, bind: 127.0.0.1, hosts: [gw.test],
     tls: {mode: MUTUAL, credentialName: stale}}
  - {port: {number: %(rotating)d, name: rotating, protocol: HTTPS}, bind: 127.0.0.1, hosts: [gw.test],
     tls: {mode: MUTUAL, credentialName: rotating}}
  - {port: {number: %(plain)d, name: http, protocol: HTTP}, bind: 127.0.0.1, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gw}
spec:
  hosts: [gw.test, open.test, closed.test]
  gateways: [edge]
  http: [{route: [{destination: {host: backend.test}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: sleep-only}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]
  - to: [{operation: {paths: [/anybody]}}]
"""
)
ROOT = chains.authority()
REVOKED = leaf(principal=SLEEP)
NAMES = ("gw.test", "open.test", "closed.test")
ASKED = get(CLOSE)
OPEN = get(CLOSE, target=b"/anybody")
IN, DENIED, NOBODY = (200,), (403,), ()
"""Let in; denied after the handshake; no connection."""

WRONG = {
    "none": None,
    "another authority": leaf(authority("stranger"), principal=SLEEP),
    "expired": leaf(principal=SLEEP, valid=(-2 * HOUR, -HOUR)),
    "not yet valid": leaf(principal=SLEEP, valid=(HOUR, 2 * HOUR)),
    "for servers only": leaf(principal=SLEEP, client=False),
    "self-signed": mint.make_authority("self"),
    "an authority's name, another key": leaf(mint.make_authority("test authority"), principal=SLEEP),
    "two names, control characters": with_names(
        [uri("spiffe://" + SLEEP + "\0.evil.test"), uri("spiffe://" + SLEEP)]
    ),
}

ID = "spiffe://" + SLEEP
SPELLINGS: dict[str, list[x509.GeneralName]] = {
    "two": [uri(ID), uri("spiffe://cluster.local/ns/default/sa/other")],
    "twice the same": [uri(ID), uri(ID)],
    "and a web address": [uri(ID), uri("https://a.test/")],
    "upper-case domain": [uri("spiffe://CLUSTER.LOCAL/ns/default/sa/sleep")],
    "upper-case scheme": [uri("SPIFFE://" + SLEEP)],
    "trailing slash": [uri(ID + "/")],
    "double slash": [uri(ID.replace("/ns", "//ns"))],
    "dot-dot": [uri("spiffe://cluster.local/ns/x/../default/sa/sleep")],
    "dot": [uri("spiffe://cluster.local/./ns/default/sa/sleep")],
    "escaped letter": [uri(ID.replace("sleep", "slee%70"))],
    "escaped dots": [uri("spiffe://cluster.local/ns/x/%2e%2e/default/sa/sleep")],
    "query": [uri(ID + "?a=b")],
    "fragment": [uri(ID + "#a")],
    "port": [uri("spiffe://cluster.local:80/ns/default/sa/sleep")],
    "user": [uri("spiffe://a@cluster.local/ns/default/sa/sleep")],
    "2049 bytes": [uri(ID + "/" + "a" * (2048 - len(ID)))],
    "no path": [uri("spiffe://cluster.local")],
    "one slash": [uri("spiffe:/" + SLEEP)],
    "another scheme": [uri("https://" + SLEEP)],
    "blank behind": [uri(ID + " ")],
    "longer domain": [uri("spiffe://cluster.local.evil/ns/default/sa/sleep")],
    "prefixed domain": [uri("spiffe://xcluster.local/ns/default/sa/sleep")],
    "a dot as any": [uri("spiffe://clusterxlocal/ns/default/sa/sleep")],
    "trailing dot of the domain": [uri("spiffe://cluster.local./ns/default/sa/sleep")],
    "longer account": [uri(ID + "y")],
    "below the account": [uri(ID + "/admin")],
    "as a DNS name": [dns(SLEEP.replace("/", "."))],
    "as an e-mail address": [x509.RFC822Name("sleep@cluster.local")],
    "as an identifier": [x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))],
    "no name": [],
}

SLEEPING = [uri(ID)]


def below(**says: Any) -> Signed:
    """sleep's certificate from an authority below the root that says so."""
    return chains.leaf(chains.authority(ROOT, "between", **says), SLEEPING)


CHAINS: dict[str, tuple[Signed, tuple[int, ...]]] = {
    "straight from the root": (chains.leaf(ROOT, SLEEPING), IN),
    "through one authority": (below(), IN),
    "permitted: our domain": (below(permitted=[uri("cluster.local")]), IN),
    "permitted: another domain": (below(permitted=[uri("evil.local")]), NOBODY),
    "permitted: below our domain": (below(permitted=[uri(".cluster.local")]), NOBODY),
    "excluded: our domain": (below(excluded=[uri("cluster.local")]), NOBODY),
    "permitted DNS, another name": (
        chains.leaf(chains.authority(ROOT, "between", permitted=[dns("a.test")]), [*SLEEPING, dns("b.test")]),
        NOBODY,
    ),
    "permitted DNS, a wildcard that is wider": (
        chains.leaf(chains.authority(ROOT, "between", permitted=[dns("a.test")]), [*SLEEPING, dns("*.test")]),
        NOBODY,
    ),
    "constraint two above": (
        chains.leaf(
            chains.authority(chains.authority(ROOT, "upper", permitted=[uri("evil.local")]), "lower"),
            SLEEPING,
        ),
        NOBODY,
    ),
    "no authority signs": (below(ca=False), NOBODY),
    "an authority without the right to sign": (below(signs=False), NOBODY),
    "a leaf signs": (chains.leaf(chains.leaf(ROOT, SLEEPING), SLEEPING), NOBODY),
    "one authority too many": (
        chains.leaf(chains.authority(chains.authority(ROOT, "upper", depth=0), "lower"), SLEEPING),
        NOBODY,
    ),
    "an authority for servers": (below(purposes=[SERVER]), NOBODY),
    "an authority for clients": (below(purposes=[CLIENT]), IN),
    "a purpose of its own only": (
        chains.leaf(ROOT, SLEEPING, purposes=[x509.ObjectIdentifier("1.2.3.4")]),
        NOBODY,
    ),
    "a critical extension nobody knows": (
        chains.leaf(
            ROOT,
            SLEEPING,
            more=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)],
        ),
        NOBODY,
    ),
    "the same authority's name": (chains.leaf(chains.authority(None, "root"), SLEEPING), NOBODY),
}
