"""A host in a process of its own: for the worker command, and for commits that wake it."""

from __future__ import annotations

import os
import random
import time
from dataclasses import replace
from typing import Any

from flask import Flask

from flask_interaction_mail import send_notification

from .. import messages
from .ours import ADA, host


def create_app() -> Flask:
    """The host whose worker is started; its settings are stored already."""
    return host(os.environ["BENCH_URL"], port=0).app


def commits(url: str, port: int, count: int, thread: bool) -> dict[str, Any]:
    """Send ``count`` messages, each when nothing else is going on; when each commit began."""
    state = host(url, port, INTERACTION_MAIL_DELIVERY="thread" if thread else "worker")
    moments = []
    with state.app.app_context():
        if thread:
            state.delivery.ensure_running()
        for number in range(count):
            time.sleep(1.2 + random.random() * 0.7)
            # More than ten a minute to one person would be above the rate.
            reader = replace(ADA, email=f"ada.{number}@firm.example")
            send_notification(reader, messages.SUBJECT, text=messages.TEXT)
            moments.append(time.monotonic())
            state.db.session.commit()
        time.sleep(1.2)
    state.delivery.stop()
    return {"moments": moments}
