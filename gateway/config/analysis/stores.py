"""Analyzers of the store of rate limits: are the files there that it needs?

Lifetime: config.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config.codes import define

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.analysis.survey import Survey
    from gateway.config.findings import Finding

define(
    "GW290",
    "file of the rate limit store cannot be read",
    "error",
    "Without it there is no connection to the store, and rate limits are counted as `onFailure` says. It is"
    " read for each new connection, so it may come later.",
)


def store_files(survey: Survey) -> Iterator[Finding]:
    """Files that `rateLimitStore` names, and nobody could read now."""
    settings = survey.config.settings
    store = settings.spec.rate_limit_store
    if store is None or store.redis is None:
        return
    redis = store.redis
    named: list[tuple[tuple[str, ...], str | None]] = [(("passwordFile",), redis.password_file)]
    if redis.tls is not None:
        named += [
            (("tls", "caCertificates"), redis.tls.ca_certificates),
            (("tls", "clientCertificate"), redis.tls.client_certificate),
            (("tls", "privateKey"), redis.tls.private_key),
        ]
    base = Path(survey.config.origin(settings).path).parent
    for field, name in named:
        if name is None:
            continue
        try:
            with (base / name).open("rb"):
                pass
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            message = f"{base / name} cannot be read: {reason}"
            yield survey.finding(settings, ("spec", "rateLimitStore", "redis", *field), "GW290", message)
