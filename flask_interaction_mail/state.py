"""What one application has of the extension: ``app.extensions["interaction_mail"]``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy

from .config import Config, suppressed
from .directory import People
from .messages.recorded import Recording
from .settings.store import SettingsStore
from .storage.database import Database
from .transport.base import StandIn
from .transport.policy import ConnectPolicy
from .values import Right

if TYPE_CHECKING:  # a host without a panel may not have it
    from flask_admin import Admin

KEY = "interaction_mail"

Access = Callable[[Right], bool]
AccessTokenFunction = Callable[[str], str]  # of a mailbox


class Delivery(Protocol):
    """A way of delivery, as far as others know it."""

    def ensure_running(self) -> None:
        """A request begins."""
        ...

    def wake(self) -> None:
        """There is something to deliver."""
        ...

    def context_ends(self) -> None:
        """An app context has stored what it had to store."""
        ...

    def advice(self) -> str | None:
        """What the host has left out, so that mail could wait for long; None for nothing.

        Raises:
            InteractionMailError: nobody can deliver.
        """
        ...

    def stop(self, timeout: float = ...) -> None:
        """Finish what is in flight, for ``timeout`` seconds at most."""
        ...


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
    access_token: AccessTokenFunction | None
    choose_delivery: Callable[[State], Delivery]
    make_dispatcher: Callable[..., Any]  # factory.dispatcher_of, which brings the wire
    translations: tuple[str, ...] = ()  # folders with catalogues of the host
    stand_in: StandIn = None  # for every server
    recordings: tuple[Recording, ...] = ()  # of tests that want to see what is stored

    @cached_property
    def delivery(self) -> Delivery:
        """Who delivers; decided at the first use, when the database is configured for sure."""
        return self.choose_delivery(self)

    @property
    def connect_policy(self) -> ConnectPolicy:
        """Where a connection to a server may go."""
        return ConnectPolicy(deny=self.config.deny_networks, ports=self.config.deny_ports)

    @property
    def organisation(self) -> str:
        """The name after "via" and in the header of messages, where the settings have none."""
        name = getattr(self.admin, "name", None)
        return str(name) if name else self.app.name

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
