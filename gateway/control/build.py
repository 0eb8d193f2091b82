"""Files to a generation that could serve: read, plan, prepare, compile. Changes nothing outside itself.

Lifetime: config. Runs in a worker thread while the previous generation serves.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from gateway.config import ConfigError, Finding, Loaded, load, render
from gateway.config.codes import define
from gateway.config.ignore import without_ignored
from gateway.control.restart import Opened, restart_findings
from gateway.routing import Snapshot, compile_snapshot
from gateway.upstream import Prepared, Registry, destinations, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from gateway.config import Config
    from gateway.security.state import SecurityState
    from gateway.tls import Secured, Store
    from gateway.upstream import Plan

T = TypeVar("T")
logger = logging.getLogger(__name__)

REPORTED = 50
"""Findings that are written to the log; the admin listener shows all."""

define(
    "GW199",
    "internal error",
    "error",
    "The files are read without errors and still could not be compiled: a mistake in the gateway, not in the"
    " configuration. Nothing changed. The log has the traceback; please report it with the files.",
)


class Before(NamedTuple):
    """What a generation follows."""

    opened: Opened
    """What the first generation opened, which a later one cannot change."""
    findings: tuple[Finding, ...]
    """What was said about the one that serves."""


@dataclass(frozen=True, slots=True)
class Built:
    """A generation that is complete and does not serve yet."""

    loaded: Loaded
    findings: tuple[Finding, ...]
    """Warnings, and errors that concern single routes."""
    report: str
    """For the log: new findings as `gateway check` prints them, and how many are not new. Empty: none new."""
    prepared: Prepared
    secured: Secured
    snapshot: Snapshot


@dataclass(frozen=True, slots=True)
class Refused:
    """Files that cannot serve, and why."""

    loaded: Loaded
    findings: tuple[Finding, ...]
    report: str
    """The findings as `gateway check` prints them."""

    @property
    def error(self) -> ConfigError:
        """What `gateway check` prints, as an exception."""
        return ConfigError(self.findings, self.loaded.sources)


def _same(thing: T) -> T:
    return thing


class View(NamedTuple):
    """What a process takes of a configuration that has no fatal finding."""

    config: Callable[[Config], Config] = _same
    plan: Callable[[Plan], Plan] = _same


WHOLE = View()
"""All of it: what a gateway takes."""


def build(  # noqa: PLR0913, PLR0917 - all that a generation is made of
    paths: Sequence[Path],
    registry: Registry,
    tls: Store,
    security: SecurityState,
    generation: int,
    before: Before | None = None,
    view: View = WHOLE,
) -> Built | Refused:
    """The generation that these files describe now. Never raises for what it reads.

    `before`: what it is to follow; None: it is the first.
    """
    loaded = load(paths)
    findings = without_ignored(loaded.findings, loaded.sources)
    if loaded.config is None:
        return _refused(loaded, findings)
    try:
        loaded = replace(loaded, config=view.config(loaded.config))
        planned = view.plan(plan(loaded.require()))
        secured = tls.prepare(loaded.require(), destinations(planned))
        findings = (*findings, *secured.findings)
        if secured.fatal:
            return _refused(loaded, findings)
        prepared = registry.prepare(planned)
        snapshot = compile_snapshot(
            loaded.require(),
            planned,
            prepared.clusters,
            generation=generation,
            security=security,
            opened=frozenset() if before is None else before.opened.ports,
        )
    except ConfigError as error:
        return _refused(loaded, (*findings, *error.findings))
    except Exception as error:
        logger.exception("cannot compile a configuration that was read without errors")
        message = f"cannot be compiled: {type(error).__name__}: {error}"
        finding = Finding(next(iter(loaded.sources), ""), 1, 1, "error", "GW199", message, fatal=True)
        return _refused(loaded, (*findings, finding))
    if before is not None:
        late = restart_findings(before.opened, loaded.require())
        findings = (*findings, *late)
        if any(finding.fatal for finding in late):
            return _refused(loaded, findings)
    report = _news(findings, before.findings if before is not None else (), loaded)
    return Built(loaded, findings, report, prepared, secured, snapshot)


def _refused(loaded: Loaded, findings: tuple[Finding, ...]) -> Refused:
    return Refused(loaded, findings, _report(findings, loaded))


def _news(findings: tuple[Finding, ...], known: Collection[Finding], loaded: Loaded) -> str:
    """What there is to say that was not said before. A finding that only moved to another line was."""
    said = {(finding.code, finding.path, finding.message) for finding in known}
    new = tuple(item for item in findings if (item.code, item.path, item.message) not in said)
    if not new:
        return ""
    report, old = _report(new, loaded), len(findings) - len(new)
    return f"{report}\n... and {old} as before" if old else report


def _report(findings: tuple[Finding, ...], loaded: Loaded) -> str:
    """For the log, made here because a thousand findings take longer than the event loop may wait."""
    more = len(findings) - REPORTED
    if more > 0:
        findings = tuple(sorted(findings, key=lambda item: not item.fatal)[:REPORTED])
    text = render(findings, loaded.sources)
    return f"{text}\n... and {more} more; `gateway check` prints them all" if more > 0 else text
