"""What is not as in Envoy yet, and should be; and the page that tells it all.

`cd tests && python -m differential.gaps > ../docs/differences.md` writes the page; a test holds it equal.
"""

from __future__ import annotations

import sys

from differential.difference import Difference
from differential.differences import TABLE
from differential.failures import FAILURES, UNTRIED

OPEN: tuple[Difference, ...] = ()
"""What is not the same yet, and should be."""

KNOWN = (*TABLE, *FAILURES, *OPEN)
"""Everything that may differ."""

_PAGE = """\
# Differences from Envoy

Everything else is the same: `tests/differential/` starts real Envoy on what `gateway export envoy` prints and the
gateway on the original, sends the same bytes to both, and compares status, headers and body of the answer, the backend
that was chosen and every byte it received. Only dates, random ids, measured times and the order of headers with
different names are left out. The page is written from the table the tests use
(`tests/differential/`); each row has an example that is tried.

| when | the gateway | Envoy | why |
|---|---|---|---|
"""

_MORE = """
No single request shows these; the tests of each feature do.

| what | the gateway | Envoy | why |
|---|---|---|---|
"""


def document() -> str:
    """docs/differences.md."""
    rows = [f"| {row.when} | {row.gateway} | {row.envoy} | {row.why} |\n" for row in (*TABLE, *FAILURES)]
    page = _PAGE + "".join(rows) + _MORE
    page += "".join(f"| {row.when} | {row.gateway} | {row.envoy} | {row.why} |\n" for row in UNTRIED)
    if OPEN:
        page += "\n## Not the same yet\n\n| when | the gateway | Envoy |\n|---|---|---|\n"
        page += "".join(f"| {row.when} | {row.gateway} | {row.envoy} |\n" for row in OPEN)
    return page


if __name__ == "__main__":
    sys.stdout.write(document())
