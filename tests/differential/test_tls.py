"""TLS at the gateway and at real Envoy on its export: who gets in, under which name, and what backends see."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support import envoy

from differential.difference import compare
from differential.gaps import KNOWN
from differential.play import Ask, Outcome
from differential.secured import TOKEN, logged, secured

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.skipif(envoy.unavailable() is not None, reason=str(envoy.unavailable()))


class Case(NamedTuple):
    """A request, who makes it, and the status; 0: there is no answer."""

    status: int
    host: str
    who: str = "nobody"
    target: str = "/"
    sni: str | None = ""
    port: str = "secure"
    headers: tuple[tuple[str, str], ...] = ()
    version: ssl.TLSVersion | None = None

    @property
    def ask(self) -> Ask:
        """Its bytes."""
        return Ask.of(target=self.target, host=self.host, headers=self.headers)


def play(cases: Sequence[Case], folder: Path, more: str = "") -> list[tuple[Case, Outcome, Outcome]]:
    """What becomes of each at both."""

    async def main() -> list[tuple[Case, Outcome, Outcome]]:
        async with secured(folder, more) as stage:
            return [
                (
                    case,
                    *await stage.ask(case.ask, case.who, sni=case.sni, port=case.port, version=case.version),
                )
                for case in cases
            ]

    return asyncio.run(main())


BEARER = (("authorization", f"Bearer {TOKEN}"),)
ALIKE = [
    # who gets in
    Case(200, "simple.test"),
    Case(200, "simple.test", "foreign"),
    Case(200, "mutual.test", "sleep"),
    Case(0, "mutual.test"),
    Case(0, "mutual.test", "foreign"),
    Case(0, "mutual.test", "expired"),
    Case(200, "optional.test"),
    Case(200, "optional.test", "sleep"),
    Case(0, "optional.test", "foreign"),
    Case(0, "optional.test", "expired"),
    Case(200, "named.test", "sleep"),
    Case(0, "named.test", "abroad"),
    Case(0, "named.test", "nameless"),
    Case(200, "pinned.test", "sleep"),
    Case(0, "pinned.test", "revoked"),
    Case(200, "revoked.test", "sleep"),
    Case(0, "revoked.test", "revoked"),
    Case(200, "mutual.test", "revoked"),
    Case(200, "istio.test", "sleep"),
    Case(0, "istio.test"),
    Case(200, "newest.test"),
    Case(0, "newest.test", version=ssl.TLSVersion.TLSv1_2),
    Case(200, "mutual.test", "sleep", version=ssl.TLSVersion.TLSv1_2),
    Case(0, "mutual.test", "foreign", version=ssl.TLSVersion.TLSv1_2),
    # under which name
    Case(200, "a.wild.test"),
    Case(200, "b.a.wild.test"),
    Case(0, "inner.wild.test"),
    Case(200, "inner.wild.test", "sleep"),
    Case(200, "SIMPLE.test:8443", sni="SIMPLE.test"),
    Case(200, "simple.test.", sni="simple.test"),
    Case(421, "mutual.test.", sni="simple.test"),
    Case(0, "wild.test"),
    Case(0, "nowhere.test"),
    Case(0, "simple.test", sni=None),
    Case(404, "nowhere.test", sni="simple.test"),
    Case(421, "mutual.test", sni="simple.test"),
    Case(421, "simple.test", "sleep", sni="mutual.test"),
    Case(421, "inner.wild.test", sni="simple.test"),
    Case(200, "other.wild.test", sni="simple.test"),
    Case(421, "named.test", "abroad", sni="mutual.test"),
    Case(421, "mutual.test", "bad", "/friends", sni="optional.test"),
    Case(200, "jwt.test", "sleep", "/direct", sni="mutual.test", headers=BEARER),
    # to https
    Case(301, "simple.test", target="/a?b", port="plain"),
    Case(301, "nobody.test:80", port="plain"),
    Case(301, "mutual.test", target="/strict", port="plain"),
    # what backends are told
    Case(
        200,
        "mutual.test",
        "sleep",
        headers=(("x-forwarded-client-cert", "By=me"), ("x-forwarded-proto", "http")),
    ),
    Case(200, "mutual.test", "nameless"),
    Case(200, "simple.test", headers=(("x-forwarded-client-cert", "By=me"),)),
    Case(200, "open.test", port="open", headers=(("x-forwarded-client-cert", "By=me"),)),
    Case(301, "mutual.test", "sleep", "/moved"),
    # who must show a certificate
    Case(200, "mutual.test", "sleep", "/strict"),
    Case(200, "optional.test", "sleep", "/strict"),
    Case(403, "optional.test", "nobody", "/strict"),
    Case(403, "simple.test", "sleep", "/strict"),
    Case(403, "open.test", target="/strict", port="open"),
    Case(403, "open.test", target="/some", port="open"),
    Case(200, "mutual.test", "nameless", "/some"),
    Case(200, "open.test", target="/direct", port="open"),
    # who is kept out
    Case(403, "mutual.test", "bad"),
    Case(403, "optional.test", "bad"),
    Case(200, "mutual.test", "sleep", "/friends"),
    Case(403, "mutual.test", "abroad", "/friends"),
    Case(403, "mutual.test", "nameless", "/friends"),
    Case(403, "optional.test", "nobody", "/friends"),
    Case(200, "mutual.test", "sleep", "/family"),
    Case(403, "mutual.test", "abroad", "/family"),
    Case(200, "mutual.test", "sleep", "/asked"),
    Case(403, "optional.test", "sleep", "/asked"),
    Case(200, "jwt.test", "sleep", headers=BEARER),
    Case(403, "jwt.test", "sleep"),
    Case(401, "jwt.test", "sleep", headers=(("authorization", "Bearer a.b.c"),)),
    # backends that speak TLS
    Case(200, "apart.test", "sleep"),
    Case(200, "quiet.test", "sleep"),
    Case(200, "mesh.test", "sleep"),
    Case(200, "any.test", "sleep"),
]


def test_tls_is_spoken_alike(tmp_path: Path) -> None:
    """Handshakes, the server that a name selects, certificates that are told, asked for and judged."""
    played = play(ALIKE, tmp_path)

    different = {case: found for case, *both in played if (found := compare(case.ask, *both, KNOWN))}
    assert different == {}
    assert [(case, ours.status) for case, ours, _ in played if ours.status != case.status] == []


def test_a_backend_that_is_not_who_it_should_be_gets_nothing(tmp_path: Path) -> None:
    """Another name, another authority, or one that wants a certificate that nobody has for it: 503."""
    played = play([Case(503, f"{host}.test", "sleep") for host in ("wrong", "alien", "hold")], tmp_path)

    for case, *both in played:
        assert compare(case.ask, *both, KNOWN) == []
        assert (both[0].status, both[0].arrivals) == (503, ())
    for logs in logged(tmp_path):
        assert [line["response_flags"] for line in logs] == ["URX,UF", "URX,UF", "UC"]
        reasons = [line["upstream_transport_failure_reason"] or "" for line in logs]
        assert [reason[: len("TLS_error:")] for reason in reasons] == ["TLS_error:", "TLS_error:", ""]
        assert ["CERTIFICATE_VERIFY_FAILED" in reason for reason in reasons] == [True, True, False]


def test_what_differs_is_what_the_table_says(tmp_path: Path) -> None:
    """The rows about TLS of docs/differences.md: two URIs are nobody's, and plain HTTP at a TLS port."""
    targets = ("/", "/friends", "/family")

    async def main() -> list[tuple[int, int]]:
        async with secured(tmp_path) as stage:
            played = [await stage.ask(Ask.of(target=x, host="mutual.test"), "two") for x in targets]
            played.append(await stage.ask(Ask.of(host="simple.test"), port="secure", plain=True))
        return [(ours.status, theirs.status) for ours, theirs in played]

    assert asyncio.run(main()) == [(403, 200), (403, 200), (403, 200), (400, 0)]


STRICT = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: own}
spec: {selector: {matchLabels: {app: edge}}, mtls: {mode: STRICT}, portLevelMtls: {%(open)d: {mode: DISABLE}}}
"""
ASKED = [
    Case(200, "mutual.test", "sleep"),
    Case(403, "simple.test"),
    Case(403, "optional.test", target="/direct"),
    Case(200, "optional.test", "sleep", "/direct"),
    Case(404, "nowhere.test", "sleep", sni="mutual.test"),
    Case(403, "nowhere.test", sni="simple.test"),
    Case(421, "mutual.test", sni="simple.test"),
    Case(301, "simple.test", port="plain"),
    Case(301, "nobody.test", target="/x", port="plain"),
    Case(200, "open.test", port="open"),
    Case(200, "open.test", target="/direct", port="open"),
    Case(404, "nobody.test", port="open"),
    Case(403, "open.test", target="/strict", port="open"),
]


def test_a_gateway_that_demands_certificates_itself(tmp_path: Path) -> None:
    """For every answer but a redirect to https; a port may be excepted."""
    played = play(ASKED, tmp_path, STRICT)

    different = {case: found for case, *both in played if (found := compare(case.ask, *both, KNOWN))}
    assert different == {}
    assert [(case, ours.status) for case, ours, _ in played if ours.status != case.status] == []
