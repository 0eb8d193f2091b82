# ruff: noqa: INP001 - a script, not a package
"""Prints docs/findings.md: every code, with what `gateway check` says about an example of it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

# Whoever defines codes is imported here, so that the page has all of them.
import gateway.config.analysis
import gateway.control.build  # noqa: F401 - defines codes
from gateway.config import CODES, Config, Finding, load, render
from gateway.config.analysis import analyze
from gateway.config.document import decode
from gateway.config.resource import KINDS, VERSIONS
from gateway.config.yaml import MAX_BYTES, MAX_DEPTH, read

EXAMPLES = Path(__file__).with_name("findings.examples")
NAME = "routes.yaml"
UNWRITABLE = {
    "GW001": None,
    "GW002": "kind: \x01\n",
    "GW003": "#\n" * MAX_BYTES,
    "GW007": "a: " + "[" * MAX_DEPTH + "]" * MAX_DEPTH,
    "GW011": "# nothing yet\n",
    "GW052": "== VirtualService shop\nhosts: [shop]\nhttp:\n- directResponse:\n    status: 200\n    body:\n"
    "      string: " + "x" * (100 * 1024 + 1),
}
"""Examples nobody wants to read; None is a file that does not exist."""
WITHOUT = {"GW099", "GW197", "GW198", "GW199", "GW281", "GW282"}
"""Codes without an example: nothing is known that causes them, or a reload does and not the text."""
HEAD = """\
# Findings

What `gateway check` may say, code by code. This page is made by `scripts/docs` from the codes themselves.

```sh
gateway check routes.yaml              # exit 0 when there are no errors, 1 when there are
gateway check --strict routes.yaml     # warnings count as well
gateway check --json routes.yaml       # a list of objects
```

An **error** that is fatal refuses the file: a running gateway keeps what it had, a starting one ends with
exit code 3. An error that is not fatal is about something that does not exist: the rest is served, as Istio
serves it. A **warning** is about something that is hardly meant, an **info** about something to know. A
comment on the line of a warning or info silences it there:

    hosts: [shop.example.com]   # gateway: ignore GW220
"""
GROUPS = (
    ("GW00", "Files and YAML"),
    ("GW02", "Documents"),
    ("GW03", "Fields"),
    ("GW05", "Rules of single documents"),
    ("GW1", "The gateway itself"),
    ("GW2", "Between documents"),
    ("GW3", "Not enforced yet"),
)


def examples(text: str) -> dict[str, str]:
    """Code -> YAML, from the file of examples."""
    parts = re.split(r"^#### (GW\d{3})\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def expanded(text: str) -> str:
    """`== KIND NAME` written out as the head of a document, with the following lines as its spec."""
    lines: list[str] = []
    indent = ""
    for line in text.strip("\n").splitlines():
        if line.startswith("== "):
            _, kind, name = line.split()
            group = next(group for group, known in KINDS if known == kind)
            lines += [
                f"apiVersion: {group}/{VERSIONS[group][0]}",
                f"kind: {kind}",
                "metadata:",
                f"  name: {name}",
            ]
            lines.append("spec:")
            indent = "  "
        elif line == "---":
            lines.append(line)
            indent = ""
        else:
            lines.append(indent + line if line else "")
    return "\n".join(lines) + "\n"


def found(text: str | None) -> tuple[list[Finding], dict[str, str]]:
    """Everything there is to say about a text, also when an earlier finding refuses it; and the text."""
    if text is None:
        return list(load([f"no-such-directory/{NAME}"]).findings), {}
    sources = {NAME: expanded(text)}
    findings = list(load([], texts=sources).findings)
    decoded = [item for tree in read(sources[NAME], NAME)[0] for item in decode(tree, NAME)]
    whole = [item for item in decoded if item.resource is not None]
    config = Config.of([item.resource for item in whole if item.resource], [item.origin for item in whole])
    return [*findings, *analyze(config, root=False)], sources


def shown(code: str, text: str | None) -> str:
    """What is printed for the first finding of this code."""
    findings, sources = found(text)
    finding = next((item for item in findings if item.code == code), None)
    assert finding is not None, f"the example of {code} gives {sorted({item.code for item in findings})}"
    return render([finding], sources)


def section(code: str, text: str | None, *, example: bool) -> str:
    """One code."""
    known = CODES[code]
    lines = [f"### {code}", "", f"**{known.title}** ({known.severity}). {known.explanation}", ""]
    if example:
        lines += ["```text", shown(code, text), "```", ""]
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    known = {**examples(EXAMPLES.read_text(encoding="utf-8")), **UNWRITABLE}
    unknown = known.keys() - CODES.keys()
    assert not unknown, f"examples of codes that are gone: {sorted(unknown)}"
    group = ""
    parts = [HEAD]
    for code in sorted(CODES):
        title = [title for prefix, title in GROUPS if code >= prefix][-1]
        if title != group:
            parts.append(f"## {title}\n")
            group = title
        assert code in known or code in WITHOUT, f"{code} has no example in {EXAMPLES.name}"
        parts.append(section(code, known.get(code), example=code not in WITHOUT))
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
