"""Read, draft and save the settings of an application.

In force is the newest revision, below the overrides of this process and above the host's ``MAIL_*``
keys. Each method that writes commits a transaction of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa

from .. import clock
from ..errors import SecretUnreadable, SettingsError
from ..language import gettext
from ..logs import log
from ..storage.transactions import Transactions
from . import fields
from .fields import clean_all, shielded
from .keyring import Keyring
from .layers import InForce, Layer, all_fitting, bound, configured_layer, in_force, together
from .model import Origin, PasswordState
from .relay import DEFAULT
from .revisions import Mark, Rows, Stored, conflict, read_mark, read_newest
from .secret import BoundSecret, Secret

_NOTHING: Final = Layer(origin=Origin.STORED, values={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One save: when (aware UTC), by whom, the fields it changed, and the values it stored.

    ``former`` are the values before. Neither has a secret; ``changed`` names those that were
    changed.
    """

    revision: int
    at: datetime
    by: str
    changed: tuple[str, ...]
    values: Mapping[str, object]
    former: Mapping[str, object]


class SettingsStore:
    """The settings of one application.

    ``overrides`` and ``config_fallback`` are clean values: the layers above and below the stored
    one. Values are by name, such as ``relays.backup.login``.
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
        self._overrides = overrides
        self._fallback = config_fallback
        self._alone = False  # whether "default" is the only relay, whatever is stored
        self._cached: tuple[Mark, InForce] | None = None

    def current(self, connection: sa.Connection | None = None) -> InForce:
        """The settings in force, read on ``connection`` or in a short transaction of our own.

        One query by primary key tells whether the cached ones are still the newest.
        """
        if connection is None:
            with self._database.reading() as own:
                return self.current(own)
        cached = self._cached
        if cached is not None and cached[0] == read_mark(connection):
            return cached[1]
        stored = read_newest(connection)
        built = self._in_force(stored)
        # An unreadable password is tried again: its key may come back.
        if all(one.password is not PasswordState.UNREADABLE for one in built.each.values()):
            self._cached = stored.mark, built
        return built

    def at(self, revision: int) -> InForce | None:
        """The settings in force if ``revision`` (0: none) were the newest; None if unknown."""
        stored = self._rows.get(revision) if revision else Stored()
        return None if stored is None else self._in_force(stored)

    @contextmanager
    def overriding(self, values: Mapping[str, object]) -> Iterator[None]:
        """Put the clean ``values`` above all others in this process until the block ends.

        Meanwhile there is one relay alone.
        """
        before = self._overrides, self._alone
        self._overrides, self._alone = {**self._overrides, **values}, True
        self._cached = None
        try:
            yield
        finally:
            (self._overrides, self._alone), self._cached = before, None

    def is_newest_known(self, found: InForce) -> bool:
        """Whether this process has neither read nor saved any others since it read ``found``."""
        cached = self._cached
        return cached is not None and cached[1] is found

    def draft(self, changes: Mapping[str, object]) -> InForce:
        """What would be in force after a save of ``changes``; nothing is saved.

        ``changes`` are text as typed or typed values; fields that this process overrides are
        ignored. Without a password the stored one stays, if it may be used with the new connection.

        Raises:
            SettingsError: a field cannot be read. Rules about several fields are not checked.
        """
        return self._draft(self._rows.newest(), self._cleaned(changes))

    def save(self, changes: Mapping[str, object], *, base: int | None, changed_by: str) -> InForce:
        """Store ``changes`` as a new revision, all or nothing; commits.

        ``base`` is the revision that the changes were made on, None for the newest.

        Raises:
            SettingsError: the settings break a rule (R44), or a password is to be stored and no
                key is configured.
            SettingsConflict: somebody else saved since ``base``.
        """
        changes = shielded(changes)
        stored = self._rows.newest()
        if base is not None and base != stored.revision:
            raise conflict(stored)
        values = self._cleaned(changes)
        drafted = self._draft(stored, values)
        _refuse_problems(drafted)
        changed, sealed = stored.merged(values), self._sealed(values, drafted)
        secret = sealed.pop("password", None) or self._resealed(stored.secret)
        changed = replace(changed, secret=secret, bound=self._all_resealed(changed.bound) | sealed)
        return self._add(changed, revision=stored.revision + 1, by=changed_by)

    def history(self, limit: int = 50, *, before: datetime | None = None) -> list[Revision]:
        """The last ``limit`` revisions, newest first; those from before ``before`` (naive UTC)."""
        rows = self._rows.latest(limit + 1, before=before)
        former = [*rows[1:], Stored()] if len(rows) <= limit else rows[1:]
        return [self._revision(row, before) for row, before in zip(rows, former, strict=False)]

    def restore(self, revision: int, *, changed_by: str) -> InForce:
        """Store the values of ``revision`` again, as the newest revision; commits.

        Its password comes along, bound as it was: it is used only if the connection in force is
        the one that it was entered for. ``password`` of the result says whether it is.

        Raises:
            SettingsError: there is no such revision, or it now breaks a rule.
            SettingsConflict: somebody else saved at the same moment.
        """
        old = self._rows.get(revision)
        if old is None:
            text = gettext("there is no revision %(number)s", number=revision)
            raise SettingsError({"revision": text})
        drafted = self._draft(old, {})
        _refuse_problems(drafted, *filter(fields.is_secret, drafted.problems))
        restored = replace(
            old,
            secret=self._resealed(old.secret),
            bound=self._all_resealed(old.bound),
        )
        return self._add(restored, revision=self._rows.newest().revision + 1, by=changed_by)

    def rotate_keys(self) -> int:
        """Encrypt all stored secrets under the newest key; commits each revision separately.

        Returns how many had one under an older key. May be interrupted and run again at any time.

        Raises:
            SecretUnreadable: no key can read the newest revision's secrets, which come last.
                Unreadable older ones are left as they are, with a warning in the log.
        """
        newest = self._rows.newest().revision
        return sum(
            self._rotate(row, in_force=row.revision == newest) for row in self._rows.with_secret()
        )

    # -- what is in force -----------------------------------------------------------

    def _in_force(self, stored: Stored) -> InForce:
        return self._together(stored, lambda relay: self._layer(stored.seen_by(relay)))

    def _together(self, stored: Stored, layer: Callable[[str], Layer]) -> InForce:
        """What is in force where ``layer`` gives the stored layer of each relay."""
        listed, added = (
            stored.relays,
            dict.fromkeys(fields.parts(name)[0] for name in self._overrides),
        )
        if self._alone:
            listed, added = fields.ALONE, {}
        fixed = [relay for relay in added if relay not in (DEFAULT, *listed)]
        return together(
            {
                relay: in_force(
                    self._layers(relay, layer(relay)), revision=stored.revision, relay=relay
                )
                for relay in (*listed, *fixed)
            },
            fixed,
        )

    def _layers(self, relay: str, stored: Layer) -> list[Layer]:
        overrides, fallback = (
            fields.seen_by(relay, values) for values in (self._overrides, self._fallback)
        )
        return [
            configured_layer(Origin.OVERRIDE, overrides, relay),
            stored,
            configured_layer(Origin.CONFIG, fallback, relay),
        ]

    def _layer(self, stored: Stored) -> Layer:
        stored = self._with_bound(stored)
        if stored.secret is None:
            return Layer(origin=Origin.STORED, values=stored.values)
        try:
            password, bound_to = self.keyring.open(stored.secret)
        except SecretUnreadable as error:
            log.warning("settings.password_unreadable: %s", error)
            return Layer(origin=Origin.STORED, values={**stored.values, "password": None})
        values = {**stored.values, "password": password}
        return Layer(origin=Origin.STORED, values=values, bound_to=bound_to)

    def _with_bound(self, stored: Stored) -> Stored:
        opened = {name: self._opened(name, token) for name, token in stored.bound.items()}
        return replace(stored, values={**stored.values, **opened}) if opened else stored

    def _opened(self, name: str, token: str) -> BoundSecret | None:
        try:
            return self.keyring.open_bound(token)
        except SecretUnreadable as error:
            log.warning("settings.secret_unreadable: %s: %s", name, error)
            return None

    # -- drafts ---------------------------------------------------------------------

    def _cleaned(self, changes: Mapping[str, object]) -> dict[str, object]:
        """The clean values of ``changes`` without overridden fields and empty secrets."""
        overridden = self._overridden()
        counted = {name: raw for name, raw in shielded(changes).items() if name not in overridden}
        values = all_fitting(clean_all(counted))
        return {
            name: value
            for name, value in values.items()
            if name not in overridden and (value or not fields.is_secret(name))
        }

    def _overridden(self) -> set[str]:
        relays = dict.fromkeys(fields.parts(name)[0] for name in self._overrides)
        return {
            fields.of(relay, field)
            for relay in relays
            for field in self._layers(relay, _NOTHING)[0].values
        }

    def _draft(self, stored: Stored, values: Mapping[str, object]) -> InForce:
        merged = stored.merged(values)
        _refuse_strangers(values, merged.relays)

        def layer(relay: str) -> Layer:
            return self._drafted(relay, merged.seen_by(relay), fields.seen_by(relay, values))

        return self._together(merged, layer)

    def _drafted(self, relay: str, merged: Stored, values: Mapping[str, object]) -> Layer:
        """The stored layer of ``relay`` as a save of ``values`` would leave it."""
        typed = {name: value for name, value in values.items() if fields.is_secret(name)}
        layer = self._layer(replace(merged, secret=None) if "password" in typed else merged)
        if not typed:
            return layer
        # A typed secret is for what is shown beside it.
        plain = Layer(origin=Origin.STORED, values=merged.values)
        shown = in_force(self._layers(relay, plain), revision=0, relay=relay).settings
        typed |= bound(typed, shown)
        bound_to = shown.destination if "password" in typed else layer.bound_to
        return layer._replace(values={**layer.values, **typed}, bound_to=bound_to)

    # -- passwords ------------------------------------------------------------------

    def _sealed(self, values: Mapping[str, object], drafted: InForce) -> dict[str, str]:
        """The secrets among ``values``, encrypted with what each is for."""
        sealed: dict[str, str] = {}
        for relay in drafted.settings.relays:
            seen, settings = fields.seen_by(relay, values), drafted.of(relay).settings
            try:
                if isinstance(password := seen.get("password"), Secret):
                    name = "password"
                    sealed[fields.of(relay, name)] = self.keyring.seal(
                        password, settings.destination
                    )
                for name, secret in bound(seen, settings).items():
                    sealed[fields.of(relay, name)] = self.keyring.seal_bound(secret)
            except SecretUnreadable as error:
                raise SettingsError({fields.of(relay, name): gettext(str(error))}) from error
        return sealed

    def _all_resealed(self, tokens: Mapping[str, str]) -> dict[str, str]:
        return {name: self._resealed(token) or token for name, token in tokens.items()}

    def _resealed(self, secret: str | None) -> str | None:
        # Under the newest key, or a rotation that is running would miss the new row.
        try:
            return self.keyring.rotate(secret) if secret else None
        except SecretUnreadable:
            return secret  # until its key comes back

    def _rotate(self, row: Stored, *, in_force: bool) -> int:
        rotate = self.keyring.rotate
        try:
            secret = row.secret and rotate(row.secret)
            tokens = {name: rotate(token) for name, token in row.bound.items()}
        except SecretUnreadable as error:
            if in_force:
                raise
            log.warning("settings.rotation_skipped: revision %s: %s", row.revision, error)
            return 0
        if (secret, tokens) == (row.secret, row.bound):
            return 0
        self._rows.replace_secrets(replace(row, secret=secret, bound=tokens))
        return 1

    # -- rows -----------------------------------------------------------------------

    def _add(self, stored: Stored, *, revision: int, by: str) -> InForce:
        added = replace(stored, revision=revision, at=clock.now(), by=by[:255])
        self._rows.add(added)
        self._cached = None
        return self._in_force(added)

    def _revision(self, row: Stored, former: Stored) -> Revision:
        # Of a relay that was removed, the list alone tells.
        whole = fields.all_of(row.relays)
        changed = [
            n for n in whole if fields.value_of(n, row.values) != fields.value_of(n, former.values)
        ]
        changed += [
            name
            for name in filter(fields.is_secret, whole)
            if self._secret(name, row) != self._secret(name, former)
        ]
        return Revision(
            revision=row.revision,
            at=clock.from_db(row.at),
            by=row.by,
            changed=tuple(changed),
            values=row.values,
            former=former.values,
        )

    def _secret(self, name: str, row: Stored) -> Secret | str | None:
        # After a rotation the same secret has another token.
        token = row.secret if name == "password" else row.bound.get(name)
        if token is None:
            return None
        try:
            if fields.parts(name)[1] == "password":
                return self.keyring.open(token)[0]
            return self.keyring.open_bound(token).secret
        except SecretUnreadable:
            return token


def _refuse_strangers(values: Mapping[str, object], relays: Collection[str]) -> None:
    """Refuse ``values`` of a relay that is not in the list.

    Raises:
        SettingsError: there is such a value.
    """
    text = gettext("is of a server that is not in the list: add that first")
    if strange := [name for name in values if fields.parts(name)[0] not in (DEFAULT, *relays)]:
        raise SettingsError(dict.fromkeys(strange, text))


def _refuse_problems(drafted: InForce, *ignored: str) -> None:
    found = {name: text for name, text in drafted.problems.items() if name not in ignored}
    if found:
        raise SettingsError(found)
