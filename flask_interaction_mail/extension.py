"""``InteractionMail``: what a host puts into its application factory."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType

import sqlalchemy as sa
from flask import Blueprint, Flask
from flask_admin import Admin
from flask_sqlalchemy import SQLAlchemy

from . import cli, mail_bridge, models
from .api import send_flask_mail
from .config import Config, DeliveryMode, Migrations, parse
from .database import Database
from .directory import Directory, People
from .errors import InteractionMailError
from .secrets import Keyring, keys_of
from .setting_layers import from_mail_config
from .settings_store import SettingsStore
from .state import KEY, Access, State

TEMPLATES = "interaction_mail_templates"  # a blueprint without routes: it only brings templates


class InteractionMail:
    """E-mail messaging for a Flask application.

    What is not given here can be given to ``init_app``, for one application or for each of
    several. Without ``admin`` there is no panel; without ``directory`` nobody is known.

    Args:
        app: initialise this application at once.
        db: the host's Flask-SQLAlchemy object; required here or in ``init_app``.
        admin: the host's Flask-Admin object, for the panel.
        directory: the host's people.
        access: answers for a right ("view", "edit", "test", "outbox", "body", "resend",
            "purge") whether the current user has it; without it the pages follow the admin's
            index view.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        db: SQLAlchemy | None = None,
        admin: Admin | None = None,
        directory: Directory | None = None,
        access: Access | None = None,
    ) -> None:
        self._db = db
        self._admin = admin
        self._directory = directory
        self._access = access
        if app is not None:
            self.init_app(app)

    def init_app(
        self,
        app: Flask,
        *,
        db: SQLAlchemy | None = None,
        admin: Admin | None = None,
        directory: Directory | None = None,
        access: Access | None = None,
    ) -> None:
        """Set up ``app``; any order with the ``init_app`` of the others will do.

        Raises:
            InteractionMailError: a configuration key is wrong, or there is no ``db``.
        """
        state = self._build(app, db, admin, directory, access)
        dialects = _dialects(app)
        app.register_blueprint(_templates())  # first: it fails where requests are served already
        app.extensions[KEY] = state
        if state.config.migrations is Migrations.HOST:
            models.copy_to(state.db.metadata, dialects=dialects)
        if state.config.delivery is DeliveryMode.CELERY:
            _import_celery().install(state)
        app.before_request(state.ensure_running)
        mail_bridge.install(app, send_flask_mail)
        cli.register(app)
        if state.admin is not None:
            from . import admin as panel  # a host without a panel does not pay for it

            panel.add_views(state.admin, app)

    def _build(
        self,
        app: Flask,
        db: SQLAlchemy | None,
        admin: Admin | None,
        directory: Directory | None,
        access: Access | None,
    ) -> State:
        """Everything that can fail, before the application is touched."""
        if KEY in app.extensions:
            raise InteractionMailError(
                "InteractionMail is already set up for this application: "
                "give the app to InteractionMail(...) or call init_app, but not both"
            )
        database = db if db is not None else self._db
        if database is None:
            raise InteractionMailError(
                "InteractionMail needs the application's SQLAlchemy object: "
                "InteractionMail(db=db) or init_app(app, db=db)"
            )
        config = parse(app.config)
        if config.delivery is DeliveryMode.CELERY:
            _import_celery()
        return _state(
            app,
            database,
            config,
            admin=admin if admin is not None else self._admin,
            people=People(
                directory if directory is not None else self._directory,
                guard=lambda: database.session.no_autoflush,
            ),
            access=access if access is not None else self._access,
        )


def _state(
    app: Flask,
    db: SQLAlchemy,
    config: Config,
    *,
    admin: Admin | None,
    people: People,
    access: Access | None,
) -> State:
    database = Database(app, db)
    store = SettingsStore(
        database=database,
        keyring=Keyring(lambda: keys_of(app.config)),
        overrides=config.overrides,
        config_fallback=from_mail_config(app.config),
    )
    return State(
        app=app,
        db=db,
        admin=admin,
        people=people,
        access=access,
        config=config,
        database=database,
        settings=store,
    )


def _dialects(app: Flask) -> Iterable[str]:
    """Whose options the tables get: those of the application's own database.

    Of all where that is not known yet, or where Alembic may write migrations for another one.
    """
    uri = app.config.get("SQLALCHEMY_DATABASE_URI")
    if uri is None or "alembic" in sys.modules:
        return models.FITTED
    return (sa.make_url(uri).get_backend_name(),)


def _import_celery() -> ModuleType:
    try:
        from .contrib import celery
    except ImportError as error:
        raise InteractionMailError(
            "INTERACTION_MAIL_DELIVERY is 'celery', but Celery cannot be imported "
            f"({error}): pip install 'flask-interaction-mail[celery]'"
        ) from error
    return celery


def _templates() -> Blueprint:
    # Flask-Admin looks for templates beside itself, so ours come as a blueprint's.
    return Blueprint(TEMPLATES, __name__, template_folder="templates")
