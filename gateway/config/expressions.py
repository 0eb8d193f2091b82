"""CEL expressions of Telemetry documents: which attributes there are, and what is wrong with an expression.

Lifetime: config. The CEL library is an extra: it is imported when a document has an expression, not before.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from gateway.config.codes import define

if TYPE_CHECKING:
    from collections.abc import Mapping

define(
    "GW046",
    "not an expression",
    "error",
    "Filters and tags are CEL over Envoy's attributes, such as response.code >= 400 or has(request.referer)."
    " Text is quoted, and both sides of a comparison have the same type. An attribute that is absent makes"
    " an expression fail: a filter that fails logs nothing, a tag that fails is `unknown`. Ask with has().",
)

_TEXT: Final = "x"
SAMPLE: Final[Mapping[str, Mapping[str, Any]]] = {
    "request": {
        "path": "/x?q=1",
        "url_path": "/x",
        "host": _TEXT,
        "scheme": "http",
        "method": "GET",
        "headers": {"user-agent": _TEXT},
        "referer": _TEXT,
        "useragent": _TEXT,
        "time": datetime(2026, 1, 1, tzinfo=UTC),
        "id": _TEXT,
        "protocol": "HTTP/1.1",
        "query": "q=1",
        "duration": timedelta(seconds=1),
        "size": 0,
        "total_size": 0,
    },
    "response": {
        "code": 200,
        "code_details": "via_upstream",
        "flags": 0,
        "grpc_status": 0,
        "headers": {"content-type": _TEXT},
        "size": 0,
        "total_size": 0,
        "backend_latency": timedelta(seconds=1),
    },
    "source": {"address": "192.0.2.1:5000", "port": 5000},
    "destination": {"address": "192.0.2.2:8080", "port": 8080},
    "connection": {
        "mtls": False,
        "requested_server_name": _TEXT,
        "tls_version": "TLSv1.3",
        "subject_peer_certificate": _TEXT,
        "dns_san_peer_certificate": _TEXT,
        "uri_san_peer_certificate": _TEXT,
        "sha256_peer_certificate_digest": _TEXT,
    },
    "upstream": {
        "address": "192.0.2.3:80",
        "port": 80,
        "local_address": "192.0.2.2:40000",
        "transport_failure_reason": _TEXT,
        "request_attempt_count": 1,
    },
    "xds": {"cluster_name": _TEXT, "route_name": _TEXT},
}
"""Every attribute, with a value of its type."""

MISSING: Final = "expressions need the package common-expression-language: pip install 'asgi-gateway[cel]'"
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
_ATTRIBUTE = re.compile(r"(?<![\w.])([a-z]+)(?:\.([a-z_][a-z0-9_]*))?")


def attributes(expression: str) -> set[tuple[str, str]]:
    """The (root, field) pairs that stand in an expression; field empty: the whole root is used."""
    found = _ATTRIBUTE.findall(_QUOTED.sub("''", expression))
    return {(root, field) for root, field in found if root in SAMPLE}


def check_expression(expression: str, *, boolean: bool = False) -> str | None:
    """What is wrong with a CEL expression; None when nothing is. `boolean`: it must say yes or no."""
    try:
        import cel  # noqa: PLC0415 - an extra, and 0.1 s
    except ImportError:
        return MISSING
    for root, field in sorted(attributes(expression)):
        if field and field not in SAMPLE[root]:
            return f"there is no attribute {root}.{field}; {root} has {', '.join(sorted(SAMPLE[root]))}"
    try:
        value = cel.compile(expression).execute({root: dict(fields) for root, fields in SAMPLE.items()})
    except ValueError as error:
        return "cannot be parsed: " + str(error).partition("ERROR: <input>:")[2].partition("\n")[0]
    except (RuntimeError, TypeError) as error:
        return str(error).partition(". ")[0]
    except Exception:  # noqa: BLE001 - a key that this sample does not have: others may
        return None
    if boolean and not isinstance(value, bool):
        return f"a filter says true or false, not {type(value).__name__}"
    return None
