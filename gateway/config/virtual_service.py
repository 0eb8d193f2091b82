"""VirtualService: which requests go where, in Istio's own shape.

Lifetime: config. Only `http` is served; `tcp` and `tls` are errors that say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, Strict

from gateway.config.fields import (
    Checked,
    Duration,
    HostOrIp,
    Many,
    Model,
    Namespace,
    Percent,
    Problem,
    Str,
)
from gateway.config.hosts import covers
from gateway.config.http_actions import Headers, HTTPDirectResponse, HTTPRedirect, HTTPRewrite, authorities
from gateway.config.http_match import HTTPMatchRequest  # noqa: TC001 - pydantic reads the annotations
from gateway.config.http_policies import (  # noqa: TC001 - pydantic reads the annotations
    CorsPolicy,
    HTTPFaultInjection,
    HTTPMirrorPolicy,
    HTTPRetry,
)
from gateway.config.references import MESH, Destination, ExportTo, GatewayName, export_problems
from gateway.config.resource import Resource, register

if TYPE_CHECKING:
    from collections.abc import Iterator


class HTTPRouteDestination(Model):
    """One of the places a route forwards to."""

    destination: Destination
    weight: Annotated[int, Strict(), Field(ge=0, lt=2**31)] | None = None
    """Share relative to the sum; meaningless when there is one destination."""
    headers: Headers | None = None


class Delegate(Model):
    """Another VirtualService, without hosts, that continues the decision."""

    name: Str
    namespace: Namespace | None = None
    """Default: this VirtualService's own."""


class HTTPRoute(Checked):
    """One rule: what is matched, and what becomes of it."""

    name: Str | None = None
    """Shown in logs."""
    match: Many[HTTPMatchRequest] = ()
    """Any of these; empty matches everything."""
    route: Many[HTTPRouteDestination] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    """Seconds for the whole exchange with the upstream, retries included; default none."""
    retries: HTTPRetry | None = None
    """Default: Istio's default policy of 2 retries."""
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: Many[HTTPMirrorPolicy] = ()
    mirror_percent: Annotated[int, Strict(), Field(ge=0, le=100)] | None = None
    """Deprecated: `mirrorPercentage`."""
    mirror_percentage: Percent | None = None
    """Share of requests copied to `mirror`; default all."""
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None

    def _rules(self) -> Iterator[Problem]:
        yield from _action_problems(self)
        if len(self.route) > 1 and not any(item.weight for item in self.route):
            yield Problem(
                "GW054",
                "the weights add up to 0: nothing would get the requests",
                ("route",),
                "give a weight",
            )
        yield from _mirror_problems(self)
        rewritten = [("rewrite", "authority")] if self.rewrite and self.rewrite.authority else []
        for at in [*rewritten, *authorities(self.headers)][1:]:
            yield Problem("GW040", "the authority is set twice in this route", at)
        if self.timeout is not None and self.retries and (self.retries.per_try_timeout or 0) >= self.timeout:
            yield Problem(
                "GW051",
                "perTryTimeout is not shorter than timeout, so it does nothing",
                ("retries", "perTryTimeout"),
                severity="warning",
            )


ACTIONS = ("route", "redirect", "direct_response", "delegate")


def _action_problems(http: HTTPRoute) -> Iterator[Problem]:
    given = [field for field in ACTIONS if getattr(http, field)]
    if not given:
        yield Problem("GW055", "a rule needs one of route, redirect, directResponse, delegate")
    for field in given[1:]:
        yield Problem("GW040", f"a rule has one action, and {given[0]} is set already", (field,))
    if http.redirect is not None or http.direct_response is not None:
        for field in ("fault", "rewrite"):
            if getattr(http, field) is not None:
                yield Problem("GW040", f"{field} needs a route: this rule answers by itself", (field,))


def _mirror_problems(http: HTTPRoute) -> Iterator[Problem]:
    if http.mirror is not None and http.mirrors:
        yield Problem("GW040", "only one of mirror and mirrors", ("mirrors",))
    if http.mirror_percent is not None:
        hint = "write mirrorPercentage: {value: N}"
        yield Problem("GW050", "mirrorPercent is deprecated", ("mirrorPercent",), hint, "warning")
    if http.mirror is None:
        for field in ("mirror_percent", "mirror_percentage"):
            if getattr(http, field) is not None:
                yield Problem("GW051", "without mirror this does nothing", (field,), severity="warning")


class VirtualServiceSpec(Checked):
    """Hosts, and the ordered rules for their requests."""

    hosts: Many[HostOrIp] = ()
    """Names, `*.suffix`, `*` or IP addresses; none makes this a delegate of another VirtualService."""
    gateways: Many[GatewayName] = ()
    """Listeners this applies to; default: all of this process."""
    http: Many[HTTPRoute] = ()
    tls: Many[Any] = ()
    tcp: Many[Any] = ()
    export_to: Many[ExportTo] = ()
    """Namespaces whose gateways see this; default all."""

    @property
    def is_delegate(self) -> bool:
        """Whether another VirtualService must name this one for it to have effect."""
        return not self.hosts

    def _rules(self) -> Iterator[Problem]:
        for field in ("tls", "tcp"):
            if getattr(self, field):
                message = f"{field} routes are not served: this gateway routes HTTP requests"
                hint = "terminate TLS with a Gateway in mode SIMPLE" if field == "tls" else None
                yield Problem("GW045", message, (field,), hint)
        if not self.http and not self.tls and not self.tcp:
            yield Problem("GW032", "a VirtualService needs http rules", ("http",))
        yield from export_problems(self.export_to)
        if self.is_delegate:
            yield from _delegate_problems(self)
        else:
            yield from _host_problems(self)
        for index, gateway in enumerate(self.gateways):
            if gateway in self.gateways[:index]:
                yield Problem("GW043", f'"{gateway}" is listed twice', ("gateways", index))
            elif "." in gateway:
                message = f'"{gateway}" is the old way to name a gateway'
                hint = "write NAMESPACE/NAME"
                yield Problem("GW050", message, ("gateways", index), hint, "warning")


def _delegate_problems(spec: VirtualServiceSpec) -> Iterator[Problem]:
    if spec.gateways:
        yield Problem(
            "GW056", "a VirtualService without hosts is a delegate and has no gateways", ("gateways",)
        )
    for index, http in enumerate(spec.http):
        if http.delegate is not None:
            yield Problem("GW056", "a delegate does not delegate further", ("http", index, "delegate"))


def _host_problems(spec: VirtualServiceSpec) -> Iterator[Problem]:
    for index, host in enumerate(spec.hosts):
        for other in spec.hosts[:index]:
            if covers(other, host) or covers(host, other):
                yield Problem("GW043", f'"{host}" overlaps "{other}" of the same list', ("hosts", index))
                break
        if host == "*" and (not spec.gateways or MESH in spec.gateways):
            yield Problem(
                "GW057",
                'in a cluster "*" is refused without a gateway; here it means every host',
                ("hosts", index),
                "name the hosts, or the gateways this is for",
                fatal=False,
            )


@register("networking.istio.io", "VirtualService", "v1", "v1beta1", "v1alpha3")
class VirtualService(Resource):
    """Routes of one or more hosts."""

    spec: VirtualServiceSpec
