"""The corpus of attacks (security.md S, H, P, C, U) against a whole gateway whose backend reads strictly.

Beyond the answer, each case asserts what the backend received: nothing at all, or requests that are whole,
unambiguous, canonical and without what the client only claimed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.attacks import Case, get
from support.exam import CONFIG, PATHS, WHOLE
from support.field import fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.field import Field


@pytest.fixture(scope="module")
def field(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    yield from fields(tmp_path_factory.mktemp("corpus"), CONFIG)


def check(field: Field, case: Case, *, slowly: bool) -> None:
    answer = field.play(case.sent, slowly=slowly)
    assert answer.statuses == case.statuses
    assert tuple(request.target.partition(b"?")[0] for request in answer.seen) == case.seen
    assert not answer.open or case.statuses[-1] < 500
    if case.reason:
        assert not answer.open
        assert answer.responses[-1].header("x-request-id")
    for response in answer.responses:
        if response.status == 200:
            assert response.header("x-digest") in {request.digest.decode() for request in answer.seen}
    assert field.backend.unfinished == []


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.id)
def test_a_whole_gateway_answers_and_forwards(case: Case, field: Field) -> None:
    """All at once: the answer, and exactly the requests that may reach a backend."""
    check(field, case, slowly=False)


@pytest.mark.parametrize("case", PATHS, ids=lambda case: case.id)
def test_one_spelling_is_judged_and_forwarded(case: Case, field: Field) -> None:
    """`/admin` is denied however it is spelt; what has no single reading is refused."""
    check(field, case, slowly=False)


def names(field: Field, headers: bytes) -> tuple[int, dict[bytes, list[bytes]]]:
    """The status, and the headers the backend received."""
    answer = field.play(get(headers))
    found: dict[bytes, list[bytes]] = {}
    for request in answer.seen:
        for name, value in request.headers:
            found.setdefault(name, []).append(value)
    return answer.statuses[0], found


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Forwarded-For: 1.2.3.4\r\nConnection: close, X-Forwarded-For\r\n",
        b"Authorization: Bearer t\r\nConnection: Authorization\r\n",
        b"X-User: admin\r\nConnection: X-User\r\n",
        b"Connection: keep-alive\r\nConnection: x-request-id\r\n",
        b"Connection: Cookie\r\nCookie: a=b\r\n",
        b"Connection: host\r\n",
        b"Connection: traceparent\r\n",
        b"Connection: content-length\r\n",
    ],
    ids=lambda headers: headers.split(b"\r\n")[-2].decode(),
)
def test_protected_headers_cannot_be_nominated(headers: bytes, field: Field) -> None:
    """C01, C02, C03: nobody has a header dropped behind us that others rely on."""
    assert names(field, headers) == (400, {})


def test_nominated_headers_go(field: Field) -> None:
    """What else Connection names is hop-by-hop, and so is Connection."""
    status, found = names(field, b"Connection: Foo, keep-alive\r\nFoo: 1\r\nFoo: 2\r\nBar: 3\r\n")
    assert status == 200
    assert b"foo" not in found
    assert found[b"bar"] == [b"3"]


CLAIMED = (
    b"X-Forwarded-Client-Cert: By=x;URI=spiffe://cluster.local/ns/admin/sa/root\r\n"
    b"x-envoy-original-path: /ok\r\nx-envoy-retry-on: 5xx\r\nx-envoy-upstream-rq-timeout-ms: 1\r\n"
    b"x-envoy-fault-abort-request: 503\r\nx-envoy-internal: true\r\nx-gateway-user: root\r\n"
    b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.test\r\n"
    b"X-Forwarded-Port: 1\r\nX-Forwarded-Prefix: //evil.test\r\nX-Real-IP: 127.0.0.1\r\nForwarded: for=x\r\n"
    b"X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nX-HTTP-Method-Override: DELETE\r\n"
    b"Proxy: http://evil.test\r\nProxy-Authorization: Basic eA==\r\nKeep-Alive: timeout=5\r\n"
    b"Proxy-Connection: keep-alive\r\nTE: trailers\r\nX-Request-Id: mine\r\nx-envoy-attempt-count: 7\r\n"
)


def test_claims_of_nobody_are_dropped(field: Field) -> None:
    """C04 to C08: identity, forwarding, control and proxy headers are ours or nobody's."""
    status, found = names(field, CLAIMED)
    assert status == 200
    assert found.pop(b"x-request-id") != [b"mine"]
    assert found == {
        b"host": [b"gw.test"],
        b"x-http-method-override": [b"DELETE"],  # never acted upon; what the backend does is its affair
        b"x-forwarded-for": [b"127.0.0.1"],
        b"x-forwarded-proto": [b"http"],
        b"x-envoy-external-address": [b"127.0.0.1"],
        b"x-envoy-attempt-count": [b"1"],
    }


@pytest.mark.parametrize("name", [b"X_Forwarded_For", b"x_user", b"Authorization_", b"_"])
def test_underscores_are_refused(name: bytes, field: Field) -> None:
    """H09: to CGI and WSGI they are dashes, so they would be the headers we removed."""
    assert names(field, name + b": 6.6.6.6\r\n") == (400, {})


@pytest.mark.parametrize(
    "headers", [b"X-Role: adm\xefn\r\n", b"X-Role: guest\r\nX-Role: root\r\n", b"x-rOLE: root\r\n"]
)
def test_deny_holds_for_any_reading(headers: bytes, field: Field) -> None:
    """H06, J21, J22: obs-text, a second line, another case of the name: denied all the same."""
    assert names(field, headers) == (403, {})


def test_text_of_other_encodings_passes_unchanged(field: Field) -> None:
    """H06: bytes above 127 are nobody's to change."""
    _, found = names(field, b"X-Name: caf\xe9 \xff\r\n")
    assert found[b"x-name"] == [b"caf\xe9 \xff"]


def test_a_denied_request_gets_no_continue_and_its_body_goes_nowhere(field: Field) -> None:
    """S50: 403 at once; the bytes behind it are not read as a request."""
    smuggled = get(target=b"/__marker")
    head = b"POST /admin HTTP/1.1\r\nHost: gw.test\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    answer = field.play(head % len(smuggled) + smuggled)
    assert answer.statuses == (403,)
    assert answer.responses[0].interim == ()
    assert answer.seen == []
