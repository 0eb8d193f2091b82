"""What becomes of a request, as a test wants to read it.

Lifetime: config (`Routes`), request (`Decision`). Everything is `gateway explain`'s answer; nothing is sent.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Self

from gateway.config import ConfigError
from gateway.config.hosts import aliases
from gateway.explain.asked import BadQuestion, Question
from gateway.explain.load import offline
from gateway.explain.offline import Explanation, explain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.config import Finding
    from gateway.explain.forwarding import Target
    from gateway.routing import Snapshot
    from gateway.routing.route import Route
    from gateway.security import Verdict


@dataclass(frozen=True, slots=True)
class Routes:
    """A compiled configuration to ask."""

    snapshot: Snapshot
    findings: tuple[Finding, ...]
    """What `gateway check` says about the files."""
    host: str = ""
    """The Host of requests that name none."""

    @classmethod
    def load(cls, paths: Sequence[str]) -> Self:
        """Compiles files; ConfigError with every finding when that cannot be."""
        loaded, snapshot = offline(paths)
        if snapshot is None:
            raise ConfigError(loaded.findings, loaded.sources)
        return cls(snapshot, loaded.findings)

    def at(self, host: str) -> Routes:
        """The same, with another default host."""
        return Routes(self.snapshot, self.findings, host)

    def ask(  # noqa: PLR0913 - the parts of a request
        self,
        method: str,
        url: str = "/",
        *,
        host: str = "",
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        principal: str = "",
        token: str = "",
        sni: str = "",
        source_ip: str = "127.0.0.1",
    ) -> Decision:
        """What becomes of a request. `url` is absolute, or a path on `host`; default: the default host.

        `principal`: SPIFFE identity of the client's certificate. `token`: a JWT. `sni`: server name
        of the TLS handshake. `source_ip`: the direct peer. ValueError when that is no request.
        """
        pairs = tuple(headers.items() if hasattr(headers, "items") else headers)
        if not any(name.lower() == "host" for name, _ in pairs) and (host or url.startswith("/")):
            pairs = (("host", host or self.host or self._only_host()), *pairs)
        question = Question(
            method=method,
            url=url,
            headers=pairs,
            principal=principal,
            token=token,
            sni=sni,
            source_ip=source_ip,
        )
        return Decision(explain(self.snapshot, question), self.snapshot)

    def get(self, url: str = "/", **asked: str | Mapping[str, str]) -> Decision:
        """`ask("GET", ...)`."""
        return self.ask("GET", url, **asked)  # type: ignore[arg-type]

    def head(self, url: str = "/", **asked: str | Mapping[str, str]) -> Decision:
        """`ask("HEAD", ...)`."""
        return self.ask("HEAD", url, **asked)  # type: ignore[arg-type]

    def post(self, url: str = "/", **asked: str | Mapping[str, str]) -> Decision:
        """`ask("POST", ...)`."""
        return self.ask("POST", url, **asked)  # type: ignore[arg-type]

    def put(self, url: str = "/", **asked: str | Mapping[str, str]) -> Decision:
        """`ask("PUT", ...)`."""
        return self.ask("PUT", url, **asked)  # type: ignore[arg-type]

    def patch(self, url: str = "/", **asked: str | Mapping[str, str]) -> Decision:
        """`ask("PATCH", ...)`."""
        return self.ask("PATCH", url, **asked)  # type: ignore[arg-type]

    def delete(self, url: str = "/", **asked: str | Mapping[str, str]) -> Decision:
        """`ask("DELETE", ...)`."""
        return self.ask("DELETE", url, **asked)  # type: ignore[arg-type]

    def options(self, url: str = "/", **asked: str | Mapping[str, str]) -> Decision:
        """`ask("OPTIONS", ...)`."""
        return self.ask("OPTIONS", url, **asked)  # type: ignore[arg-type]

    def _only_host(self) -> str:
        snapshot = self.snapshot
        listeners = snapshot.listeners.values() or (snapshot.default,)
        names = {host.name for listener in listeners for host in listener.virtual_hosts}
        if len(names) != 1:
            known = ", ".join(sorted(names)) or "none"
            raise BadQuestion(f"which host? Say host=..., or ask for http://HOST/...; there are {known}")
        (name,) = names
        return "localhost" if name.startswith("*") else shortest(name, snapshot)


class Decision:
    """What is decided about one request."""

    __slots__ = ("_route", "explanation", "snapshot")

    def __init__(self, explanation: Explanation, snapshot: Snapshot) -> None:
        self.explanation = explanation
        """All that `gateway explain` knows."""
        self.snapshot = snapshot
        self._route: Route | None = explanation.choice.route if explanation.choice is not None else None

    # -- which route ---------------------------------------------------------------------------

    @property
    def route(self) -> str:
        """Name of the route; empty when it has none, or no route takes the request."""
        return self._route.name if self._route is not None else ""

    @property
    def source(self) -> str:
        """Where it is written, `default/reviews http[0].match[1]`; empty when no route takes the request."""
        return str(self._route.source) if self._route is not None else ""

    @property
    def path(self) -> str:
        """The path that a backend gets, or would get: canonical and rewritten, without query."""
        plan, request = self.explanation.plan, self.explanation.request
        if plan is not None and plan.rewrite:
            return plan.rewrite
        return request.path if request is not None else ""

    # -- where to ------------------------------------------------------------------------------

    @property
    def forwarded(self) -> bool:
        """Whether a backend answers; otherwise the gateway does (`status`)."""
        return self.explanation.answer is None and self.explanation.plan is not None

    @property
    def destinations(self) -> dict[str, float]:
        """Per cent of the requests by destination: `{"reviews/v1": 90.0, "reviews/v2": 10.0}`."""
        shares: dict[str, float] = {}
        for target in self.explanation.targets:
            key = self._key(target.cluster)
            shares[key] = round(shares.get(key, 0.0) + target.percent, 4)
        return shares

    @property
    def destination(self) -> str:
        """The only destination; ValueError when there are none or several."""
        found = tuple(self.destinations)
        if len(found) != 1:
            raise ValueError(f"not one destination: {self.destinations}")
        return found[0]

    def draws(self, requests: int, *, seed: int = 0) -> Counter[str]:
        """How many of so many requests each destination gets, by the router's own choice."""
        if self._route is None or not self._route.destinations:
            return Counter()
        dice = Random(seed)  # noqa: S311 - dice, not secrets
        route = self._route
        return Counter(self._key(route.choose(dice.getrandbits(32)).cluster_name) for _ in range(requests))

    def _key(self, cluster: str) -> str:
        """`outbound|9080|v1|reviews.default.svc.cluster.local` as `reviews/v1`."""
        _, _, subset, host = cluster.split("|")
        host = shortest(host, self.snapshot)
        return f"{host}/{subset}" if subset else host

    def sent(self, destination: str = "") -> dict[str, str]:
        """The headers that a backend gets, `host` among them; credentials are hidden. Several lines of a
        name are joined by a comma. `destination`: as in `destinations`; default: the first.
        """
        headers: dict[str, str] = {}
        for line in self._target(destination).head[1:]:
            name, _, value = line.partition(": ")
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        return headers

    @property
    def headers(self) -> dict[str, str]:
        """`sent()` for the first destination."""
        return self.sent()

    def _target(self, destination: str) -> Target:
        for target in self.explanation.targets:
            if not destination or self._key(target.cluster) == destination:
                return target
        raise LookupError(f"{destination or 'no destination'}: it goes to {self.destinations or 'none'}")

    # -- how -----------------------------------------------------------------------------------

    @property
    def timeout(self) -> float | None:
        """Seconds; None: no limit."""
        return self.explanation.plan.timeout if self.explanation.plan is not None else None

    @property
    def retries(self) -> int:
        """Repetitions after the first try, at most."""
        plan = self.explanation.plan
        return plan.retries.most if plan is not None and plan.retries is not None else 0

    @property
    def mirrors(self) -> dict[str, float]:
        """Per cent of the requests that are copied, by destination."""
        plan = self.explanation.plan
        return {} if plan is None else {self._key(name): share for name, share in plan.mirrors}

    # -- what the gateway answers itself -------------------------------------------------------

    @property
    def status(self) -> int | None:
        """Status of the gateway's own answer; None: a backend answers."""
        return self.explanation.answer.status if self.explanation.answer is not None else None

    @property
    def flag(self) -> str:
        """Envoy's response flag of that answer; empty for none."""
        answer = self.explanation.answer
        return answer.flag if answer is not None and answer.flag != "-" else ""

    @property
    def body(self) -> str:
        """Body of that answer, its first 200 characters."""
        return self.explanation.answer.body if self.explanation.answer is not None else ""

    @property
    def answer_headers(self) -> dict[str, str]:
        """Headers of that answer: `location`..."""
        answer = self.explanation.answer
        lines = answer.headers if answer is not None else ()
        return dict(line.split(": ", 1) for line in lines)

    # -- policies ------------------------------------------------------------------------------

    @property
    def allowed(self) -> bool:
        """Whether no policy refuses it."""
        answer = self.explanation.answer
        return answer is None or answer.by != "policy"

    @property
    def refused(self) -> str:
        """Which policy refuses it and how, as Envoy's details; empty: none."""
        answer = self.explanation.answer
        return answer.details if answer is not None and not self.allowed else ""

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """What each policy says, by `namespace/name`: `action`, `matched`, `reasons`."""
        told = [*self.explanation.verdicts]
        for target in self.explanation.targets:
            told += target.verdicts
        return {verdict.policy: verdict for verdict in told}

    # -- for people ----------------------------------------------------------------------------

    def __repr__(self) -> str:
        if self.forwarded:
            return f"<Decision {self.route or self.source} -> {self.destinations}>"
        details = self.explanation.answer.details if self.explanation.answer is not None else ""
        return f"<Decision {self.status} {self.flag or '-'} {details}>"

    @property
    def story(self) -> str:
        """What was decided and why, line by line: the message of an assertion."""
        told = self.explanation
        lines = [repr(self)]
        if told.request is not None:
            lines.append(f"request      {told.request.method} {told.request.authority}{told.request.path}")
        if told.choice is not None:
            lines.append(f"virtual host {told.choice.host.name or 'none'}: {told.choice.host.because}")
            lines += [
                f"  {item.number:>3} {item.name or item.source}: {item.outcome}, {item.because}"
                for item in told.choice.tried
                if item.outcome != "not reached"
            ]
        for verdict in self.verdicts.values():
            matched = "matches" if verdict.matched else "does not match"
            why = "; ".join(verdict.reasons)
            lines.append(f"policy       {verdict.action} {verdict.policy} {matched}: {why}")
        if told.targets:
            lines += ["sends", *(f"  {line}" for line in told.targets[0].head)]
        return "\n".join(lines)


def shortest(host: str, snapshot: Snapshot) -> str:
    """`reviews` for `reviews.default.svc.cluster.local`, `reviews.shop` in another namespace."""
    settings = snapshot.config.settings.spec
    names = aliases(host, settings.cluster_domain)
    if len(names) == 1:
        return host
    return names[3] if names[2].partition(".")[2] == settings.namespace else names[2]
