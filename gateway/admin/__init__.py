"""The admin listener: what the process is, what it serves, and the few things that can be asked of it."""

from __future__ import annotations

from gateway.admin.listener import AdminListener

__all__ = ["AdminListener"]
