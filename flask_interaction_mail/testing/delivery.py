"""Delivery at the moment that a test chooses."""

from __future__ import annotations

from flask import Flask

from ..errors import InteractionMailError
from ..state import state_of


def deliver(app: Flask | None = None) -> int:
    """Deliver what is due in ``app``, or in the current app, now; gives how many were sent.

    As ``flask interaction-mail worker --once`` does, in this process.

    Raises:
        InteractionMailError: nothing can be delivered; it says why.
        RuntimeError: there is no current app, or ``init_app`` was not called for it.
    """
    stats = state_of(app).make_dispatcher(state_of(app)).drain()
    if stats.held_up_by:
        raise InteractionMailError(f"Nothing is delivered: {stats.held_up_by}.")
    return int(stats.sent)
