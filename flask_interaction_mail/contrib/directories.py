"""Directories for hosts whose people are models of SQLAlchemy.

Flask-Login, Flask-Security-Too or Flask-Principal say who is logged in; each is imported when it
is asked. Rows of the host are read and never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa
from flask import g
from flask_sqlalchemy import SQLAlchemy

from ..directory import FOUND, Directory
from ..values import Party, Role

Value = str | Callable[[Any], Any]  # an attribute of a row, or a function of one
Rows = Callable[[str], Iterable[Any]]  # of a location
_TOGETHER: Final = 500  # rows that are fetched at once


def _nobody(_: str) -> tuple[()]:
    return ()


class ModelDirectory(Directory):
    """Users, and groups if there are any, in tables of the host.

    ``name``, ``email``, ``locale``, ``role`` and ``uses_desktop_client`` are the attribute that has
    it, or a function of the row; None if there is none. A row without ``email`` has no address. A
    ``role`` is a ``Role`` or its word. A user who is not ``active`` is left out of all lists.

    Args:
        db: the host's Flask-SQLAlchemy object.
        user: the mapped class of users, with one column as primary key.
        group: that of groups, with the same attributes as far as it has them.
        may_merge: gives the rows of those who may merge at a location, best first.
        owners: gives the rows of the users who own a location.
        locations: gives the names of all locations.
        current: gives the row of the user who is logged in, or None.
    """

    def __init__(
        self,
        db: SQLAlchemy,
        user: type[Any],
        group: type[Any] | None = None,
        *,
        name: Value = "name",
        email: Value = "email",
        locale: Value | None = None,
        role: Value | None = None,
        uses_desktop_client: Value | None = None,
        active: Value = "active",
        may_merge: Rows = _nobody,
        owners: Rows = _nobody,
        locations: Callable[[], Iterable[str]] = tuple,
        current: Callable[[], Any] = lambda: None,
    ) -> None:
        self._db = db
        self._user = user
        self._group = group
        self._values: dict[str, Value | None] = {
            "name": name,
            "email": email,
            "locale": locale,
            "role": role,
            "uses_desktop_client": uses_desktop_client,
        }
        self._active = active
        self._may_merge = may_merge
        self._owners = owners
        self._locations = locations
        self._current = current

    def party(self, row: Any) -> Party:
        """The party that ``row``, a user or a group, is."""
        given = {name: _value(row, value) for name, value in self._values.items() if value}
        role = given.get("role")
        return Party(
            str(given["name"] or ""),
            given["email"] or None,
            id=sa.inspect(row).identity[0],
            kind="user" if isinstance(row, self._user) else "group",
            role=None if role is None else Role(role),
            uses_desktop_client=bool(given.get("uses_desktop_client")),
            locale=given.get("locale"),
        )

    def current_user(self) -> Party | None:
        row = self._current()
        return None if row is None else self.party(row)

    def merge_recipients(self, location: str) -> Sequence[Party]:
        return [*map(self.party, filter(self._is_active, self._may_merge(location)))]

    def folder_owners(self, location: str) -> Sequence[Party]:
        return [*map(self.party, filter(self._is_active, self._owners(location)))]

    def locations(self) -> Iterable[str]:
        return self._locations()

    def parties(self) -> Iterator[Party]:
        for model in self._models:
            yield from self._parties(sa.select(model))

    def find_parties(self, text: str, limit: int = FOUND) -> Iterator[Party]:
        """As ``Directory``, by columns of the tables; an address or an id has to be whole."""
        return islice(self._found(text.strip()), limit)

    def _found(self, text: str) -> Iterator[Party]:
        seen: set[tuple[str, object]] = set()
        for whole in (True, False):
            for model in self._models:
                query = sa.select(model).where(sa.or_(sa.false(), *self._fits(model, text, whole)))
                for party in self._parties(query):
                    if (party.kind, party.id) not in seen:
                        seen.add((party.kind, party.id))
                        yield party

    def _fits(self, model: type[Any], text: str, whole: bool) -> Iterator[sa.ColumnElement[bool]]:
        columns = sa.inspect(model).column_attrs
        if whole:
            yield from (sa.cast(key, sa.String) == text for key in sa.inspect(model).primary_key)
        for name in ("name", "email"):
            value = self._values[name]
            if isinstance(value, str) and value in columns:
                column = getattr(model, value)
                yield column == text if whole else column.icontains(text, autoescape=True)

    @property
    def _models(self) -> list[type[Any]]:
        return [model for model in (self._user, self._group) if model is not None]

    def _parties(self, query: sa.Select[Any]) -> Iterator[Party]:
        rows = self._db.session.scalars(query.execution_options(yield_per=_TOGETHER))
        yield from map(self.party, filter(self._is_active, rows))

    def _is_active(self, row: Any) -> bool:
        found = _value(row, self._active)
        return found is None or bool(found)


def _value(row: Any, value: Value) -> Any:
    return value(row) if callable(value) else getattr(row, value, None)


class LoginDirectory(ModelDirectory):
    """A ``ModelDirectory`` that knows by Flask-Login who is logged in."""

    def __init__(self, db: SQLAlchemy, user: type[Any], *others: Any, **named: Any) -> None:
        super().__init__(db, user, *others, current=_by_flask_login, **named)


def _by_flask_login() -> Any:
    from flask_login import current_user  # type: ignore[import-untyped, unused-ignore]  # extra

    user = current_user._get_current_object() if current_user else None
    return user if user is not None and user.is_authenticated else None


class PrincipalDirectory(ModelDirectory):
    """A ``ModelDirectory`` that knows by the identity of Flask-Principal who is logged in.

    The identity's ``id`` is the primary key of a user.
    """

    def __init__(self, db: SQLAlchemy, user: type[Any], *others: Any, **named: Any) -> None:
        super().__init__(db, user, *others, current=self._by_principal, **named)

    def _by_principal(self) -> Any:
        identity = getattr(g, "identity", None)
        if identity is None or identity.id is None:
            return None
        return self._db.session.get(self._user, identity.id)


class SecurityDirectory(LoginDirectory):
    """The users and roles of Flask-Security-Too; a role that has an address is a group.

    Args:
        db: the host's Flask-SQLAlchemy object.
        user: the class of users.
        role: the class of roles.
        may_merge: the name of the role that may merge, or a function that gives it for a location.
        role_email: gives the address of a role, or names its attribute; None if roles have none.
        named: as ``ModelDirectory`` has it. A user's name is ``username`` if there is one, else
            the address.

    A request goes to the role's address. Where it has none, it goes to the first of its users who
    has one.
    """

    def __init__(
        self,
        db: SQLAlchemy,
        user: type[Any],
        role: type[Any],
        *,
        may_merge: str | Callable[[str], str | None],
        role_email: Value | None = None,
        **named: Any,
    ) -> None:
        self._role = role
        self._wanted = may_merge
        self._role_email = role_email
        super().__init__(db, user, role, **{"name": _name, **named}, may_merge=self._merging)

    def party(self, row: Any) -> Party:
        if not isinstance(row, self._role):
            return super().party(row)
        email = None if self._role_email is None else _value(row, self._role_email)
        return Party(_name(row), email or None, id=sa.inspect(row).identity[0], kind="group")

    def _merging(self, location: str) -> Iterable[Any]:
        name = self._wanted(location) if callable(self._wanted) else self._wanted
        query = sa.select(self._role).where(self._role.name == name)
        role = None if name is None else self._db.session.scalar(query)
        if role is None:
            return ()
        if self._role_email is not None and _value(role, self._role_email):
            return (role,)
        users = sa.select(self._user).where(self._user.roles.contains(role))
        return self._db.session.scalars(users.order_by(*sa.inspect(self._user).primary_key))


def _name(row: Any) -> str:
    """What Flask-Security-Too calls a user or a role."""
    found = (getattr(row, name, None) for name in ("username", "name", "email"))
    return str(next(filter(None, found), ""))
