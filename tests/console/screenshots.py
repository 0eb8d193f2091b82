"""Takes the pictures of docs/console.md from a running gateway: every page, wide and narrow, light and dark.

PYTHONPATH=tests .venv/bin/python tests/console/screenshots.py http://127.0.0.1:15000 docs/console [PAGE]...

They are those of `gateway demo`, after a quarter of an hour, a change and a mistake; of `identities` those of
`gateway demo -c examples/mtls/edge.yaml`, which has certificates.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.request import urlopen

from console.chromium import Browser, Tab, find

PAGES = (
    "overview",
    "graph",
    "routes",
    "clusters",
    "requests",
    "traces",
    "rejected",
    "identities",
    "configuration",
)
SIZES = {1280: 1500, 390: 1300}
"""Width of the window, and how much of a long page is shown."""
COLORS = 64
"""Of a picture; flat colors need no more, and a clone should not carry megabytes."""


def take(tab: Tab, url: str, page: str, path: Path, most: int) -> None:
    """One picture."""
    tab.go(f"{url}/#/{page}")
    tab.wait(f"document.querySelector('.page[data-key={page.partition('?')[0]}]:not([aria-busy])')")
    tab.run("new Promise((done) => setTimeout(done, 300))")
    if page == "rejected":
        tab.run("document.querySelector('.accordion summary')?.click()")
    tab.shoot(path, most=most)
    if program := shutil.which("pngquant"):
        subprocess.run([program, "--force", "--ext", ".png", str(COLORS), str(path)], check=True)


def main(url: str, folder: Path, wanted: Sequence[str]) -> None:
    """Those of the pages that are wanted, `request` among them; all of them when none is named."""
    with urlopen(f"{url}/requests?limit=1000") as answer:
        remembered = json.load(answer)["requests"]
    tried = max(remembered, key=lambda item: (item["tries"], item["status"]), default=None)
    program = find()
    assert program is not None, "there is no Chromium"
    with Browser(program) as browser:
        for width, most in SIZES.items():
            for dark in (False, True) if width == 1280 else (False,):
                with browser.tab(width, 800, dark=dark) as tab:
                    tab.send("Emulation.setScrollbarsHidden", hidden=True)
                    for page in ("overview", "graph") if dark else PAGES:
                        if wanted and page not in wanted:
                            continue
                        name = f"{page}-dark" if dark else f"{page}-{width}"
                        take(tab, url, page, folder / f"{name}.png", most)
                    if tried is not None and not dark and (not wanted or "request" in wanted):
                        take(tab, url, f"requests?id={tried['id']}", folder / f"request-{width}.png", most)


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"), Path(sys.argv[2]), sys.argv[3:])
