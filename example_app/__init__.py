"""A small CRM that uses Flask-Interaction-Mail: copy from it what your application needs.

What to copy, in this order:

- ``extensions.py`` and ``create_app`` below: the three lines that add the extension;
- ``directory.py``: how the extension learns about your people and who may merge where;
- ``contacts.py``: a merge that is denied, with a page that tells whom the request went to,
  a merge that is done, and a message sent the Flask-Mail way;
- ``api.py``: the same with the plain signals;
- ``admin_area.py``: a Flask-Admin area that only administrators can open.

``python -m example_app.demo`` shows all of it at work. To run it as a site of your own:

    flask --app example_app init-db
    flask --app example_app run
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from flask import Flask, Response, render_template, request
from flask.cli import with_appcontext

from flask_interaction_mail.catcher import Inbox, inbox_pages

from . import api, auth, contacts
from .extensions import admin, csrf, db, login_manager, messaging
from .seed import seed

# The CRM's own pages have neither inline scripts nor inline styles. Flask-Admin's have.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'self'"
)
OWN_PAGES = (auth.bp.name, contacts.bp.name, "inbox")


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Make the application.

    ``config`` wins over the environment: ``EXAMPLE_DATABASE_URL`` (SQLite in the instance
    folder without it) and every ``FLASK_…`` variable, which also makes overrides like
    ``FLASK_INTERACTION_MAIL_OVERRIDES__smtp_server`` work.
    """
    app = Flask(__name__)
    _configure(app, config or {})

    db.init_app(app)
    admin.init_app(app)
    messaging.init_app(app)
    _choose_language(app)

    login_manager.init_app(app)
    csrf.init_app(app)
    _register_pages(app)
    app.cli.add_command(init_db)
    return app


@click.command("init-db")
@with_appcontext
def init_db() -> None:
    """Create the tables, the extension's included, and the demo's data."""
    db.create_all()
    seed()
    click.echo("The tables and the demo's data are there.")


def _configure(app: Flask, config: Mapping[str, Any]) -> None:
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI=os.environ.get("EXAMPLE_DATABASE_URL", "sqlite:///crm.sqlite"),
        SESSION_COOKIE_SAMESITE="Lax",
        # Links in mails contain the host name of the request: accept only names that are yours.
        TRUSTED_HOSTS=["localhost", "127.0.0.1"],
        # A folder with delivered messages to show as an inbox. Only the demo sets it.
        EXAMPLE_INBOX=None,
    )
    app.config.from_prefixed_env()
    app.config.update(config)
    if not app.config["SECRET_KEY"]:
        app.config["SECRET_KEY"] = secret_key(Path(app.instance_path))


def secret_key(folder: Path) -> str:
    """Return the key kept in ``folder``, made at the first call: a key is never part of code.

    It signs the sessions, and the extension derives from it the key that encrypts the SMTP
    password: keep it, or the password has to be entered again.
    """
    path = folder / "secret_key"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "x", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text()


def _choose_language(app: Flask) -> None:
    """Let the browser choose the panel's language, where Flask-Babel is installed."""
    try:
        from flask_babel import Babel  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return
    Babel(app, locale_selector=lambda: request.accept_languages.best_match(("en", "de", "fr")))


def _register_pages(app: Flask) -> None:
    for blueprint in (auth.bp, contacts.bp, api.bp):
        app.register_blueprint(blueprint)
    if app.config["EXAMPLE_INBOX"]:
        inbox = Inbox(app.config["EXAMPLE_INBOX"])
        app.register_blueprint(inbox_pages(lambda: inbox, guard=auth.ask_to_log_in))
    app.context_processor(lambda: {"has_inbox": bool(app.config["EXAMPLE_INBOX"])})
    app.register_error_handler(403, _forbidden)
    app.after_request(_protect)


def _forbidden(_error: Exception) -> tuple[str, int]:
    return render_template("crm/forbidden.html"), 403


def _protect(response: Response) -> Response:
    if request.blueprint in OWN_PAGES:
        response.headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    return response
