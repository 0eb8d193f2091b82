# ruff: noqa: INP001, E501 - a script, not a package; a page of prose and tables reads best in lines
"""Prints docs/security.md: every attack the tests know, what becomes of it, and the tests that prove it."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests")]

from support.attacks import CASES  # noqa: E402 - the tests' tools are importable from here on
from support.rows import NOT_OFFERED, ROWS, Row  # noqa: E402 - as above
from support.stock import DIFFERENCES  # noqa: E402 - as above

HEAD = """\
# Security

What the gateway defends, against whom, and how that is known. The tables are made by `scripts/docs` from the registry
of the tests (`tests/support/rows.py`); a row without a test fails the suite.

## Reporting

Please report a weakness to the maintainers in private, not as a public issue: through the repository's private
vulnerability reports. Say which version, the configuration that is needed, and, if you can, the bytes on the wire. A
fix comes with a row in these tables.

## Threat model

| who | may | must not be able to |
|---|---|---|
| a client without credentials | send any bytes, slowly or many, on many connections | reach a backend past a policy; have one request taken for two; choose its own address, identity or route; get another client's answer; stop the others from being served |
| a client with a certificate or token | the same, and what policies allow it | pass for somebody else; keep its rights after they were withdrawn |
| a backend | send any bytes as an answer | reach another client's connection; split an answer; make the gateway connect anywhere |
| an issuer of tokens, an authorization service | answer wrongly, slowly, or not at all | take down what does not need it; leave keys empty that were good |
| a web page in the operator's browser | send requests to loopback | change anything at the admin listener, or read from it |
| the operator | write configuration, read logs and pages | see credentials of clients there |

Trusted are the machine, its user, the configuration and the credentials on disk. Not defended against: a flood
that fills the network before it gets here, other processes of the same user, and backends that read what they are
sent in ways of their own (a path decoded twice, `;x` cut off).

## How it is done

- **One reading.** A request is parsed once, strictly; what has two readings is refused with 400 and the connection closed.
  Route, policy, log and backend see the same canonical path.
- **Framing is written anew.** No byte of a client's framing, chunk extensions and trailers included, is passed on.
- **Provably clean or closed.** A connection to a backend serves another request only if nothing of the last one is left.
- **Nothing is believed** that a client says of itself: forwarding, identity and control headers are removed or written anew.
- **In doubt, against the request.** ALLOW needs every reading to match, DENY one; what cannot be evaluated refuses.
- **Everything has a limit**: heads, headers, targets, bodies, times, handshakes, keys, tokens, caches, copies, retries.
- **Addresses come from the configuration alone.**
- **Credentials do not show**: in logs, traces, metrics, dumps, pages, mirrors and replies of our own they are replaced or left out,
  in queries and paths too. `tests/security/test_exam_secrets.py` plants them everywhere and searches all of it.

## The examination

`tests/security/test_exam_*.py` play raw bytes on real sockets against a whole gateway. The backend behind it reads with a strict parser
of its own and reports whatever is ambiguous. `scripts/fuzz attacks` makes requests up: each is either forwarded as a request that
two independent readers agree on, or refused with a 4xx and a closed connection. `scripts/testssl` runs testssl.sh on a TLS
listener.

| what | when | result |
|---|---|---|
| `scripts/fuzz attacks 60000` | 2026-11-23 | no failure |
| `scripts/testssl` (testssl.sh 3.0.8) | 2026-11-23 | nothing above LOW but for the development certificate: it expires within a day and names no CRL or OCSP. LOW: no CAA record of `127.0.0.1` |

## What it costs

`scripts/bench security` measures mutual TLS 1.3 on both sides, a remembered RS256 token, two DENY policies and an ALLOW policy beside Envoy
with the same (token cache included), and 1 000 policies for other paths beside 10: [Performance](performance.md#security).

## The rows

The tables have the outcome that the tests demand. *closed* means that the connection ends behind the answer and nothing that follows
is read.
"""
TITLES = {
    "S": "S: framing and smuggling",
    "H": "H: request line and headers",
    "P": "P: paths, authorities, targets",
    "C": "C: hop-by-hop and claimed headers",
    "U": "U: upgrades, CONNECT, TRACE",
    "D": "D: time and exhaustion, retries, copies, addresses",
    "R": "R: hostile and broken backends",
    "J": "J: tokens and authorization",
    "T": "T: TLS and identity",
    "W": "W: WebSocket and streams",
    "H2": "H2: HTTP/2",
    "F": "F: known faults of the parts under the gateway",
    "I": "I: attacks of our own",
}
STOCK = """\
## On stock uvicorn

`uvicorn gateway.app:app` uses the gateway's protocol class without a flag, and everything above holds. With `--http h11`, in another
server, or where the gateway is middleware of an application on such a server, its parser stands before us. It is said at the
start. The whole corpus is played against both of uvicorn's own parsers as well; what differs is listed. What smuggles
(two lengths, a length and an encoding, broken chunks) is refused on all of them.

Only our own server gives (`security/test_exam_more.py::test_plain_uvicorn_gives_what_only_a_server_can` plays them against a plain
`uvicorn gateway.app:app`): deadlines of heads, deadlines and least rates of bodies, limits before the head is complete, refusal of unknown upgrades and
of HTTP/1.0, one answer to each pipelined request, `Expect` judged, absolute-form judged by its authority (httptools drops it), and TLS of Gateway documents.

| case | `gateway run` | httptools | h11 |
|---|---|---|---|
"""
DEVIATIONS = """
## Deviations and open ends

- HTTP/2 is not offered to backends: an offer to upgrade to it is ignored.
- [WebSockets](websockets.md) are passed on unseen. They outlive the token they were opened with, and any page may open them unless a policy
  names the Origins.
- The admin listener is on by default, on loopback, without a token: whoever has an account on the machine can read it. `GATEWAY_ADMIN=off`.
  It runs on h11, without deadlines of its own: bind it to loopback, or put something in front of it.
- Bare LF, folded headers and blank lines are refused where RFC 9112 lets a server be lenient.
- DENY `hosts: [a.test]` takes `a.test` with any port, where Envoy takes it without one only; the exported Envoy does the same.
- A segment's parameters (`/admin;x`) are part of its name. Where a backend cuts them off, write `/admin*`.
- A list in one header line (`x-role: guest, root`) is one value to a policy, as in Envoy; two lines are two values. Write `*root*`.
- A request body has a time for each piece (`requestBodyIdle`) and a least rate (`requestBodyRate`, 240 bytes a second), none for all of it:
  holding a connection to the backend costs that much. A route's `timeout` begins when the body has come. The client's reading of a
  response has no least rate: it is cut off when it takes nothing for `streamIdle`.
- Escapes are decoded once: `/%2561dmin` is forwarded as it is. Queries are forwarded as they came.
- An access log format that names a credential (`%REQ(AUTHORIZATION)%`) writes it: somebody asked for it.
- Copies for mirrors keep their path, and parameters that only sound like credentials (`key`, `code`): without them they would be other
  requests.
- Proved in a room of its own, not by a whole process: an issuer's rotation over minutes (J11).
- OCSP stapling, the PROXY protocol, caches and compression are not there.
- STRICT answers 403 on a plain connection instead of closing it: see [Authorization](authorization.md).
"""


def shown(text: str) -> str:
    """Text in a cell."""
    return text.replace("|", "\\|")


def tests_of(row: Row) -> str:
    """Where the proof is."""
    places = dict.fromkeys(test.partition("[")[0] for test in row.tests)
    return "<br>".join(f"`{place.removeprefix('tests/').replace('.py::', '::')}`" for place in places)


def letter(row: Row) -> str:
    """The table of a row."""
    return "H2" if row.id.startswith("H2-") else row.id[0]


def table(name: str, rows: list[Row]) -> str:
    """One table."""
    lines = [f"### {TITLES[name]}", ""]
    if name in "SHPU" or name == "R":
        proofs = sorted({test.partition("[")[0] for row in rows for test in row.tests})
        lines += ["Proved by " + ", ".join(f"`{proof.removeprefix('tests/')}`" for proof in proofs) + ".", ""]
        if name != "R":
            lines[-2] += " The protocol class alone: `server/test_corpus.py`, all at once and byte by byte."
        lines += ["| id | attack | required outcome | result |", "|---|---|---|---|"]
        lines += [
            f"| {row.id} | {shown(row.attack)} | {shown(row.required)} | {row.result} |" for row in rows
        ]
    else:
        lines += ["| id | attack | required outcome | result | tests |", "|---|---|---|---|---|"]
        lines += [
            f"| {row.id} | {shown(row.attack)} | {shown(row.required)} | {row.result} | {tests_of(row)} |"
            for row in rows
        ]
    return "\n".join(lines) + "\n"


def stock() -> str:
    """What differs on stock parsers."""
    names = sorted({name for found in DIFFERENCES.values() for name in found})
    ours = {case.id: ", ".join(map(str, case.statuses)) for case in CASES}

    def cell(parser: str, name: str) -> str:
        if name not in DIFFERENCES[parser]:
            return "the same"
        found = DIFFERENCES[parser][name]
        return "no answer to the next request" if found is None else ", ".join(map(str, found[0]))

    return "".join(
        f"| {shown(name)} | {ours.get(name, '400')} | {cell('httptools', name)} | {cell('h11', name)} |\n"
        for name in names
    )


def page() -> str:
    """The whole page."""
    order = list(TITLES)
    rows = sorted(ROWS, key=lambda row: (order.index(letter(row)), row.id))
    counted = {row.id for row in rows}
    absent = {row.id for row in rows if row.result == NOT_OFFERED}
    parts = [
        HEAD,
        f"{len(counted)} classes, {len(rows)} rows; {len(absent)} classes are of things that are not offered.\n",
    ]
    parts += [table(name, list(group)) for name, group in groupby(rows, key=letter)]
    return "\n".join(parts) + "\n" + STOCK + stock() + DEVIATIONS


if __name__ == "__main__":
    sys.stdout.write(page())
