"""The first page: is it well, and if not, where to look.

Lifetime: request (pure functions).
"""

from __future__ import annotations

import time
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from gateway.admin.console.identities import certificates
from gateway.admin.console.places import cluster_label, is_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.admin.console.flows import Flows
    from gateway.admin.console.sources import Sources
    from gateway.upstream import Cluster

MOST_ITEMS: Final = 20
"""Things that need attention; who has more has one problem, not twenty."""
SOON: Final = 14 * 86400.0
"""Seconds before the end of a certificate from which it is worth a word."""
BUSIEST: Final = 8
"""Routes and clusters on the page."""


def overview(sources: Sources, flows: Flows) -> dict[str, Any]:
    """Present rates, the last quarter of an hour, the busiest places, and what needs attention."""
    return {**traffic(flows), **standing(sources)}


def traffic(flows: Flows) -> dict[str, Any]:
    """The part that is about requests."""
    return {
        "rates": flows.total(),
        "history": flows.history(),
        "routes": flows.busiest_routes(BUSIEST),
        "clusters": [{**cluster_label(name), **shown} for name, shown in flows.busiest_clusters(BUSIEST)],
    }


def standing(sources: Sources) -> dict[str, Any]:
    """The part that is about this process."""
    clusters = sources.control.snapshot.clusters
    endpoints = [endpoint for each in clusters.values() for endpoint in each.endpoints]
    edge = sources.edge()
    return {
        "in_flight": sum(endpoint.active for endpoint in endpoints),
        "connections": None if edge is None else edge.connections,
        "endpoints": len(endpoints),
        "ejected": sum(is_out(endpoint) for endpoint in endpoints),
        "attention": list(islice(_attention(sources), MOST_ITEMS)),
    }


def _attention(sources: Sources) -> Iterator[dict[str, str]]:
    """What an operator should know of, the worst first."""
    control = sources.control
    if control.refused:
        error = control.counts.last_error or "it has errors"
        yield item("error", f"The last change was refused: {error}", "#/configuration")
    if str(control.state) != "ready":
        text = f"The gateway is {control.state}: load balancers stay away."
        yield item("warning", text, "#/configuration")
    counts = Counter(finding.severity for finding in control.serving_findings)
    for severity in ("error", "warning"):
        if counts[severity]:
            many = "" if counts[severity] == 1 else "s"
            text = f"{counts[severity]} {severity}{many} about the serving configuration"
            yield item(severity, text, "#/configuration")
    yield from _ending(sources)
    for name, cluster in sorted(control.snapshot.clusters.items()):
        link = f"#/clusters?q={quote(name)}"
        yield from (item(severity, text, link) for severity, text in _unwell(cluster))


def _ending(sources: Sources) -> Iterator[dict[str, str]]:
    secured = sources.control.tls.secured
    for finding in secured.findings if secured is not None else ():
        yield item(finding.severity, finding.message, "#/identities")
    now = time.time()
    for certificate in certificates(sources.control):
        ends = certificate["not_after"]
        what = f"{certificate['credential']}, {certificate['subject']} ({certificate['role']})"
        if ends is not None and ends < now:
            yield item("error", f"{what}, has ended", "#/identities")
        elif ends is not None and ends < now + min(SOON, (ends - certificate["not_before"]) / 3):
            yield item("warning", f"{what}, ends in {_left(ends - now)}", "#/identities")


def _left(seconds: float) -> str:
    """`3 days`, `5 hours`."""
    for size, word in ((86400, "days"), (3600, "hours")):
        if seconds >= 2 * size:
            return f"{int(seconds / size)} {word}"
    return f"{int(seconds / 60)} minutes"


def _unwell(cluster: Cluster) -> Iterator[tuple[str, str]]:
    place = f"{cluster.config.host} {cluster.config.subset}".rstrip()
    if not cluster.endpoints:
        yield "error", f"{cluster.name} has no endpoint"
    out = [endpoint for endpoint in cluster.endpoints if is_out(endpoint)]
    for words, ejected in (("ejected from", True), ("failing the health checks of", False)):
        which = [each.address for each in out if (each.ejected_until is not None) is ejected]
        if which:
            yield "warning", f"{_some(which)} {words} {place}"
    full = [breaker.limit for breaker in cluster.pool.breakers() if breaker.open]
    if full:
        yield "warning", f"{place} is at its limit: {', '.join(full)}".replace("_", " ")


def _some(addresses: list[str]) -> str:
    more = len(addresses) - 3
    return ", ".join(addresses[:3]) + (f" and {more} more" if more > 0 else "")


def item(severity: str, text: str, link: str) -> dict[str, str]:
    """One thing to look at, and where."""
    return {"severity": severity, "text": text, "link": link}
