"""The page that says what can be asked of the admin listener.

Lifetime: config (pure functions).
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.control.control import Control

ENDPOINTS = (
    ("GET", "/", "the console"),
    ("GET", "/ready", "200 while traffic should come here, 503 while starting or draining"),
    ("GET", "/healthz", "200 while the event loop turns"),
    ("GET", "/status", "generation, state, last reload and its findings"),
    ("GET", "/config_dump", "what serves: files, documents, virtual hosts and routes; without secrets"),
    ("GET", "/clusters", "clusters, endpoints, connections; ?format=json"),
    (
        "GET",
        "/requests?failed=1",
        "the last requests; filters: id, status, flag, route, cluster, path, min_ms, limit",
    ),
    ("GET", "/stats.json", "rates, success and durations by route and cluster, of the last seconds"),
    ("GET", "/metrics", "Prometheus text; also at /stats/prometheus"),
    ("GET", "/logging", "levels of the loggers"),
    ("POST", "/logging?level=debug", "sets one, for all of the gateway or ?logger=NAME"),
    ("POST", "/reload", "reads the configuration again; 422 and the findings when it is refused"),
    ("POST", "/drain", "/ready says no from now on; requests are still answered"),
)


def index(control: Control) -> str:
    """What can be asked here. Everything that is not ours is escaped: file names may be anything."""
    rows = "\n".join(
        f"<tr><td>{method}</td><td>{_link(method, path)}</td><td>{escape(text)}</td></tr>"
        for method, path, text in ENDPOINTS
    )
    paths = escape(", ".join(map(str, control.paths)))
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>asgi-gateway</title>
<h1>asgi-gateway</h1>
<p>{escape(control.state)}, generation {control.generation} of {paths}</p>
<table>
{rows}
</table>
<p>POST needs the header <code>x-gateway-admin: 1</code>.</p>
</html>
"""


def _link(method: str, path: str) -> str:
    text = escape(path)
    return f'<a href="{text}">{text}</a>' if method == "GET" else text
