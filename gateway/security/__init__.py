"""Who is calling and whether they may: certificates, tokens, policies, providers.

`Guard` compiles the `security.istio.io` documents of a generation. Routing hangs what it makes on listeners
and destinations, and per request it is a tuple of plain functions:

    reply = await gate(request) if gate is not None else None
    for check in checks:
        reply = check(request, rng)     # None: go on
"""

from __future__ import annotations

from gateway.security.counts import PolicyCounts
from gateway.security.explain import explain
from gateway.security.guard import Checks, Guard
from gateway.security.scope import Target, Workload
from gateway.security.verdicts import Decision, Verdict, folded

__all__ = [
    "Checks",
    "Decision",
    "Guard",
    "PolicyCounts",
    "Target",
    "Verdict",
    "Workload",
    "explain",
    "folded",
]
