"""What `explain` says is what the data path does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support.routing import service, snapshot
from support.stage import Backend, Call, route, stage
from support.stage import service as backend_service

from gateway.exchange.downstream import AsgiDownstream
from gateway.exchange.exchange import Exchange
from gateway.exchange.hygiene import Hygiene
from gateway.explain.asked import BadQuestion, Question, header
from gateway.explain.load import offline
from gateway.explain.offline import Explanation, explain
from gateway.explain.plain import explanation_json
from gateway.routing import Snapshot

SECRET = "s3cr3tS3cr3t"

REVIEWS = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: jason
    match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - name: beta
    match: [{uri: {prefix: /beta}, headers: {end-user: {exact: bob}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - name: rest
    route:
    - destination: {host: reviews, subset: v1}
      weight: 75
    - destination: {host: reviews, subset: v2}
      weight: 25
    timeout: 3s
"""


def asked(snap: Snapshot, url: str = "http://reviews/", *lines: str, **more: Any) -> Explanation:
    return explain(snap, Question(url=url, headers=tuple(header(line) for line in lines), **more))


@pytest.fixture(scope="module")
def reviews() -> Snapshot:
    return snapshot(REVIEWS, service("reviews", versions=("v1", "v2")))


def test_a_lost_route_says_what_it_found_and_what_it_wanted(reviews: Snapshot) -> None:
    """The sentence a person looks for."""
    choice = asked(reviews, "http://reviews/", "end-user: bob").choice

    assert choice is not None
    assert [(item.outcome, item.because) for item in choice.tried] == [
        ("lost", "header end-user is 'bob', wanted exact 'jason'"),
        ("lost", "path is '/', wanted prefix '/beta'"),
        ("taken", "takes every request"),
    ]


def test_a_missing_header_is_absent(reviews: Snapshot) -> None:
    """Not an empty string."""
    choice = asked(reviews).choice

    assert choice is not None
    assert choice.tried[0].because == "header end-user is absent, wanted exact 'jason'"


def test_near_misses_are_ordered_by_what_they_missed(reviews: Snapshot) -> None:
    """One failed condition before two; a wrong header before a wrong path."""
    choice = asked(reviews, "http://reviews/x").choice

    assert choice is not None
    assert [item.name for item in choice.nearest] == ["jason", "beta"]


def test_a_route_that_came_too_late_says_so() -> None:
    """An earlier one took the request."""
    snap = snapshot(
        """\
        apiVersion: networking.istio.io/v1
        kind: VirtualService
        metadata: {name: a}
        spec:
          hosts: [a]
          http:
          - match: [{uri: {prefix: /x}}]
            directResponse: {status: 200}
          - match: [{uri: {exact: /x/y}}]
            directResponse: {status: 201}
        """
    )
    told = asked(snap, "http://a/x/y")

    assert told.choice is not None
    assert [item.because for item in told.choice.tried] == [
        "path prefix '/x'",
        "would have taken it, came too late",
    ]
    assert told.answer is not None
    assert (told.answer.status, told.refused) == (200, False)


def test_weights_are_per_cent_and_heads_are_told(reviews: Snapshot) -> None:
    """Destinations with their chances, and what each would be sent."""
    told = asked(reviews, "http://reviews/a?b=c")

    assert [target.percent for target in told.targets] == [75.0, 25.0]
    assert told.targets[0].endpoints == ("10.0.0.1:9080",)
    assert told.targets[0].head[:2] == ("GET /a?b=c HTTP/1.1", "host: reviews")
    assert "x-envoy-expected-rq-timeout-ms: 3000" in told.targets[0].head


def test_an_unknown_host_names_its_likes(reviews: Snapshot) -> None:
    """A typo in a Host header."""
    told = asked(reviews, "http://reveiws/")

    assert told.choice is not None
    assert told.choice.host.also[0] == "reviews"
    assert told.answer is not None
    assert (told.answer.status, told.answer.flag, told.refused) == (404, "NR", True)


def test_hygiene_is_the_real_one(reviews: Snapshot) -> None:
    """What it refuses is refused here, with its details."""
    told = asked(reviews, "http://reviews/a%00b")

    assert told.answer is not None
    assert (told.answer.by, told.answer.details) == ("hygiene", "path_normalization_failed")
    assert told.request is None


def test_the_canonical_path_decides(reviews: Snapshot) -> None:
    """`/x/../beta` is `/beta`."""
    told = asked(reviews, "http://reviews/x/../beta", "end-user: bob")

    assert told.request is not None
    assert (told.request.written, told.request.path) == ("/x/../beta", "/beta")
    assert told.choice is not None
    assert told.choice.route is not None
    assert told.choice.route.name == "beta"


def test_headers_that_hygiene_drops_are_named(reviews: Snapshot) -> None:
    """They cannot decide anything."""
    told = asked(reviews, "http://reviews/", "x-envoy-retry-on: 5xx", "TE: trailers")

    assert told.request is not None
    assert told.request.dropped == ("x-envoy-retry-on", "te")


def test_a_missing_cluster_is_told() -> None:
    """503 NC, as the data path answers."""
    told = asked(snapshot(REVIEWS))

    assert told.answer is not None
    assert (told.answer.status, told.answer.flag, told.answer.by) == (503, "NC", "destination")


def test_secrets_are_not_told(reviews: Snapshot) -> None:
    """Neither found nor wanted, neither in headers nor in the query."""
    config = f"""\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: a}}
spec:
  hosts: [a]
  http:
  - match: [{{headers: {{authorization: {{exact: "Bearer {SECRET}"}}}}}}]
    directResponse: {{status: 200}}
  - match: [{{queryParams: {{access_token: {{exact: "{SECRET}"}}}}}}]
    directResponse: {{status: 200}}
  - route: [{{destination: {{host: a}}}}]
    headers: {{request: {{set: {{x-api-key: "{SECRET}"}}}}}}
"""
    snap = snapshot(config, service("a"))
    told = asked(
        snap,
        f"http://a/?access_token={SECRET}1&q=1",
        f"authorization: Basic {SECRET}",
        f"cookie: id={SECRET}",
        f"referer: http://u:{SECRET}@x/?token={SECRET}",
    )

    text = str(explanation_json(told))
    assert told.targets
    assert SECRET not in text
    assert "q=1" in text


def test_a_hash_key_names_its_endpoint() -> None:
    """The same key, the same endpoint, on the data path and here."""
    snap_text = REVIEWS.split("  - name: jason", maxsplit=1)[0]
    _, snap = _offline(
        f"{snap_text}  - route: [{{destination: {{host: reviews}}}}]\n---\n"
        + service("reviews", versions=("v1", "v2", "v3"), hashing="{httpHeaderName: x-user}")
    )
    told = asked(snap, "http://reviews/", "x-user: bob")

    assert told.plan is not None
    assert told.plan.hash_key == "bob"
    assert told.targets[0].sticky in told.targets[0].endpoints


def _offline(text: str) -> tuple[Any, Snapshot]:
    from gateway.config import load
    from gateway.explain.load import compiled

    loaded = load([], texts={"routes.yaml": text})
    return loaded, compiled(loaded)


@pytest.mark.parametrize(
    ("url", "lines", "more"),
    [
        ("ftp://a/", (), {}),
        ("a/b", (), {}),
        ("/", (), {}),
        ("http://a/", ("a b: c",), {}),
        ("http://a/", ("a: b\rc",), {}),
        ("http://a/", (), {"method": "G E T"}),
    ],
)
def test_what_is_no_request_is_a_usage_error(reviews: Snapshot, url: str, lines: Any, more: Any) -> None:
    """A sentence, no traceback."""
    with pytest.raises(BadQuestion):
        asked(reviews, url, *lines, **more)


def test_the_url_says_which_listener() -> None:
    """Its port, or the scheme's when a Gateway listens there, or the only Gateway's."""
    gateways = "\n---\n".join(
        f"""\
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: g{port}}}
spec:
  servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ["*"]}}]"""
        for port in (80, 9000)
    )
    two = snapshot(gateways, REVIEWS)
    one = snapshot(gateways.split("---")[1], REVIEWS)

    assert asked(two, "http://reviews/").listener == "http.80"
    assert asked(two, "http://reviews:9000/").listener == "http.9000"
    assert asked(two, "https://reviews/").listener == "mesh"
    assert asked(one, "http://reviews/").listener == "http.9000"


def test_files_with_fatal_findings_have_no_snapshot(tmp_path: Path) -> None:
    """Their findings say why."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hots: [a]}\n"
    )
    loaded, snap = offline([str(bad)])

    assert snap is None
    assert [finding.fatal for finding in loaded.findings] == [True]


TEXTS = st.sampled_from(["", "/", "/a", "/a/b", "/ab", "bob", "jason", "b"])
PATTERN = st.one_of(
    st.builds(lambda text: {"exact": text}, TEXTS),
    st.builds(lambda text: {"prefix": text or "/"}, TEXTS),
    st.sampled_from([{"regex": "/a.*"}, {"regex": ".*b"}, {"regex": "bob|jason"}]),
)
MATCH = st.fixed_dictionaries(
    {},
    optional={
        "uri": PATTERN,
        "headers": st.dictionaries(st.sampled_from(["x-user", "x-v"]), PATTERN, min_size=1, max_size=2),
        "withoutHeaders": st.dictionaries(
            st.sampled_from(["x-user", "x-v"]), PATTERN, min_size=1, max_size=1
        ),
        "queryParams": st.dictionaries(st.sampled_from(["q"]), PATTERN, min_size=1, max_size=1),
        "method": st.sampled_from([{"exact": "GET"}, {"regex": "P.*"}]),
        "scheme": st.sampled_from([{"exact": "http"}, {"exact": "https"}]),
        "port": st.sampled_from([8080, 8081]),
    },
)
HOSTS = ["a.example.com", "*.example.com", "b.example.com", "reviews", "*"]


def _documents(services: list[tuple[str, list[list[Any]]]]) -> str:
    return yaml.safe_dump_all(
        [
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "VirtualService",
                "metadata": {"name": f"s{number}"},
                "spec": {
                    "hosts": [host],
                    **({"gateways": ["g"]} if host == "*" else {}),
                    "http": [
                        {**({"match": matches} if matches else {}), "directResponse": {"status": 200 + index}}
                        for index, matches in enumerate(rules)
                    ],
                },
            }
            for number, (host, rules) in enumerate(services)
        ]
        + [
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "Gateway",
                "metadata": {"name": "g"},
                "spec": {
                    "servers": [{"port": {"number": 8081, "name": "h", "protocol": "HTTP"}, "hosts": ["*"]}]
                },
            }
        ]
    )


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(HOSTS), st.lists(st.lists(MATCH, max_size=3), min_size=1, max_size=6)),
        min_size=1,
        max_size=3,
    ),
    st.lists(
        st.builds(
            lambda host, path, query, headers, method, scheme: Question(
                method=method, url=f"{scheme}://{host}/{path}{query}", headers=tuple(headers)
            ),
            st.sampled_from(["a.example.com", "b.example.com:8081", "x.example.com:8080", "reviews", "z:8081"]),
            st.sampled_from(["", "a", "a/b", "x/../a", "ab//b"]),
            st.sampled_from(["", "?q=b", "?q=/a&q=b"]),
            st.lists(st.tuples(st.sampled_from(["x-user", "X-V"]), st.sampled_from(["bob", "jason", "/a", "b"])), max_size=3),
            st.sampled_from(["GET", "POST"]),
            st.sampled_from(["http", "https"]),
        ),
        min_size=1,
        max_size=5,
    ),
)  # fmt: skip
def test_the_route_explained_is_the_route_matched(
    services: list[tuple[str, list[list[Any]]]], questions: list[Question]
) -> None:
    """For any configuration and request; and exactly one route is taken, after all before it lost."""
    snap = snapshot(_documents(services))
    for question in questions:
        downstream = AsgiDownstream(question.scope(snap), never, never)
        exchange = Exchange(snap, 0.0, downstream.place)
        assert Hygiene(snap.config.settings.spec).admit(exchange, downstream) is None
        matched = snap.listener(downstream.place.port).match(exchange.request)
        choice = explain(snap, question).choice

        assert choice is not None
        assert choice.route is matched
        taken = [item.source for item in choice.tried if item.outcome == "taken"]
        assert taken == ([] if matched is None else [str(matched.source)])
        for item in choice.tried:
            assert item.outcome == "not reached" or item.fits is (item.outcome == "taken")


async def never(*_: Any) -> Any:
    raise AssertionError("nothing is sent or received")


HEAD = """
  - match: [{uri: {prefix: /old}}]
    rewrite: {uri: /new, authority: inner.example.com}
    route:
    - destination: {host: reviews}
    timeout: 2s
    headers:
      request:
        set: {x-set: "%REQ(x-in)% and %PROTOCOL%"}
        add: {x-add: plain}
        remove: [x-gone]
"""


def test_the_head_told_is_the_head_sent(tmp_path: Path) -> None:
    """Byte for byte, the request id aside."""
    heads: list[bytes] = []

    async def answer(call: Call) -> None:
        heads.append(await call.head())
        await call.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async def main() -> None:
        async with Backend(answer).running() as backend:
            config = backend_service("reviews", backend.port) + route("reviews", HEAD)
            async with stage(tmp_path, config) as running:
                lines = ("x-in: 1", "x-gone: 2", "x-envoy-retry-on: 5xx", "accept: */*")
                received = await running.get("/old/a?b=c", headers="".join(f"{line}\r\n" for line in lines))
                assert received.startswith(b"HTTP/1.1 200 OK\r\n")
                snap = running.gateway.control.snapshot
                url = f"http://reviews:{running.port}/old/a?b=c"
                question = Question(
                    url=url, headers=tuple(header(line) for line in ("host: reviews", *lines))
                )
                told = explain(snap, question)
                sent = heads[0].decode().removesuffix("\r\n\r\n").split("\r\n")
                assert _anonymous(sent) == _anonymous(told.targets[0].head)

    asyncio.run(main())


def _anonymous(lines: Any) -> list[str]:
    return sorted("x-request-id" if line.startswith("x-request-id:") else line for line in lines)
