"""Load: wrk with a fixed list of requests, its result as numbers.

Lifetime: request.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.processes import LOAD_CORE, LOOPBACK, tool

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Shot:
    """One request of the list that is sent round and round."""

    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: str = ""


@dataclass(frozen=True, slots=True)
class Volley:
    """What wrk saw."""

    requests: int
    seconds: float
    p50: float
    """Milliseconds, as are the other percentiles."""
    p99: float
    p100: float
    failures: int
    """Connections and requests that got no answer, and answers other than 2xx or 3xx."""

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


_SCRIPT = """
local shots, n = {}, 0
function init(args)
%s
end
function request()
  n = n %% #shots + 1
  return shots[n]
end
%s
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "p100": %%f, "failures": %%d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def script(shots: Sequence[Shot], *, pause: int = 0) -> str:
    """The Lua program of a volley; `pause` milliseconds between the requests of a connection."""
    lines = [
        f"  shots[#shots + 1] = wrk.format({_lua(shot.method)}, {_lua(shot.path)}, "
        "{" + ", ".join(f"[{_lua(name)}] = {_lua(value)}" for name, value in shot.headers.items()) + "}"
        f"{', ' + _lua(shot.body) if shot.body else ''})"
        for shot in shots
    ]
    delay = f"function delay() return {pause} end" if pause else ""
    return _SCRIPT % ("\n".join(lines), delay)


def _lua(text: str) -> str:
    return json.dumps(text)


def begin(
    directory: Path,
    port: int,
    shots: Sequence[Shot],
    *,
    connections: int = 32,
    seconds: float,
    pause: int = 0,
) -> subprocess.Popen[str]:
    """Starts wrk, one thread; `finish` takes its result."""
    lua = directory / "volley.lua"
    lua.write_text(script(shots, pause=pause))
    command = [
        "taskset", "-c", str(LOAD_CORE), tool("wrk", "wrk"), "-t1", f"-c{connections}",
        f"-d{max(1, round(seconds))}s", "--latency", "--timeout", "10s", "-s", str(lua),
        f"http://{LOOPBACK}:{port}/",
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(wrk: subprocess.Popen[str]) -> Volley:
    """Waits for the end."""
    output, _ = wrk.communicate()
    for line in output.splitlines():
        if line.startswith("RESULT "):
            return Volley(**json.loads(line.removeprefix("RESULT ")))
    raise RuntimeError(f"wrk said no result: {output[-500:]}")


def fire(directory: Path, port: int, shots: Sequence[Shot], **how: float) -> Volley:
    """A whole volley."""
    return finish(begin(directory, port, shots, **how))  # type: ignore[arg-type]
