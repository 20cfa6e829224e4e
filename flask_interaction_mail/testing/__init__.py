"""Helps the tests of applications that use this package."""

from __future__ import annotations

from .assertions import assert_nothing_sent, assert_sent_to
from .delivery import deliver
from .frozen_clock import FrozenClock, frozen
from .mail_server import MailServer, mail_server

__all__ = [
    "FrozenClock",
    "MailServer",
    "assert_nothing_sent",
    "assert_sent_to",
    "deliver",
    "frozen",
    "mail_server",
]
