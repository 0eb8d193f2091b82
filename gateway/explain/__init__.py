"""Why: of a request that did not happen, of one that did, of what a change does to traffic."""

from __future__ import annotations
