"""What to try while the demo runs, as lines to paste into another terminal.

Lifetime: config (constants) and plain functions.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

DEFAULT_ADMIN = "127.0.0.1:15000"
"""Where the commands look when nobody says."""

_TEXT = """\
The gateway listens on {url} and obeys {path}.
The console: {admin}
Sample backends: {backends}.
Access log: tail -f {log}
"""
_TRY = """
Try in another terminal{where}:

  Chrome always gets v2
    curl -s -H 'Host: reviews' -A 'Mozilla/5.0 Chrome/140.0.0.0' {url}/reviews/0

  nine in ten of everybody else get v1
    for i in $(seq 10); do curl -s -H 'Host: reviews' {url}/reviews/0 | cut -c 1-38; done

  edit the file: the next request obeys
    sed -i.bak 's/weight: 90/weight: 50/; s/weight: 10$/weight: 50/' {path}
    mv {path}.bak {path}

  a mistake changes nothing, and is named here and by `check`
    sed -i.bak 's/weight: 90/wieght: 90/' {path}
    {command} check {path}
    mv {path}.bak {path}

  a backend is down, a policy forbids: who is it, and what to do?
    curl -i -H 'Host: localhost' {url}/reports/today
    {command} why last{at}
    curl -i -H 'Host: localhost' -X DELETE {url}/details/0
    {command} why REQUEST_ID{at}

  where requests are now, and what becomes of one that nobody has sent
    {command} top{at}
    {command} explain GET http://ratings/ratings/0 -H 'end-user: tester' -c {path}
"""
_END = """
Ctrl-C ends everything.
"""


def command() -> str:
    """How to type `gateway` in the shell this runs in."""
    script = Path(sys.executable).with_name("gateway")
    if not script.exists() or shutil.which("gateway") == str(script):
        return "gateway"
    return shlex.quote(shown(script))


def shown(path: Path | str) -> str:
    """`path` as a person in the current directory would write it."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def guide(*, url: str, path: str, admin: str, backends: list[str], log: str) -> str:
    """The text; what to try is there for the sample configuration. `admin` is an address or `off`."""
    sample = any(backend.startswith("reviews ") for backend in backends)
    return (_TEXT + (_TRY if sample else "") + _END).format(
        url=url,
        path=shlex.quote(shown(path)),
        admin="off; without it `why` and `top` have nobody to ask" if admin == "off" else f"http://{admin}/",
        backends=", ".join(backends),
        log=shlex.quote(log),
        where=f" (in {Path.cwd()})",
        command=command(),
        at="" if admin in {"off", DEFAULT_ADMIN} else f" --admin {admin}",
    )
