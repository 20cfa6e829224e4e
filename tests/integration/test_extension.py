"""Wiring: whatever the order, the number of applications, and the place where they are mounted."""

from __future__ import annotations

import gc
import itertools
import subprocess
import sys
import textwrap
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask_mail
import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup
from flask import Blueprint, Flask
from flask_admin import Admin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects import mysql

from flask_interaction_mail import (
    InteractionMail,
    InteractionMailError,
    MessagingNotConfigured,
    SettingsError,
    merge_denied,
    operations,
    request_merge,
    send_notification,
    settings_changed,
)
from flask_interaction_mail.state import State, state_of
from tests.catcher import catching
from tests.host import ADA, PASSWORD, SETTINGS, People, a_merge
from tests.panel import TYPED, OpenIndex, form_values

PAGE = "/admin/messaging/"
PARTS = ("db", "admin", "messaging")


def an_admin(**options: Any) -> Admin:
    return Admin(name="CRM", index_view=OpenIndex(**options))


def an_app(url: str, **config: Any) -> Flask:
    app = Flask("crm")
    app.config.update(
        SQLALCHEMY_DATABASE_URI=url,
        SECRET_KEY="k" * 32,
        INTERACTION_MAIL_DELIVERY="worker",
    )
    app.config.update(config)
    return app


def with_tables(app: Flask, db: SQLAlchemy) -> Flask:
    with app.app_context():
        db.create_all()
    return app


def save(app: Flask, **changes: Any) -> None:
    with app.app_context():
        operations.save_settings(state_of(), SETTINGS | changes, base=None, changed_by="test")


def send(app: Flask, subject: str) -> None:
    """Queue a message in a request-like context of ``app`` that commits."""
    with app.app_context():
        send_notification("bob", subject, text="x")
        state_of().db.session.commit()


def subjects(app: Flask) -> list[str]:
    with app.app_context():
        session = state_of().db.session
        query = sa.text("SELECT subject FROM interaction_mail_message ORDER BY created_at")
        return list(session.scalars(query))


def page_of(app: Flask, url: str = PAGE, **options: Any) -> BeautifulSoup:
    response = app.test_client().get(url, **options)
    assert response.status_code == 200, response.text
    return BeautifulSoup(response.text, "lxml")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/crm.sqlite"


@pytest.fixture
def made() -> Iterator[list[tuple[Flask, SQLAlchemy]]]:
    """Applications whose databases are closed at the end."""
    apps: list[tuple[Flask, SQLAlchemy]] = []
    yield apps
    for app, db in apps:
        app.extensions["interaction_mail"].delivery.stop()
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()


@pytest.fixture
def make(url: str, made: list[tuple[Flask, SQLAlchemy]]) -> Callable[..., Flask]:
    """Makes an application that needs nothing but a database."""

    def make(
        *,
        db: SQLAlchemy | None = None,
        admin: Admin | None = None,
        messaging: InteractionMail | None = None,
        at: str = url,
        **config: Any,
    ) -> Flask:
        db = SQLAlchemy() if db is None else db
        app = an_app(at, **config)
        db.init_app(app)
        if admin is not None:
            admin.init_app(app)
        (messaging or InteractionMail()).init_app(app, db=db, admin=admin)
        made.append((app, db))
        return with_tables(app, db)

    return make


# -- order and arguments ---------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(PARTS)), ids="-".join)
def test_r7_any_order_of_init_app_gives_a_panel_and_a_call(
    url: str, made: list[tuple[Flask, SQLAlchemy]], order: tuple[str, ...]
) -> None:
    """Nothing has to be remembered about the order of the lines in a factory."""
    db, admin = SQLAlchemy(), an_admin()
    parts: dict[str, Any] = {
        "db": db,
        "admin": admin,
        "messaging": InteractionMail(db=db, admin=admin),
    }
    app = an_app(url)
    for name in order:
        parts[name].init_app(app)
    made.append((app, db))
    with_tables(app, db)
    save(app)
    send(app, "Hello")
    assert subjects(app) == ["Hello"]
    assert page_of(app).find(id="im-smtp_server")
    assert page_of(app, f"{PAGE}outbox/").find(string="Hello")


@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_not_given_to_the_one_is_given_to_the_other(
    url: str, made: list[tuple[Flask, SQLAlchemy]], at_once: bool
) -> None:
    """Constructor or init_app: either is the place for db, admin, directory and access."""
    db, admin, people = SQLAlchemy(), an_admin(), People(user=ADA)
    app = an_app(url)
    db.init_app(app)
    admin.init_app(app)
    given: dict[str, Any] = {
        "db": db,
        "admin": admin,
        "directory": people,
        "access": lambda right: right == "view",
    }
    if at_once:
        InteractionMail(app, **given)
    else:
        InteractionMail().init_app(app, **given)
    made.append((app, db))
    with_tables(app, db)
    with app.app_context():
        assert state_of().people.current_user() == ADA
    page_of(app)
    assert app.test_client().get(f"{PAGE}outbox/").status_code == 403


def test_what_init_app_is_given_wins_and_is_for_that_application_only(
    tmp_path: Path, made: list[tuple[Flask, SQLAlchemy]]
) -> None:
    """One extension object, two applications with people of their own."""
    messaging = InteractionMail(directory=People(user=ADA))
    users = []
    for number, own in enumerate((None, People(user=None))):
        db = SQLAlchemy()
        app = an_app(f"sqlite:///{tmp_path}/{number}.sqlite")
        db.init_app(app)
        messaging.init_app(app, db=db, directory=own)
        made.append((app, db))
        with app.app_context():
            users.append(state_of().people.current_user())
    assert users == [ADA, None]


@pytest.mark.parametrize("given_to", ["constructor", "init_app"])
def test_r7_access_answers_for_each_right(
    url: str, made: list[tuple[Flask, SQLAlchemy]], given_to: str
) -> None:
    """It is asked by name, and its "no" closes the page."""
    asked: list[str] = []

    def access(right: str) -> bool:
        asked.append(right)
        return right in ("view", "edit")

    db, admin = SQLAlchemy(), Admin(name="CRM")
    app = an_app(url)
    db.init_app(app)
    admin.init_app(app)
    if given_to == "constructor":
        InteractionMail(app, db=db, admin=admin, access=access)
    else:
        InteractionMail().init_app(app, db=db, admin=admin, access=access)
    made.append((app, db))
    with_tables(app, db)
    page_of(app)
    assert app.test_client().get(f"{PAGE}outbox/").status_code == 403
    assert {"view", "outbox"} <= set(asked)


def test_the_state_of_an_application_is_an_extension_of_it(make: Callable[..., Flask]) -> None:
    """Flask's own place, and the one where Flask-Mail's callers look."""
    app = make()
    assert isinstance(app.extensions["interaction_mail"], State)
    assert isinstance(app.extensions["mail"], flask_mail._MailMixin)
    assert app.extensions["interaction_mail"].app is app


# -- what fails leaves nothing behind ----------------------------------------------------


def seen_of(app: Flask, db: SQLAlchemy, admin: Admin) -> dict[str, Any]:
    """All that ``init_app`` changes, as values that can be compared."""
    return {
        "extensions": dict(app.extensions),
        "its class": type(app.extensions),
        "blueprints": dict(app.blueprints),
        "rules": [str(rule) for rule in app.url_map.iter_rules()],
        "functions": {
            name: {key: list(functions) for key, functions in getattr(app, name).items()}
            for name in ("before_request_funcs", "after_request_funcs", "teardown_request_funcs")
        },
        "teardown": list(app.teardown_appcontext_funcs),
        "own attributes": set(vars(app)),
        "commands": set(app.cli.commands),
        "views": list(admin._views),
        "menu": [entry.name for entry in admin.menu()],
        "tables": set(db.metadata.tables),
    }


WRONG: dict[str, dict[str, Any]] = {
    "key": {"INTERACTION_MAIL_DELIVERY": "pigeon"},
    "override": {"INTERACTION_MAIL_OVERRIDES": {"smtp_port": "many"}},
    "unknown override": {"INTERACTION_MAIL_OVERRIDES": {"smtp_porp": 25}},
    "mail key": {"MAIL_SERVER": "mail.firm.example", "MAIL_PORT": "many"},
    "database": {"SQLALCHEMY_DATABASE_URI": "not a URL"},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_configuration_changes_nothing(
    url: str, made: list[tuple[Flask, SQLAlchemy]], wrong: str
) -> None:
    """And the same objects can be set up once it is right."""
    db, admin = SQLAlchemy(), an_admin()
    app = an_app(url)
    db.init_app(app)
    admin.init_app(app)
    messaging = InteractionMail(db=db, admin=admin)
    before, config = seen_of(app, db, admin), dict(app.config)
    app.config.update(WRONG[wrong])
    with pytest.raises((InteractionMailError, sa.exc.ArgumentError)):
        messaging.init_app(app)
    assert seen_of(app, db, admin) == before
    for key in WRONG[wrong]:
        app.config[key] = config.get(key)
    messaging.init_app(app)
    assert seen_of(app, db, admin) != before
    made.append((app, db))
    with_tables(app, db)
    page_of(app)


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("name", ["interaction_mail", "interaction_mail_outbox"])
def test_a_blueprint_with_the_name_of_a_page_is_named_and_nothing_is_changed(
    url: str, made: list[tuple[Flask, SQLAlchemy]], name: str, second: bool
) -> None:
    """Half a panel would be worse than none. Without the panel the name is free."""
    db, admin = SQLAlchemy(), an_admin()
    if second:
        other = an_app(url)
        db.init_app(other)
        admin.init_app(other)
        InteractionMail(other, db=db, admin=admin)
    app = an_app(url)
    db.init_app(app)
    if not second:  # it would give the pages that it has to the second one
        admin.init_app(app)
    app.register_blueprint(Blueprint(name, __name__))
    before = seen_of(app, db, admin)
    with pytest.raises(InteractionMailError, match=f"blueprint with the name '{name}'"):
        InteractionMail(app, db=db, admin=admin)
    assert seen_of(app, db, admin) == before
    InteractionMail(app, db=db)
    made.append((app, db))
    with_tables(app, db)
    save(app)
    send(app, "Hello")


def test_what_is_no_database_and_no_admin_is_refused_before_anything_is_changed(
    url: str, make: Callable[..., Flask]
) -> None:
    """As is a second call, and one for an application that serves requests already."""
    db, admin = SQLAlchemy(), an_admin()
    app = an_app(url)
    db.init_app(app)
    admin.init_app(app)
    before = seen_of(app, db, admin)
    wrong: list[dict[str, Any]] = [{}, {"db": app}, {"db": db, "admin": "CRM"}]
    for given in wrong:
        with pytest.raises((InteractionMailError, AttributeError)):
            InteractionMail(app, **given)
        assert seen_of(app, db, admin) == before
    assert app.test_client().get("/nothing").status_code == 404
    with pytest.raises(InteractionMailError, match="serves requests already"):
        InteractionMail(app, db=db, admin=admin)
    with pytest.raises(AssertionError, match="first request"):
        InteractionMail(app, db=db)
    assert seen_of(app, db, admin) == before
    twice = make(admin=(admin := an_admin()), db=(db := SQLAlchemy()))
    before = seen_of(twice, db, admin)
    with pytest.raises(InteractionMailError, match="already set up"):
        InteractionMail(twice, db=db, admin=admin)
    assert seen_of(twice, db, admin) == before


def test_an_admin_of_an_application_that_serves_already_gets_no_half_panel(
    tmp_path: Path, url: str
) -> None:
    """Its pages would be registered there, too, where it is too late for them."""
    admin, db = an_admin(), SQLAlchemy()
    first = an_app(f"sqlite:///{tmp_path}/first.sqlite")
    admin.init_app(first)
    first.test_client().get("/nothing")
    second = an_app(url)
    db.init_app(second)
    before = seen_of(second, db, admin)
    with pytest.raises(InteractionMailError, match="serves requests already"):
        InteractionMail(second, db=db, admin=admin)
    assert seen_of(second, db, admin) == before
    assert not any(name.startswith("interaction_mail") for name in first.blueprints)


# -- hosts that lack something ---------------------------------------------------------


def test_a_host_without_an_admin_has_everything_but_the_panel(make: Callable[..., Flask]) -> None:
    """Calls, signals and commands work; the URL is not there."""
    app = make()
    save(app)
    send(app, "Hello")
    assert subjects(app) == ["Hello"]
    assert app.test_client().get(PAGE).status_code == 404
    ran = app.test_cli_runner().invoke(args=["interaction-mail", "settings", "show"])
    assert ran.exit_code == 0
    assert "firm.example" in ran.output


def test_r32_a_host_without_a_directory_sends_requests_to_the_default_to(
    make: Callable[..., Flask],
) -> None:
    """Nobody is known, so the default To has to act."""
    app = make()
    save(app)
    with app.app_context():
        request = request_merge(a_merge())
    assert request is not None
    assert [one.address for one in request.recipients] == ["merge-desk@firm.example"]


def test_a_host_without_a_database_is_told_what_to_give() -> None:
    """At once, and nothing is registered."""
    app = an_app("sqlite://")
    with pytest.raises(InteractionMailError, match=r"InteractionMail\(db=db\)"):
        InteractionMail(app)
    assert untouched(app)


@pytest.mark.parametrize("db_first", [True, False])
def test_a_host_without_a_default_database_is_told_what_is_missing(db_first: bool) -> None:
    """Binds with names alone: an error at once, not a KeyError in every request."""
    app = an_app("")
    app.config.update(SQLALCHEMY_DATABASE_URI=None, SQLALCHEMY_BINDS={"crm": "sqlite://"})
    db = SQLAlchemy()
    if db_first:
        db.init_app(app)
    with pytest.raises(InteractionMailError, match=r"SQLALCHEMY_DATABASE_URI.*same commit"):
        InteractionMail(app, db=db)
    assert "interaction_mail" not in app.extensions


@pytest.mark.parametrize(
    "config",
    [
        {"SQLALCHEMY_BINDS": {None: "sqlite://", "crm": "sqlite://"}},
        {
            "SQLALCHEMY_BINDS": {"crm": "sqlite://"},
            "SQLALCHEMY_ENGINE_OPTIONS": {"url": "sqlite://"},
        },
    ],
)
@pytest.mark.parametrize("db_first", [True, False])
def test_a_default_database_may_be_named_in_other_ways(
    config: dict[str, Any], db_first: bool
) -> None:
    """Whatever Flask-SQLAlchemy takes for the default one."""
    app = an_app("", SQLALCHEMY_DATABASE_URI=None, **config)
    db = SQLAlchemy()
    set_up = [lambda: db.init_app(app), lambda: InteractionMail(app, db=db)]
    for step in set_up if db_first else reversed(set_up):
        step()
    with_tables(app, db)
    assert app.test_client().get("/").status_code == 404
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


@pytest.mark.parametrize(
    ("url", "alembic", "fitted", "of_mysql"),
    [
        ("sqlite://", False, {"sqlite_where"}, False),
        ("mysql+pymysql://host/crm", False, set(), True),
        ("postgresql+psycopg://host/crm", False, {"postgresql_where"}, False),
        ("sqlite://", True, {"sqlite_where", "postgresql_where"}, True),
        (None, False, {"sqlite_where", "postgresql_where"}, True),
    ],
)
def test_the_tables_get_the_options_of_the_databases_that_they_may_be_made_in(
    url: str, alembic: bool, fitted: set[str], of_mysql: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the application's own alone; of all where Alembic may write migrations for another."""
    if alembic:
        monkeypatch.setitem(sys.modules, "alembic", sys)
    else:
        monkeypatch.delitem(sys.modules, "alembic", raising=False)
    db = SQLAlchemy()
    InteractionMail(an_app(url), db=db)
    indexes = db.metadata.tables["interaction_mail_delivery"].indexes
    assert {option for index in indexes for option in index.dialect_kwargs} == fitted
    for table in db.metadata.tables.values():
        types = [column.type for column in table.columns]
        assert {type(one).__module__.partition(".")[0] for one in types} == {"sqlalchemy"}
        moments = {one.compile(mysql.dialect()) for one in types if isinstance(one, sa.DateTime)}
        assert moments <= {"DATETIME(6)" if of_mysql else "DATETIME"}


def test_setting_up_twice_is_an_error_that_says_so(make: Callable[..., Flask]) -> None:
    """The application or a later call, but not both."""
    app = make()
    before = app.extensions["interaction_mail"]
    with pytest.raises(InteractionMailError, match="already set up"):
        InteractionMail(db=SQLAlchemy()).init_app(app)
    assert app.extensions["interaction_mail"] is before


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"INTERACTION_MAIL_DELIVERY": "pigeon"}, "INTERACTION_MAIL_DELIVERY"),
        ({"INTERACTION_MAIL_LEASE": "soon"}, "INTERACTION_MAIL_LEASE"),
        ({"INTERACTION_MAIL_CONNECTIONS": 0}, "INTERACTION_MAIL_CONNECTIONS"),
        ({"INTERACTION_MAIL_ACCESS": "all"}, "INTERACTION_MAIL_ACCESS"),
        ({"INTERACTION_MAIL_OVERRIDES": {"smtp_port": 70000}}, "smtp_port"),
        ({"INTERACTION_MAIL_OVERRIDES": {"smtp_prot": 25}}, "smtp_prot"),
        ({"MAIL_SERVER": "mail.example", "MAIL_PORT": "many"}, "MAIL_PORT"),
    ],
)
def test_r23_a_wrong_key_is_named_before_the_application_is_touched(
    config: dict[str, Any], named: str
) -> None:
    """Nothing is registered, not even tables."""
    db, admin = SQLAlchemy(), an_admin()
    app = an_app("sqlite://", **config)
    with pytest.raises(SettingsError, match=named):
        InteractionMail(db=db, admin=admin).init_app(app)
    assert untouched(app)
    assert not db.metadata.tables
    assert [view.endpoint for view in admin._views] == ["admin"]


def test_an_application_that_serves_already_is_left_as_it_is() -> None:
    """Flask refuses late set-up; half an extension would be worse than none."""
    db = SQLAlchemy()
    app = an_app("sqlite://")
    db.init_app(app)
    app.test_client().get("/")
    with pytest.raises(AssertionError, match="setup method"):
        InteractionMail(db=db).init_app(app)
    assert untouched(app)


def untouched(app: Flask) -> bool:
    return not (
        {"interaction_mail", "mail"} & set(app.extensions)
        or any("interaction" in name for name in app.blueprints)
        or app.before_request_funcs
        or "interaction-mail" in app.cli.commands
    )


def test_r3_before_tables_and_settings_a_request_that_sends_nothing_works(
    url: str, made: list[tuple[Flask, SQLAlchemy]]
) -> None:
    """The extension can be deployed before its migration; a call says what is missing."""
    db = SQLAlchemy()
    app = an_app(url)
    db.init_app(app)
    InteractionMail(app, db=db)
    app.add_url_rule("/", view_func=lambda: "hello")
    made.append((app, db))
    assert app.test_client().get("/").text == "hello"
    with app.app_context(), pytest.raises(InteractionMailError, match="db upgrade"):
        send_notification("bob", "Hello", text="x")
    with_tables(app, db)
    with app.app_context(), pytest.raises(MessagingNotConfigured):
        send_notification("bob", "Hello", text="x")


# -- several applications --------------------------------------------------------------


@pytest.mark.parametrize("one_database_object", [True, False])
def test_several_applications_in_one_process_keep_apart(
    tmp_path: Path, make: Callable[..., Flask], one_database_object: bool
) -> None:
    """Settings, messages and signals of each stay with it, also where contexts are nested."""
    shared = SQLAlchemy() if one_database_object else None
    first, second = (
        make(db=shared, at=f"sqlite:///{tmp_path}/{name}.sqlite") for name in ("first", "second")
    )
    save(first)
    save(second, company_domain="other.example", default_from="desk")
    with first.app_context():
        send_notification("bob", "Of the first", text="x")
        with second.app_context():
            send_notification("bob", "Of the second", text="x")
            state_of().db.session.commit()
        merge_denied.send(second, merge=a_merge())
        state_of().db.session.rollback()
        send_notification("bob", "Of the first again", text="x")
        state_of().db.session.commit()
    assert subjects(first) == ["Of the first again"]
    assert len(subjects(second)) == 2
    with second.app_context():
        settings = state_of().settings.current().settings
    assert settings.company_domain == "other.example"


@pytest.mark.parametrize("order", list(itertools.permutations(PARTS)), ids="-".join)
def test_a_factory_called_twice_with_global_objects(
    tmp_path: Path, made: list[tuple[Flask, SQLAlchemy]], order: tuple[str, ...]
) -> None:
    """Each application has the whole panel once, on its own database."""
    db, admin = SQLAlchemy(), an_admin()
    parts: dict[str, Any] = {
        "db": db,
        "admin": admin,
        "messaging": InteractionMail(db=db, admin=admin),
    }

    def create_app(name: str) -> Flask:
        app = an_app(f"sqlite:///{tmp_path}/{name}.sqlite")
        for part in order:
            parts[part].init_app(app)
        made.append((app, db))
        return with_tables(app, db)

    first = create_app("first")
    page_of(first)
    second = create_app("second")
    save(first, smtp_server="first.example")
    save(second, smtp_server="second.example")
    for app, server in ((first, "first.example"), (second, "second.example")):
        page = page_of(app)
        assert form_values(page)["smtp_server"] == server
        links = [link["href"] for link in page.select("nav:not(.im-tabs) a[href$='messaging/']")]
        assert links.count(PAGE) <= 1


def test_a_global_admin_that_was_given_to_both_before_the_extension(
    tmp_path: Path, made: list[tuple[Flask, SQLAlchemy]]
) -> None:
    """The admin knows only its last application; the first one has its panel all the same."""
    db, admin = SQLAlchemy(), an_admin()
    messaging = InteractionMail(db=db, admin=admin)
    apps = [an_app(f"sqlite:///{tmp_path}/{number}.sqlite") for number in range(2)]
    for app in apps:
        db.init_app(app)
        admin.init_app(app)
    for app in apps:
        messaging.init_app(app)
        made.append((app, db))
        with_tables(app, db)
    for app in apps:
        page_of(app)


# -- where it is mounted ---------------------------------------------------------------


def save_by_hand(app: Flask, url: str, **options: Any) -> str:
    """Fill the form at ``url`` and press Save; gives where that leads."""
    client = app.test_client()
    page = BeautifulSoup(client.get(url, **options).text, "lxml")
    form = page.find("form", method="post")
    assert form is not None
    answer = client.post(url, data=form_values(page) | TYPED, **options)
    assert answer.status_code in (302, 303), answer.text
    with app.app_context():
        assert state_of().settings.current().settings.smtp_server == TYPED["smtp_server"]
    return answer.location


def test_the_panel_follows_the_admins_url(make: Callable[..., Flask]) -> None:
    """A prefix of the admin is a prefix of the panel."""
    app = make(admin=an_admin(url="/back/office"))
    assert save_by_hand(app, "/back/office/messaging/").startswith("/back/office/messaging/")
    assert app.test_client().get(PAGE).status_code == 404


def test_the_panel_below_a_mount_point(make: Callable[..., Flask]) -> None:
    """SCRIPT_NAME is in every link and form of ours."""
    app = make(admin=an_admin(), APPLICATION_ROOT="/crm")
    mounted: dict[str, Any] = {"environ_overrides": {"SCRIPT_NAME": "/crm"}}
    page = page_of(app, **mounted)
    targets = [str(tag["href"]) for tag in page.select("a[href*=messaging]")]
    targets += [str(tag["formaction"]) for tag in page.select("[formaction]")]
    targets += [str(tag["src"]) for tag in page.select("script[src*=interaction]")]
    assert targets
    assert [target for target in targets if not target.startswith("/crm/admin/")] == []
    assert save_by_hand(app, PAGE, **mounted).startswith("/crm/admin/messaging/")


def test_the_panel_with_a_server_name(make: Callable[..., Flask]) -> None:
    """Only that name answers where the host wants it so; our redirects stay relative to it."""
    app = make(admin=an_admin(), SERVER_NAME="crm.example")
    location = save_by_hand(app, PAGE, base_url="http://crm.example")
    assert location.removeprefix("http://crm.example").startswith(PAGE)
    save(app)
    send(app, "Hello")  # nothing of ours needs a request to build its texts
    assert subjects(app) == ["Hello"]


def test_the_panel_on_a_subdomain(make: Callable[..., Flask]) -> None:
    """An admin on a subdomain of its own takes the panel along."""
    admin = Admin(name="CRM", index_view=OpenIndex(), subdomain="office")
    db = SQLAlchemy()
    app = Flask("crm", subdomain_matching=True)
    app.config.update(
        SQLALCHEMY_DATABASE_URI="sqlite://", SECRET_KEY="k" * 32, SERVER_NAME="crm.example"
    )
    db.init_app(app)
    admin.init_app(app)
    InteractionMail(app, db=db, admin=admin)
    with_tables(app, db)
    save_by_hand(app, PAGE, base_url="http://office.crm.example")
    assert app.test_client().get(PAGE, base_url="http://crm.example").status_code == 404
    close(app, db)


@pytest.mark.parametrize("host", ["office.example", "*"])
@pytest.mark.parametrize("admin_first", [True, False])
def test_the_panel_with_host_matching(host: str, admin_first: bool) -> None:
    """Pages and static files of ours are where the admin's are."""
    admin = Admin(name="CRM", index_view=OpenIndex(), host=host)
    db = SQLAlchemy()
    app = Flask("crm", host_matching=True, static_host="static.example")
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", SECRET_KEY="k" * 32)
    db.init_app(app)
    messaging = InteractionMail(db=db, admin=admin)
    for part in (admin, messaging) if admin_first else (messaging, admin):
        part.init_app(app)
    with_tables(app, db)
    base = "http://office.example"
    page = page_of(app, base_url=base)
    (script,) = page.select("script[src*=interaction_mail], script[src*=messaging]")[:1]
    with app.test_client().get(str(script["src"]), base_url=base) as answer:
        assert answer.status_code == 200
    save_by_hand(app, PAGE, base_url=base)
    close(app, db)


def test_a_blueprint_of_the_host_in_which_everything_happens(make: Callable[..., Flask]) -> None:
    """Requests of a nested blueprint below a prefix are requests like any other."""
    app_made = make()
    save(app_made)
    outer = Blueprint("outer", __name__)
    inner = Blueprint("inner", __name__)

    @inner.route("/deny")
    def deny() -> str:
        request_merge(a_merge())
        return "denied"

    outer.register_blueprint(inner, url_prefix="/inner")
    app_made.register_blueprint(outer, url_prefix="/outer")
    assert app_made.test_client().get("/outer/inner/deny").text == "denied"
    assert len(subjects(app_made)) == 1


def close(app: Flask, db: SQLAlchemy) -> None:
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()


# -- signals ---------------------------------------------------------------------------


def test_settings_changed_names_the_saver_and_never_a_password(make: Callable[..., Flask]) -> None:
    """Receivers write logs; a password must not come near them."""
    app = make()
    told: list[dict[str, Any]] = []

    def hear(sender: Flask, **values: Any) -> None:
        assert sender is app
        told.append(values)

    with settings_changed.connected_to(hear, app):
        save(app, use_authentication=True, login="crm", password=PASSWORD, encryption="starttls")
        save(app, use_authentication=True, login="crm", password=PASSWORD, encryption="tls")
    assert [values["changed_by"] for values in told] == ["test", "test"]
    assert [values["settings"].encryption for values in told] == ["starttls", "tls"]
    assert told[1]["previous"].login == "crm"
    assert PASSWORD not in repr(told)
    assert all(
        values[name].password is None for values in told for name in ("previous", "settings")
    )


# -- lifetimes -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["thread", "worker", "sync"])
def test_an_application_that_is_thrown_away_can_go(tmp_path: Path, mode: str) -> None:
    """Test suites make an application a test: neither it nor a thread of it may pile up."""
    kept = weakref.ref(live_and_forget(tmp_path, mode))
    end = time.monotonic() + 10
    while kept() is not None and time.monotonic() < end:
        gc.collect()
        time.sleep(0.05)
    assert kept() is None


def live_and_forget(tmp_path: Path, mode: str) -> Flask:
    with catching() as catcher:
        app = use(f"sqlite:///{tmp_path}/crm.sqlite", mode, catcher.port)
        if mode != "worker":
            catcher.wait_for(2)
            wait_until_idle(app)
    close(app, app.extensions["sqlalchemy"])
    return app


def wait_until_idle(app: Flask) -> None:
    end = time.monotonic() + 10
    with app.app_context():
        while time.monotonic() < end:
            query = sa.text("SELECT count(*) FROM interaction_mail_delivery WHERE status <> 'sent'")
            if not state_of().db.session.scalar(query):
                return
            state_of().db.session.rollback()
            time.sleep(0.02)


def use(url: str, mode: str, port: int) -> Flask:
    db, admin = SQLAlchemy(), an_admin()
    app = an_app(url, INTERACTION_MAIL_DELIVERY=mode)
    db.init_app(app)
    admin.init_app(app)
    InteractionMail(app, db=db, admin=admin, directory=People(user=ADA))
    with_tables(app, db)
    save(app, smtp_port=port)
    page_of(app)
    send(app, "Hello")
    with app.app_context():
        request_merge(a_merge())
    return app


FORKING = """
import os, sys, time, traceback
from tests.host import SETTINGS
from tests.integration.test_extension import an_app, send, with_tables
from flask_sqlalchemy import SQLAlchemy
from flask_interaction_mail import InteractionMail

url, port = sys.argv[1], int(sys.argv[2])
db = SQLAlchemy()
app = an_app(url, INTERACTION_MAIL_DELIVERY="thread")
app.add_url_rule("/", view_func=lambda: "hello")
db.init_app(app)
InteractionMail(app, db=db)
with_tables(app, db)
with app.app_context():
    settings = SETTINGS | {"smtp_port": port}
    app.extensions["interaction_mail"].settings.save(settings, base=None, changed_by="test")
if sys.argv[3] == "running":
    app.test_client().get("/")  # starts the thread of the parent, which a fork does not copy
    time.sleep(0.5)  # it has looked once and rests: SQLite does not survive a fork while it works
with app.app_context():
    db.engine.dispose()

child = os.fork()
if child == 0:
    status = 1
    try:
        assert app.test_client().get("/").text == "hello"
        send(app, "From the child")
        delivery = app.extensions["interaction_mail"].delivery
        assert delivery._running.pid == os.getpid()
        end = time.monotonic() + 10
        while time.monotonic() < end and status:
            with app.app_context():
                left = db.session.scalar(
                    db.text("SELECT count(*) FROM interaction_mail_delivery WHERE status <> 'sent'")
                )
            status = 1 if left else 0
            time.sleep(0.05)
        delivery.stop()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("parent", ["idle", "running"])
def test_a_forked_process_has_a_delivery_thread_of_its_own(url: str, parent: str) -> None:
    """Pre-forking servers load the application once and fork: each process must deliver."""
    root = Path(__file__).parents[2]
    with catching() as catcher:
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(FORKING), url, str(catcher.port), parent],
            cwd=root,
            env={"PYTHONPATH": str(root), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert [mail.message["Subject"] for mail in catcher.mails] == ["From the child"]
