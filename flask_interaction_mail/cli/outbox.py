"""``outbox list|show|resend|release|cancel|purge|erase``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import click

from .. import clock, operations
from ..errors import InteractionMailError, SentAgain, StillWaiting
from ..outbox import queries, retention
from ..outbox.recipients import recipients_of
from ..state import State, state_of
from ..values import Status
from .output import Commands, MessageId, as_json, dump, fail, main, operator, pairs, say, table

_TIMES: Final = ("created_at", "due_at", "expires_at", "finished_at", "started_at")
_SAID: Final = ("server", "result", "stage", "reply")  # of an attempt
_ids = click.argument("ids", nargs=-1, required=True, type=MessageId())


@main.group(cls=Commands)
def outbox() -> None:
    """See messages and decide about them."""


@outbox.command("list")
@click.option("--status", multiple=True, type=click.Choice([str(status) for status in Status]))
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@as_json
def list_(status: Sequence[str], limit: int, as_json: bool) -> None:
    """List messages, newest first."""
    with state_of().database.reading() as connection:
        rows = queries.newest(connection, limit, statuses=status)
        found = recipients_of(connection, [row.id for row in rows])
    lines = [(row, [to.address for to in found.get(row.id, ())]) for row in rows]
    if as_json:
        dump([{**_plain(row._mapping), "recipients": to} for row, to in lines])
        return
    table(
        ("id", "created", "status", "reason", "to", "subject"),
        [
            (row.id, clock.from_db(row.created_at), row.status, row.reason, to, row.subject[:60])
            for row, to in lines
        ],
    )


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(row)
    for name in _TIMES:
        if values.get(name) is not None:
            values[name] = clock.from_db(values[name])
    return values


@outbox.command()
@click.argument("id", type=MessageId())
@as_json
def show(id: uuid.UUID, as_json: bool) -> None:
    """Show one message: its route, each recipient with the server's reply, the attempts."""
    with state_of().database.reading() as connection:
        details = queries.details(connection, id)
    if details is None:
        fail(f"There is no message {id}.")
    values = _plain(details.row._mapping)
    values["route"] = [str(step) for step in details.route]
    if as_json:
        dump(_all_of(details, values))
        return
    route = values.pop("route")
    pairs((name.replace("_", " "), value) for name, value in values.items())
    say("\nRoute:")
    for sentence in route:
        say(f"  {sentence}")
    _show_people(details)


def _all_of(details: queries.Details, values: dict[str, Any]) -> dict[str, Any]:
    return {
        **values,
        "recipients": [
            {
                name: getattr(to, name)
                for name in ("field", "name", "address", "status", "reply", "report")
            }
            for to in details.recipients
        ],
        "attempts": [
            {**_plain(attempt.row), "verdicts": attempt.replies} for attempt in details.attempts
        ],
        "resent_as": [copy.id for copy in reversed(details.resends)],
        "resends": [
            {"id": copy.id, "at": clock.from_db(copy.at), "by": copy.by} for copy in details.resends
        ],
    }


def _show_people(details: queries.Details) -> None:
    if details.resends:
        say("\nSent again:")
        rows = [(copy.id, clock.from_db(copy.at), copy.by) for copy in details.resends]
        table(("as", "at", "by"), rows)
    say("\nRecipients:")
    table(
        ("field", "address", "status", "reply", "report"),
        [(to.field, to.address, to.status, to.reply, to.report) for to in details.recipients],
    )
    if details.attempts:
        say("\nAttempts:")
        table(
            ("at", *_SAID),
            [
                (clock.from_db(row["started_at"]), *map(row.get, _SAID))
                for row in (attempt.row for attempt in details.attempts)
            ],
        )


@outbox.command()
@_ids
@click.option("--again", is_flag=True, help="Send also what was sent again before.")
def resend(ids: Sequence[uuid.UUID], again: bool) -> None:
    """Decide about recipients and sender anew, and send new messages.

    Only what is sent, failed, suppressed or cancelled is sent again.
    """
    _each(ids, _resend_once_more if again else _resend)


def _resend_once_more(state: State, id: uuid.UUID) -> str:
    try:
        return _resend(state, id)
    except SentAgain as error:
        return _resend(state, id, after=error.newest)


def _resend(state: State, id: uuid.UUID, *, after: uuid.UUID | None = None) -> str:
    try:
        sent = operations.resend(state, id, by=operator(), after=after)
    except StillWaiting as error:
        raise InteractionMailError(f"{id} is not sent again. {error}") from error
    except SentAgain as error:
        text = f"{id} is not sent again. {error} --again sends it once more."
        raise SentAgain(text, newest=error.newest) from error
    except LookupError as error:
        raise InteractionMailError(str(error.args[0])) from error
    except ValueError as error:
        if isinstance(error, InteractionMailError):
            raise
        raise InteractionMailError(f"{id} cannot be sent again: {error}") from error
    return f"{id} is sent again as {sent.id}."


@outbox.command()
@_ids
def release(ids: Sequence[uuid.UUID]) -> None:
    """Send held messages as they are."""

    def one(state: State, id: uuid.UUID) -> str:
        if not operations.release(state, id, by=operator()):
            raise InteractionMailError(
                f"{id} is not held, is in a digest that is on its way, or has no content to send."
            )
        return f"{id} is released."

    _each(ids, one)


@outbox.command()
@_ids
def cancel(ids: Sequence[uuid.UUID]) -> None:
    """Call back messages that have not left."""

    def one(state: State, id: uuid.UUID) -> str:
        if not operations.cancel(state, id, by=operator()):
            raise InteractionMailError(
                f"{id} does not wait any more, is in a digest that is on its way, "
                "or there is no such message."
            )
        return f"{id} is cancelled."

    _each(ids, one)


def _each(ids: Iterable[uuid.UUID], act: Callable[[State, uuid.UUID], str]) -> None:
    """Do it with every id; those that cannot be done are told together at the end."""
    state, errors = state_of(), []
    for id in dict.fromkeys(ids):
        try:
            say(act(state, id))
        except InteractionMailError as error:
            errors.append(str(error))
    if errors:
        fail("\n  ".join(errors))


@outbox.command()
def purge() -> None:
    """Remove texts and messages that are older than the retention times."""
    removed = operations.purge(state_of())
    say(f"Removed {removed.bodies} texts, {removed.messages} messages, {removed.checks} tests.")


@outbox.command()
@click.argument("address")
@click.confirmation_option(prompt="Texts and names of these messages are lost for ever. Go on?")
def erase(address: str) -> None:
    """Remove ADDRESS, and what was sent to it or on its behalf, from all messages.

    Messages to it that still wait are cancelled.
    """
    state = state_of()
    erased = retention.erase(state.database, address, now=clock.now())
    say(f"Erased from {erased.messages} messages and {erased.checks} tests.")
    if state.database.dialect_name == "sqlite":
        say("VACUUM the database to clear it from the free space of the file as well.")
    if erased.in_flight:
        fail(f"{erased.in_flight} messages are being sent at this moment: say it again later.")
    if erased.in_settings:
        fail("It also stands in the settings, or in former revisions of them, and stays there.")
