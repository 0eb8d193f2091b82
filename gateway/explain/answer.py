"""An answer that the gateway makes itself, as it is told to people.

Lifetime: request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.http.secrets import clean_headers

if TYPE_CHECKING:
    from gateway.http.reply import Reply

_DENIALS = ("rbac_", "peer_authentication_", "jwt_authn_", "ext_authz_")
"""How the details of a refusal by a policy begin, wherever it is made."""
LONGEST_BODY = 200
"""Characters of a body that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the client gets, and which step decided it."""

    by: str
    """`hygiene`, `policy`, `https redirect`, `routing`, `route` or `destination`."""
    status: int
    flag: str
    """Envoy's response flag; `-` for none."""
    details: str
    body: str
    headers: tuple[str, ...]

    @property
    def refusal(self) -> bool:
        """Whether it turns the request away; what a route is configured to answer is no refusal."""
        return self.status >= 400 and self.details != "direct_response"


def answer_of(reply: Reply, by: str) -> Answer:
    """A reply as data."""
    body = reply.body.decode(errors="replace")
    return Answer(
        by="policy" if reply.details.startswith(_DENIALS) else by,
        status=reply.status,
        flag=str(reply.flag or "-"),
        details=reply.details,
        body=body if len(body) <= LONGEST_BODY else f"{body[:LONGEST_BODY]}... ({len(reply.body)} bytes)",
        headers=tuple(f"{name}: {value}" for name, value in clean_headers(reply.headers)),
    )
