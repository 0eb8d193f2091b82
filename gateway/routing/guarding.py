"""Policies on routes: what `gateway.security` compiles, joined with clusters and answers.

Lifetime: config.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gateway.security import Guard, Target, Workload
from gateway.security.callouts import Callouts
from gateway.security.counts import PolicyCounts
from gateway.security.external import Provider
from gateway.security.in_order import NO_DICE
from gateway.security.jwt import compile_jwt
from gateway.security.rate_limit import NO_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gateway.config import Config
    from gateway.config.extension_providers import EnvoyExtAuthzHttp
    from gateway.config.security import RequestAuthentication
    from gateway.http.reply import Reply
    from gateway.http.request import Request
    from gateway.routing.answers import Answer
    from gateway.security.in_order import Check
    from gateway.security.rate_limit import Limits, RateLimits
    from gateway.security.state import SecurityState
    from gateway.upstream import Cluster, ClusterConfig, Plan

logger = logging.getLogger(__name__)


def target_of(cluster: ClusterConfig) -> Target:
    """A cluster as policies see it."""
    workloads = (Workload(endpoint.labels, endpoint.port) for endpoint in cluster.endpoints)
    return Target(cluster.namespace, tuple(workloads))


def compile_guard(
    config: Config,
    plan: Plan,
    clusters: Mapping[str, Cluster],
    security: SecurityState | None,
    limits: RateLimits | None = None,
) -> Guard:
    """The policies of a generation. Without `security` no token is verified."""
    callouts = Callouts() if security is None else security.callouts
    counts = PolicyCounts() if security is None else security.counts
    tokens = None
    if security is not None:
        state = security

        def tokens(rules: Sequence[RequestAuthentication]) -> Check | None:
            return compile_jwt(rules, state)

    return Guard(
        config,
        [target_of(cluster.config) for cluster in clusters.values()],
        providers=dict(_providers(config, plan, callouts)),
        tokens=tokens,
        counts=counts,
        last=NO_LIMITS if limits is None else limits.of(None),
    )


def limits_of(route: str | None, limits: RateLimits | None) -> Limits:
    """The rate limits that name a route (`http[].name`)."""
    return limits.of(route) if route and limits is not None else NO_LIMITS


def guarded(answer: Answer, checks: Sequence[Check]) -> Answer:
    """An answer of the gateway itself, for those that `checks` let through."""
    if not checks:
        return answer

    def judged(request: Request) -> Reply:
        return first(checks, request) or answer(request)

    return judged


def guarded_redirect(
    redirect: Callable[[Request], Reply | None], checks: Sequence[Check]
) -> Callable[[Request], Reply | None]:
    """A redirect to https, for those that `checks` let through."""
    if not checks:
        return redirect

    def judged(request: Request) -> Reply | None:
        reply = redirect(request)
        return None if reply is None else first(checks, request) or reply

    return judged


def first(checks: Sequence[Check], request: Request) -> Reply | None:
    """The first refusal; None when there is none."""
    for check in checks:
        reply = check(request, NO_DICE)
        if reply is not None:
            return reply
    return None


def _providers(config: Config, plan: Plan, callouts: Callouts) -> Iterator[tuple[str, Provider]]:
    settings = config.settings.spec
    for item in settings.extension_providers:
        http = item.envoy_ext_authz_http
        if http is not None:
            origins = _origins(http, plan, settings.namespace)
            yield item.name, Provider(item.name, http, origins, callouts)


def _origins(http: EnvoyExtAuthzHttp, plan: Plan, namespace: str) -> Sequence[tuple[str, int]]:
    """Where a provider is: the endpoints of its ServiceEntry, or else the name itself. Empty: nowhere."""
    place, _, host = http.service.rpartition("/")
    cluster = plan.find(host, http.port, None, namespace=place or namespace)
    if cluster is None:
        return [(host, http.port)]
    if cluster.tls is not None and cluster.tls.mode != "DISABLE":
        logger.error("provider %s: it is to be spoken to over TLS, which is not supported", http.service)
        return []
    return [(item.address, item.port) for item in cluster.endpoints if not item.is_unix]
