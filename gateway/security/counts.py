"""How often policies decided, and which of their rules took a request.

Lifetime: process; a reload keeps what has the same name. Numbers only, bounded by what is configured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Count:
    """Requests that one rule took; its policy says what became of them."""

    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken = 0

    def __repr__(self) -> str:
        return f"<Count {self.taken}>"


class PolicyCounts:
    """All of them; change them on one thread."""

    __slots__ = (
        "_rules",
        "allowed",
        "audited",
        "denied",
        "errors",
        "plaintext",
        "shadow_allowed",
        "shadow_denied",
    )

    def __init__(self) -> None:
        self._rules: dict[tuple[str, int], Count] = {}
        self.allowed = 0
        """Requests that ALLOW policies let pass (Envoy `rbac.allowed`)."""
        self.denied = 0
        """Requests refused by a DENY rule, or for want of an ALLOW rule (Envoy `rbac.denied`)."""
        self.shadow_allowed = 0
        """Requests that dry-run ALLOW policies would have let pass."""
        self.shadow_denied = 0
        """Requests that dry-run policies would have refused."""
        self.audited = 0
        """Requests that an AUDIT rule took."""
        self.plaintext = 0
        """Requests refused by PeerAuthentication: no verified client certificate."""
        self.errors = 0
        """Requests refused because a policy could not be evaluated."""

    def of(self, policy: str, rule: int) -> Count:
        """The count of a rule of `namespace/name`."""
        return self._rules.setdefault((policy, rule), Count())

    def rules(self) -> Iterator[tuple[str, int, int]]:
        """Policy, rule and requests taken, of every rule there ever was."""
        for (policy, rule), count in self._rules.items():
            yield policy, rule, count.taken

    def __repr__(self) -> str:
        return f"<PolicyCounts allowed {self.allowed}, denied {self.denied}, errors {self.errors}>"
