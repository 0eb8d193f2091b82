"""The configuration as a client's side sees it: where calls go and how, not who may come in.

Lifetime: process (`OutboundControl`) and config.

As in a mesh, the caller's sidecar obeys traffic policy, and the callee's decides about access: so security
documents and Gateways are left out. A port whose `protocol` is HTTPS is spoken to in TLS although no
DestinationRule says so: in a mesh the application does that by itself, and here we stand in its place.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway.config.hosts import fqdn
from gateway.config.tls import ClientTLSSettings
from gateway.control.build import Built, Refused, View, build
from gateway.control.control import Control
from gateway.control.pauses import considerate
from gateway.tls import Destination, Store
from gateway.tls.contexts import client_context
from gateway.tls.origination import Origination

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from gateway.config import Config
    from gateway.tls import Secured

_SECURE = frozenset({"HTTPS", "TLS"})


def outbound(config: Config) -> Config:
    """What of a configuration concerns calls. A VirtualService for `*` is none: no mesh takes it, and here it
    is what stands in front of an application.
    """
    return replace(
        config,
        virtual_services=tuple(item for item in config.virtual_services if item.spec.hosts != ("*",)),
        gateways=(),
        authorization_policies=(),
        peer_authentications=(),
        request_authentications=(),
    )


class OutboundControl(Control):
    """Follows the files as `Control` does. It belongs to a program of its own, so it takes no signals."""

    def __init__(self, paths: Sequence[Path | str] | Path | str, *, watch: bool = True) -> None:
        super().__init__(paths, watch=watch)
        self.tls = OutboundStore(self.paths)

    def _build(self, generation: int) -> Built | Refused:
        with considerate():
            return build(
                self.paths, self.registry, self.tls, self.security, generation, view=View(config=outbound)
            )

    def _follow_hangup(self) -> None:
        """The program's."""


class OutboundStore(Store):
    """Credentials of clusters, those without a rule among them."""

    def prepare(self, config: Config, destinations: Mapping[str, Destination]) -> Secured:
        """As `Store.prepare`."""
        secured = super().prepare(config, destinations)
        context = None
        added = {}
        before = self.secured.originations if self.secured is not None else {}
        for name, host in _unsaid(config):
            if name in destinations:
                continue
            known = before.get(name)
            if known is None:
                context = context or client_context(ClientTLSSettings(mode="SIMPLE"), ())
                known = Origination(context, host, (host,))
            added[name] = known
        return replace(secured, originations={**added, **secured.originations})


def _unsaid(config: Config) -> Iterator[tuple[str, str]]:
    """Name and host of each cluster on a port that speaks TLS, whatever the rules say."""
    settings = config.settings.spec
    for entry in config.service_entries:
        for written in entry.spec.hosts:
            host = fqdn(written, entry.metadata.namespace, settings.cluster_domain)
            for port in entry.spec.ports:
                if port.protocol in _SECURE and not host.startswith("*"):
                    yield f"outbound|{port.number}||{host}", host
