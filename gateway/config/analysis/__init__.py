"""What is wrong between documents: every analyzer, in one tuple.

Lifetime: config. An analyzer is a function from a `Survey` to findings; it never raises and never changes
anything. A reference that leads nowhere is an error, but not fatal: the route is kept, as Istio keeps it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gateway.config.analysis.delegates import delegation
from gateway.config.analysis.destinations import unknown_destinations, unknown_health_checks
from gateway.config.analysis.listeners import (
    colliding_servers,
    gateway_hosts,
    gateway_references,
    shared_hosts,
    silent_ports,
    unopened_servers,
)
from gateway.config.analysis.patience import long_timeouts
from gateway.config.analysis.patterns import long_regexes
from gateway.config.analysis.policies import (
    empty_namespaces,
    idle_selectors,
    rival_documents,
    unasked_certificates,
    unverified_claims,
)
from gateway.config.analysis.reachability import unreachable_rules
from gateway.config.analysis.rules import destination_rules, service_entries
from gateway.config.analysis.stores import store_files
from gateway.config.analysis.survey import Survey
from gateway.config.unenforced import unenforced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gateway.config.config import Config
    from gateway.config.findings import Finding

ANALYZERS: tuple[Callable[[Survey], Iterable[Finding]], ...] = (
    unknown_destinations,
    unknown_health_checks,
    gateway_references,
    gateway_hosts,
    colliding_servers,
    unopened_servers,
    shared_hosts,
    silent_ports,
    unreachable_rules,
    long_regexes,
    long_timeouts,
    unverified_claims,
    destination_rules,
    service_entries,
    delegation,
    idle_selectors,
    empty_namespaces,
    rival_documents,
    unasked_certificates,
    store_files,
)
"""Every analyzer across documents."""


def analyze(config: Config, *, root: bool | None = None) -> tuple[Finding, ...]:
    """Findings about the configuration as a whole, in the order of the analyzers.

    `root` is whether the process may open ports below 1024; default: whether this one may.
    """
    survey = Survey(config, root=os.geteuid() == 0 if root is None else root)
    found = [finding for analyzer in ANALYZERS for finding in analyzer(survey)]
    return (*found, *unenforced(config))
