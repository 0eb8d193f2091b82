"""A snapshot from files, without serving anything.

Lifetime: config.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.config import load
from gateway.routing import compile_snapshot
from gateway.security.state import SecurityState
from gateway.upstream import Registry, plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import Loaded
    from gateway.routing import Snapshot


def offline(paths: Sequence[str]) -> tuple[Loaded, Snapshot | None]:
    """What the files say, and the snapshot they compile to; None when a finding is fatal."""
    loaded = load(paths)
    return loaded, None if loaded.config is None else compiled(loaded)


def compiled(loaded: Loaded) -> Snapshot:
    """The snapshot of files without fatal findings. Opens no socket and looks no name up."""
    config = loaded.require()
    planned = plan(config)
    clusters = Registry().prepare(planned).clusters
    return compile_snapshot(config, planned, clusters, generation=0, security=SecurityState())
