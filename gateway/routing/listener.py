"""A listener's virtual hosts: from a request's host to its route.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http.reply import NO_ROUTE
from gateway.routing.answers import https_redirect
from gateway.routing.guarding import first, guarded_redirect
from gateway.routing.hosts import HostTable
from gateway.routing.index import compile_index
from gateway.security.in_order import InOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from gateway.http.reply import Reply
    from gateway.http.request import Request
    from gateway.routing.route import Route
    from gateway.security import Guard
    from gateway.security.in_order import Check, Gate


class VirtualHost:
    """The routes of one host or host pattern, in the order they are tried."""

    __slots__ = ("domains", "match", "name", "routes")

    def __init__(
        self, name: str, domains: Sequence[str], routes: Sequence[Route], *, like: VirtualHost | None = None
    ) -> None:
        """`like` has the same routes; its index is shared."""
        self.name = name
        """The first of its domains."""
        self.domains = tuple(domains)
        """Names and patterns that select it."""
        self.routes = tuple(routes)
        self.match: Callable[[Request], Route | None] = (
            compile_index(self.routes) if like is None else like.match
        )
        """The first route that takes a request."""

    def __repr__(self) -> str:
        return f"<VirtualHost {self.name} routes {len(self.routes)}>"


class Listener:
    """A port of a Gateway document, or the one that no document describes."""

    __slots__ = (
        "_hosts",
        "_own",
        "checks",
        "gate",
        "https_redirect",
        "name",
        "policies",
        "port",
        "virtual_hosts",
    )

    def __init__(
        self,
        name: str,
        port: int,
        virtual_hosts: Sequence[VirtualHost],
        plain_hosts: Mapping[str, bool] | None = None,
        *,
        guard: Guard | None = None,
    ) -> None:
        """`plain_hosts`: for each name whether plain requests are sent to https; the most specific counts."""
        self.name = name
        """`http.8080`, or `mesh`."""
        self.port = port
        """0 for `mesh`: it may listen anywhere."""
        self.virtual_hosts = tuple(virtual_hosts)
        self._hosts = HostTable({domain: host for host in virtual_hosts for domain in host.domains})
        self.gate: Gate | None = guard.everywhere.gate if guard is not None else None
        """Asked first of all, and waited for: CUSTOM policies for every request, limits that are counted
        elsewhere, and then the checks that come between; None: there are none."""
        self.checks: tuple[Callable[[Request, Random], Reply | None], ...] = (
            guard.everywhere.checks if guard is not None else ()
        )
        """Policies for every admitted request, tried in order; the first reply ends the request."""
        self.policies = guard.everywhere.policies if guard is not None else ()
        """What they enforce, for people."""
        self._own = guard.own if guard is not None else ()
        self.https_redirect: Callable[[Request], Reply | None] | None = None
        """Asked before `match`: the reply that sends a plain request to https; None: no server wants that."""
        if plain_hosts and any(plain_hosts.values()):
            redirect = _redirector(HostTable(plain_hosts))
            self.https_redirect = guarded_redirect(redirect, guard.redirecting if guard is not None else ())

    def check_first(self, check: Check) -> None:
        """Puts a check before the others."""
        if isinstance(self.gate, InOrder):
            self.gate = self.gate.with_check(check)
        else:
            self.checks = (check, *self.checks)

    def match(self, request: Request) -> Route | None:
        """The route of a request: its virtual host's first that takes it. None: 404, flag NR."""
        host = self._hosts.find(request.host)
        return None if host is None else host.match(request)

    def unrouted(self, request: Request) -> Reply:
        """The answer to a request that `match` finds no route for: who may not know that gets 403."""
        return first(self._own, request) or NO_ROUTE

    def virtual_host(self, host: str) -> VirtualHost | None:
        """The virtual host that `host` (lower-case, no port) selects."""
        return self._hosts.find(host)

    def __repr__(self) -> str:
        return f"<Listener {self.name} virtual hosts {len(self.virtual_hosts)}>"


def _redirector(hosts: HostTable[bool]) -> Callable[[Request], Reply | None]:
    def redirect(request: Request) -> Reply | None:
        if request.scheme != "https" and hosts.find(request.host):
            return https_redirect(request)
        return None

    return redirect
