"""What one application has of the extension: ``app.extensions["interaction_mail"]``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy

from .config import Config, suppressed
from .directory import People
from .settings.store import SettingsStore
from .storage.database import Database
from .transport.memory import MemoryTransport
from .unit_of_work.pending_work import Delivery
from .values import Right

if TYPE_CHECKING:  # a host without a panel may not have it
    from flask_admin import Admin

KEY = "interaction_mail"

Access = Callable[[Right], bool]


@dataclass(kw_only=True, eq=False)
class State:
    """The extension in one application: its parts. What is done with them is in ``operations``."""

    app: Flask
    db: SQLAlchemy
    database: Database
    settings: SettingsStore
    config: Config
    people: People
    admin: Admin | None
    access: Access | None
    choose_delivery: Callable[[State], Delivery]
    memory: MemoryTransport | None = None  # stands in for every server

    @cached_property
    def delivery(self) -> Delivery:
        """Who delivers; decided at the first use, when the database is configured for sure."""
        return self.choose_delivery(self)

    @property
    def suppressed(self) -> bool:
        """Whether the application suppresses sending (``MAIL_SUPPRESS_SEND``), asked anew."""
        return suppressed(self.app.config, self.config.transport)


def state_of(app: Flask | None = None) -> State:
    """The state of ``app``, or of the current app.

    Raises:
        RuntimeError: there is no current app, or ``init_app`` was not called for it.
    """
    target = app if app is not None else current_app
    try:
        state: State = target.extensions[KEY]
    except KeyError:
        raise RuntimeError(
            "Flask-Interaction-Mail is not set up for this application: "
            "call InteractionMail(...).init_app(app) in its factory"
        ) from None
    return state
