"""``InteractionMail``: what a host puts into its application factory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from flask import Blueprint, Flask
from flask_sqlalchemy import SQLAlchemy

from . import cli
from .api.outbox import Outbox
from .api.sending import send_flask_mail
from .config import Config, DeliveryMode, Migrations, TransportKind, parse, unknown
from .directory import Directory, People
from .errors import InteractionMailError
from .flask_mail import takeover
from .logs import log
from .messages.recorded import Recording
from .settings.keyring import Keyring, keys_of
from .settings.layers import from_mail_config
from .settings.store import SettingsStore
from .state import KEY, Access, AccessTokenFunction, Delivery, State, state_of
from .storage import tables
from .storage.database import Database
from .transport.base import StandIn
from .transport.memory import MemoryTransport
from .unit_of_work.app_context import instrument
from .unit_of_work.recording import recording

if TYPE_CHECKING:
    from flask_admin import Admin

    from .delivery.dispatcher import Dispatcher
    from .outbox.presence import How

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
        access: answers for a ``Right``, which is equal to its word (``"view"``), whether the
            current user has it; without it the pages follow the admin's index view.
        access_token: brings an access token of OAuth 2 for a mailbox, for the sign-in "host". It is
            called in any thread, without an app context, once for each connection.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        db: SQLAlchemy | None = None,
        admin: Admin | None = None,
        directory: Directory | None = None,
        access: Access | None = None,
        access_token: AccessTokenFunction | None = None,
    ) -> None:
        self._db = db
        self._admin = admin
        self._directory = directory
        self._access = access
        self._access_token = access_token
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
        access_token: AccessTokenFunction | None = None,
    ) -> None:
        """Set up ``app``; any order with the ``init_app`` of the others will do.

        Where it raises, ``app``, ``db`` and ``admin`` are as they were, and it can be called again.

        Raises:
            InteractionMailError: a configuration key is wrong, there is no ``db``, or it has no
                default database, or a page's name is taken by a blueprint of the application.
        """
        state = self._build(app, db, admin, directory, access, access_token)
        metadata, dialects = state.db.metadata, _dialects(app)
        if state.admin is not None:
            from . import admin as panel  # brings Flask-Admin, for those who have it anyway

            panel.check(state.admin, app)
        # What can fail has been done. This one fails where requests are served already.
        app.register_blueprint(_templates())
        app.extensions[KEY] = state
        if state.config.migrations is Migrations.HOST:
            tables.copy_to(metadata, dialects=dialects)
            if "alembic.autogenerate" in sys.modules:
                # Late: it needs Alembic. Importing it is all that it needs.
                from .storage import migrations_of_hosts  # noqa: F401
        if state.config.delivery is DeliveryMode.CELERY:
            _import_celery().install(app)
        app.before_request(lambda: state.delivery.ensure_running())
        instrument(app)
        takeover.install(app, send_flask_mail)
        cli.register(app)
        if state.admin is not None:
            panel.add_views(state.admin, app)

    def start(self, app: Flask) -> None:
        """Begin delivery in this process before its first request; called again, do nothing.

        For the hook of an application server that runs in each of its workers, after the fork:
        what an earlier process has left is delivered then, not at the first request. With
        ``INTERACTION_MAIL_DELIVERY`` other than ``"thread"`` others deliver, and nothing begins.

        Raises:
            RuntimeError: ``init_app`` was not called for ``app``.
        """
        state_of(app).delivery.ensure_running()

    def memory(self, app: Flask | None = None) -> MemoryTransport:
        """What keeps the mail of ``app``, or of the current app, in place of a server.

        For tests, with ``INTERACTION_MAIL_TRANSPORT = "memory"``.

        Raises:
            RuntimeError: it sends to a server; there is no current app, or ``init_app`` was not
                called for it.
        """
        found = state_of(app).stand_in
        if not isinstance(found, MemoryTransport):
            raise RuntimeError(
                "Nothing is kept in memory: set INTERACTION_MAIL_TRANSPORT = 'memory' before "
                "InteractionMail.init_app"
            )
        return found

    @property
    def outbox(self) -> Outbox:
        """The outbox of the current app: find, count, resend, cancel and release messages."""
        return Outbox()

    @contextmanager
    def record(self, app: Flask | None = None) -> Iterator[Recording]:
        """List what ``app``, or the current app, stores to be sent while the block lasts.

        For tests. A message of any thread of this process counts once its transaction has
        committed, in that order; ``dropped`` has those that were rolled back or called back. Blocks
        may be nested.

        Raises:
            RuntimeError: there is no current app, or ``init_app`` was not called for it.
        """
        with recording(state_of(app)) as recorded:
            yield recorded

    def _build(
        self,
        app: Flask,
        db: SQLAlchemy | None,
        admin: Admin | None,
        directory: Directory | None,
        access: Access | None,
        access_token: AccessTokenFunction | None,
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
        _refuse_lite(database)
        _check_default_bind(app, database)
        config = parse(app.config)
        for told in unknown(app.config):
            log.warning("config.unknown: %s", told)
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
            access_token=access_token if access_token is not None else self._access_token,
        )


def _state(
    app: Flask,
    db: SQLAlchemy,
    config: Config,
    *,
    admin: Admin | None,
    people: People,
    access: Access | None,
    access_token: AccessTokenFunction | None,
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
        database=database,
        settings=store,
        config=config,
        people=people,
        admin=admin,
        access=access,
        access_token=access_token,
        choose_delivery=_choose_delivery,
        make_dispatcher=_make_dispatcher,
        translations=_translations(app, config),
        stand_in=_stand_in(config),
    )


def _stand_in(config: Config) -> StandIn:
    """What takes mail in place of every server; None if nothing does."""
    match config.transport:
        case TransportKind.SMTP:
            return None
        case TransportKind.OWN:
            return config.open_transport
        case TransportKind.MEMORY:
            return MemoryTransport()
    from .transport.development import ConsoleTransport, FilesTransport  # late: for developers

    if config.mail_folder is None:
        return ConsoleTransport()
    return FilesTransport(config.mail_folder)


def _choose_delivery(state: State) -> Delivery:
    from .delivery import modes  # late: at the first use

    if state.config.delivery is DeliveryMode.CELERY and not state.database.in_memory:
        by_celery: Delivery | None = _import_celery().delivery_of(state)
        if by_celery is not None:
            return by_celery
    return modes.chosen(state)


def _make_dispatcher(state: State, how: How | None = None, **changes: Any) -> Dispatcher:
    from .delivery.factory import dispatcher_of  # late: at the first delivery

    return dispatcher_of(state, how, **changes)


def _dialects(app: Flask) -> Iterable[str]:
    """Whose options the tables get: those of the application's own database.

    Of all where that is not known yet, or where Alembic may write migrations for another one.
    """
    uri = app.config.get("SQLALCHEMY_DATABASE_URI")
    own = tables.FITTED if uri is None else (sa.make_url(uri).get_backend_name(),)
    return tables.FITTED if "alembic" in sys.modules else own


def _translations(app: Flask, config: Config) -> tuple[str, ...]:
    """The folders with the host's catalogues; one that is named has to be there."""
    root = Path(app.root_path)
    missing = [folder for folder in config.translations if not (root / folder).is_dir()]
    if missing and config.translations != Config().translations:
        raise InteractionMailError(
            f"INTERACTION_MAIL_TRANSLATIONS: there is no folder {missing[0]!r} in {root}"
        )
    return tuple(str(root / folder) for folder in config.translations)


def _refuse_lite(db: object) -> None:
    """Refuse an object of another extension that has the same name, before anything asks it."""
    if type(db).__module__.partition(".")[0] == "flask_sqlalchemy_lite":
        raise InteractionMailError(
            "InteractionMail needs Flask-SQLAlchemy, and was given an object of "
            "Flask-SQLAlchemy-Lite, which does not say when its sessions end: "
            "pip install Flask-SQLAlchemy, and give its SQLAlchemy()"
        )


def _check_default_bind(app: Flask, db: SQLAlchemy) -> None:
    """Refuse a host whose databases all have names: ours would be none of them."""
    config = app.config
    binds = config.get("SQLALCHEMY_BINDS") or {None: None}  # none at all is an error of theirs
    options = config.get("SQLALCHEMY_ENGINE_OPTIONS") or {}
    there = bool(config.get("SQLALCHEMY_DATABASE_URI")) or None in binds or "url" in options
    if not there and app.extensions.get("sqlalchemy") is db:
        with app.app_context():
            there = None in db.engines  # by the options of the object itself
    if not there:
        raise InteractionMailError(
            "InteractionMail needs the default database, and SQLALCHEMY_DATABASE_URI is not set: "
            "messages are stored in the transactions of db.session, by the same commit, so a "
            "database of SQLALCHEMY_BINDS cannot have them. Set SQLALCHEMY_DATABASE_URI to the "
            "database whose changes they are to go with."
        )


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
