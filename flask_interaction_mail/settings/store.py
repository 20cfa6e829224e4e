"""The settings in force, and how they are saved.

What is in force is the newest revision under the overrides of this process and above the host's
``MAIL_*`` keys. Every method that writes does so in a transaction of its own, and commits it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import sqlalchemy as sa

from .. import clock
from ..errors import SecretUnreadable, SettingsError
from .fields import clean_all, shielded
from .keyring import Keyring
from .layers import InForce, Layer, configured_layer, in_force
from .model import SETTINGS, Destination, Origin, PasswordState, Secret
from .revisions import Mark, Rows, Stored, Transactions, conflict, read_mark, read_newest

__all__ = ["InForce", "Revision", "SettingsStore"]

log = logging.getLogger("flask_interaction_mail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One save: when (aware UTC), by whom, which fields it changed, and what it stored.

    ``values`` never has the password; ``changed`` names it where it was changed.
    """

    revision: int
    at: datetime
    by: str
    changed: tuple[str, ...]
    values: Mapping[str, object]


class SettingsStore:
    """Reads, drafts and saves settings for one application.

    ``overrides`` and ``config_fallback`` are cleaned settings: the layer above and the one
    below what is stored.
    """

    def __init__(
        self,
        database: Transactions,
        keyring: Keyring,
        overrides: Mapping[str, object] = MappingProxyType({}),
        config_fallback: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        self.keyring = keyring
        self._database = database
        self._rows = Rows(database)
        self._overrides = configured_layer(Origin.OVERRIDE, overrides)
        self._fallback = configured_layer(Origin.CONFIG, config_fallback)
        self._cached: tuple[Mark, InForce] | None = None

    def current(self, connection: sa.Connection | None = None) -> InForce:
        """The settings in force, read on ``connection`` or in a short transaction of our own.

        One query by primary key tells whether what this process knows is still the newest.
        """
        if connection is not None:
            return self._current(connection)
        with self._database.reading() as own:
            return self._current(own)

    def at(self, revision: int) -> InForce | None:
        """What is in force where ``revision`` is the newest; None if there is no such one."""
        stored = self._rows.get(revision) if revision else Stored()
        if stored is None:
            return None
        return self._in_force(stored, self._stored_layer(stored.values, stored.secret))

    def is_newest_known(self, found: InForce) -> bool:
        """Whether this process has neither read nor saved others since ``current`` gave them."""
        cached = self._cached
        return cached is not None and cached[1] is found

    def draft(self, changes: Mapping[str, object]) -> InForce:
        """What would be in force after a save of ``changes``; nothing is saved.

        Text as typed or typed values; fields that this process overrides are ignored. Without
        a password the one in force stays, as far as it may be used with the new connection.

        Raises:
            SettingsError: a field cannot be read; relations between fields are not looked at.
        """
        return self._draft(self._rows.newest(), self._cleaned(changes))

    def save(self, changes: Mapping[str, object], *, base: int | None, changed_by: str) -> InForce:
        """Store ``changes`` as a new revision, all or nothing; commits.

        ``base`` is the revision that the changes were made on, None for the newest.

        Raises:
            SettingsError: a field or a relation breaks a rule (R44), or no key is configured
                to encrypt a password with.
            SettingsConflict: somebody else saved since ``base``.
        """
        changes = shielded(changes)
        stored = self._rows.newest()
        if base is not None and base != stored.revision:
            raise conflict(stored)
        values = self._cleaned(changes)
        drafted = self._draft(stored, values)
        _refuse_problems(drafted)
        return self._add(
            Stored(
                revision=stored.revision + 1,
                at=clock.now(),
                by=changed_by[:255],
                values=stored.merged(values),
                secret=self._sealed(values, drafted) or self._resealed(stored.secret),
            )
        )

    def history(self, limit: int = 50) -> list[Revision]:
        """The last ``limit`` revisions, newest first."""
        rows = self._rows.latest(limit + 1)
        former = [*rows[1:], Stored()] if len(rows) <= limit else rows[1:]
        return [self._revision(row, before) for row, before in zip(rows, former, strict=False)]

    def restore(self, revision: int, *, changed_by: str) -> InForce:
        """Store what ``revision`` stored as the newest revision; commits.

        Its password comes with it, bound as it was: it is used only if the connection in force
        is the one that it was entered for. Where it may not be used, the state of the password
        in the answer says so.

        Raises:
            SettingsError: there is no such revision, or it breaks a rule by now.
            SettingsConflict: somebody else saved at the same moment.
        """
        old = self._rows.get(revision)
        if old is None:
            raise SettingsError({"revision": f"there is no revision {revision}"})
        _refuse_problems(self._draft(old, {}), ignore="password")
        return self._add(
            Stored(
                revision=self._rows.newest().revision + 1,
                at=clock.now(),
                by=changed_by[:255],
                values=old.values,
                secret=self._resealed(old.secret),
            )
        )

    def rotate_keys(self) -> int:
        """Encrypt all stored passwords under the newest key; commits each by itself.

        Gives how many were not yet under it. It may be interrupted and run again at any time.

        Raises:
            SecretUnreadable: the newest revision's password, which comes last, cannot be read
                with any key. Older ones like that are left alone, with a warning in the log.
        """
        newest = self._rows.newest().revision
        return sum(
            self._rotate(row, in_force=row.revision == newest) for row in self._rows.with_secret()
        )

    # -- what is in force -----------------------------------------------------------

    def _current(self, connection: sa.Connection) -> InForce:
        cached = self._cached
        if cached is not None and cached[0] == read_mark(connection):
            return cached[1]
        stored = read_newest(connection)
        built = self._in_force(stored, self._stored_layer(stored.values, stored.secret))
        # An unreadable password is tried again: the key may come back.
        if built.password is not PasswordState.UNREADABLE:
            self._cached = stored.mark, built
        return built

    def _in_force(self, stored: Stored, layer: Layer) -> InForce:
        return in_force([self._overrides, layer, self._fallback], revision=stored.revision)

    def _stored_layer(self, values: Mapping[str, object], secret: str | None) -> Layer:
        if secret is None:
            return Layer(origin=Origin.STORED, values=values)
        try:
            password, bound_to = self.keyring.open(secret)
        except SecretUnreadable as error:
            log.warning("settings.password_unreadable: %s", error)
            return Layer(origin=Origin.STORED, values={**values, "password": None})
        return Layer(
            origin=Origin.STORED, values={**values, "password": password}, bound_to=bound_to
        )

    # -- drafts ---------------------------------------------------------------------

    def _cleaned(self, changes: Mapping[str, object]) -> dict[str, object]:
        """The values of ``changes`` that count; a blank password is none."""
        overridden = self._overrides.values
        counted = {name: raw for name, raw in shielded(changes).items() if name not in overridden}
        values = clean_all(counted)
        return {n: value for n, value in values.items() if n != "password" or value}

    def _draft(self, stored: Stored, values: Mapping[str, object]) -> InForce:
        merged = stored.merged(values)
        if "password" not in values:
            return self._in_force(stored, self._stored_layer(merged, stored.secret))
        # A password that is typed is for the connection that is shown beside it.
        shown = self._in_force(stored, Layer(origin=Origin.STORED, values=merged))
        typed = {**merged, "password": values["password"]}
        layer = Layer(origin=Origin.STORED, values=typed, bound_to=shown.settings.destination)
        return self._in_force(stored, layer)

    # -- passwords ------------------------------------------------------------------

    def _sealed(self, values: Mapping[str, object], drafted: InForce) -> str | None:
        password = values.get("password")
        if not isinstance(password, Secret):
            return None
        return self._seal(password, drafted.settings.destination)

    def _seal(self, password: Secret, destination: Destination) -> str:
        try:
            return self.keyring.seal(password, destination)
        except SecretUnreadable as error:
            raise SettingsError({"password": str(error)}) from error

    def _resealed(self, secret: str | None) -> str | None:
        # Under the newest key, else a rotation that runs at this moment would miss the new row.
        try:
            return self.keyring.rotate(secret) if secret else None
        except SecretUnreadable:
            return secret  # waits for its key

    def _rotate(self, row: Stored, *, in_force: bool) -> int:
        try:
            secret = self.keyring.rotate(row.secret or "")
        except SecretUnreadable as error:
            if in_force:
                raise
            log.warning("settings.rotation_skipped: revision %s: %s", row.revision, error)
            return 0
        if secret == row.secret:
            return 0
        self._rows.replace_secret(row.revision, secret)
        return 1

    # -- rows -----------------------------------------------------------------------

    def _add(self, stored: Stored) -> InForce:
        self._rows.add(stored)
        self._cached = None
        return self._in_force(stored, self._stored_layer(stored.values, stored.secret))

    def _revision(self, row: Stored, former: Stored) -> Revision:
        changed = [
            name
            for name, setting in SETTINGS.items()
            if row.values.get(name, setting.default) != former.values.get(name, setting.default)
        ]
        if self._password(row) != self._password(former):
            changed.append("password")
        return Revision(
            revision=row.revision,
            at=clock.from_db(row.at),
            by=row.by,
            changed=tuple(changed),
            values=row.values,
        )

    def _password(self, row: Stored) -> Secret | str | None:
        # The same password has another token after a rotation.
        try:
            return self.keyring.open(row.secret)[0] if row.secret else None
        except SecretUnreadable:
            return row.secret


def _refuse_problems(drafted: InForce, *, ignore: str = "") -> None:
    found = drafted.problems
    found.pop(ignore, None)
    if found:
        raise SettingsError(found)
