"""A mail server for development, whose mail stays on this machine, and pages that show it."""

from __future__ import annotations

from .inbox import Inbox, Letter
from .pages import inbox_pages
from .server import DROPPED, Catcher

__all__ = ["DROPPED", "Catcher", "Inbox", "Letter", "inbox_pages"]
