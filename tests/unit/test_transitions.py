"""The table of transitions: what it allows, that nothing goes around it, and what the docs say."""

from __future__ import annotations

import ast
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import flask_interaction_mail
from flask_interaction_mail.delivery.resolution import Resolver, expired, poisoned
from flask_interaction_mail.delivery.retry import LAST_ATTEMPT
from flask_interaction_mail.outbox import transitions
from flask_interaction_mail.outbox.claimed import AttemptResult, Claimed
from flask_interaction_mail.outbox.transitions import RECORDED, TABLE, Transition
from flask_interaction_mail.outcome import Reply, Result, Stage
from flask_interaction_mail.storage.tables import DELIVERY, RECIPIENT
from flask_interaction_mail.transport.base import Envelope, TransportResult
from flask_interaction_mail.values import ENDED, OF_MESSAGES, OPEN, UNDERWAY, Reason, Status

PACKAGE = Path(flask_interaction_mail.__file__).parent
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC).replace(tzinfo=None)


# -- what it allows ----------------------------------------------------------------------


def test_every_status_can_be_reached_and_the_ended_ones_stay() -> None:
    """From storing on; of what has ended only a digest that is sent again changes something."""
    reached: set[Status] = set()
    for _ in TABLE:
        reached |= {
            target
            for step in TABLE
            for target in step.targets
            if not step.sources or reached & {*step.sources}
        }
    assert reached == {*OF_MESSAGES}
    leaving = {status: [step for step in TABLE if status in step.sources] for status in OF_MESSAGES}
    again = [transitions.DIGEST_DONE]
    assert leaving[Status.FAILED] == leaving[Status.CANCELLED] == again
    assert leaving[Status.SENT] == [transitions.ADOPTED]
    assert leaving[Status.SUPPRESSED] == []
    assert {*OF_MESSAGES} - {status for status, steps in leaving.items() if steps} <= {*ENDED}


def test_the_groups_of_statuses_are_those_of_the_table() -> None:
    """What a worker may claim, what goes on by itself, and what has ended."""
    assert {*OPEN} == {*transitions.CLAIMED.sources} - {Status.SENDING}
    assert {*UNDERWAY} == {*transitions.CLAIMED.sources}
    assert {*ENDED} | {*UNDERWAY} | {Status.HELD} == {*OF_MESSAGES}
    assert [status for status in OF_MESSAGES if not status.final] == [*UNDERWAY]


@pytest.mark.parametrize("step", TABLE, ids=lambda step: step.event)
@pytest.mark.parametrize("status", Status)
def test_a_step_writes_what_the_table_allows_and_refuses_the_rest(
    step: Transition, status: Status
) -> None:
    """Where a statement is built, so at the latest when its module is imported."""
    if status in step.targets:
        assert step.to(status) == {"status": status}
        step.choose((sa.true(), status), otherwise=status)
        return
    with pytest.raises(ValueError, match=status):
        step.to(status)
    with pytest.raises(ValueError, match=status):
        step.choose((sa.true(), status), otherwise=step.targets[0])
    with pytest.raises(ValueError, match=status):
        step.choose((sa.true(), step.targets[0]), otherwise=status)


@pytest.mark.parametrize("step", [step for step in TABLE if step.sources], ids=lambda s: s.event)
def test_the_guard_lets_the_sources_through_alone(step: Transition) -> None:
    """In SQL, for messages and for the recipients that take part."""
    assert _let_through(step.possible, DELIVERY) == {*step.sources}
    if step.recipients:
        assert _let_through(step.possible_for_recipient, RECIPIENT) == {*step.recipients}


def _let_through(guard: sa.ColumnElement[bool], table: sa.Table) -> set[Status]:
    condition = guard.compile(compile_kwargs={"literal_binds": True})
    row = f"SELECT 1 FROM (SELECT :status AS status) AS {table.name} WHERE {condition}"
    with sa.create_engine("sqlite://").connect() as connection:
        return {
            status
            for status in Status
            if connection.scalar(sa.text(row), {"status": status.value}) is not None
        }


# -- that nothing goes around it ---------------------------------------------------------


def writes_of_a_status(code: str) -> Iterator[int]:
    """The lines of ``code`` in which a statement gets a status that is not from the table."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Call(func=ast.Attribute(attr="values") | ast.Name(id="Change" | "dict")):
                yield from (named.lineno for named in node.keywords if named.arg == "status")
            case ast.Dict():
                yield from (
                    key.lineno
                    for key in node.keys
                    if isinstance(key, ast.Constant) and key.value == "status"
                )


# What is read, shown or stored for the first time; no statement changes a row with these.
READERS = {
    "messages/message.py": 2,
    "cli/output.py": 1,
    "admin/texts.py": 2,
    "monitoring/exposition.py": 1,
    "outbox/filters.py": 1,
}


def test_no_other_module_writes_a_status() -> None:
    """All of the package is read; a new row gets its first status in ``messages/message.py``."""
    found = {
        str(path.relative_to(PACKAGE)): len([*writes_of_a_status(path.read_text("utf-8"))])
        for path in PACKAGE.rglob("*.py")
        if path.name != "transitions.py"
    }
    assert {name: count for name, count in found.items() if count} == READERS


@pytest.mark.parametrize(
    "code",
    [
        "sa.update(DELIVERY).values(status=Status.SENT)",
        "Change(rows, status=Status.SENT)",
        "values = {'status': Status.SENT}",
        "values = dict(status=Status.SENT)",
    ],
)
def test_a_write_beside_the_table_would_be_found(code: str) -> None:
    """However it is written; what comes from the table is not."""
    assert [*writes_of_a_status(code)] == [1]
    assert [*writes_of_a_status("sa.update(DELIVERY).values(**RELEASED.to(Status.QUEUED))")] == []


def test_every_step_is_taken_somewhere() -> None:
    """A row of the table that no statement uses would say something that never happens."""
    names = {name for name, value in vars(transitions).items() if isinstance(value, Transition)} - {
        "STORED"
    }
    assert len(names) == len(TABLE) - 1
    used = {
        node.id
        for path in PACKAGE.rglob("*.py")
        if path.name != "transitions.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Name)
    }
    assert names <= used


# -- what an attempt may come to ---------------------------------------------------------

ACCEPTED = Reply(250, "2.0.0", "taken")
REPLIES = (ACCEPTED, Reply(451, "4.2.0", "later"), Reply(550, "5.1.1", "unknown"))
ADA, BEN = PEOPLE = ("ada@firm.example", "ben@firm.example")
DIGEST = uuid.uuid4()


def claimed(**changes: Any) -> Claimed:
    values: dict[str, Any] = {
        "id": uuid.uuid4(),
        "fence": 1,
        "attempts": 0,
        "created_at": NOW,
        "expires_at": None,
        "kind": "notification",
        "source": "call",
        "actor": None,
        "resent": False,
        "before": {},
        "lost_before": False,
        "places": tuple(enumerate(PEOPLE)),
        "envelope": Envelope(sender="crm@firm.example", recipients=PEOPLE, content=b"x"),
    }
    return Claimed(**(values | changes))


def resolved(message: Claimed, result: Result, *replies: Reply, hold: bool) -> AttemptResult:
    """What is written down where each of the two recipients got one of ``replies``."""
    outcome = TransportResult(
        result=result,
        stage=Stage.CONTENT,
        reply=replies[0],
        verdicts=dict(zip(PEOPLE, replies, strict=True)),
    )
    resolver = Resolver(server="mail:25", hold=hold, diverted_to=None, sender=None)
    return resolver.resolve(message, outcome, started_at=NOW, finished_at=NOW, chance=0.0)


@pytest.mark.parametrize("digest", [None, DIGEST], ids=["alone", "in a digest, too"])
@pytest.mark.parametrize("hold", [False, True], ids=["retry", "hold"])
@pytest.mark.parametrize("attempts", [0, LAST_ATTEMPT - 1])
def test_every_attempt_comes_to_what_the_table_allows(
    digest: uuid.UUID | None, hold: bool, attempts: int
) -> None:
    """Whatever the server says of one recipient and of the other."""
    message = claimed(digest=digest, attempts=attempts)
    results = [
        resolved(message, result, first, second, hold=hold)
        for result in Result
        for first in REPLIES
        for second in REPLIES
    ]
    results.append(poisoned(message, RuntimeError(), NOW))
    late = expired(claimed(expires_at=NOW, digest=digest), NOW)
    assert late is not None
    for result in [*results, late]:
        assert result.status in RECORDED.targets
        assert {status for status, _ in result.recipients.values()} <= {*RECORDED.targets}


def test_a_message_that_is_in_a_digest_as_well_is_held_until_that_is_done() -> None:
    """Sent to all others it waits; one who was refused has failed, whatever comes of the digest."""
    message = claimed(digest=DIGEST)
    sent = resolved(message, Result.ACCEPTED, ACCEPTED, ACCEPTED, hold=False)
    assert (sent.status, sent.reason) == (Status.HELD, Reason.RATE)
    assert sent.detail == f"It is in the digest {DIGEST}."
    assert sent.taken
    failed = resolved(message, Result.ACCEPTED, ACCEPTED, REPLIES[2], hold=False)
    assert (failed.status, failed.reason) == (Status.FAILED, Reason.REFUSED)
    assert failed.detail == "550 5.1.1 unknown"
    assert not failed.taken


# -- what the docs say -------------------------------------------------------------------


def test_the_docs_show_the_table() -> None:
    """Row by row, in its order."""
    rows = [
        f"| {step.event} | {', '.join(step.sources) or '–'} | {', '.join(step.targets)} |"
        for step in TABLE
    ]
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text("utf-8")
    assert "\n".join(["| event | before | after |", "|---|---|---|", *rows, ""]) in text
