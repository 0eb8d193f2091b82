"""Fault injection: errors and delays on purpose, to see how clients take them.

Lifetime: request; what a route injects is compiled once (`gateway.routing.policies.Fault`).
Source: Istio `HTTPFaultInjection`, Envoy's fault filter. The delay comes first and is outside of every
timeout; then the abort throws dice of its own. Neither reaches an upstream, retries or outlier detection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.http.flags import Flag
from gateway.http.grpc import for_call, is_call
from gateway.http.reply import Reply
from gateway.routing.policies import MILLION

if TYPE_CHECKING:
    from random import Random

    from gateway.http.request import Request
    from gateway.routing.policies import Fault

DELAYED = Flag.DELAY_INJECTED
"""The flag of an exchange that was held back."""


def delay(fault: Fault, rng: Random) -> float:
    """Seconds to hold this request back; 0 leaves it alone."""
    return fault.delay if fault.delay_share and rng.randrange(MILLION) < fault.delay_share else 0.0


def abort(fault: Fault, request: Request, rng: Random) -> Reply | None:
    """The error this request gets instead of an upstream's answer, or None. To be asked after the delay.

    A gRPC call is told `abort_grpc_status`, or what stands for the HTTP status; any other request gets the
    HTTP status, which for a gRPC fault is 200.
    """
    if not fault.abort_share or rng.randrange(MILLION) >= fault.abort_share:
        return None
    status = fault.abort_status or 200
    reply = Reply(status, b"fault filter abort", Flag.FAULT_INJECTED, "fault_filter_abort")
    return for_call(reply, fault.abort_grpc_status) if is_call(request) else reply
