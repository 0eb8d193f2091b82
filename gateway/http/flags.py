"""Response flags, and the replies they stand for.

Lifetime: config (constants). One table turns a failure into status, body, log token and details
(Envoy `%RESPONSE_FLAGS%`, `%RESPONSE_CODE_DETAILS%`).
"""

from __future__ import annotations

from enum import StrEnum


class Flag(StrEnum):
    """Why the gateway answered itself, or what happened on the way; Envoy's short names."""

    NO_HEALTHY_UPSTREAM = "UH"
    UPSTREAM_TIMEOUT = "UT"
    LOCAL_RESET = "LR"
    UPSTREAM_REMOTE_RESET = "UR"
    UPSTREAM_CONNECT_FAILURE = "UF"
    UPSTREAM_TERMINATION = "UC"
    UPSTREAM_OVERFLOW = "UO"
    NO_ROUTE = "NR"
    DELAY_INJECTED = "DI"
    FAULT_INJECTED = "FI"
    RATE_LIMITED = "RL"
    RATE_LIMIT_STORE = "RLSE"
    EXT_AUTHZ_DENIED = "UAEX"
    CLIENT_GONE = "DC"
    RETRIES_EXHAUSTED = "URX"
    STREAM_IDLE_TIMEOUT = "SI"
    DOWNSTREAM_PROTOCOL_ERROR = "DPE"
    UPSTREAM_PROTOCOL_ERROR = "UPE"
    NO_CLUSTER = "NC"
    DURATION_TIMEOUT = "DT"
    OVERLOAD = "OM"
