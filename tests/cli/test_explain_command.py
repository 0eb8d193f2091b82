"""`gateway explain`: pages, JSON and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.routing import service

from gateway.cli import main

CONFIG = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - name: jason
    match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
    timeout: 3s
    fault: {delay: {fixedDelay: 2s, percentage: {value: 10}}}
    mirror: {host: reviews, subset: v1}
  - name: page
    match: [{uri: {prefix: /page}}]
    route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: reviews, subset: v2}, weight: 10}
  - name: gone
    match: [{uri: {exact: /gone}}]
    directResponse: {status: 410}
---
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    path.write_text(CONFIG + service("reviews", versions=("v1", "v2")))
    return path


def run(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["explain", *arguments, "-c", str(file)])


def test_the_page_tells_each_step(file: Path) -> None:
    """Path, host, routes with what they lost on, chances, timeouts, retries, and the head."""
    result = run(file, "GET", "http://reviews/x/../page?token=abc", "-H", "end-user: bob")

    assert result.exit_code == 0
    for words in (
        "GET /page?token=[redacted]  (asked for as /x/../page)",
        "header end-user is 'bob', wanted exact 'jason'",
        "2  page   taken        path prefix '/page'",
        "90 %  outbound|9080|v1|reviews.default.svc.cluster.local",
        "10 %  outbound|9080|v2|reviews.default.svc.cluster.local",
        "up to 2, on cancelled, connect-failure, refused-stream, unavailable",
        "sends        GET /page?token=[redacted] HTTP/1.1",
        "x-envoy-attempt-count: 1",
    ):
        assert words in result.output
    assert "\x1b" not in result.output


def test_what_a_route_does_besides_is_told(file: Path) -> None:
    """Timeout, fault, mirror."""
    output = run(file, "GET", "/", "-H", "host: reviews", "-H", "end-user: jason").output

    for words in ("3 s for everything", "10 % wait 2 s", "100 % to reviews.default:9080 v1"):
        assert words in output


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("GET", "http://reviews/gone"), 0, "410"),
        (("GET", "http://reviews/nothing"), 1, "no route takes GET reviews/nothing"),
        (("GET", "http://other/"), 1, "none: none of the"),
        (("TRACE", "http://reviews/"), 1, "does not take the method TRACE"),
        (("get", "http://reviews/"), 1, "does not take the method get"),
        (("GET", "/page"), 2, "name the host"),
        (("GET", "http://reviews/", "-H", "nonsense"), 2, "is not 'name: value'"),
        (("GET", "http://reviews/", "--source-ip", "nonsense"), 2, "'nonsense' is no IP address"),
    ],
)
def test_exit_codes(file: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    """0 served, 1 turned away, 2 no request."""
    result = run(file, *arguments)

    assert result.exit_code == code
    assert words.lower() in result.output.lower()


def test_nobody_is_sent_in_a_circle(file: Path) -> None:
    """What to do is never to ask `gateway explain`, which is what answers."""
    output = run(file, "GET", "http://reviews/nothing").output

    assert "what to do   Add a route for it, or correct the request." in output
    assert "gateway explain" not in output


def test_a_configuration_with_errors_is_exit_three(tmp_path: Path) -> None:
    """With the findings that `gateway check` prints."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec: {hots: [a]}\n"
    )
    result = run(bad, "GET", "http://a/")

    assert (result.exit_code, "4:8" in result.output) == (3, True)


def test_json_is_one_object(file: Path) -> None:
    """The same decision for programs."""
    told = json.loads(run(file, "GET", "http://reviews/page", "--json").output)

    assert told["decision"]["route"]["name"] == "page"
    assert told["decision"]["nearest"][0]["failed"] == ["header end-user is absent, wanted exact 'jason'"]
    assert [item["percent"] for item in told["destinations"]] == [90.0, 10.0]
    assert (told["refused"], told["diagnosis"]) == (False, None)
    told = json.loads(run(file, "GET", "http://reviews/nothing", "--json").output)
    assert (told["answer"]["status"], told["diagnosis"]["culprit"]) == (
        404,
        "the configuration, or the client's URL or Host header",
    )


def test_who_asks_is_part_of_the_question(file: Path) -> None:
    """Certificate, server name and address of the client."""
    told = json.loads(
        run(
            file,
            "GET",
            "/page",
            "-H",
            "host: reviews",
            "--principal",
            "spiffe://a/ns/b/sa/c",
            "--source-ip",
            "10.1.2.3",
            "--json",
        ).output
    )

    request = told["request"]
    assert (request["principal"], request["peer"], request["scheme"]) == ("a/ns/b/sa/c", "10.1.2.3", "https")


def test_names_cannot_move_the_cursor(file: Path) -> None:
    """A header value may be anything that a terminal obeys."""
    result = run(file, "GET", "http://reviews/page", "-H", "x-a: \x1b[31mred\x07")

    assert "\x1b" not in result.output
    assert "\x07" not in result.output
