"""What the sample services are and what they answer: Istio's bookinfo, and an echo in the manner of httpbin.

Lifetime: config (constants) and plain functions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.config import Config

_REVIEWS = (
    {"reviewer": "Reviewer1", "text": "An extremely entertaining play by Shakespeare."},
    {"reviewer": "Reviewer2", "text": "Absolutely fun and entertaining, though a bit short."},
)
_STARS = {"v2": "black", "v3": "red"}
"""Reviews v1 shows no stars, as in Istio's sample."""

BOOKINFO: dict[str, dict[str, Any]] = {
    "productpage": {"title": "The Comedy of Errors", "details": "/details/0"},
    "details": {"author": "William Shakespeare", "year": 1595, "pages": 200, "language": "English"},
    "ratings": {"ratings": {"Reviewer1": 5, "Reviewer2": 4}},
    "reviews": {"reviews": _REVIEWS},
}
ECHO = "httpbin"
SERVICES = (*BOOKINFO, ECHO)

FLAKY = ("demo", "flaky")
"""Label of an endpoint whose sample backend fails now and then."""

_SPEC = re.compile(r"([a-z]+)/([A-Za-z0-9.-]+)@(127\.[0-9.]+):([0-9]{1,5})(\+flaky)?\Z")


@dataclass(frozen=True, slots=True)
class Backend:
    """One sample backend: a version of a service, at an address of its own."""

    service: str
    version: str
    address: str
    port: int
    flaky: bool = False
    """Every third request is answered with 503."""

    def __str__(self) -> str:
        """As `parse` reads it: `reviews/v1@127.0.0.1:9083`, `ratings/v1@127.0.0.1:9088+flaky`."""
        return f"{self.service}/{self.version}@{self.address}:{self.port}{'+flaky' if self.flaky else ''}"


def parse(spec: str) -> Backend:
    """Reads `reviews/v1@127.0.0.1:9083`. Raises ValueError when it is anything else."""
    found = _SPEC.match(spec)
    if found is None or found[1] not in SERVICES:
        message = f"{spec!r} is not SERVICE/VERSION@127.0.0.1:PORT with one of {', '.join(SERVICES)}"
        raise ValueError(message)
    return Backend(found[1], found[2], found[3], int(found[4]), found[5] is not None)


def backends_of(config: Config) -> list[Backend]:
    """A backend for each loopback endpoint of a ServiceEntry whose label `app` names a sample service."""
    found = []
    for entry in config.service_entries:
        if not entry.spec.ports:
            continue
        port = entry.spec.ports[0]
        for endpoint in entry.spec.endpoints or ():
            service = endpoint.labels.get("app", "")
            if service in SERVICES and (endpoint.address or "").startswith("127."):
                number = endpoint.ports.get(port.name) or port.target_port or port.number
                version = endpoint.labels.get("version", "v1")
                flaky = endpoint.labels.get(FLAKY[0]) == FLAKY[1]
                found.append(Backend(service, version, endpoint.address or "", number, flaky))
    return found


def bookinfo(service: str, version: str) -> dict[str, Any]:
    """The part of an answer that only this service and version gives."""
    facts = BOOKINFO[service]
    if service == "reviews" and version in _STARS:
        ratings = BOOKINFO["ratings"]["ratings"]
        starred = [
            {**review, "stars": ratings[review["reviewer"]], "color": _STARS[version]} for review in _REVIEWS
        ]
        return {"reviews": starred}
    return facts
