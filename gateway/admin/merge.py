"""One answer of the answers of several workers.

Lifetime: request (pure functions, called in a thread). Counts add up; what differs is said with the workers
it is true of.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from gateway.admin.siblings import eldest, workers_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gateway.admin.siblings import Answer

Told = dict[str, Any]

STATES: Final = ("ready", "starting", "draining")
"""The worst last: what one of the workers says, the gateway says."""
OUTCOMES: Final = ("unchanged", "applied", "refused")
"""Of a reload, likewise."""
_HEALTH: Final = ("ejected", "failing its checks")
_SUMS: Final = ("active", "requests", "connections", "idle", "waiting")


def answered(answers: Iterable[Answer]) -> list[tuple[Answer, Told]]:
    """Those that said something, with what they said."""
    return [(answer, answer.told) for answer in answers if answer.status == 200]


# -- who -----------------------------------------------------------------------------------------


def worker_rows(answers: Sequence[Answer], told: Iterable[tuple[Answer, Told]]) -> list[Told]:
    """Every worker, with state and generation if it answered; `behind`: it serves other files than the one
    that changed last.
    """
    said = {answer.worker.number: item for answer, item in told}
    newest = max(said.values(), key=lambda item: item["applied_at"] or 0, default=None)
    rows = workers_json(answers)
    for row in rows:
        item = said.get(row["worker"])
        if item is not None and newest is not None:
            row |= {key: item[key] for key in ("state", "generation", "digest", "refused")}
            row["digest"] = item["digest"][:12]
            row["behind"] = item["digest"] != newest["digest"]
    return rows


def merged_state(told: Iterable[tuple[Answer, Told]]) -> str:
    """The worst of theirs."""
    return max((item["state"] for _, item in told), key=STATES.index, default="starting")


def status(answers: Sequence[Answer]) -> Told:
    """`/status` of the worker that remembers most, what went wrong in any, and a line for each."""
    told = answered(answers)
    chief = eldest(answers)
    assert chief is not None
    whole: Told = dict(next(item for answer, item in told if answer is chief))
    refused = (item["last_reload"] for _, item in told if item["last_reload"]["outcome"] == "refused")
    held: dict[tuple[str, ...], Told] = {}
    for _, item in told:
        for each in item["certificates"]:
            held.setdefault(tuple(str(each[key]) for key in ("name", "role", "subject", "not_after")), each)
    flat = [
        (
            answer,
            {
                **item,
                "applied_at": _seconds(item["reloads"]["applied_at"]),
                "refused": item["last_reload"]["outcome"] == "refused",
            },
        )
        for answer, item in told
    ]
    return {
        **whole,
        "state": merged_state(told),
        "last_reload": next(refused, whole["last_reload"]),
        "certificates": list(held.values()),
        "rate_limit_store": _store([item.get("rate_limit_store") for _, item in told]),
        "workers": worker_rows(answers, flat),
    }


def _store(every: Sequence[Told | None]) -> Told | None:
    """What all asked of the store of rate limits; it is up when it is for all of them."""
    rows = [row for row in every if row is not None]
    if not rows:
        return None
    counts = ("allowed", "limited", "recalled", "failed", "skipped")
    down = [row for row in rows if not row["up"]]
    return {
        **(down or rows)[0],
        **{name: sum(row[name] for row in rows) for name in counts},
        "down_in": len(down),
        "workers": len(rows),
    }


def _seconds(moment: str | None) -> float:
    return 0.0 if moment is None else datetime.fromisoformat(moment).timestamp()


def reload(answers: Sequence[Answer]) -> Told:
    """The attempt of the worker where it went worst, and how it went in each."""
    told = [(answer, answer.told) for answer in answers if answer.status in {200, 422}]
    worst: Told = max((item for _, item in told), key=lambda item: OUTCOMES.index(item["outcome"]))
    said = {answer.worker.number: item for answer, item in told}
    rows = workers_json(answers)
    for row in rows:
        if row["worker"] in said:
            row |= {key: said[row["worker"]][key] for key in ("outcome", "generation", "seconds")}
    return {**worst, "workers": rows}


def levels(answers: Sequence[Answer]) -> dict[str, str]:
    """The level of each logger; where workers differ, who has another one."""
    told = answered(answers)
    whole: dict[str, str] = {}
    for name in sorted({name for _, item in told for name in item}):
        found = Counter(item[name] for _, item in told if name in item)
        usual = found.most_common(1)[0][0]
        others = ", ".join(
            f"worker {answer.worker.number}: {item[name]}"
            for answer, item in told
            if item.get(name, usual) != usual
        )
        whole[name] = f"{usual} ({others})" if others else usual
    silent = (answer for answer in answers if answer.silent)
    return whole | {str(answer.worker): f"does not answer: {answer.silent}" for answer in silent}


# -- requests --------------------------------------------------------------------------------------


def ended(row: Told) -> float:
    """When a request ended, in seconds since the epoch."""
    return _seconds(row["at"]) + float(row["duration_ms"]) / 1000


def requests(answers: Sequence[Answer], limit: int) -> Told:
    """The newest of all, each with its worker."""
    told = answered(answers)
    kept: Counter[str] = Counter()
    for _, item in told:
        kept.update(item["kept"])
    return {"kept": dict(kept), "requests": newest(told, "requests", limit), "workers": workers_json(answers)}


def newest(told: Iterable[tuple[Answer, Told]], name: str, limit: int) -> list[Told]:
    """Of the lists under `name`, the requests that ended last."""
    rows = [{**row, "worker": answer.worker.number} for answer, item in told for row in item[name]]
    rows.sort(key=ended, reverse=True)
    return rows[:limit]


# -- clusters --------------------------------------------------------------------------------------


def clusters(groups: Sequence[Sequence[Told]]) -> list[Told]:
    """`clusters_json` of several workers: one row a cluster, in the order of their names."""
    found: dict[str, list[Told]] = {}
    for group in groups:
        for row in group:
            found.setdefault(row["name"], []).append(row)
    return [_cluster(found[name], len(groups)) for name in sorted(found)]


def _cluster(rows: Sequence[Told], workers: int) -> Told:
    endpoints: dict[str, list[Told]] = {}
    for row in rows:
        for endpoint in row["endpoints"]:
            endpoints.setdefault(endpoint["address"], []).append(endpoint)
    left = [row["retries_left"] for row in rows if row["retries_left"] is not None]
    sums = ("connections", "pending", "overflows", "retries_refused")
    return {
        **rows[0],
        **{key: sum(row[key] for row in rows) for key in sums},
        "retries_left": None if not left else sum(left),
        "limits": _limits(rows, workers),
        "endpoints": [_endpoint(each, workers) for each in endpoints.values()],
    }


def _limits(rows: Sequence[Told], workers: int) -> Told:
    """Each worker has limits of its own: together they are the sums, and full where one is."""
    whole: Told = {}
    for name in rows[0]["limits"]:
        each = [row["limits"][name] for row in rows if name in row["limits"]]
        full = sum(limit["open"] for limit in each)
        whole[name] = {
            "used": sum(limit["used"] for limit in each),
            "limit": sum(limit["limit"] for limit in each),
            "open": full > 0,
            "open_in": full,
            "workers": workers,
        }
    return whole


def _endpoint(rows: Sequence[Told], workers: int) -> Told:
    out = [row for row in rows if row["health"] != "healthy"]
    whole: Told = {**rows[0], **{key: sum(row[key] for row in rows) for key in _SUMS}}
    for name in ("ejected_for", "ejected_because", "ejections"):
        whole.pop(name, None)
    left = [row["ejected_for"] for row in rows if "ejected_for" in row]
    if left:
        whole["ejected_for"] = max(left)
    reasons = [row["ejected_because"] for row in (*out, *rows) if "ejected_because" in row]
    if reasons:
        whole["ejected_because"] = reasons[0]
        whole["ejections"] = sum(row.get("ejections", 0) for row in rows)
    whole |= {"out_in": len(out), "workers": workers}
    if out:
        kinds = Counter(row["health"] for row in out)
        several = "workers" if workers > 1 else "worker"
        words = [
            kind if kinds[kind] == workers else f"{kind} in {kinds[kind]} of {workers} {several}"
            for kind in _HEALTH
            if kinds[kind]
        ]
        whole["health"] = ", ".join(words)
    return whole
