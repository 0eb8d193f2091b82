"""What the whole gateway is examined with: its configuration, and the corpus with what it must make of it."""

from __future__ import annotations

from dataclasses import replace

from support.attacks import CASES, get, refused
from support.attacks import accepted as taken
from support.stage import route, service

CONFIG = (
    service("backend.test", 1).replace("http: 1}", "http: %d}")
    + route("gw.test", "\n  - route: [{destination: {host: backend.test}}]")
    + """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: ["/admin", "/admin/*"]}}]
  - when: [{key: "request.headers[x-role]", values: ["adm*", "root"]}]
---"""
)

STRICTER = {
    "H06 obs-text": ((403,), ()),
    "H09 underscore: the application's setting decides": ((400,), ()),
    "H14 IPv6": ((404,), ()),
    "P20 asterisk in path": ((403,), ()),
    "P22 absolute-form, no path": ((200,), (b"/",)),
    "asterisk-form of OPTIONS": ((400,), ()),
}
"""What the gateway makes of what its server takes: statuses, paths that reach the backend."""
WHOLE = [
    replace(case, statuses=STRICTER[case.id][0], seen=STRICTER[case.id][1]) if case.id in STRICTER else case
    for case in CASES
]

PATHS = [
    refused("P01 dot-dot", get(target=b"/public/../admin"), 403, ""),
    refused("P02 escaped dots", get(target=b"/public/%2e%2e/admin"), 403, ""),
    refused("P02 half-escaped dots", get(target=b"/public/.%2E/admin/x"), 403, ""),
    refused("P03 escaped slash", get(target=b"/public/..%2fadmin"), 400, ""),
    refused("P03 escaped backslash", get(target=b"/public/..%5Cadmin"), 400, ""),
    refused("P04 double slash", get(target=b"//admin"), 403, ""),
    refused("P04 many slashes and a dot", get(target=b"/.//./admin//x"), 403, ""),
    refused("P07 dot segment with parameters", get(target=b"/user/..;foo=bar/admin"), 400, ""),
    refused("P07 escaped semicolon", get(target=b"/user/..%3bfoo/admin"), 400, ""),
    refused("P09 NUL", get(target=b"/admin%00"), 400, ""),
    taken("P12 another case is another path", get(target=b"/ADMIN"), b"/ADMIN"),
    refused("P14 trailing dot", get(target=b"/admin/."), 403, ""),
    refused("P19 escaped letter", get(target=b"/%61dmin"), 403, ""),
    refused("P19 all letters escaped", get(target=b"/%61%64%6d%69%6E"), 403, ""),
    refused("P03 half an escape", get(target=b"/ok%2"), 400, ""),
    taken("P19 escaped twice is not unescaped", get(target=b"/%2561dmin"), b"/%2561dmin"),
    taken("P21 escaped question mark", get(target=b"/ok%3f/../b"), b"/b"),
    taken("P28 at sign", get(target=b"/@evil.test/x"), b"/@evil.test/x"),
]

ALL = WHOLE + PATHS
