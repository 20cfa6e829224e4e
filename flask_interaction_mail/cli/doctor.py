"""``doctor``: what is set up wrongly, in one list."""

from __future__ import annotations

import enum
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from flask_admin import BaseView

from .. import breaker, clock, mail_bridge, migrate
from ..config import AccessMode, DeliveryMode, Migrations
from ..errors import InteractionMailError
from ..models import TABLES, MessageRow
from ..setting_rules import password_advice, problems
from ..state import State, state_of
from ..values import Status
from .common import as_json, dump, fail, main, say

_OLDEST: Final = {"sqlite": (3, 35), "postgresql": (13,), "mariadb": (10, 6)}
_OVERDUE: Final = timedelta(minutes=5)
_WHO_DELIVERS: Final = {
    DeliveryMode.WORKER: " Is 'flask interaction-mail worker' running?",
    DeliveryMode.CELERY: " Are 'celery worker' and 'celery beat' running?",
}


class Health(enum.StrEnum):
    """What a look came to."""

    OK = "ok"
    NOTE = "note"  # works, and somebody should know
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was looked at, and what was seen."""

    topic: str
    health: Health
    text: str


@main.command()
@as_json
def doctor(as_json: bool) -> None:
    """Look for what is set up wrongly; the exit status is 1 if something is."""
    looks = list(examine(state_of()))
    if as_json:
        dump([{"topic": one.topic, "health": one.health, "text": one.text} for one in looks])
    else:
        for one in looks:
            say(f"[{one.health:>5}] {one.topic}: {one.text}")
    if wrong := [one for one in looks if one.health is Health.WRONG]:
        fail(f"{len(wrong)} thing(s) to put right: {', '.join(one.topic for one in wrong)}.")


def examine(state: State) -> Iterator[Look]:
    """Look at one thing after the other; never raises."""
    checks: dict[str, Callable[[State], tuple[Health, str]]] = {
        "database": _database,
        "tables": _tables,
        "settings": _settings,
        "password": _password,
        "keys": _keys,
        "access": _access,
        "delivery": _delivery,
        "server": _server,
        "restraints": _restraints,
        "flask-mail": _flask_mail,
        "flask-babel": _babel,
    }
    for topic, check in checks.items():
        try:
            health, text = check(state)
        except (InteractionMailError, sa.exc.SQLAlchemyError) as error:
            health, text = Health.WRONG, str(getattr(error, "orig", None) or error)
        yield Look(topic=topic, health=health, text=text)


def _database(state: State) -> tuple[Health, str]:
    with state.database.bind.engine.connect() as connection:
        dialect: Any = connection.dialect
        found = tuple(dialect.server_version_info or ())
        name = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    version = ".".join(map(str, found[:3]))
    if name not in _OLDEST:
        return Health.WRONG, f"{name} is not supported: use SQLite, PostgreSQL or MariaDB."
    if found < _OLDEST[name]:
        oldest = ".".join(map(str, _OLDEST[name]))
        return Health.WRONG, f"{name} {version} is too old: {oldest} is needed."
    return Health.OK, f"{name} {version}"


def _tables(state: State) -> tuple[Health, str]:
    engine = state.database.bind.engine
    existing = sa.inspect(engine).get_table_names()
    if missing := [table.name for table in TABLES if table.name not in existing]:
        return Health.WRONG, f"missing: {', '.join(missing)}. {_how_to_migrate(state)}"
    if importlib.util.find_spec("alembic") is None:
        return Health.OK, "all there (their columns were not compared: Alembic is not installed)"
    if found := migrate.differences(engine):
        return Health.WRONG, f"{' '.join(found)} {_how_to_migrate(state)}"
    return Health.OK, "as this version needs them"


def _how_to_migrate(state: State) -> str:
    if state.config.migrations is Migrations.OWN:
        return "Run 'flask interaction-mail db upgrade'."
    return "Run the application's migrations ('flask db migrate', 'flask db upgrade')."


def _settings(state: State) -> tuple[Health, str]:
    now = state.settings.current()
    if not now.settings.configured:
        return Health.WRONG, "e-mail is not configured: a server and a default From are needed."
    found = problems(
        now.settings,
        password=now.password,
        origin=now.origins["password"],
        unbound=now.unbound,
    )
    found.pop("password", None)
    if found:
        return Health.WRONG, " ".join(f"{name}: {text}" for name, text in found.items())
    return Health.OK, f"complete, revision {now.revision}"


def _password(state: State) -> tuple[Health, str]:
    now = state.settings.current()
    if not now.settings.use_authentication:
        return Health.OK, "not needed: no authentication"
    advice = password_advice(now.password, origin=now.origins["password"], unbound=now.unbound)
    return (Health.WRONG, advice) if advice else (Health.OK, "there, for this connection")


def _keys(state: State) -> tuple[Health, str]:
    config = state.app.config
    if not (config.get("INTERACTION_MAIL_SECRET_KEYS") or config.get("SECRET_KEY")):
        return Health.NOTE, "none: set SECRET_KEY before a password is to be stored."
    return Health.OK, "there is a key to encrypt the password with"


def _access(state: State) -> tuple[Health, str]:
    if state.admin is None:
        return Health.OK, "no panel: no Admin was given"
    if state.access is not None:
        return Health.OK, "decided by the access function"
    if state.config.access is AccessMode.HOST:
        return Health.NOTE, "left to the application (INTERACTION_MAIL_ACCESS = 'host')."
    if type(state.admin.index_view).is_accessible is BaseView.is_accessible:
        return Health.WRONG, (
            "the pages stay closed, because the admin's index view lets everybody in: override "
            "its is_accessible(), or give access= to InteractionMail."
        )
    return Health.OK, "follows the admin's index view"


def _delivery(state: State) -> tuple[Health, str]:
    mode = state.config.delivery
    advice = _without_sweep(state) if mode is DeliveryMode.CELERY else None
    settings = state.settings.current().settings
    with state.database.reading() as connection:
        stopped = settings.paused or breaker.read(connection, settings) is not None
        late = connection.scalar(
            sa.select(sa.func.count()).where(
                MessageRow.status.in_((Status.QUEUED, Status.DEFERRED)),
                MessageRow.due_at < clock.now() - _OVERDUE,
            )
        )
    if late and not stopped:
        text = f"{late} message(s) are due for over five minutes.{_WHO_DELIVERS.get(mode, '')}"
        return Health.WRONG, text
    if advice:
        return Health.NOTE, advice
    return Health.OK, f"by {mode}, nothing is overdue"


def _without_sweep(state: State) -> str | None:
    from ..contrib import celery  # an extra, in use here

    if state.database.in_memory or celery.has_sweep(celery.celery_of(state.app)):
        return None
    return (
        "by Celery, but its beat schedule has no entry for the sweep, which deferred mail waits "
        "for: call flask_interaction_mail.contrib.celery.install_beat(celery), unless the "
        "schedule is kept elsewhere."
    )


def _server(state: State) -> tuple[Health, str]:
    with state.database.reading() as connection:
        broken = breaker.read(connection, state.settings.current(connection).settings)
    if broken is not None:
        return Health.WRONG, f"in trouble since {broken.since:%Y-%m-%d %H:%M} UTC: {broken.why}"
    return Health.OK, "no trouble is known; 'flask interaction-mail test' tries it"


def _restraints(state: State) -> tuple[Health, str]:
    settings = state.settings.current().settings
    found = []
    if state.suppressed:
        found.append("the application suppresses sending (MAIL_SUPPRESS_SEND or TESTING)")
    if settings.paused:
        found.append("sending is paused")
    if settings.divert_to:
        found.append(f"all mail goes to {settings.divert_to}")
    return (Health.NOTE, "; ".join(found) + ".") if found else (Health.OK, "none")


def _flask_mail(state: State) -> tuple[Health, str]:
    if mail_bridge.was_replaced(state.app):
        return Health.NOTE, (
            "Mail.init_app is called after InteractionMail.init_app; it is put right at run "
            "time. Call it before, or not at all."
        )
    return Health.OK, "its callers go through the outbox"


def _babel(state: State) -> tuple[Health, str]:
    installed = importlib.util.find_spec("flask_babel") is not None
    if installed and state.admin is not None and "babel" not in state.app.extensions:
        return Health.WRONG, (
            "installed but not initialised, which breaks every page of Flask-Admin: call "
            "Babel(app), or uninstall it."
        )
    return Health.OK, "in use" if installed else "not installed"
