"""The mailbox with returned mail as this process may read it, and a look that changes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from ..errors import UnreadableReport
from ..language import mark
from ..outbox import returned
from ..returned.reading import LIMIT
from ..returned.reading import read as read_report
from ..settings.layers import InForce
from ..settings.mailbox import Mailbox
from ..settings.model import Origin
from ..state import State
from ..transport.imap.session import ImapSession
from ..transport.smtp.timeouts import Until
from .tokens import tokens_for_test

_BATCH: Final = 500  # messages whose structures are asked for together
_TESTED: Final = 1000  # messages, the newest, that a test looks at
_TEST: Final = 60.0  # s for a test


class Tested(NamedTuple):
    """What a test has seen: how many messages, reports among them, and reports about ours.

    ``all`` are in the folder, of which the newest ``messages`` were looked at. ``moves`` is
    whether the server can move what was noted.
    """

    all: int
    messages: int
    reports: int
    ours: int
    moves: bool


def closed_by(state: State, present: InForce) -> str:
    """Why this process reads no mailbox, although one is set; "" if it may.

    What a copy of an application reads, and moves, is missing from the original.
    """
    if state.suppressed:
        return mark("This application suppresses sending, so it does not read the mailbox either.")
    if state.config.transport.stands_in:
        return mark(
            "INTERACTION_MAIL_TRANSPORT puts something in the place of the mail server, so the "
            "mailbox is not read either."
        )
    own = present.origins["returns_server"] is Origin.OVERRIDE
    if not own and (apart := _apart(present)):
        return mark(
            "INTERACTION_MAIL_OVERRIDES sets %(names)s here, as in a copy of an application, so "
            "the mailbox is not read: set returns_server beside it.",
            names=", ".join(apart),
        )
    return ""


def _apart(present: InForce) -> list[str]:
    """What keeps the mail of this deployment alone from leaving as that of the others does."""
    return [
        name
        for name in ("smtp_server", "region", "paused", "divert_to")
        if present.origins[name] is Origin.OVERRIDE and getattr(present.settings, name)
    ]


def test(state: State, mailbox: Mailbox) -> Tested:
    """Look at the newest messages of ``mailbox``; nothing is noted, and nothing changes there.

    Raises:
        TransportError: it cannot be read.
    """
    tokens = tokens_for_test(state)
    session = ImapSession(
        mailbox=mailbox,
        limit=LIMIT,
        policy=state.connect_policy,
        tokens=tokens,
        until=Until.within(_TEST),
    )
    with session:
        folder = session.open(mailbox.folder, read_only=True)
        uids = session.uids_from(1)[-_TESTED:] if folder.messages else []
        reports = [
            found for batch in batches(uids) for found in session.look(batch) if found.is_report
        ]
        contents = (session.content(found.uid) for found in reports)
        ours = sum(_is_ours(state, content) for content in contents if content)
    return Tested(folder.messages, len(uids), len(reports), ours, session.moves)


def _is_ours(state: State, content: bytes) -> bool:
    try:
        report = read_report(content)
    except UnreadableReport:
        return False
    with state.database.reading() as connection:
        return returned.is_ours(connection, report)


def batches(uids: Sequence[int]) -> Iterator[list[int]]:
    """``uids`` in parts, each of which is asked for together."""
    rest = iter(uids)
    while batch := list(islice(rest, _BATCH)):
        yield batch
