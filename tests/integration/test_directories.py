"""Directories for the usual logins, with the real packages, and the page that shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_interaction_mail import InteractionMail, Party, Role, merge_denied, operations
from flask_interaction_mail.contrib.directories import (
    LoginDirectory,
    ModelDirectory,
    PrincipalDirectory,
    SecurityDirectory,
)
from tests.documentation import shown
from tests.host import SETTINGS, a_merge

PAGE = "docs/directories.md"
GROUPS = "    Group,"  # in the block with users and groups
PASSWORD = "correct horse battery staple"


class Hosting:
    """An application with users and groups in tables of its own."""

    def __init__(self, path: Path) -> None:
        self.app = app = Flask("crm")
        app.config.update(
            SECRET_KEY="k" * 32,
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{path}/host.sqlite",
            INTERACTION_MAIL_DELIVERY="worker",
            SECURITY_PASSWORD_SALT="salt",
            SECURITY_PASSWORD_HASH="plaintext",
            SECURITY_PASSWORD_SCHEMES=["plaintext"],
            SECURITY_SEND_PASSWORD_CHANGE_EMAIL=False,
            WTF_CSRF_ENABLED=False,
        )
        self.db = SQLAlchemy(app)

    def serve(self, directory: Any) -> None:
        """Set up the extension, and a view in which a merge is denied."""
        InteractionMail(self.app, db=self.db, directory=directory)

        @self.app.post("/merge")
        def merge() -> str:
            merge_denied.send(self.app, merge=a_merge("Firm List", requester=None))
            return "denied"

        with self.app.app_context():
            self.db.create_all()
            state = self.app.extensions["interaction_mail"]
            operations.save_settings(state, SETTINGS, base=None, changed_by="test")

    def add(self, *rows: Any) -> None:
        with self.app.app_context():
            self.db.session.add_all(rows)
            self.db.session.commit()

    def messages(self) -> list[tuple[str | None, list[str]]]:
        """Who caused each message, and who gets it."""
        with self.app.app_context():
            state = self.app.extensions["interaction_mail"]
            with state.database.reading() as connection:
                rows = connection.execute(
                    sa.text(
                        "SELECT actor, address FROM interaction_mail_message m JOIN "
                        "interaction_mail_recipient r ON r.message_id = m.id ORDER BY address"
                    )
                ).all()
        found: dict[str | None, list[str]] = {}
        for actor, address in rows:
            found.setdefault(actor, []).append(address)
        return list(found.items())


@pytest.fixture
def hosting(tmp_path: Path) -> Hosting:
    return Hosting(tmp_path)


def models_of(db: SQLAlchemy) -> tuple[Any, Any, Any]:
    """Users, groups, and folders with both."""
    shared = db.Table(
        "folder_groups",
        db.Column("folder", db.ForeignKey("folder.id")),
        db.Column("group", db.ForeignKey("groups.id")),
    )

    class User(db.Model):  # type: ignore[name-defined, misc]
        __tablename__ = "users"
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String(50))
        email = db.Column(db.String(50))
        active = db.Column(db.Boolean, default=True)
        is_authenticated = is_active = True
        is_anonymous = False

        def get_id(self) -> str:
            return str(self.id)

    class Group(db.Model):  # type: ignore[name-defined, misc]
        __tablename__ = "groups"
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String(50))
        email = db.Column(db.String(50))

    class Folder(db.Model):  # type: ignore[name-defined, misc]
        id = db.Column(db.Integer, primary_key=True)
        name = db.Column(db.String(50))
        owner_id = db.Column(db.ForeignKey("users.id"))
        owner = db.relationship(User)
        groups = db.relationship(Group, secondary=shared)

    return User, Group, Folder


def filled(hosting: Hosting, models: tuple[Any, Any, Any]) -> None:
    user, group, folder = models
    ada = user(id=1, name="Ada Byron", email="ada")
    hosting.add(
        ada,
        user(id=2, name="Bob Stone", email=None),
        user(id=3, name="Eve Gone", email="eve", active=False),
        folder(
            name="Firm List",
            owner=ada,
            groups=[
                group(id=1, name="Quiet", email=None),
                group(id=2, name="Stewards 100%", email="stewards"),
            ],
        ),
    )


def block_of(hosting: Hosting, containing: str, models: tuple[Any, Any, Any]) -> dict[str, Any]:
    """Run a block of the page; gives what it names."""
    user, group, folder = models
    names: dict[str, Any] = {
        "db": hosting.db,
        "User": user,
        "Group": group,
        "Folder": folder,
        "folder": lambda name: hosting.db.session.execute(
            sa.select(folder).where(folder.name == name)
        ).scalar_one(),
        "admin": None,
        "LoginDirectory": LoginDirectory,
        "InteractionMail": lambda **_: None,
    }
    exec(shown(PAGE, containing), names)  # noqa: S102 - our own documentation
    return names


def test_flask_login_says_who_was_denied(hosting: Hosting) -> None:
    """As the page shows it: the user who is logged in asks, the group with an address gets it."""
    from flask_login import LoginManager, login_user

    models = models_of(hosting.db)
    login = LoginManager(hosting.app)
    login.user_loader(lambda id: hosting.db.session.get(models[0], int(id)))
    hosting.serve(block_of(hosting, GROUPS, models)["directory"])
    filled(hosting, models)

    @hosting.app.post("/login")
    def enter() -> str:
        login_user(hosting.db.session.get(models[0], 1))
        return "in"

    client = hosting.app.test_client()
    client.post("/merge")
    assert hosting.messages() == [(None, ["stewards@firm.example"])]
    client.post("/login")
    client.post("/merge")
    assert dict(hosting.messages())["1"] == ["stewards@firm.example"]


def test_people_are_listed_and_found(hosting: Hosting) -> None:
    """Active users and all groups; by a whole id or address first, then by a part of the name."""
    models = models_of(hosting.db)
    directory = block_of(hosting, GROUPS, models)["directory"]
    hosting.serve(directory)
    filled(hosting, models)
    with hosting.app.app_context():
        assert [(party.kind, party.id, party.email) for party in directory.parties()] == [
            ("user", 1, "ada"),
            ("user", 2, None),
            ("group", 1, None),
            ("group", 2, "stewards"),
        ]
        assert [party.name for party in directory.find_parties("2")] == [
            "Bob Stone",
            "Stewards 100%",
        ]
        assert [party.name for party in directory.find_parties("BYRON")] == ["Ada Byron"]
        assert [party.name for party in directory.find_parties(" ada ")] == ["Ada Byron"]
        assert [party.name for party in directory.find_parties("100%")] == ["Stewards 100%"]
        assert list(directory.find_parties("eve")) == []
        assert len(list(directory.find_parties("", 3))) == 3
        assert [*directory.locations()] == ["Firm List"]
        assert directory.folder_owners("Firm List") == [Party("Ada Byron", "ada", id=1)]
        assert directory.current_user() is None  # in no request


def test_other_names_and_functions(hosting: Hosting) -> None:
    """A role is its word or the value; what a table lacks is none."""
    models = models_of(hosting.db)
    user = models[0]
    directory = ModelDirectory(
        hosting.db,
        user,
        name=lambda row: row.name.upper(),
        email="no_such_attribute",
        role=lambda row: "professional" if row.id == 1 else Role.SECRETARY,
        uses_desktop_client=lambda row: row.id == 2,
        locale=lambda _: "de",
    )
    hosting.serve(directory)
    filled(hosting, models)
    with hosting.app.app_context():
        one, two = directory.parties()
        assert one == Party("ADA BYRON", id=1, role=Role.PROFESSIONAL, locale="de")
        assert (one.email, one.role, one.locale) == (None, Role.PROFESSIONAL, "de")
        assert (two.role, two.uses_desktop_client) == (Role.SECRETARY, True)
        assert [party.id for party in directory.find_parties("2")] == [2]


def test_roles_of_the_page_suppress(hosting: Hosting) -> None:
    """As the page shows it, with columns of one's own."""
    models = models_of(hosting.db)
    models[0].is_professional, models[0].has_outlook = True, False
    directory = block_of(hosting, "has_outlook", models)["directory"]
    hosting.serve(directory)
    filled(hosting, models)
    with hosting.app.app_context():
        party = next(directory.parties())
        assert (party.role, party.uses_desktop_client) == (Role.PROFESSIONAL, False)


def test_flask_principal_says_who_was_denied(hosting: Hosting) -> None:
    """By the identity of the request."""
    principal = pytest.importorskip("flask_principal", reason="pip install Flask-Principal")
    models = models_of(hosting.db)
    models[2].stewards = property(lambda folder: folder.groups)
    principal.Principal(hosting.app)
    hosting.serve(block_of(hosting, "PrincipalDirectory", models)["directory"])
    filled(hosting, models)

    @hosting.app.post("/login")
    def enter() -> str:
        changed = principal.identity_changed
        changed.send(hosting.app, identity=principal.Identity(1))
        return "in"

    client = hosting.app.test_client()
    client.post("/merge")
    client.post("/login")
    client.post("/merge")
    assert hosting.messages() == [
        (None, ["stewards@firm.example"]),
        ("1", ["stewards@firm.example"]),
    ]


@contextmanager
def secured(hosting: Hosting, **named: Any) -> Iterator[Any]:
    """Flask-Security-Too with its own models and two stewards; gives a client that can log in."""
    security = pytest.importorskip("flask_security", reason="pip install Flask-Security-Too")
    from flask_security.models import fsqla_v3

    fsqla_v3.FsModels.set_db_info(hosting.db)

    class Role(hosting.db.Model, fsqla_v3.FsRoleMixin):  # type: ignore[name-defined, misc]
        __tablename__ = "role"

    class User(hosting.db.Model, fsqla_v3.FsUserMixin):  # type: ignore[name-defined, misc]
        __tablename__ = "user"

    store = security.SQLAlchemyUserDatastore(hosting.db, User, Role)
    security.Security(hosting.app, store)
    if named:
        directory: Any = SecurityDirectory(hosting.db, User, Role, **named)
    else:
        names: dict[str, Any] = {"db": hosting.db, "User": User, "Role": Role}
        exec(shown(PAGE, "SecurityDirectory"), names)  # noqa: S102 - our own documentation
        directory = names["directory"]
    hosting.serve(directory)
    with hosting.app.app_context():
        steward = store.create_role(name="steward")
        for number, active in ((1, False), (2, True), (3, True)):
            store.create_user(
                email=f"u{number}@firm.example",
                password=PASSWORD,
                roles=[steward],
                active=active,
            )
        store.create_user(email="joe@firm.example", password=PASSWORD)
        hosting.db.session.commit()
    yield directory


def test_a_role_with_an_address_is_a_group(hosting: Hosting) -> None:
    """As the page shows it; the user who logged in with a password asks."""
    with secured(hosting):
        client = hosting.app.test_client()
        form = {"email": "joe@firm.example", "password": PASSWORD}
        assert client.post("/login", data=form).status_code == 302
        client.post("/merge")
        assert hosting.messages() == [("4", ["stewards@example.com"])]


def test_without_an_address_a_user_of_the_role_gets_it(hosting: Hosting) -> None:
    """The first one who is active; another location may have another role, or none."""
    with secured(
        hosting, may_merge=lambda location: "steward" if location[0] == "F" else None
    ) as people:
        hosting.app.test_client().post("/merge")
        assert hosting.messages() == [(None, ["u2@firm.example"])]
        with hosting.app.app_context():
            assert people.merge_recipients("Other") == []
            groups = [party for party in people.parties() if party.kind == "group"]
            assert [(party.name, party.email) for party in groups] == [("steward", None)]
            assert [party.name for party in people.find_parties("joe@firm.example")] == [
                "joe@firm.example"
            ]


def test_an_unknown_role_is_nobody(hosting: Hosting) -> None:
    """Then the default To gets the request."""
    with secured(hosting, may_merge="nothing"):
        hosting.app.test_client().post("/merge")
        assert hosting.messages() == [(None, ["merge-desk@firm.example"])]


def test_a_directory_of_ones_own(hosting: Hosting) -> None:
    """As the page shows it."""
    names: dict[str, Any] = {"session_user": lambda: None}
    exec(shown(PAGE, "class People"), names)  # noqa: S102 - our own documentation
    hosting.serve(names["People"]())
    hosting.app.test_client().post("/merge")
    assert hosting.messages() == [(None, ["stewards@firm.example"])]


def test_each_is_a_directory_of_models() -> None:
    """What one takes the others take, too."""
    assert issubclass(SecurityDirectory, LoginDirectory)
    assert issubclass(PrincipalDirectory, ModelDirectory)
