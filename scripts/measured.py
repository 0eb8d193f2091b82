# ruff: noqa: INP001 - a script, not a package
"""Writes the table of README.md about what a request costs, from the canary of docs/performance.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN = "<!-- measured: written by scripts/docs from docs/performance.md -->\n"
END = "<!-- end of measured -->\n"
COLUMNS = ("CPU us/request", "x Envoy", "requests/s", "p50 ms alone", "RSS MiB")
WHO = {
    "gateway": "asgi-gateway",
    "envoy": "Envoy",
    "uvicorn": "uvicorn, which answers by itself: the floor of ASGI",
}


def rows(performance: str) -> list[dict[str, str]]:
    """The table of the scenario `canary`."""
    section = performance.split("\n### canary\n")[1].split("\n### ", maxsplit=1)[0]
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in re.findall(r"^\|.*\|$", section, re.MULTILINE)
    ]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def table(performance: str) -> str:
    """What stands in README.md."""
    found = rows(performance)
    head = ["", *COLUMNS]
    body = [[WHO[row["subject"]], *(row[name] for name in COLUMNS)] for row in found if row["subject"] in WHO]
    lines = [head, ["---", *["---:"] * len(COLUMNS)], *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("|  |", "| |", 1)


def page() -> str:
    """README.md with the table of now."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    performance = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    return f"{before}{BEGIN}{table(performance)}{END}{after}"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(page(), encoding="utf-8")
