"""A process that rotates the keys and kills itself on the way.

Point n is the n-th step of the database's work: a statement that begins, one that has ended, or
a commit that is about to be made.
"""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Sequence

import sqlalchemy as sa

from flask_interaction_mail.settings.keyring import Keyring
from flask_interaction_mail.settings.store import SettingsStore
from tests.outbox_rows import Store


def rotate(url: str, point: int, keys: Sequence[str]) -> None:
    """Rotate until ``point`` is reached; to the end if it never is."""
    steps = itertools.count(1)

    def step(*_: object) -> None:
        if next(steps) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    store = Store(url)
    for event in ("before_cursor_execute", "after_cursor_execute", "commit"):
        sa.event.listen(store.engine, event, step)
    SettingsStore(store, Keyring(keys)).rotate_keys()
