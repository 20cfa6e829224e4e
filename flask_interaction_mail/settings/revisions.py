"""The rows of the settings: revisions, which are added and never changed.

Only the encryption of secrets is renewed in place, when the keys are rotated. Each function works
on the connection that it is given, or in a short transaction of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ..errors import SettingsConflict
from ..language import gettext
from ..logs import log
from ..storage.tables import REVISION
from ..storage.transactions import Transactions
from . import fields
from .fields import from_json, to_json
from .relay import DEFAULT

_NEWEST_FIRST: Final = REVISION.c.revision.desc()
# Built once: building it takes longer than running it.
_MARK: Final = (
    sa.select(REVISION.c.revision, REVISION.c.created_at).order_by(_NEWEST_FIRST).limit(1)
)
_NEVER: Final = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)

Mark = tuple[int, datetime]  # of the newest row: a cache with another mark is stale


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A row of the table; ``at`` is naive UTC, and revision 0 means an empty table.

    ``secret`` is the password of the relay "default", encrypted, and ``bound`` the other secrets.
    """

    revision: int = 0
    at: datetime = _NEVER
    by: str = ""
    values: Mapping[str, object] = field(default_factory=dict)
    secret: str | None = None
    bound: Mapping[str, str] = field(default_factory=dict)

    @property
    def mark(self) -> Mark:
        return self.revision, self.at

    @property
    def relays(self) -> tuple[str, ...]:
        """The names of the relays, in their order."""
        listed = self.values.get(fields.RELAYS)
        return listed if isinstance(listed, tuple) else fields.ALONE

    def merged(self, changes: Mapping[str, object]) -> Stored:
        """The row with ``changes`` over its values; secrets among them are left out.

        So are those that one of them takes the place of, and all of a relay that is removed.
        """
        changed = {name: value for name, value in changes.items() if not fields.is_secret(name)}
        merged = replace(self, values={**self.values, **changed})
        here = {DEFAULT, *merged.relays}
        given_up = {fields.replaced_by(name) for name in changes}
        return replace(
            merged,
            values={n: value for n, value in merged.values.items() if fields.parts(n)[0] in here},
            bound={
                name: token
                for name, token in self.bound.items()
                if name not in given_up and fields.parts(name)[0] in here
            },
        )

    def seen_by(self, relay: str) -> Stored:
        """The row as ``relay`` has it: with its own values and secrets beside the shared ones."""
        bound = fields.seen_by(relay, self.bound)
        secret = self.secret if relay == DEFAULT else bound.pop("password", None)
        return replace(self, values=fields.seen_by(relay, self.values), secret=secret, bound=bound)


class Rows:
    """Reads and writes the table of settings."""

    def __init__(self, database: Transactions) -> None:
        self._database = database

    def newest(self) -> Stored:
        """The newest row; revision 0 if nothing was ever saved."""
        with self._database.reading() as connection:
            return read_newest(connection)

    def get(self, revision: int) -> Stored | None:
        """The row of ``revision``, or None."""
        found = self._select(sa.select(REVISION).where(REVISION.c.revision == revision))
        return found[0] if found else None

    def latest(self, limit: int, *, before: datetime | None = None) -> list[Stored]:
        """The last ``limit`` rows, newest first; those from before ``before`` (naive UTC)."""
        query = sa.select(REVISION).order_by(_NEWEST_FIRST).limit(limit)
        if before is not None:
            query = query.where(REVISION.c.created_at < before)
        return self._select(query)

    def with_secret(self) -> list[Stored]:
        """All rows with a secret, oldest first."""
        columns = (REVISION.c.secret, REVISION.c.alert_secret, REVISION.c.secrets)
        has_secret = sa.or_(*(column.is_not(None) for column in columns))
        return self._select(sa.select(REVISION).where(has_secret).order_by(REVISION.c.revision))

    def add(self, stored: Stored) -> None:
        """Insert ``stored``; commits.

        Raises:
            SettingsConflict: its revision exists, as somebody else saved on the same base.
        """
        row = {
            "revision": stored.revision,
            "created_at": stored.at,
            "created_by": stored.by,
            "fields": to_json(stored.values),
            **_secrets(stored),
        }
        try:
            with self._database.writing() as connection:
                connection.execute(sa.insert(REVISION), row)
        except IntegrityError as error:
            raise conflict(self.newest()) from error

    def replace_secrets(self, stored: Stored) -> None:
        """Store the same secrets under another key; commits."""
        with self._database.writing() as connection:
            change = sa.update(REVISION).where(REVISION.c.revision == stored.revision)
            connection.execute(change.values(_secrets(stored)))

    def _select(self, query: sa.Select[Any]) -> list[Stored]:
        with self._database.reading() as connection:
            return [_stored(row) for row in connection.execute(query)]


def read_mark(connection: sa.Connection) -> Mark:
    """The mark of the newest row, by one look-up of the primary key."""
    row = connection.execute(_MARK).first()
    return (row.revision, row.created_at) if row else Stored().mark


def read_newest(connection: sa.Connection) -> Stored:
    """The newest row; revision 0 if nothing was ever saved."""
    row = connection.execute(sa.select(REVISION).order_by(_NEWEST_FIRST).limit(1)).first()
    return _stored(row) if row else Stored()


def _stored(row: Any) -> Stored:
    values, lost = from_json(row.fields)
    if lost:
        log.error("settings.damaged: revision %s: cannot read %s", row.revision, ", ".join(lost))
    return Stored(
        revision=row.revision,
        at=row.created_at,
        by=row.created_by,
        values=values,
        secret=row.secret,
        bound=_bound(row),
    )


def _secrets(stored: Stored) -> dict[str, str | None]:
    """The columns of the secrets; that of the webhook is older than the one of all others."""
    others = {name: token for name, token in stored.bound.items() if name != "alert_secret"}
    return {
        "secret": stored.secret,
        "alert_secret": stored.bound.get("alert_secret"),
        "secrets": json.dumps(others) if others else None,
    }


def _bound(row: Any) -> dict[str, str]:
    found: dict[str, str] = {"alert_secret": row.alert_secret} if row.alert_secret else {}
    if row.secrets:
        try:
            found |= json.loads(row.secrets)
        except (ValueError, TypeError):
            log.error("settings.damaged: revision %s: cannot read its secrets", row.revision)
    return found


def conflict(newest: Stored) -> SettingsConflict:
    """The error of a save whose base is older than ``newest``."""
    if not newest.revision:
        return SettingsConflict(
            gettext(
                "The settings that you began with are gone from the database. Nothing was saved: "
                "open the page again and check what is in force."
            )
        )
    return SettingsConflict(
        gettext(
            "%(who)s saved other settings on %(when)s, after you opened these. "
            "Nothing of yours was saved, and nothing of theirs was overwritten: open the page "
            "again, check what is in force, and make your changes there.",
            who=newest.by or gettext("Somebody"),
            when=f"{newest.at:%Y-%m-%d %H:%M} UTC",
        )
    )
