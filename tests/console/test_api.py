"""The console over HTTP: what it answers, to whom, and what it never tells."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from console.live import SECRET, Live

from gateway.admin.console.assets import assets

NAMES = ("overview", "graph", "routes", "clusters", "rejected", "identities", "traces", "generations")
ADDRESSES = tuple(f"/console/api/{name}" for name in (*NAMES, "documents"))


@pytest.fixture(scope="module")
def client(live: Live):
    with httpx.Client(base_url=live.url, trust_env=False) as client:
        yield client


def seen(client: httpx.Client, name: str, wanted: Callable[[Any], bool]) -> Any:
    """An answer once it is as wanted: the second that requests belong to must be over."""
    until = time.monotonic() + 8
    while not wanted(told := client.get(f"/console/api/{name}").json()):
        assert time.monotonic() < until, told
        time.sleep(0.05)
    return told


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_answer_is_json_without_secrets(client: httpx.Client, address: str) -> None:
    """Small enough to be asked for every second."""
    answer = client.get(address)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert isinstance(answer.json(), dict)
    assert SECRET not in answer.text
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("address", ["/", "/console/main.js", "/console/nothing", *ADDRESSES])
def test_the_policy_allows_only_what_is_ours(client: httpx.Client, address: str) -> None:
    """No script, style, picture, frame or form from anywhere else, and nothing inline."""
    policy = client.get(address).headers["content-security-policy"].split("; ")

    assert policy[0] == "default-src 'none'"
    assert not [
        part for part in policy if "unsafe" in part or "http" in part or "*" in part or "data:" in part
    ]
    assert {"script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} < set(
        policy
    )


@pytest.mark.parametrize(
    "address", ["/", "/console/main.js", "/console/console.css", "/console/api/overview"]
)
def test_a_rebound_name_gets_nothing(client: httpx.Client, address: str) -> None:
    """A page of evil.example whose name now means 127.0.0.1 (CVE-2018-14505)."""
    assert client.get(address, headers={"host": "evil.example:15000"}).status_code == 421


@pytest.mark.parametrize("address", ["/", "/console/main.js", *ADDRESSES])
def test_what_is_read_cannot_be_posted(client: httpx.Client, address: str) -> None:
    """Reading is GET, whatever header is sent; and GET is all that these know."""
    assert client.post(address).status_code == 403
    assert client.post(address, headers={"x-gateway-admin": "1"}).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "nothing",
        "",
        "../api.py",
        "..%2fapi.py",
        "%2e%2e/api.py",
        "pages",
        "pages/",
        "/etc/passwd",
        "main.js/",
        "MAIN.JS",
    ],
)
def test_only_known_files_are_served(client: httpx.Client, path: str) -> None:
    """A path is looked up among the files that were read at the start; it never reaches the disk."""
    url = client.base_url.copy_with(raw_path=f"/console/{path}".encode())

    assert client.get(url).status_code == 404


def test_every_file_has_its_type(client: httpx.Client) -> None:
    """With nosniff, a module of another type does not run."""
    types = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
    for path in assets():
        answer = client.get(f"/console/{path}")
        assert answer.headers["content-type"].startswith(types[path.rpartition(".")[2]])
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_graph_joins_gateway_routes_subsets_and_endpoints(client: httpx.Client) -> None:
    """Every line leads from a node to a node; weights and rates are on them."""
    graph = seen(client, "graph", lambda told: any(route["rps"] for route in told["routes"]))
    nodes = {item["id"] for kind in ("listeners", "routes", "clusters") for item in graph[kind]}
    nodes |= {endpoint["id"] for cluster in graph["clusters"] for endpoint in cluster["endpoints"]}

    assert [edge for edge in graph["edges"] if not {edge["from"], edge["to"]} <= nodes] == []
    split = {edge["to"].split("|")[2]: edge for edge in graph["edges"] if edge["from"].endswith("http[3]")}
    assert {subset: edge["percent"] for subset, edge in split.items()} == {"v1": 75.0, "v2": 25.0}
    assert sum(edge["rps"] for edge in split.values()) > 0


def test_rates_agree_with_what_was_sent(client: httpx.Client) -> None:
    """Fifteen by weight, of which three failed; two on the route with the odd name; one without a route."""
    # The one without a route came last.
    overview = seen(client, "overview", lambda told: any(not route["source"] for route in told["routes"]))
    routes = {item["source"].rpartition(" ")[2]: item for item in overview["routes"]}

    assert routes["http[3]"]["success"] == 80.0
    assert routes["http[3]"]["failed"] * 5 == pytest.approx(routes["http[3]"]["rps"], rel=0.01)
    assert routes[""]["rps"] * 15 == pytest.approx(routes["http[3]"]["rps"], rel=0.01)
    assert sum(overview["history"]["rps"]) > 0


def test_rejected_bytes_are_shown_without_credentials(client: httpx.Client) -> None:
    """As hexadecimal, so nothing in them can mean anything to JSON or HTML."""
    rejected = client.get("/console/api/rejected").json()

    (last,) = rejected["last"]
    assert rejected["counts"] == {"bad_host": 1}
    assert (last["reason"], last["status"]) == ("bad_host", 400)
    assert b"<script>" in bytes.fromhex(last["bytes"])
    assert SECRET.encode() not in bytes.fromhex(last["bytes"])


def test_documents_and_differences_of_unknown_generations_are_404(client: httpx.Client) -> None:
    """Forgotten, never there, or no number at all."""
    asked = (
        "documents?generation=77",
        "diff",
        "diff?old=1&new=77",
        "diff?old=x&new=1",
        "diff?old=-1&new=1e9",
    )

    assert [client.get(f"/console/api/{query}").status_code for query in asked] == [404] * len(asked)
    assert client.get("/console/api/diff?old=1&new=1").json()["changes"] == []


def test_a_route_shows_what_it_demands_but_no_credential(client: httpx.Client) -> None:
    """The path it wants is told, the token it wants is not."""
    (listener,) = client.get("/console/api/routes").json()["listeners"]
    match = {route["name"]: route["match"] for host in listener["hosts"] for route in host["routes"]}

    assert "/evil" in json.dumps(match)
    assert match["secret"][0].startswith("header authorization [redacted sha256:")


def test_links_are_what_the_environment_says(client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is linked that nobody named."""
    assert seen(client, "traces", lambda told: not told["links"])
    monkeypatch.setenv("GATEWAY_JAEGER_URL", "http://127.0.0.1:16686")

    told = seen(client, "traces", lambda told: told["links"])
    assert told["links"] == {"jaeger": "http://127.0.0.1:16686"}


def test_copies_flow_to_mirrors(client: httpx.Client, live: Live) -> None:
    """Beside the requests, and told apart from them."""
    live.do(live.stage.ask("reviews", "/copied"))

    def copied(told) -> bool:
        return any(cluster["copies"]["rps"] for cluster in told["clusters"])

    graph = seen(client, "graph", copied)
    (edge,) = [edge for edge in graph["edges"] if "mirror" in edge]
    (cluster,) = [cluster for cluster in graph["clusters"] if cluster["copies"]["rps"]]

    assert (edge["mirror"], edge["success"]) == (100.0, 100.0)
    assert edge["rps"] == cluster["copies"]["rps"] == cluster["endpoints"][0]["copies"]["rps"] > 0
    assert edge["to"] == cluster["id"]
    assert cluster["subset"] == "v2"
