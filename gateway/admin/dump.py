"""`/config_dump`: what serves, where it came from, and how the last attempt to replace it went.

Lifetime: request (pure functions). May run in a thread: everything it reads is frozen, or copied at once.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from time import time
from typing import TYPE_CHECKING, Any

from gateway.admin.redact import redact
from gateway.config import Finding

if TYPE_CHECKING:
    from gateway.config import Loaded
    from gateway.control.control import Control
    from gateway.control.result import ReloadResult
    from gateway.tls.expiry import Held


def moment(seconds: float | None) -> str | None:
    """RFC 3339 in UTC."""
    return (
        None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    )


def plain(value: Any) -> Any:
    """What JSON has no word for: findings, without their source lines, which may hold secrets."""
    return asdict(value) if isinstance(value, Finding) else str(value)


def reload_json(result: ReloadResult) -> dict[str, Any]:
    """One attempt; its findings are still objects, for `plain`."""
    return {
        "outcome": str(result.outcome),
        "generation": result.generation,
        "reason": result.reason,
        "at": moment(result.at),
        "seconds": round(result.seconds, 6),
        "findings": result.findings,
    }


def status_json(control: Control) -> dict[str, Any]:
    """The state of the process in a few lines (`gateway status`); takes no time, so read it on the loop."""
    counts, store = control.counts, control.security.rate_limit_store
    return {
        "state": str(control.state),
        "generation": control.generation,
        "digest": control.loaded.digest,
        "paths": [str(path) for path in control.paths],
        "reloads": {
            "applied": counts.successes,
            "refused": counts.errors,
            "applied_at": moment(counts.applied_at),
            "last_error": counts.last_error,
            "last_error_at": moment(counts.last_error_at),
        },
        "last_reload": reload_json(control.last),
        "findings": control.serving_findings,
        "listeners": _listeners(control),
        "certificates": [_certificate(held) for held in control.tls.certificates()],
        "rate_limit_store": None if store is None else store.status(),
    }


def _listeners(control: Control) -> list[dict[str, Any]]:
    """Every port of the configuration, whether it speaks TLS, and how many hosts it serves."""
    snapshot = control.snapshot
    listeners = [snapshot.listeners[port] for port in sorted(snapshot.listeners)]
    if snapshot.default.virtual_hosts or not listeners:
        listeners.append(snapshot.default)
    return [
        {
            "name": listener.name,
            "port": listener.port,
            "tls": listener.port in control.tls.ports,
            "virtual_hosts": len(listener.virtual_hosts),
            "routes": len({id(route) for host in listener.virtual_hosts for route in host.routes}),
        }
        for listener in listeners
    ]


def _certificate(held: Held) -> dict[str, Any]:
    endless = held.not_after == float("inf")
    return {
        "name": held.name,
        "role": held.role,
        "subject": held.subject,
        "principal": held.principal,
        "names": list(held.names),
        "not_before": moment(held.not_before),
        "not_after": None if endless else moment(held.not_after),
        "seconds_left": None if endless else round(held.not_after - time()),
    }


def sources_json(loaded: Loaded) -> list[dict[str, Any]]:
    """Every file with its size and SHA-256, so that anyone can compare it with a copy."""
    return [
        {
            "path": path,
            "bytes": len(content := text.encode(errors="surrogatepass")),
            "sha256": sha256(content).hexdigest(),
        }
        for path, text in loaded.sources.items()
    ]


def documents_json(loaded: Loaded) -> list[dict[str, Any]]:
    """Every document as it was understood, in Istio's names, without secrets."""
    config = loaded.require()
    return [
        redact(resource.model_dump(mode="json", by_alias=True, exclude_unset=True))
        for resource in (config.settings, *config.resources())
    ]
