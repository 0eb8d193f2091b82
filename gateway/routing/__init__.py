"""Virtual hosts, match index, routes and their compiled policies, the snapshot. Decides; never waits."""

from __future__ import annotations

from gateway.routing.listener import Listener, VirtualHost
from gateway.routing.route import Destination, Route
from gateway.routing.snapshot import Snapshot, compile_snapshot

__all__ = ["Destination", "Listener", "Route", "Snapshot", "VirtualHost", "compile_snapshot"]
