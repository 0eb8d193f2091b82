"""The admin listener: what the process is, what it serves, and the few things that can be asked of it."""

from __future__ import annotations

from gateway.admin.door import asked, open_door
from gateway.admin.listener import AdminListener
from gateway.admin.siblings import Siblings, home

__all__ = ["AdminListener", "Siblings", "asked", "home", "open_door"]
