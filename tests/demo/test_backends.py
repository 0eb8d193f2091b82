from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).parents[2]


def start(*specs: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gateway.demo.backends", *specs],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def urls():
    """Two running backends: reviews v2 and httpbin v1."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], two.getsockname()[1]
    process = start(f"reviews/v2@127.0.0.1:{ports[0]}", f"httpbin/v1@127.0.0.1:{ports[1]}")
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    yield {"reviews": f"http://127.0.0.1:{ports[0]}", "httpbin": f"http://127.0.0.1:{ports[1]}"}
    process.terminate()
    assert process.communicate(timeout=20) == ("", "")


@pytest.fixture(scope="module")
def client():
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


def test_an_answer_names_service_version_and_request(urls, client):
    """Whoever reads an answer knows who gave it, and to which request."""
    response = client.get(f"{urls['reviews']}/reviews/0", headers={"x-request-id": "r-1"})
    answer = response.json()
    assert (answer["service"], answer["version"], answer["request_id"]) == ("reviews", "v2", "r-1")
    assert response.headers["x-served-by"] == "reviews-v2"
    assert response.headers["x-request-id"] == "r-1"


def test_the_port_says_which_backend_answers(urls, client):
    """One process, one port a backend."""
    assert client.get(urls["httpbin"]).json()["service"] == "httpbin"
    assert client.get(urls["reviews"]).json()["service"] == "reviews"


def test_anything_repeats_the_request(urls, client):
    """Method, path, arguments, headers and body come back as they arrived."""
    response = client.put(f"{urls['httpbin']}/anything/deep?a=1&b=", content=b"body", headers={"x-a": "1"})
    answer = response.json()
    assert (answer["method"], answer["path"], answer["args"]) == (
        "PUT",
        "/anything/deep",
        {"a": "1", "b": ""},
    )
    assert (answer["body"], answer["body_bytes"], answer["headers"]["x-a"]) == ("body", 4, "1")


def test_repeated_headers_are_joined(urls, client):
    """Two lines of a header show as one value with a comma."""
    response = client.get(f"{urls['httpbin']}/headers", headers=[("x-a", "1"), ("x-a", "2")])
    assert response.json()["headers"]["x-a"] == "1,2"


@pytest.mark.parametrize("code", [200, 204, 304, 404, 503])
def test_status_answers_with_the_status(urls, client, code):
    """/status/N is N."""
    assert client.get(f"{urls['httpbin']}/status/{code}").status_code == code


def test_stream_sends_so_many_lines_without_a_length(urls, client):
    """/stream/N is N lines of JSON, chunked."""
    response = client.get(f"{urls['httpbin']}/stream/3")
    assert response.headers["transfer-encoding"] == "chunked"
    assert len(response.text.splitlines()) == 3


@pytest.mark.parametrize("count", [0, 1, 65536, 200_001])
def test_bytes_sends_so_many_bytes(urls, client, count):
    """/bytes/N is N bytes with their length announced."""
    response = client.get(f"{urls['httpbin']}/bytes/{count}")
    assert len(response.content) == count == int(response.headers["content-length"])


def test_delay_says_how_long_it_waited(urls, client):
    """/delay/0 answers at once."""
    assert client.get(f"{urls['httpbin']}/delay/0").json()["delay"] == 0


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/status/x", 400),
        ("GET", "/status/999", 400),
        ("GET", "/bytes", 400),
        ("GET", "/post", 405),
        ("POST", "/get", 405),
        ("GET", "/nothing", 404),
    ],
)
def test_a_path_that_means_nothing_is_an_error(urls, client, method, path, status):
    """The echo does not make up answers."""
    assert client.request(method, urls["httpbin"] + path).status_code == status


def test_a_large_body_is_counted_but_not_repeated(urls, client):
    """An echo stays small whatever is sent."""
    answer = client.post(f"{urls['httpbin']}/post", content=b"x" * 300_000).json()
    assert answer["body_bytes"] == 300_000
    assert len(answer["body"]) == 65536


def test_a_taken_port_is_a_sentence_and_exit_code_3():
    """Who starts the demo twice learns which port it was, and nothing keeps running."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(f"reviews/v1@127.0.0.1:{port}")
        out, error = process.communicate(timeout=20)
    assert (process.returncode, out) == (3, "")
    assert f"127.0.0.1:{port}: Address already in use." in error
    assert "Traceback" not in error


def test_a_malformed_argument_is_exit_code_2():
    """Usage errors have a code of their own."""
    process = start("nonsense")
    _, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "'nonsense' is not SERVICE/VERSION" in error
