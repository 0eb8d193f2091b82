"""Configurations, biased to the edges where one is told from the next.

Only what is determined: one endpoint a cluster, weights of everything or nothing, faults that always happen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BACKENDS = ("one", "two", "other")
NETWORKING = "networking.istio.io/v1"

PATHS = ("/", "/a", "/A", "/a/", "/a/b", "/ab", "/a%20b", "/a;x=1", "/b/c/d")
REGEXES = (
    "/[ab]/?",
    "/a.*",
    ".*",
    "(?i)/A/.*",
    "/a|/b",
    "/([a-z]+)/([a-z]+)",
    "/a{1,3}",
    "[^b]*",
    "/a/b$",
    "",
)
TEXTS = ("1", "11", "a,b", "", "A", "a b")
HEADERS = ("x-a", "x-b", "user-agent", "accept")
HOSTS = ("a.test", "b.test", "*.w.test", "*.x.w.test", "short", "full.default.svc.cluster.local", "192.0.2.9")


def document(kind: str, name: str, spec: Mapping[str, Any], version: str = NETWORKING) -> dict[str, Any]:
    """A document without its position."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": dict(spec)}


def services(ports: Mapping[str, int], dead: int) -> list[dict[str, Any]]:
    """`a.test` with two subsets, `b.test`, one without endpoints, and one that refuses."""

    def entry(host: str, *endpoints: tuple[int, str]) -> dict[str, Any]:
        spec = {
            "hosts": [host],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "endpoints": [
                {"address": "127.0.0.1", "ports": {"http": port}, "labels": {"version": version}}
                for port, version in endpoints
            ],
        }
        return document("ServiceEntry", host.replace(".", "-"), spec)

    subsets = [{"name": name, "labels": {"version": name}} for name in ("v1", "v2", "v3")]
    return [
        entry("a.test", (ports["one"], "v1"), (ports["two"], "v2")),
        entry("b.test", (ports["other"], "v1")),
        entry("nobody.test"),
        entry("dead.test", (dead, "v1")),
        document("DestinationRule", "a", {"host": "a.test", "subsets": subsets}),
    ]


# -- matches ----------------------------------------------------------------------------------------

texts = st.sampled_from(TEXTS)


@st.composite
def string_matches(
    draw: st.DrawFn, regexes: tuple[str, ...] = ("1+", ".*", "[^1]*", "a|A", ".+"), presence: bool = True
) -> Any:
    """exact, prefix, regex or presence."""
    kind = draw(st.sampled_from(("exact", "exact", "prefix", "regex", *(("",) if presence else ()))))
    if not kind:
        return {}
    if kind == "regex":
        return {"regex": draw(st.sampled_from(regexes))}
    return {kind: draw(texts.filter(bool) if kind == "prefix" else texts)}


@st.composite
def uri_matches(draw: st.DrawFn) -> Any:
    """A condition on the path."""
    kind = draw(st.sampled_from(("exact", "prefix", "prefix", "regex")))
    if kind == "regex":
        return {"regex": draw(st.sampled_from([text for text in REGEXES if text]))}
    return {kind: draw(st.sampled_from((*PATHS, "") if kind == "prefix" else PATHS))}


METHODS = ({"exact": "GET"}, {"exact": "get"}, {"regex": "GET|PUT"}, {"prefix": "P"})
AUTHORITIES = (
    {"exact": "a.test"},
    {"exact": "a.test:80"},
    {"prefix": "a."},
    {"regex": ".*:80"},
    {"exact": "A.TEST"},
)
SCHEMES = ({"exact": "http"}, {"exact": "https"}, {"prefix": "http"})
PSEUDO = (":method", ":authority", ":path", ":scheme")


@st.composite
def matches(draw: st.DrawFn) -> dict[str, Any]:
    """One entry of `match`: mostly a path, sometimes more."""
    found: dict[str, Any] = {}
    if draw(st.integers(0, 4)):
        found["uri"] = draw(uri_matches())
        if draw(st.integers(0, 4)) == 0:
            found["ignoreUriCase"] = draw(st.booleans())
    for field, values in (("method", METHODS), ("authority", AUTHORITIES), ("scheme", SCHEMES)):
        if draw(st.integers(0, 7)) == 0:
            found[field] = draw(st.sampled_from(values))
    if draw(st.integers(0, 3)) == 0:
        names = st.sampled_from((*HEADERS, *HEADERS, *PSEUDO))
        found["headers"] = draw(st.dictionaries(names, string_matches(), min_size=1, max_size=2))
    if draw(st.integers(0, 4)) == 0:
        found["withoutHeaders"] = draw(
            st.dictionaries(
                st.sampled_from(HEADERS),
                string_matches(("1+", ".+", ".*", "[^1]*", "1?")),
                min_size=1,
                max_size=2,
            )
        )
    if draw(st.integers(0, 4)) == 0:
        found["queryParams"] = draw(
            st.dictionaries(st.sampled_from(("q", "Q", "r", "a b")), string_matches(), min_size=1, max_size=2)
        )
    return found


# -- actions ----------------------------------------------------------------------------------------

DESTINATIONS = (
    {"host": "a.test", "subset": "v1"},
    {"host": "a.test", "subset": "v1"},
    {"host": "a.test", "subset": "v2"},
    {"host": "b.test"},
    {"host": "b.test", "port": {"number": 80}},
    {"host": "B.TEST"},
    {"host": "a.test", "subset": "v3"},
    {"host": "nobody.test"},
    {"host": "dead.test"},
)
VALUES = (
    "plain", "100%%", "%REQ(x-a)%", "%REQ(:METHOD)% %REQ(:PATH)%", "%REQ(missing)%", "%PROTOCOL%",
    "%REQ(missing?x-a)%", "%REQ(x-a):1%", "[%REQ(:AUTHORITY)%]", "%REQ(missing)%-",
)  # fmt: skip
ANSWER_VALUES = (
    "plain",
    "100%%",
    "%REQ(accept)%",
    "%REQ(x-a)%",
    "%REQ(:AUTHORITY)%",
    "%RESPONSE_FLAGS%",
    "%RESPONSE_CODE_DETAILS%",
    "%ROUTE_NAME%",
    "%RESPONSE_CODE%",
    "%RESP(x-twice)%",
    "%REQ(:METHOD)%",
)


@st.composite
def operations(draw: st.DrawFn, values: tuple[str, ...] = VALUES) -> dict[str, Any]:
    """set, add and remove of few names, so that they meet."""
    names = st.sampled_from(("x-a", "x-b", "x-new", "X-New", "x-twice"))
    found: dict[str, Any] = {}
    for field in ("set", "add"):
        changes = draw(st.dictionaries(names, st.sampled_from(values), max_size=2))
        if changes:
            # Istio's map has one entry a name; two spellings of one would have no order.
            found[field] = {name.lower(): value for name, value in changes.items()}
    removed = draw(st.lists(st.sampled_from(("x-a", "X-B", "user-agent", "x-twice", "server")), max_size=2))
    if removed:
        found["remove"] = list(dict.fromkeys(removed))
    return found


@st.composite
def header_changes(draw: st.DrawFn) -> dict[str, Any]:
    """`headers` of a route or destination."""
    found = {}
    if draw(st.booleans()):
        found["request"] = draw(operations())
    if draw(st.booleans()):
        found["response"] = draw(operations(ANSWER_VALUES))
    return found


@st.composite
def forwards(draw: st.DrawFn) -> dict[str, Any]:
    """A rule that forwards, with everything it may do on the way."""
    # Istio's default policy repeats what failed to connect.
    rule: dict[str, Any] = {"retries": {"attempts": 0}}
    weights = draw(st.sampled_from(((None,), (None,), (0,), (100, 0), (0, 1), (0, 5, 0))))
    rule["route"] = []
    for weight in weights:
        entry: dict[str, Any] = {"destination": dict(draw(st.sampled_from(DESTINATIONS)))}
        if weight is not None:
            entry["weight"] = weight
        if draw(st.integers(0, 3)) == 0:
            entry["headers"] = draw(header_changes())
        if draw(st.integers(0, 7)) == 0:
            request = entry.setdefault("headers", {}).setdefault("request", {})
            request["set"] = {**request.get("set", {}), "host": "destination.test"}
        rule["route"].append(entry)
    if draw(st.integers(0, 2)) == 0:
        rule["headers"] = draw(header_changes())
    if draw(st.integers(0, 2)) == 0:
        rule["rewrite"] = draw(st.sampled_from(REWRITES))
    if "authority" not in rule.get("rewrite", {}) and draw(st.integers(0, 7)) == 0:
        request = rule.setdefault("headers", {}).setdefault("request", {})
        request["set"] = {
            **request.get("set", {}),
            "host": draw(st.sampled_from(("set.test", "SET.test:81"))),
        }
    if draw(st.integers(0, 5)) == 0:
        rule["timeout"] = "20s"
    if draw(st.integers(0, 4)) == 0:
        rule["corsPolicy"] = draw(st.sampled_from(CORS))
    return rule


REWRITES = (
    {"uri": "/new"}, {"uri": "/"}, {"uri": "/new/"}, {"uri": "/n?q=1"}, {"authority": "new.test"},
    {"uri": "/x", "authority": "NEW.test:81"},
    {"uriRegexRewrite": {"match": "^/([^/]+)/(.*)$", "rewrite": "/\\2/\\1"}},
    {"uriRegexRewrite": {"match": "a", "rewrite": "<\\0>"}},
)  # fmt: skip
CORS = (
    {"allowOrigins": [{"exact": "https://o.test"}], "allowMethods": ["GET", "PUT"], "allowCredentials": True},
    {"allowOrigins": [{"prefix": "https://"}], "exposeHeaders": ["x-a", "x-b"], "maxAge": "10m"},
    {"allowOrigins": [{"regex": "https://.*\\.test"}], "allowHeaders": ["x-a"], "unmatchedPreflights": "IGNORE"},
    {"allowOrigins": [{"exact": "*"}], "allowMethods": ["*"], "allowHeaders": ["*"]},
)  # fmt: skip
REDIRECTS = (
    {"uri": "/new"}, {"uri": "/new?x=1"}, {"authority": "new.test"}, {"authority": "new.test:81", "port": 8080},
    {"port": 8443}, {"port": 80}, {"scheme": "https"}, {"scheme": "https", "port": 443, "redirectCode": 308},
    {"uri": "/x", "authority": "n.test", "redirectCode": 302}, {"scheme": "https", "authority": "n.test"},
    {"scheme": "http", "redirectCode": 307},
)  # fmt: skip
DIRECT = (
    {"status": 200}, {"status": 418, "body": {"string": "short\n"}}, {"status": 204},
    {"status": 503, "body": {"bytes": "AP8K"}}, {"status": 301, "body": {"string": ""}}, {"status": 304},
    {"status": 599, "body": {"string": "é" * 100}},
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """A rule that answers by itself."""
    rule: dict[str, Any] = (
        {"redirect": dict(draw(st.sampled_from(REDIRECTS)))}
        if draw(st.booleans())
        else {"directResponse": dict(draw(st.sampled_from(DIRECT)))}
    )
    if draw(st.integers(0, 2)) == 0:
        rule["headers"] = {"response": draw(operations(ANSWER_VALUES))}
    return rule


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """One element of `http`."""
    rule: dict[str, Any] = draw(st.one_of(forwards(), forwards(), forwards(), answers()))
    if draw(st.integers(0, 3)) == 0:
        rule["name"] = "rule"
    if draw(st.integers(0, 5)):
        rule["match"] = draw(st.lists(matches(), min_size=1, max_size=3))
        if draw(st.integers(0, 3)) == 0:
            rule["match"][-1]["name"] = "match"
    if "route" not in rule or draw(st.integers(0, 9)):
        return rule
    prefixes = [match["uri"]["prefix"] for match in rule.get("match", ()) if "prefix" in match.get("uri", {})]
    if prefixes:
        rule = {"match": rule["match"], "redirect": {"prefixRewrite": "/swapped"}}
        rule["match"] = [match for match in rule["match"] if "prefix" in match.get("uri", {})]
    return rule


SETTINGS = {
    "pathNormalization": ("MERGE_SLASHES", "MERGE_SLASHES", "BASE", "NONE", "DECODE_AND_MERGE_SLASHES"),
    "escapedSlashes": ("REJECT", "REJECT", "KEEP_UNCHANGED", "UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT"),
    "underscoreHeaders": ("REJECT", "ALLOW", "DROP"),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """A configuration without ports."""

    settings: dict[str, str]
    services: list[dict[str, Any]]

    def text(self, ports: Mapping[str, int], dead: int) -> str:
        """The YAML (JSON is YAML)."""
        spec = {"admin": "off", "accessLog": {"encoding": "OFF"}, "serverName": "edge", **self.settings}
        documents = [
            document("GatewaySettings", "s", spec, "gateway.asgi/v1"),
            *services(ports, dead),
            *self.services,
        ]
        return "\n---\n".join(json.dumps(item) for item in documents)


SERVER_HOSTS = (
    ("*",),
    ("*.test",),
    ("a.test", "*.w.test"),
    ("./a.test", "b.test"),
    ("elsewhere/*",),
    ("*/short",),
)


def gateway(*servers: tuple[Sequence[str], bool]) -> dict[str, Any]:
    """A Gateway document of one port; each server with its hosts, and whether it redirects to https."""
    return document(
        "Gateway",
        "edge",
        {
            "servers": [
                {
                    "port": {"number": 8081, "name": f"http-{index}", "protocol": "HTTP"},
                    "hosts": list(hosts),
                    **({"tls": {"httpsRedirect": True}} if redirects else {}),
                }
                for index, (hosts, redirects) in enumerate(servers)
            ]
        },
    )


DELEGATE = document(
    "VirtualService",
    "inner",
    {
        "http": [
            {"match": [{"uri": {"prefix": "/a/b"}}], "directResponse": {"status": 202}},
            {
                "match": [{"uri": {"exact": "/a"}, "method": {"exact": "GET"}}, {"headers": {"x-a": {"exact": "1"}}}],
                "route": [{"destination": {"host": "b.test"}}],
                "rewrite": {"uri": "/inner"},
            },
            {"match": [{"uri": {"prefix": "/other"}}], "directResponse": {"status": 203}},
            {"route": [{"destination": {"host": "a.test", "subset": "v1"}}], "headers": {"request": {"set": {"x-b": "in"}}}},
        ]
    },
)  # fmt: skip
DELEGATING = (
    {"match": [{"uri": {"prefix": "/a"}}], "delegate": {"name": "inner"}},
    {"match": [{"uri": {"prefix": "/a"}, "method": {"exact": "GET"}}], "delegate": {"name": "inner"}, "rewrite": {"uri": "/r"}},
    {"match": [{"uri": {"exact": "/a"}}, {"uri": {"prefix": "/other"}}], "delegate": {"name": "inner"}},
    {"delegate": {"name": "inner"}, "headers": {"response": {"set": {"x-from": "root"}}}},
    {"match": [{"uri": {"regex": "/a.*"}}], "delegate": {"name": "inner"}},
    {"delegate": {"name": "nowhere"}},
)  # fmt: skip


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Settings and one to three VirtualServices, whose hosts may meet."""
    settings = {name: draw(st.sampled_from(values)) for name, values in SETTINGS.items()}
    if settings["escapedSlashes"] == "UNESCAPE_AND_REDIRECT":
        # What breaks two rules is answered by the one that is looked at first.
        settings["underscoreHeaders"] = "ALLOW"
    found: list[dict[str, Any]] = []
    bound = draw(st.integers(0, 3)) == 0
    for name in draw(st.permutations(("v0", "v1", "v2")))[: draw(st.integers(1, 3))]:
        hosts = draw(st.sampled_from((("a.test",), ("a.test", "b.test"), (draw(st.sampled_from(HOSTS)),))))
        spec: dict[str, Any] = {"hosts": list(hosts), "http": draw(st.lists(rules(), min_size=1, max_size=4))}
        if draw(st.integers(0, 7)) == 0:
            spec["http"].insert(0, dict(draw(st.sampled_from(DELEGATING))))
        if bound and draw(st.integers(0, 3)):
            spec["gateways"] = draw(st.sampled_from((["edge"], ["default/edge", "mesh"], ["mesh"])))
        found.append(document("VirtualService", name, spec))
    if bound:
        redirects = st.sampled_from((False, False, True)) if draw(st.integers(0, 2)) == 0 else st.just(False)
        servers = draw(st.lists(st.tuples(st.sampled_from(SERVER_HOSTS), redirects), min_size=1, max_size=2))
        found.append(gateway(*servers))
    return Scene(settings, [*found, DELEGATE])
