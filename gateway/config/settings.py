"""GatewaySettings: what only this process knows; the one document that is not Istio's.

Lifetime: config. Every field has a default, so no document means all defaults.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, Strict

from gateway.config.address import Address, check_address, check_nameserver
from gateway.config.extension_providers import MeshExtensionProvider, provider_problems
from gateway.config.fields import (
    MAX_REGEX_BYTES,
    Bool,
    Checked,
    Duration,
    DurationOrZero,
    FrozenMap,
    HostName,
    Labels,
    Many,
    Map,
    Model,
    Namespace,
    NonEmpty,
    Percent,
    Problem,
    StringMap,
    Uint32,
    rejection,
)
from gateway.config.formats import check_format
from gateway.config.health_checks import HealthCheck  # noqa: TC001 - pydantic reads the annotations
from gateway.config.names import is_cidr
from gateway.config.rate_limit import Jwks, RateLimit, name_problems
from gateway.config.rate_store import RateLimitStore, store_problems
from gateway.config.resource import Metadata, Resource, register

if TYPE_CHECKING:
    from collections.abc import Iterator

Count = Annotated[int, Strict(), Field(ge=1, lt=2**31)]


def _admin(value: str) -> str:
    return value if value == "off" else check_address(value)


def _network(value: str) -> str:
    if not is_cidr(value):
        raise rejection(Problem("GW035", f'"{value}" is not an IP address or a network such as 10.0.0.0/8'))
    return value


def _server_name(value: str) -> str:
    if not value.isascii() or not value.isprintable():
        raise rejection(Problem("GW039", "a header value has printable ASCII characters only"))
    return value


def _locality(value: str) -> str:
    parts = value.split("/")
    if value and (len(parts) > 3 or not all(parts) or "*" in value):
        raise rejection(Problem("GW035", "a locality is region, region/zone or region/zone/subzone"))
    return value


Network = Annotated[str, Strict(), AfterValidator(_network)]
"""`10.0.0.0/8` or one address."""


class Limits(Model):
    """How much is accepted; beyond it, an error with its own status."""

    request_head_bytes: Count = 61440
    request_headers: Count = 100
    request_target_bytes: Count = 16384
    request_body_bytes: Count | None = None
    """Default: no limit; bodies are streamed, not kept."""
    request_body_rate: Annotated[int, Strict(), Field(ge=0)] = 240
    """Bytes a second with which a request body has to come, as the mean over the time in which more of it was
    wanted; slower ones are ended with 408 once `timeouts.requestBodyGrace` is over. 0: any rate will do."""
    response_head_bytes: Count = 61440
    response_headers: Count = 200
    response_hold_bytes: Annotated[int, Strict(), Field(ge=0, le=65535)] = 16384
    """A response body of known length up to this is passed on once it is whole, so that one that breaks off
    is a failure like any other: answered with an error, or repeated. 0: what has come goes on (Envoy)."""
    connections: Count | None = None
    """Client connections at a time; default: no limit."""
    regex_bytes: Annotated[int, Strict(), Field(ge=1, le=MAX_REGEX_BYTES)] = 1024
    """Longest regex of a VirtualService, as in Istio; at most 65536."""
    replay_bytes: Count = 1024 * 1024
    """Longest request body that is kept to be sent again, or to a mirror; a longer one is sent once."""
    tunnels: Count = 10_000
    """WebSockets at a time, those that are being opened included; more are refused with 503."""
    mirror_copies: Count = 1024
    """Copies on their way to one mirror; more are not made."""
    mirror_bytes: Count = 16 * 1024 * 1024
    """Body bytes of all copies on their way."""


class Timeouts(Model):
    """How long is waited, in seconds."""

    request_head: Duration = 10.0
    """For a complete request head, from its first byte."""
    request_body_idle: Duration = 60.0
    """For the next piece of a request body."""
    request_body_grace: Duration = 10.0
    """Of a request body, before `limits.requestBodyRate` is demanded of it."""
    downstream_idle: Duration = 75.0
    """For the next request on a client's connection."""
    tls_handshake: Duration = 10.0
    stream_idle: Duration = 300.0
    """For any byte of a request in either direction, before the response as well as inside it."""
    tunnel_idle: Duration = 3600.0
    """For any byte of a WebSocket in either direction."""
    drain: Duration = 30.0
    """For requests to finish before the process ends."""


class AccessLog(Checked):
    """One line a request."""

    encoding: Literal["JSON", "TEXT", "OFF"] = "JSON"
    path: NonEmpty = "/dev/stdout"
    format: NonEmpty | None = None
    """TEXT with these `%OPERATORS%` instead of Istio's; a line end is added."""
    json_format: StringMap = FrozenMap()
    """JSON with these keys, each a text with `%OPERATORS%`, instead of Istio's."""

    def _rules(self) -> Iterator[Problem]:
        if self.format is not None:
            yield from check_format(self.format, ("format",))
            if self.json_format:
                yield Problem("GW040", "only one of format and jsonFormat", ("jsonFormat",))
            elif self.encoding == "JSON" and "encoding" in self.model_fields_set:
                yield Problem("GW040", "a format is TEXT; JSON takes jsonFormat", ("encoding",))
        if self.json_format and self.encoding == "TEXT":
            yield Problem("GW040", "a jsonFormat is JSON; TEXT takes format", ("encoding",))
        for key, text in self.json_format.items():
            yield from check_format(text, ("jsonFormat", key))


class Dns(Model):
    """How host names of endpoints are resolved."""

    refresh_rate: Duration = 60.0
    """Longest time an answer is kept; a shorter TTL is respected."""
    nameservers: Many[Annotated[str, Strict(), AfterValidator(check_nameserver)]] = ()
    """Addresses, with a port if it is not 53; default: the system's."""


class RetriesOverTime(Model):
    """Retries begun, as a share of the requests begun: what holds when few requests are in flight."""

    enabled: Bool = True
    """`false`: only retries in flight are limited, as in Envoy."""
    reserve: Uint32 = 5
    """Retries that may be begun before requests have earned them, so that a lone request has its retries.
    Five are what `outlierDetection` needs by default to eject an endpoint that fails."""
    refill: DurationOrZero = 3600.0
    """How long an empty reserve takes to be full again without any request; 0: for ever."""


class DefaultRetryBudget(Model):
    """Retries of a cluster whose DestinationRule sets neither `retryBudget` nor `maxRetries`."""

    enabled: Bool = True
    """`false`: such clusters have no limit, as in Istio."""
    percent: Percent = Percent(value=20.0)
    """Share of the requests in flight."""
    min_retry_concurrency: Uint32 = 3
    """Retries always allowed."""
    burst: Uint32 = 25
    """Retries beyond the share that requests without any save up at most, so that an endpoint that dies
    under many requests at once costs none of them an error. 0: none, and failed connects count (Envoy)."""
    over_time: RetriesOverTime = RetriesOverTime()
    """The same share of the requests begun may be retries begun."""


class GatewaySettingsSpec(Checked):
    """The process: addresses, trust, limits, deadlines."""

    listen: Address = "127.0.0.1:8080"
    """Where requests arrive when no Gateway document says it."""
    admin: Annotated[str, Strict(), AfterValidator(_admin)] = "127.0.0.1:15000"
    """The admin listener, or `off`."""
    labels: Labels = FrozenMap()
    """This gateway's own, compared with selectors."""
    namespace: Namespace = "default"
    """This gateway's own."""
    cluster_domain: HostName = "cluster.local"
    root_namespace: Namespace = "istio-system"
    """Policies in this namespace hold for all namespaces."""
    trusted_proxies: Many[Network] = ()
    """Peers whose `x-forwarded-*` headers are believed."""
    num_trusted_proxies: Annotated[int, Strict(), Field(ge=0, lt=1000)] | None = None
    """Istio's `gatewayTopology`: how many proxies stand in front."""
    path_normalization: Literal["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] = "MERGE_SLASHES"
    escaped_slashes: Literal["KEEP_UNCHANGED", "REJECT", "UNESCAPE_AND_FORWARD", "UNESCAPE_AND_REDIRECT"] = (
        "REJECT"
    )
    """What becomes of %2F and %5C in a path."""
    underscore_headers: Literal["ALLOW", "DROP", "REJECT"] = "REJECT"
    """What becomes of request headers with `_` in their name."""
    server_name: Annotated[str, Strict(), AfterValidator(_server_name)] = "asgi-gateway"
    """The `server` response header."""
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    access_log: AccessLog = AccessLog()
    dns: Dns = Dns()
    retry_budget: DefaultRetryBudget = DefaultRetryBudget()
    mirror_credentials: Bool = False
    """Whether mirrors get Authorization, Cookie and other headers that hold credentials."""
    locality: Annotated[str, Strict(), AfterValidator(_locality)] = ""
    """Where this gateway stands: `region/zone/subzone`. Default: what the topology labels in `labels` say."""
    extension_providers: Many[MeshExtensionProvider] = ()
    """Who decides CUSTOM policies: Istio's `meshConfig.extensionProviders`."""
    health_checks: Map[HostName, HealthCheck] = FrozenMap()
    """Host -> how its endpoints are asked whether they are well; hosts that are not listed are not asked."""

    rate_limits: Many[RateLimit] = ()
    """How much may be asked; more is answered with 429."""
    rate_limit_store: RateLimitStore | None = None
    """Where several processes count together; default: each counts for itself."""
    jwks: Jwks = Jwks()

    def _rules(self) -> Iterator[Problem]:
        yield from name_problems(self.rate_limits)
        yield from store_problems(self.rate_limits, self.rate_limit_store)
        if self.trusted_proxies and self.num_trusted_proxies is not None:
            yield Problem("GW040", "only one of trustedProxies and numTrustedProxies", ("numTrustedProxies",))
        yield from provider_problems(self.extension_providers)


@register("gateway.asgi", "GatewaySettings", "v1")
class GatewaySettings(Resource):
    """Settings of this process."""

    spec: GatewaySettingsSpec = GatewaySettingsSpec()


DEFAULTS = GatewaySettings(
    api_version="gateway.asgi/v1", kind="GatewaySettings", metadata=Metadata(name="default")
)
"""The settings when no document gives any."""
