"""The admin listener: what the process is, what it serves, and the few things that can be asked of it."""

from __future__ import annotations

from gateway.admin.address import open_public, wanted_address
from gateway.admin.listener import AdminListener
from gateway.admin.siblings import Siblings, socket_home

__all__ = ["AdminListener", "Siblings", "open_public", "socket_home", "wanted_address"]
