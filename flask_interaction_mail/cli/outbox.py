"""``outbox list|count|show|resend|release|cancel|purge|erase``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast

import click

from .. import clock, operations
from ..api.outbox import Outbox, OutboxFilter
from ..errors import InteractionMailError, SentAgain, StillWaiting
from ..outbox import queries, retention
from ..state import State, state_of
from ..values import Notification, Reason, Status
from .output import Commands, MessageId, as_json, dump, fail, main, operator, pairs, say, table

_TIMES: Final = ("created_at", "due_at", "expires_at", "finished_at", "started_at")
_SAID: Final = ("server", "result", "stage", "reply")  # of an attempt


class _Done(NamedTuple):
    """What was done with a message: in a sentence, and for a program."""

    text: str
    facts: dict[str, object]


_ids = click.argument("ids", nargs=-1, required=True, type=MessageId())


@main.group(cls=Commands)
def outbox() -> None:
    """See messages and decide about them."""


class _Moment(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic since 8.4
    """A day, or a moment with its offset; without one in UTC."""

    name = "moment"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not such as 2026-11-29 or 2026-11-29T13:00+01:00", param, ctx)
        return found.replace(tzinfo=found.tzinfo or UTC)


def _metadata(
    ctx: click.Context, param: click.Parameter, values: Sequence[str]
) -> dict[str, str] | None:
    pairs = [value.partition("=") for value in values]
    if any(not sign for _, sign, _ in pairs):
        raise click.BadParameter("write NAME=VALUE", ctx, param)
    return {name: value for name, _, value in pairs} or None


_FILTERS: Final = (
    click.option("--status", multiple=True, type=click.Choice([str(one) for one in Status])),
    click.option("--reason", type=click.Choice([str(one) for one in Reason])),
    click.option("--kind", help="The kind of the message."),
    click.option("--relay", help="The name of the relay that has it, or is to have it."),
    click.option("--to", help="The whole address of a recipient."),
    click.option("--text", help="Is in the subject, or in a recipient's name or address."),
    click.option("--message-id", help="Its Message-ID."),
    click.option("--provider-id", help="The name that a provider gave it, such as Amazon SES."),
    click.option("--metadata", multiple=True, callback=_metadata, metavar="NAME=VALUE"),
    click.option("--since", type=_Moment(), help="Queued then or later."),
    click.option("--until", type=_Moment(), help="Queued before."),
)


def _filtered(command: Callable[..., None]) -> Callable[..., None]:
    """The options of ``OutboxFilter`` for ``command``."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


def _given(wanted: Mapping[str, Any]) -> OutboxFilter:
    return cast(OutboxFilter, {name: value for name, value in wanted.items() if value})


@outbox.command("list")
@_filtered
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@as_json
def list_(limit: int, as_json: bool, **wanted: Any) -> None:
    """List messages, newest first. All filters that are given have to fit."""
    found = Outbox().query(limit=limit, **_given(wanted))
    if as_json:
        dump([_listed(one) for one in found])
        return
    table(
        ("id", "created", "status", "reason", "to", "subject"),
        [
            (one.id, one.created_at, one.status, one.reason, _addresses(one), one.subject[:60])
            for one in found
        ],
    )


def _listed(one: Notification) -> dict[str, object]:
    names = (
        "id",
        "created_at",
        "kind",
        "status",
        "reason",
        "subject",
        "priority",
        "metadata",
        "relay",
    )
    return {**{name: getattr(one, name) for name in names}, "recipients": _addresses(one)}


def _addresses(one: Notification) -> list[str]:
    return [to.address for to in one.recipients]


@outbox.command()
@_filtered
@as_json
def count(as_json: bool, **wanted: Any) -> None:
    """Count messages. All filters that are given have to fit."""
    number = Outbox().count(**_given(wanted))
    if as_json:
        dump({"count": number})
    else:
        say(str(number))


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
@as_json
def resend(ids: Sequence[uuid.UUID], again: bool, as_json: bool) -> None:
    """Decide about recipients and sender anew, and send new messages.

    Only what is sent, failed, suppressed or cancelled is sent again.
    """
    _each(ids, _resend_once_more if again else _resend, as_json=as_json)


def _resend_once_more(state: State, id: uuid.UUID) -> _Done:
    try:
        return _resend(state, id)
    except SentAgain as error:
        return _resend(state, id, after=error.newest)


def _resend(state: State, id: uuid.UUID, *, after: uuid.UUID | None = None) -> _Done:
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
    return _Done(f"{id} is sent again as {sent.id}.", {"resent_as": sent.id})


@outbox.command()
@_ids
@as_json
def release(ids: Sequence[uuid.UUID], as_json: bool) -> None:
    """Send held messages as they are."""

    def one(state: State, id: uuid.UUID) -> _Done:
        if not operations.release(state, id, by=operator()):
            raise InteractionMailError(
                f"{id} is not held, is in a digest that is on its way, or has no content to send."
            )
        return _Done(f"{id} is released.", {"released": True})

    _each(ids, one, as_json=as_json)


@outbox.command()
@_ids
@as_json
def cancel(ids: Sequence[uuid.UUID], as_json: bool) -> None:
    """Call back messages that have not left."""

    def one(state: State, id: uuid.UUID) -> _Done:
        if not operations.cancel(state, id, by=operator()):
            raise InteractionMailError(
                f"{id} does not wait any more, is in a digest that is on its way, "
                "or there is no such message."
            )
        return _Done(f"{id} is cancelled.", {"cancelled": True})

    _each(ids, one, as_json=as_json)


def _each(
    ids: Iterable[uuid.UUID], act: Callable[[State, uuid.UUID], _Done], *, as_json: bool
) -> None:
    """Do it with every id; those that cannot be done are told together at the end."""
    state, facts, errors = state_of(), list[dict[str, object]](), []
    for id in dict.fromkeys(ids):
        try:
            done = act(state, id)
        except InteractionMailError as error:
            errors.append(str(error))
            facts.append({"id": id, "error": str(error)})
            continue
        facts.append({"id": id, **done.facts})
        if not as_json:
            say(done.text)
    if as_json:
        dump(facts)
    if errors:
        fail("\n  ".join(errors))


@outbox.command()
@as_json
def purge(as_json: bool) -> None:
    """Remove texts and messages that are older than the retention times."""
    removed = operations.purge(state_of())
    if as_json:
        dump(asdict(removed))
        return
    say(f"Removed {removed.bodies} texts, {removed.messages} messages, {removed.checks} tests.")


@outbox.command()
@click.argument("address")
@click.confirmation_option(prompt="Texts and names of these messages are lost for ever. Go on?")
@as_json
def erase(address: str, as_json: bool) -> None:
    """Remove ADDRESS, and what was sent to it or on its behalf, from all messages.

    Messages to it that still wait are cancelled.
    """
    state = state_of()
    erased = retention.erase(state.database, address, now=clock.now())
    if as_json:
        dump(asdict(erased))
    else:
        say(f"Erased from {erased.messages} messages and {erased.checks} tests.")
    if not as_json and state.database.dialect_name == "sqlite":
        say("VACUUM the database to clear it from the free space of the file as well.")
    if erased.in_flight:
        fail(f"{erased.in_flight} messages are being sent at this moment: say it again later.")
    if erased.in_settings:
        fail("It also stands in the settings, or in former revisions of them, and stays there.")
