"""What the process says about itself when it begins to serve.

Lifetime: process (plain functions).
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import GatewaySettings
    from gateway.control import Control
    from gateway.server.listeners import Address

LISTENING = "listening on "
"""Begins the line that says where; scripts and tests wait for it."""
ADMIN = "admin "
"""Begins the next one."""


def banner(
    control: Control,
    addresses: Sequence[Address],
    *,
    admin: str | None,
    workers: int = 1,
    notes: Sequence[str] = (),
) -> str:
    """One line each: what serves, where, the admin listener, whose headers are believed, what to look at.

    `admin`: the address of its listener, None when it is off. `notes`: further things to know.
    """
    many = f", {workers} workers" if workers > 1 else ""
    lines = [
        f"asgi-gateway {version('asgi-gateway')}: {_generation(control)}{many}",
        LISTENING + " ".join(address.url for address in addresses),
        f"{ADMIN}on http://{admin}" if admin else f"{ADMIN}off",
        f"believes x-forwarded-* headers of {_trusted(control.snapshot.config.settings)}",
        *notes,
    ]
    counts = Counter(finding.severity for finding in control.serving_findings)
    if counts:
        found = ", ".join(_count(counts[each], each) for each in ("error", "warning", "info") if counts[each])
        paths = " ".join(str(path) for path in control.paths)
        lines.append(f"{found} about the configuration: gateway check {paths}")
    return "".join(f"{'' if index == 0 else '  '}{line}\n" for index, line in enumerate(lines))


def _generation(control: Control) -> str:
    snapshot = control.snapshot
    listeners = [snapshot.default, *snapshot.listeners.values()]
    hosts = {id(host) for listener in listeners for host in listener.virtual_hosts}
    routes = {id(route) for listener in listeners for host in listener.virtual_hosts for route in host.routes}
    return (
        f"generation {snapshot.generation}, {_count(len(hosts), 'virtual host')},"
        f" {_count(len(routes), 'route')}, {_count(len(snapshot.clusters), 'cluster')}"
        f" from {' '.join(str(path) for path in control.paths)}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _trusted(settings: GatewaySettings) -> str:
    spec = settings.spec
    if spec.trusted_proxies:
        return ", ".join(spec.trusted_proxies)
    if spec.num_trusted_proxies:
        return f"{spec.num_trusted_proxies} proxies in front, whoever connects"
    return "nobody"
