"""Hosts with other extensions, the real ones: what the page about them says, and does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flask_mailman  # type: ignore[import-untyped]
import flask_sqlalchemy_lite
import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup
from flask import Flask, got_request_exception, session
from flask_admin import Admin, AdminIndexView
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_migrate import Migrate  # type: ignore[import-untyped]
from flask_security import Security, SQLAlchemyUserDatastore, current_user
from flask_security.models import fsqla_v3
from flask_session import Session
from flask_sqlalchemy import SQLAlchemy
from flask_talisman import Talisman  # type: ignore[import-untyped]
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]

from flask_interaction_mail import InteractionMail, operations, send_notification
from flask_interaction_mail.delivery.factory import dispatcher_of
from flask_interaction_mail.errors import InteractionMailError
from tests import outbox_rows
from tests.catcher import Catcher, catching
from tests.databases import fresh_database
from tests.documentation import shown
from tests.host import SETTINGS, People
from tests.panel import HOME, TYPED, OpenIndex, form_values

ROOT = Path(__file__).parents[2]
PAGE = "docs/hosts.md"
OLD, NEW = "correct horse battery staple", "a quite different password"
ADA = "ada@firm.test"
FAST = {
    "SECRET_KEY": "k" * 32,
    "SECURITY_EMAIL_VALIDATOR_ARGS": {"test_environment": True},
    "SECURITY_PASSWORD_SALT": "salt",
    "SECURITY_PASSWORD_HASH": "plaintext",  # the others take their time
    "SECURITY_PASSWORD_SCHEMES": ["plaintext"],
    "SECURITY_TOTP_SECRETS": {1: "t" * 40},
    "SECURITY_TOTP_ISSUER": "crm",
}


class Hosting:
    """An application that is not set up yet, and a visitor's browser."""

    def __init__(self, folder: Path, catcher: Catcher) -> None:
        self.app = Flask("crm")
        self.app.config.update(
            SECRET_KEY="k" * 32,
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder}/host.sqlite",
            INTERACTION_MAIL_DELIVERY="worker",
            PROPAGATE_EXCEPTIONS=True,  # what a page raises fails the test
        )
        self.catcher = catcher
        self.db = SQLAlchemy(self.app)
        self.admin = Admin(name="CRM", index_view=OpenIndex())
        self.admin.init_app(self.app)
        self.messaging = InteractionMail(db=self.db, admin=self.admin, directory=People())
        self.browser = self.app.test_client()

    def run(self, containing: str, **names: Any) -> dict[str, Any]:
        """Run a block of the page; gives what it names."""
        given = {"app": self.app, "db": self.db, "admin": self.admin, "messaging": self.messaging}
        names = given | names
        exec(shown(PAGE, containing), names)  # noqa: S102 - our own documentation
        return names

    def set_up(self) -> None:
        """Make the tables, and settings that work."""
        with self.app.app_context():
            self.db.create_all()
            changes = {"smtp_port": self.catcher.port}
            operations.save_settings(self.state, SETTINGS | changes, base=None, changed_by="test")

    @property
    def state(self) -> Any:
        return self.app.extensions["interaction_mail"]

    def arrived(self) -> Any:
        """The message that leaves now, which is the only one."""
        before = len(self.catcher.mails)
        with self.app.app_context():
            dispatcher_of(self.state).drain()
        (mail,) = self.catcher.mails[before:]
        return mail.message

    def rows(self) -> list[Any]:
        with self.app.app_context(), self.db.engine.connect() as connection:
            return list(connection.execute(outbox_rows.ROWS))

    def submit(self, url: str, **typed: str) -> Any:
        """Open the form at ``url``, as a person does, and send it with what is typed."""
        page = BeautifulSoup(self.browser.get(url).text, "lxml")
        return self.browser.post(url, data=form_values(page) | typed)


@pytest.fixture
def hosting(tmp_path: Path, catcher: Catcher) -> Iterator[Hosting]:
    hosting = Hosting(tmp_path, catcher)
    yield hosting
    with hosting.app.app_context():
        for engine in hosting.db.engines.values():
            engine.dispose()


# -- Flask-Security-Too -------------------------------------------------------------------


@pytest.fixture
def secured(hosting: Hosting) -> Hosting:
    """As the page has it, beside CSRFProtect, with Ada, who has not confirmed her address."""
    hosting.app.config.update(FAST)
    db = hosting.db
    fsqla_v3.FsModels.set_db_info(db)

    class Role(db.Model, fsqla_v3.FsRoleMixin):  # type: ignore[name-defined, misc]
        __tablename__ = "role"

    class User(db.Model, fsqla_v3.FsUserMixin):  # type: ignore[name-defined, misc]
        __tablename__ = "user"

    CSRFProtect(hosting.app)
    named = {"Security": Security, "SQLAlchemyUserDatastore": SQLAlchemyUserDatastore}
    users = hosting.run("SECURITY_RECOVERABLE", User=User, Role=Role, **named)["security"].datastore
    hosting.set_up()
    hosting.app.add_url_rule("/who", "who", lambda: getattr(current_user, "email", "nobody"))
    with hosting.app.app_context():
        users.create_user(email=ADA, password=OLD)
        db.session.commit()
    return hosting


def text_of(message: Any) -> str:
    return str(message.get_body(("plain",)).get_content())


def link_in(message: Any) -> str:
    """The path that the message leads to."""
    text = text_of(message)
    found = re.search(r"http://localhost(/\S+)", text)
    assert found is not None, text
    return found[1]


# Flask-Security's own form, with WTForms 3.3.
@pytest.mark.filterwarnings("ignore:Passing SelectField choices as tuples:DeprecationWarning")
def test_the_mail_of_flask_security_goes_through_the_outbox(secured: Hosting) -> None:
    """Confirm, a new password, the second factor: each arrives, works, and is then forgotten."""
    secured.submit("/confirm", email=ADA)
    message = secured.arrived()
    assert message["To"] == ADA
    assert secured.browser.get(link_in(message)).status_code == 302

    secured.submit("/reset", email=ADA)
    answer = secured.submit(link_in(secured.arrived()), password=NEW, password_confirm=NEW)
    assert answer.status_code == 302, answer.text
    assert "password" in secured.arrived()["Subject"].lower()  # that it was changed

    for step in ("set up", "log in"):
        secured.browser = secured.app.test_client()
        secured.submit("/login", email=ADA, password=NEW)
        if step == "set up":
            secured.submit("/tf-setup", setup="email")
        code = re.search(r"\b\d{6}\b", text_of(secured.arrived()))
        assert code is not None
        before = ADA if step == "set up" else "nobody"  # she has no second factor then
        assert secured.browser.get("/who").text == before
        secured.submit("/tf-validate", code=code[0])
    assert secured.browser.get("/who").text == ADA

    assert {row.status for row in secured.rows()} == {"sent"}
    assert {bool(row.content) for row in secured.rows()} == {False}


def test_the_panel_has_its_own_tokens_beside_those_of_flask_wtf(secured: Hosting) -> None:
    """A form of the panel can be sent, and without its token it is refused."""
    typed = TYPED | {"default_to": "typed-desk"}
    assert secured.browser.post(HOME, data=typed).status_code == 400
    assert secured.submit(HOME, **typed).status_code == 303
    with secured.app.app_context():
        assert secured.state.settings.current().settings.default_to == "typed-desk"


# -- Flask-Session ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["files", "sqlalchemy"])
# What it says of itself.
@pytest.mark.filterwarnings("ignore:.*FileSystem:DeprecationWarning", "ignore:.*utcnow")
def test_sessions_may_be_kept_on_the_server(hosting: Hosting, tmp_path: Path, kind: str) -> None:
    """The panel's tokens are in them. In the database each request is committed, the page says."""
    app, db = hosting.app, hosting.db

    class Order(db.Model):  # type: ignore[name-defined, misc]
        id = db.Column(db.Integer, primary_key=True)

    if kind == "sqlalchemy":
        hosting.run("SESSION_SQLALCHEMY", got_request_exception=got_request_exception)
    else:
        app.config.update(SESSION_TYPE="filesystem", SESSION_FILE_DIR=tmp_path / "sessions")
    Session(app)
    hosting.messaging.init_app(app)
    hosting.set_up()

    @app.get("/order/<end>")
    def order(end: str) -> str:
        session["seen"] = end
        db.session.add(Order())
        db.session.flush()
        send_notification("bob", "Hello", text="Hello")
        if end == "rollback":
            db.session.rollback()
        if end == "error":
            raise ValueError
        return "ok"

    app.config["PROPAGATE_EXCEPTIONS"] = False
    for end in ("rollback", "error", "nothing"):
        hosting.browser.get(f"/order/{end}")
        with app.app_context():
            orders = db.session.query(Order).count()
        assert len(hosting.rows()) == (end == "nothing")
        assert orders == (end == "nothing" and kind == "sqlalchemy")
    assert hosting.submit(HOME, **TYPED).status_code == 303


# -- Flask-Limiter ------------------------------------------------------------------------


def test_limits_of_the_host_spare_the_panel(hosting: Hosting) -> None:
    """As the page has it; other pages keep their limits."""
    hosting.app.config["RATELIMIT_STORAGE_URI"] = "memory://"
    hosting.run("limiter.exempt", Limiter=Limiter, get_remote_address=get_remote_address)
    hosting.set_up()

    @hosting.app.get("/other")
    def other() -> str:
        return "here"

    statuses = {url: [] for url in ("/other", HOME)}
    for url, found in statuses.items():
        found += [hosting.browser.get(url).status_code for _ in range(12)]
    assert statuses["/other"] == [200] * 10 + [429] * 2
    assert statuses[HOME] == [200] * 12


# -- Flask-Mailman ------------------------------------------------------------------------


def test_flask_mailman_sends_past_the_outbox_and_doctor_says_so(hosting: Hosting) -> None:
    """At once, to the server in MAIL_SERVER; what this package sends is as ever."""
    with catching() as its_own:
        hosting.app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=its_own.port)
        flask_mailman.Mail(hosting.app)
        hosting.messaging.init_app(hosting.app)
        hosting.set_up()
        with hosting.app.app_context():
            past = flask_mailman.EmailMessage("Past", "x", "crm@firm.example", ["a@firm.example"])
            past.send()
            send_notification("bob", "Through", text="x")
            hosting.db.session.commit()
        assert hosting.arrived()["Subject"] == "Through"
        assert [mail.message["Subject"] for mail in its_own.mails] == ["Past"]
    assert [row.subject for row in hosting.rows()] == ["Through"]
    said = hosting.app.test_cli_runner().invoke(args=["interaction-mail", "doctor"])
    assert "sends past the panel and the outbox" in said.output


# -- databases and admins -----------------------------------------------------------------


def test_flask_sqlalchemy_lite_is_refused_by_name(tmp_path: Path) -> None:
    """At once, in words that say what to install; nothing is changed."""
    app = Flask("crm")
    app.config["SQLALCHEMY_ENGINES"] = {"default": f"sqlite:///{tmp_path}/lite.sqlite"}
    db: Any = flask_sqlalchemy_lite.SQLAlchemy(app)
    with pytest.raises(InteractionMailError, match="Flask-SQLAlchemy-Lite"):
        InteractionMail(app, db=db)
    assert "interaction_mail" not in app.extensions


def test_rows_of_a_bind_and_a_message_go_by_one_commit(hosting: Hosting, tmp_path: Path) -> None:
    """The message is in the default database; a rollback takes back both."""
    hosting.app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/host.sqlite"
    app = Flask("binds")
    app.config.update(hosting.app.config)
    app.config["SQLALCHEMY_BINDS"] = {"orders": f"sqlite:///{tmp_path}/orders.sqlite"}
    db = SQLAlchemy(app)

    class Order(db.Model):  # type: ignore[name-defined, misc]
        __bind_key__ = "orders"
        id = db.Column(db.Integer, primary_key=True)

    hosting.app, hosting.db = app, db
    InteractionMail(app, db=db, directory=People())
    hosting.set_up()
    for end, count in (("rollback", 0), ("commit", 1)):
        with app.app_context():
            db.session.add(Order())
            db.session.flush()
            send_notification("bob", "Hello", text="Hello")
            getattr(db.session, end)()
            assert db.session.query(Order).count() == count
        assert len(hosting.rows()) == count
    tables = {key: {*sa.inspect(engine).get_table_names()} for key, engine in engines_of(hosting)}
    assert tables["orders"] == {"order"}
    assert "interaction_mail_message" in tables[None]


def engines_of(hosting: Hosting) -> list[tuple[str | None, sa.Engine]]:
    with hosting.app.app_context():
        return [*hosting.db.engines.items()]


def test_of_two_admins_the_one_that_was_given_has_the_panel(hosting: Hosting) -> None:
    """The other stays as it is, whether it comes before or after."""
    for name in ("before", "after"):
        other = Admin(
            name=name,
            url=f"/{name}",
            endpoint=name,
            index_view=AdminIndexView(name=name, url=f"/{name}", endpoint=name),
        )
        other.init_app(hosting.app)
        if name == "before":
            hosting.messaging.init_app(hosting.app)
    hosting.set_up()
    assert hosting.browser.get(HOME).status_code == 200
    for name in ("before", "after"):
        page = hosting.browser.get(f"/{name}/")
        assert page.status_code == 200
        assert "Messaging" not in page.text
        assert hosting.browser.get(f"/{name}/messaging/").status_code == 404


# -- all of them --------------------------------------------------------------------------


def test_a_host_with_all_of_them_adds_few_lines(tmp_path: Path, catcher: Catcher) -> None:
    """As the page has it: five lines, a panel for the role "admin" alone, and mail that leaves."""
    block = shown(PAGE, "def create_app(config)")
    assert block.count("# mail") <= 12
    names: dict[str, Any] = {"__name__": __name__, "fsqla": fsqla_v3, "current_user": current_user}
    for one in (Admin, AdminIndexView, CSRFProtect, Flask, Migrate, SQLAlchemy, Security, Talisman):
        names[one.__name__] = one
    names["SQLAlchemyUserDatastore"] = SQLAlchemyUserDatastore
    exec(block, names)  # noqa: S102 - our own documentation
    with fresh_database("postgresql", tmp_path) as url:
        config = {"SQLALCHEMY_DATABASE_URI": url, "INTERACTION_MAIL_DELIVERY": "worker"}
        config["PREFERRED_URL_SCHEME"] = "https"  # as Flask-Talisman wants it
        app, db = names["create_app"](FAST | config), names["db"]
        with app.app_context():
            db.create_all()
            state = app.extensions["interaction_mail"]
            changes = {"smtp_port": catcher.port}
            operations.save_settings(state, SETTINGS | changes, base=None, changed_by="test")
            users = app.extensions["security"].datastore
            users.create_user(email=ADA, password=OLD, roles=[users.create_role(name="admin")])
            users.create_user(email="bob@firm.test", password=OLD)
            db.session.commit()
        assert panel_of(app, "bob@firm.test").status_code != 200
        page = panel_of(app, ADA)
        assert page.status_code == 200
        assert all(tag.get("nonce") for tag in BeautifulSoup(page.text, "lxml").select("script"))
        with app.app_context():
            send_notification(ADA, "Hello", text="Hello")
            db.session.commit()
            dispatcher_of(state).drain()
            db.session.remove()
            db.engine.dispose()
        assert [mail.message["Subject"] for mail in catcher.mails] == ["Hello"]


FLASK_BABEL = ROOT / ".stand" / "flask-babel"


@pytest.mark.parametrize("mail", [True, False], ids=["with", "without"])
def test_an_application_of_300_lines_needs_ten_more(tmp_path: Path, mail: bool) -> None:
    """With Flask-Security, Flask-Migrate, Flask-Babel, a strict CSP and PostgreSQL.

    The lines are all that it takes: without them it is the same application, and knows no mail.
    """
    if not (FLASK_BABEL / "flask_babel").is_dir():
        pytest.skip("Flask-Babel is missing: make .stand/flask-babel/.installed")
    lines = (ROOT / "tests/large_host.py").read_text("utf-8").splitlines()
    added = [line for line in lines if line.endswith("  # mail")]
    assert len(lines) - len(added) >= 300
    assert len(added) == int(shown_number("of which", "are about mail")) <= 12
    with fresh_database("postgresql", tmp_path) as url:
        kind = "with" if mail else "without"
        done = subprocess.run(
            [sys.executable, "-m", "tests.drive_large_host", kind, url, tmp_path / "migrations"],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(FLASK_BABEL)},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    *_, last = done.stdout.splitlines()
    sent = ["Have a look at Grace Hopper", "Please merge: Grace Hopper and grace hopper"]
    assert json.loads(last) == {
        "contacts": True,
        "csp": True,
        "tables": mail,
        "merge": 403,
        "share": 302,
        "panel": 200 if mail else 404,
        "closed": 403 if mail else 404,
        "nonces": mail,
        "german": mail,
        "subjects": sent if mail else [],
        "people": ["sue@firm.test"] if mail else [],
    }


def shown_number(before: str, after: str) -> str:
    """A number of the page, between these words."""
    found = re.search(rf"{before} (\d+) {after}", (ROOT / PAGE).read_text("utf-8"))
    assert found is not None
    return found[1]


def panel_of(app: Flask, email: str) -> Any:
    """The panel's first page, for who has logged in with this address."""
    browser = app.test_client()
    browser.environ_base["HTTP_REFERER"] = "https://localhost/"  # which Flask-WTF asks for
    form = form_values(BeautifulSoup(browser.get("/login").text, "lxml"))
    assert browser.post("/login", data=form | {"email": email, "password": OLD}).status_code == 302
    return browser.get(HOME)
