"""Every route as it is tried: what it demands, where it leads, how it fares.

Lifetime: request (pure functions).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.admin.console.places import demands, hosts, listener_tls, listeners, route_key
from gateway.routing.describe import describe_route

if TYPE_CHECKING:
    from gateway.admin.console.flows import Flows
    from gateway.admin.console.sources import Sources

MOST: Final = 2000
"""Routes in one answer; a page with more serves nobody."""


def routes(sources: Sources, flows: Flows) -> dict[str, Any]:
    """Listeners, their virtual hosts, their routes in the order they are tried."""
    snapshot = sources.control.snapshot
    left = MOST
    shown = []
    for listener in listeners(snapshot):
        places = []
        for host, domains in hosts(listener):
            tried = host.routes[:left]
            left -= len(tried)
            places.append(
                {
                    "domains": domains[:20],
                    "more_domains": max(len(domains) - 20, 0),
                    "routes": [
                        {
                            **describe_route(route, conditions=False),
                            "match": demands(route),
                            **flows.route(route_key(route)),
                        }
                        for route in tried
                    ],
                }
            )
        tls = listener_tls(snapshot, listener.port)
        redirects = listener.https_redirect is not None
        shown.append(
            {
                "name": listener.name,
                "port": listener.port,
                "tls": tls,
                "redirects": redirects,
                "hosts": places,
            }
        )
    return {"generation": snapshot.generation, "listeners": shown, "complete": left > 0}
