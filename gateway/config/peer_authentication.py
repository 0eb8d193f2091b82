"""PeerAuthentication: whether a workload takes plain text, in Istio's own shape.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from gateway.config.fields import Checked, FrozenMap, Map, Model, Problem
from gateway.config.resource import Resource, register
from gateway.config.selector import EmptyIfNull, WorkloadSelector

if TYPE_CHECKING:
    from collections.abc import Iterator

Mode = Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
"""A port as key of a mapping, which YAML reads as text."""


class MutualTLS(Model):
    """What is demanded of the peer."""

    mode: Mode = "UNSET"
    """STRICT: TLS with a verified client certificate; UNSET: what the next wider policy says."""


class PeerAuthenticationSpec(Checked):
    """The mode of the selected workloads, and of single ports of them."""

    selector: WorkloadSelector | None = None
    """Default: every workload of the namespace; of all namespaces, in the root namespace."""
    mtls: MutualTLS | None = None
    port_level_mtls: Map[PortNumber, MutualTLS] = FrozenMap()
    """Workload port -> mode, where it differs."""

    def _rules(self) -> Iterator[Problem]:
        if "port_level_mtls" not in self.model_fields_set:
            return
        if not self.port_level_mtls:
            yield Problem("GW060", "portLevelMtls names no port", ("portLevelMtls",), "leave it out")
        elif self.selector is None or not self.selector.match_labels:
            message = "portLevelMtls needs a selector with labels: ports are those of one workload"
            yield Problem("GW032", message, ("portLevelMtls",))

    @property
    def strict(self) -> bool:
        """Whether any part demands a client certificate."""
        modes = [self.mtls, *self.port_level_mtls.values()]
        return any(item is not None and item.mode == "STRICT" for item in modes)


@register("security.istio.io", "PeerAuthentication", "v1", "v1beta1")
class PeerAuthentication(Resource):
    """Whether the selected workloads take plain text."""

    spec: Annotated[PeerAuthenticationSpec, EmptyIfNull] = Field(default_factory=PeerAuthenticationSpec)
