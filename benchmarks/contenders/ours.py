"""Flask-Interaction-Mail as a contender: a small host, its queue, and its delivery."""

from __future__ import annotations

import gc
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_admin import Admin
from flask_sqlalchemy import SQLAlchemy

from flask_interaction_mail import Directory, InteractionMail, Party, clock, operations
from flask_interaction_mail.delivery import concurrency
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.delivery.factory import dispatcher_of
from flask_interaction_mail.messages.compose import Identity
from flask_interaction_mail.messages.intent import Intent
from flask_interaction_mail.messages.message import NewMessage, new_id
from flask_interaction_mail.outbox.claimed import AttemptResult
from flask_interaction_mail.outbox.insert import insert
from flask_interaction_mail.state import State

from .. import messages

PROMISED = 10.0  # ms until what a server has accepted is recorded
ADA = Party("Ada Byron", messages.RECIPIENT, id=1)


class People(Directory):
    """A directory in which somebody is logged in."""

    def current_user(self) -> Party:
        return Party("Bob Stone", "bob", id=7)


def host(url: str, port: int = 25, **config: Any) -> State:
    """A host with a database of its own and mail that goes to ``port`` of this machine.

    Port 0 leaves the settings as they are stored.
    """
    app, db = Flask("bench"), SQLAlchemy()
    app.config.update(
        SQLALCHEMY_DATABASE_URI=url, SECRET_KEY="k" * 32, INTERACTION_MAIL_DELIVERY="worker"
    )
    app.config.update(config)
    if url.startswith("sqlite"):
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {"timeout": 20}}
    db.init_app(app)
    admin = Admin(name="CRM")
    admin.init_app(app)
    InteractionMail(db=db, admin=admin, directory=People()).init_app(app)
    state: State = app.extensions["interaction_mail"]
    with app.app_context():
        db.create_all()
        _configure(state, port)
    return state


def _configure(state: State, port: int) -> None:
    wanted = {
        "company_domain": "firm.example",
        "smtp_server": "127.0.0.1",
        "smtp_port": port,
        "encryption": "none",
        "default_to": "merge-desk",
        "default_from": "crm",
    }
    present = state.settings.current().settings
    if port and not (present.configured and present.smtp_port == port):
        state.settings.save(wanted, base=None, changed_by="bench")


def composed(state: State, subject: str = messages.SUBJECT) -> NewMessage:
    """The message that all contenders send, routed and built."""
    intent = Intent(
        kind="notification", source="call", subject=subject, text=messages.TEXT, to=(ADA,)
    )
    with state.app.app_context():
        settings = state.settings.current().settings
        return operations.compose(state, intent, Identity.fresh(), settings)


def copies(message: NewMessage, count: int, domains: int = 1) -> list[NewMessage]:
    """``message`` as ``count`` messages that are due now, each to a reader of its own.

    So many to one person would exceed the rate. The readers are in so many ``domains``.
    """
    now = clock.now()
    (ada,) = message.recipients
    made = []
    for number, id in enumerate(new_id() for _ in range(count)):
        part = f"d{number % domains}." if domains > 1 else ""
        reader = replace(ada, address=f"{id.hex}@{part}firm.example")
        made.append(
            message._replace(id=id, origin=id, created_at=now, due_at=now, recipients=(reader,))
        )
    return made


def fill(url: str, port: int, count: int, domains: int = 1) -> dict[str, float]:
    """Empty the outbox, then queue ``count`` messages to people in so many ``domains``."""
    state = host(url, port)
    message = composed(state)._replace(content=messages.finished())
    with state.database.writing() as connection:
        for table in ("recipient", "attempt", "delivery", "message"):
            connection.execute(sa.text(f"DELETE FROM interaction_mail_{table}"))
    for start in range(0, count, 1000):
        with state.database.writing() as connection:
            insert(connection, copies(message, min(1000, count - start), domains))
    return {}


def drain(
    url: str, port: int, count: int, first: int | None = None, *, counted: bool = True
) -> dict[str, Any]:
    """Deliver everything: messages a second, and how long their records took.

    ``first`` is how many connections to begin with; ``counted`` says whether the page Activity
    will know of it.
    ``recorded`` is about the time from the server's answer to the commit of its record.
    """
    concurrency._FIRST = first or concurrency._FIRST
    state = host(url, port)
    took: Counter[float] = Counter()
    ports = dispatcher_of(state)._ports
    tally = ports.tally if counted else lambda _: None
    dispatcher = Dispatcher(replace(ports, announce=_noting(ports.announce, took), tally=tally))
    gc.collect()
    gc.freeze()  # as `flask interaction-mail worker` does
    start = time.perf_counter()
    progress = dispatcher.drain()
    seconds = time.perf_counter() - start
    if progress.sent != count:
        raise SystemExit(f"sent {progress.sent} of {count}: {progress.held_up_by}")
    return {"rate": count / seconds, "recorded": _shares(took)}


def _noting(
    announce: Callable[[Sequence[AttemptResult]], None], took: Counter[float]
) -> Callable[[Sequence[AttemptResult]], None]:
    """``announce``, which is called after each commit, counting how old its messages' answers are.

    In tenths of ms: a number for each message would be a part of the memory that is measured.
    """

    def noting(verdicts: Sequence[AttemptResult]) -> None:
        now = clock.now()
        ages = (now - verdict.attempt.finished_at for verdict in verdicts if verdict.attempt)
        took.update(round(age.total_seconds() * 1e3, 1) for age in ages)
        announce(verdicts)

    return noting


def _shares(took: Counter[float]) -> dict[str, float]:
    """How many of them were within the promised time, and within how many ms how many were."""
    ages = sorted(took)
    within = dict(zip(ages, accumulate(took[age] for age in ages), strict=True))
    shares = {"half": 0.5, "95 %": 0.95, "99 %": 0.99, "all": 1.0}
    in_time = sum(count for age, count in took.items() if age <= PROMISED)
    return {f"within {PROMISED:g} ms, %": 100 * in_time / took.total()} | {
        f"{name}, ms": next(age for age, count in within.items() if count >= share * took.total())
        for name, share in shares.items()
    }


def settings_share(url: str, port: int, count: int) -> dict[str, float]:
    """What reading the settings costs a message while the queue is drained, in µs."""
    state = host(url, port)
    dispatcher = dispatcher_of(state)
    ports = dispatcher._ports
    spent: list[float] = []
    timed = replace(ports, settings=_timed(ports.settings, spent))
    sent = Dispatcher(timed).drain().sent
    if sent != count:
        raise SystemExit(f"sent {sent} of {count}")
    return {"per_message": sum(spent) / count * 1e6, "reads": len(spent)}


def settings_read(url: str, port: int, count: int) -> dict[str, float]:
    """One look at the settings, in µs: by itself, and on a connection that is held."""
    state = host(url, port)
    alone = _each(lambda: state.settings.current(), count)
    with state.database.reading() as connection:
        held = _each(lambda: state.settings.current(connection), count)
    return {"alone": alone, "held": held}


def _timed(function: Callable[[], Any], spent: list[float]) -> Callable[[], Any]:
    def timed() -> Any:
        start = time.perf_counter()
        try:
            return function()
        finally:
            spent.append(time.perf_counter() - start)

    return timed


def _each(function: Callable[[], object], count: int) -> float:
    function()
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        function()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6
