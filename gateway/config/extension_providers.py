"""Who decides CUSTOM policies: Istio's `meshConfig.extensionProviders`, as far as they speak HTTP.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Strict

from gateway.config.fields import (
    Bool,
    Checked,
    Duration,
    FrozenMap,
    Many,
    Map,
    NonEmpty,
    Port,
    Problem,
    Str,
    rejection,
)
from gateway.config.names import check_hostname, check_namespace, is_ip, is_token

if TYPE_CHECKING:
    from collections.abc import Iterator

FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that say how a message is framed or where it goes: nobody else's business."""


def _service(value: str) -> str:
    namespace, slash, host = value.rpartition("/")
    message = (check_namespace(namespace) if slash else None) or (
        None if is_ip(host) else check_hostname(host)
    )
    if message is not None:
        problem = f'"{value}" is not a service: write HOST or NAMESPACE/HOST'
        raise rejection(Problem("GW035", problem))
    return value


def _path_prefix(value: str) -> str:
    if value and (
        not value.startswith("/") or not value.isascii() or not value.isprintable() or " " in value
    ):
        raise rejection(Problem("GW035", f'"{value}" is not a path: it begins with a slash'))
    return value


def _status(value: str) -> str:
    if not (value.isascii() and value.isdigit() and 400 <= int(value[:4]) <= 599):
        raise rejection(Problem("GW037", f'"{value}" is not the status of a refusal: write "400" to "599"'))
    return value


class EnvoyExtAuthzHttp(Checked):
    """An HTTP service that is sent the head of a request and allows it by answering 200."""

    service: Annotated[str, Strict(), AfterValidator(_service)]
    """`host` or `namespace/host`: a ServiceEntry's, or else a name that is looked up as it stands."""
    port: Port
    timeout: Duration = 10.0
    """For the whole decision. Istio waits ten minutes."""
    fail_open: Bool = False
    """Whether requests pass when the service cannot be asked, or answers 5xx."""
    clear_route_cache: Bool = False
    """Means nothing here: a gateway-wide decision comes before the route anyway."""
    status_on_error: Annotated[str, Strict(), AfterValidator(_status)] = "403"
    """What the client gets when the service cannot be asked."""
    path_prefix: Annotated[str, Strict(), AfterValidator(_path_prefix)] = ""
    """Stands before the path of the request."""
    include_headers_in_check: Many[NonEmpty] = ()
    """Deprecated: `includeRequestHeadersInCheck`."""
    include_request_headers_in_check: Many[NonEmpty] = ()
    """Headers of the request that are sent, exact, `prefix*` or `*suffix`; Authorization always is."""
    include_additional_headers_in_check: Map[Str, Str] = FrozenMap()
    """Headers that are sent besides; they replace those of the request."""
    include_request_body_in_check: Any = None
    """Not supported."""
    headers_to_upstream_on_allow: Many[NonEmpty] = ()
    """Headers of an answer that allows, which replace those of the request that is forwarded."""
    headers_to_downstream_on_deny: Many[NonEmpty] = ()
    """Headers of an answer that refuses, which the client gets; default: all."""
    headers_to_downstream_on_allow: Many[NonEmpty] = ()
    """Not supported."""

    def _rules(self) -> Iterator[Problem]:
        for field, name in (
            ("include_request_body_in_check", "includeRequestBodyInCheck"),
            ("headers_to_downstream_on_allow", "headersToDownstreamOnAllow"),
        ):
            if getattr(self, field):
                message = (
                    f"{name} is not supported: only the head of a request is sent, and only it is changed"
                )
                yield Problem("GW045", message, (name,))
        for name in self.include_additional_headers_in_check:
            if not is_token(name) or name.lower() in FRAMING:
                message = f'"{name}" is not a header that can be sent'
                yield Problem("GW039", message, ("includeAdditionalHeadersInCheck", name))
        for name, value in self.include_additional_headers_in_check.items():
            if not value.isascii() or not value.isprintable():
                message = "a header value has printable ASCII characters only"
                yield Problem("GW039", message, ("includeAdditionalHeadersInCheck", name))
        for index, name in enumerate(self.headers_to_upstream_on_allow):
            if name.lower() in FRAMING:
                message = f'"{name}" cannot come from a provider'
                yield Problem("GW039", message, ("headersToUpstreamOnAllow", index))


class MeshExtensionProvider(Checked):
    """A provider by its name."""

    name: NonEmpty
    """What `provider.name` of a CUSTOM policy says."""
    envoy_ext_authz_http: EnvoyExtAuthzHttp | None = None
    envoy_ext_authz_grpc: Any = None
    """Not supported."""

    def _rules(self) -> Iterator[Problem]:
        if self.envoy_ext_authz_grpc is not None:
            message = "only providers that speak HTTP are supported"
            yield Problem("GW045", message, ("envoyExtAuthzGrpc",), "write envoyExtAuthzHttp")
        elif self.envoy_ext_authz_http is None:
            yield Problem("GW032", "a provider needs envoyExtAuthzHttp")


def provider_problems(providers: tuple[MeshExtensionProvider, ...]) -> Iterator[Problem]:
    """Rules of the list as a whole."""
    names = [provider.name for provider in providers]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Problem("GW043", f'"{name}" is listed twice', ("extensionProviders", index, "name"))
