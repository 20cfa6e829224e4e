"""``bounces read``: what came back finds its message."""

from __future__ import annotations

import collections
import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NoReturn

import click
import sqlalchemy as sa

from .. import operations
from ..errors import InteractionMailError, TablesMissing, TransportError
from ..outbox.returned import DONE, Outcome
from ..returned import maildir
from ..returned.mbox import messages
from ..returned.reading import LIMIT
from ..state import State, state_of
from ..storage.database import DatabaseBusy
from .output import Commands, as_json, dump, main, say, warn

# What mail servers understand (sysexits.h). Windows, whose mail servers know none, has no names.
_NOT_OURS: Final = getattr(os, "EX_DATAERR", 65)
_TRY_AGAIN: Final = getattr(os, "EX_TEMPFAIL", 75)
_NOT_NOW: Final = (sa.exc.SQLAlchemyError, DatabaseBusy, TablesMissing)


_LINES: Final[Mapping[Outcome, str]] = {
    Outcome.NOTED: "reports noted",
    Outcome.KNOWN: "known already",
    Outcome.REPLIES: "automatic replies noted, and left where they were",
    Outcome.FOREIGN: "about no message of this application, and left where they were",
    Outcome.UNREADABLE: "that could not be read, and left where they were",
}


@main.group(cls=Commands)
def bounces() -> None:
    """Take in reports about mail that did not arrive, or did."""


@bounces.command()
@click.option(
    "--maildir",
    type=click.Path(path_type=Path),
    help="Read all messages of this maildir, instead of one from standard input.",
)
@click.option(
    "--mbox",
    type=click.Path(path_type=Path),
    help="Read all messages of this file, and leave them there.",
)
@click.option("--imap", is_flag=True, help="Read what is new in the mailbox of the settings, now.")
@as_json
def read(maildir: Path | None, mbox: Path | None, imap: bool, as_json: bool) -> None:
    """Read a message that came back, and note what it says of one of ours.

    \b
    The exit status tells a mail server what to do with the message:
      0   noted, now or before: it has done its duty
      65  it is about no message of this application, or cannot be read: keep it
      75  the database, or the mailbox, does not answer: try again later
    """
    if sum((maildir is not None, mbox is not None, imap)) > 1:
        raise click.UsageError("Give one of --maildir, --mbox and --imap.")
    state = state_of()
    if maildir is not None:
        _summary(_of_maildir(state, maildir), as_json)
    elif mbox is not None:
        _summary(collections.Counter(_taken(state, each) for each in messages(mbox)), as_json)
    elif imap:
        _summary(_of_imap(state), as_json)
    else:
        _of_input(state, as_json)


def _of_input(state: State, as_json: bool) -> None:
    given = io.BytesIO() if sys.stdin is None else sys.stdin.buffer  # None: it is closed
    outcome = _taken(state, given.read(LIMIT))
    while given.read(LIMIT):
        continue  # a mail server takes a pipe that breaks for a failure
    dump({"outcome": outcome}) if as_json else say(f"1 {_LINES[outcome]}")
    if outcome in (Outcome.FOREIGN, Outcome.UNREADABLE):
        sys.exit(_NOT_OURS)


def _of_maildir(state: State, folder: Path) -> collections.Counter[Outcome]:
    maildir.check(folder)
    counted = collections.Counter[Outcome]()
    for found in maildir.messages(folder):
        if isinstance(found, Path):
            counted[Outcome.UNREADABLE] += 1
            continue
        outcome = _taken(state, found.content)
        counted[outcome] += 1
        if outcome in DONE:
            try:
                maildir.put_away(folder, found.path)
            except OSError as error:
                warn(f"{found.path} stays where it is: {error.strerror}")
    return counted


def _of_imap(state: State) -> collections.Counter[Outcome]:
    from ..delivery import returning  # late: brings the wire

    try:
        counted = returning.look(state)
    except (TransportError, *_NOT_NOW) as error:
        _later(error)
    except returning.BrokenOff:
        counted = None
    if counted is None:
        _later(InteractionMailError("another process reads the mailbox at this moment"))
    return counted


def _summary(counted: collections.Counter[Outcome], as_json: bool) -> None:
    if as_json:
        dump({outcome: counted[outcome] for outcome in Outcome})
        return
    say(f"{counted.total()} messages")
    for outcome, line in _LINES.items():
        if counted[outcome]:
            say(f"  {counted[outcome]} {line}")


def _taken(state: State, content: bytes) -> Outcome:
    try:
        return operations.outcome_of_report(state, content)
    except _NOT_NOW as error:
        _later(error)


def _later(error: Exception) -> NoReturn:
    click.echo(f"Error: not now: {getattr(error, 'orig', None) or error}", err=True)
    sys.exit(_TRY_AGAIN)
