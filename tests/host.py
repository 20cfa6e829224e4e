"""A small host application for tests: a database, people who can be set, and the extension."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from jinja2 import StrictUndefined

from flask_interaction_mail import Contact, Directory, InteractionMail, Merge, Party, operations
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.factory import dispatcher_of
from flask_interaction_mail.outbox.presence import How
from flask_interaction_mail.state import State
from flask_interaction_mail.storage import tables
from flask_interaction_mail.storage.tables import MESSAGE
from tests import outbox_rows
from tests.passwords import PASSWORD as PASSWORD
from tests.tables import create_all, metadata_of_hosts

SETTINGS: dict[str, Any] = {
    "company_domain": "firm.example",
    "smtp_server": "127.0.0.1",
    "encryption": "none",
    "default_to": "merge-desk",
    "default_from": "crm",
}
ADA = Party("Ada Byron", "ada", id=1)
STEWARDS = Party("Data Stewards", "stewards", id=10, kind="group")
NAMELESS = Party("Quiet Group", None, id=11, kind="group")


@dataclass
class People(Directory):
    """A directory whose answers a test sets."""

    user: Party | None = None
    mergers: dict[str, Sequence[Party]] = field(default_factory=dict)
    owners: dict[str, Sequence[Party]] = field(default_factory=dict)

    def current_user(self) -> Party | None:
        return self.user

    def merge_recipients(self, location: str) -> Sequence[Party]:
        return self.mergers.get(location, ())

    def folder_owners(self, location: str) -> Sequence[Party]:
        return self.owners.get(location, ())

    def locations(self) -> Sequence[str]:
        return tuple(self.mergers)

    def parties(self) -> Sequence[Party]:
        return (ADA, STEWARDS, NAMELESS)


class Host:
    """The application with what a test needs of it."""

    def __init__(
        self,
        url: str,
        *,
        admin: Any = None,
        access: Any = None,
        schema: str | None = None,
        **config: Any,
    ) -> None:
        kind = sa.make_url(url).get_backend_name(), config.get("INTERACTION_MAIL_MIGRATIONS")
        metadata = metadata_of_hosts(schema, *kind)
        self.db = SQLAlchemy(metadata=metadata)
        self.people = People(user=ADA, mergers={"Firm List": [STEWARDS]})

        class Thing(self.db.Model):  # type: ignore[name-defined, misc]
            __table__ = metadata.tables[f"{schema}.thing" if schema else "thing"]

        self.Thing = Thing
        self.app = Flask("crm")
        self.app.config.update(
            SQLALCHEMY_DATABASE_URI=url,
            SECRET_KEY="k" * 32,
            INTERACTION_MAIL_DELIVERY="worker",
            # Many tests send a lot to one person; what is too much has tests of its own.
            INTERACTION_MAIL_RATE=1_000_000,
            INTERACTION_MAIL_ACTOR_RATE=1_000_000,
        )
        self.app.config.update(config)
        self.app.jinja_env.undefined = StrictUndefined  # as in many hosts: no page may be sloppy
        if url.startswith("sqlite"):
            self.app.config.setdefault(
                "SQLALCHEMY_ENGINE_OPTIONS", {"connect_args": {"timeout": 10}}
            )
        self.db.init_app(self.app)
        if admin is not None:
            admin.init_app(self.app)
        self.messaging = InteractionMail(db=self.db, directory=self.people)
        self.messaging.init_app(self.app, admin=admin, access=access)
        with self.app.app_context():
            create_all(self.db.metadata, self.db.engine, self.db.create_all)

    @property
    def state(self) -> State:
        state: State = self.app.extensions["interaction_mail"]
        return state

    def dispatcher(self, how: How | None = None, **changes: Any) -> Dispatcher:
        """A dispatcher of the application; ``changes`` are parts of its office."""
        return dispatcher_of(self.state, how, **changes)

    def configure(self, **changes: Any) -> None:
        """Save settings that work, with ``changes``."""
        with self.app.app_context():
            operations.save_settings(self.state, SETTINGS | changes, base=None, changed_by="test")

    def rows(self) -> list[Any]:
        """What the outbox holds, committed, oldest first."""
        with self.app.app_context(), self.db.engine.connect() as connection:
            return list(connection.execute(outbox_rows.ROWS.order_by(MESSAGE.c.created_at)))

    def subjects(self) -> list[str]:
        return sorted(row.subject for row in self.rows())

    def recipients(self) -> list[str]:
        """The addresses of all recipients in the outbox."""
        with self.app.app_context(), self.db.engine.connect() as connection:
            return list(
                connection.scalars(
                    sa.select(tables.RECIPIENT.c.address).order_by(tables.RECIPIENT.c.address)
                )
            )

    def close(self) -> None:
        self.state.delivery.stop()
        with self.app.app_context():
            for engine in self.db.engines.values():
                engine.dispose()


def a_merge(
    *locations: str, requester: Party | None = None, ids: tuple[int, int] = (1, 2), **others: Any
) -> Merge:
    """Two contacts that look like one."""
    first, second = locations if len(locations) == 2 else ("Firm List", "Firm List")
    return Merge(
        (
            Contact(ids[0], "Acme Ltd", location=first, url="https://crm.example/c/1"),
            Contact(ids[1], "ACME Limited", location=second),
        ),
        requester=requester,
        **others,
    )


@contextmanager
def opened(url: str, **config: Any) -> Iterator[Host]:
    """A host that is closed at the end."""
    host = Host(url, **config)
    try:
        yield host
    finally:
        host.close()


def as_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """``SETTINGS`` with changes."""
    return SETTINGS | dict(values)
