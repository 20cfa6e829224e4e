"""The week before the demo, as the extension has it in a database.

``FIM_LONG=1`` plays it on each kind of database instead of SQLite, on which the demo runs.
"""

from __future__ import annotations

import email
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa

from example_app import create_app, past, week
from example_app.extensions import db
from example_app.past import dated
from example_app.seed import PASSWORD, seed
from flask_interaction_mail import Status, clock, models
from flask_interaction_mail.catcher import Catcher, Inbox
from flask_interaction_mail.monitoring import alerts, history
from flask_interaction_mail.outbox import tally
from flask_interaction_mail.outbox.deeds import Deed
from flask_interaction_mail.settings.store import Revision
from flask_interaction_mail.state import state_of
from flask_interaction_mail.values import OF_MESSAGES
from tests.databases import DIALECTS, fresh_database
from tests.length import LONG

URL = "http://127.0.0.1:5000/"
ALICE, HENRIK = "Alice Moreau", "Henrik Lund"
SECOND = timedelta(seconds=1)


@dataclass
class Played:
    """The application after its week, and the mail server of that week."""

    app: Any
    catcher: Catcher
    now: datetime  # naive UTC, when the week was over

    def rows(self, query: sa.Select[Any]) -> list[Any]:
        with self.app.app_context():
            return list(db.session.execute(query))

    def messages(self) -> list[models.MessageRow]:
        return [row for (row,) in self.rows(sa.select(models.MessageRow))]

    def attempts(self, subject: str) -> list[models.AttemptRow]:
        attempt, message = models.AttemptRow, models.MessageRow
        query = sa.select(attempt).join(message, message.id == attempt.message_id)
        found = query.where(message.subject == subject).order_by(attempt.number)
        return [row for (row,) in self.rows(found)]

    def history(self) -> list[Any]:
        with self.app.app_context():
            return [entry.event for entry in history.page(state_of()).entries]

    def page(self, path: str) -> str:
        client = self.app.test_client()
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', client.get("/login").text)[1]
        client.post("/login", data={"login": "amoreau", "password": PASSWORD, "csrf_token": token})
        answer = client.get(path)
        assert answer.status_code == 200
        return answer.text


@pytest.fixture(scope="module", params=DIALECTS if LONG else ["sqlite"])
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Played]:
    folder = tmp_path_factory.mktemp("week")
    with (
        fresh_database(request.param, folder) as url,
        Catcher(Inbox(folder / "inbox")) as catcher,
    ):
        app = create_app(
            {
                "SECRET_KEY": "k" * 32,
                "SQLALCHEMY_DATABASE_URI": url,
                "INTERACTION_MAIL_DELIVERY": "sync",
            }
        )
        with app.app_context():
            db.create_all()
            seed()
        week.refuse_as_usual(catcher)
        week.play(app, URL, catcher)
        yield Played(app, catcher, clock.now())
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


def test_messages_have_come_to_everything_that_a_message_can_come_to(played: Played) -> None:
    """Each status but *sending*, and the reasons that need no broken program."""
    found = played.messages()
    assert {row.status for row in found} == set(OF_MESSAGES) - {Status.SENDING}
    assert {row.reason for row in found if row.reason} == {
        *("ambiguous", "expired", "ineligible", "merged", "not_configured", "rate", "refused"),
        "withdrawn",
    }
    sources = {"call", "merge_denied", "merge_completed", "flask_mail", "digest"}
    assert {row.source for row in found} == sources
    assert any(row.resend_of for row in found)


def test_the_week_is_over_and_lasted_a_week(played: Played) -> None:
    """Something was sent on each day, nothing ended in the future, and what waits will leave."""
    found = played.messages()
    days = {row.created_at.date() for row in found}
    assert len(days) >= week.DAYS
    assert min(row.created_at for row in found) > played.now - timedelta(days=week.DAYS + 1)
    assert all(row.created_at < played.now for row in found)
    assert all(row.finished_at < played.now for row in found if row.finished_at)
    waiting = [row for row in found if row.status in ("queued", "deferred")]
    assert all(row.due_at > played.now - timedelta(minutes=1) for row in waiting)


def test_what_is_tried_again_is_tried_when_it_is_due(played: Played) -> None:
    """The second attempt comes a minute after the first, the third five minutes later."""
    seats = played.attempts("Your seats at the reception")
    waits = [later.started_at - sooner.finished_at for sooner, later in pairwise(seats)]
    assert len(waits) > 3
    for wait, minutes in zip(waits, (1, 5, 15, 30), strict=False):
        least = timedelta(minutes=minutes)
        assert least <= wait <= least * 1.2 + 2 * SECOND


def test_a_message_bears_the_date_of_its_time(played: Played) -> None:
    """In the outbox it is when it was made, in the inbox it is not after it came."""
    for row in played.messages():
        if row.content and row.kind not in ("reminder", "newsletter"):  # which say when they leave
            date = parsedate_to_datetime(email.message_from_bytes(row.content)["Date"])
            assert abs(clock.to_db(date) - row.created_at) < 2 * SECOND
    letters = list(played.catcher.inbox)
    assert len(letters) > 40
    for letter in letters:
        came = datetime.fromtimestamp(int(letter.key) / 1e9, UTC)
        assert abs(parsedate_to_datetime(letter.header("Date")) - came) < timedelta(hours=2)
    assert [letter.key for letter in letters] == sorted(
        (letter.key for letter in letters), reverse=True
    )


def test_two_people_have_looked_after_it(played: Played) -> None:
    """Revisions, tests with both ends, and deeds, by Alice and by Henrik."""
    events = played.history()
    revisions = [event for event in events if isinstance(event, Revision)]
    assert [event.revision for event in revisions] == [4, 3, 2, 1]
    assert {event.by for event in revisions} == {ALICE, HENRIK}
    deeds = {(event.what, event.by) for event in events if isinstance(event, Deed)}
    assert deeds == {
        ("resent", ALICE),
        ("exported", ALICE),
        ("released", HENRIK),
        ("cancelled", HENRIK),
    }
    verdicts = {event.verdict for event in events if not isinstance(event, Revision | Deed)}
    assert verdicts == {"passed", "failed"}


def test_the_server_was_in_trouble_and_is_not(played: Played) -> None:
    """A probe has failed and an alert was told; both are over, and nothing is left to tell."""
    check = models.CheckRow
    (probe,) = played.rows(sa.select(check.verdict).where(check.kind == "probe"))
    (breaker,) = played.rows(sa.select(check.verdict).where(check.kind == "breaker"))
    assert (probe.verdict, breaker.verdict) == ("failed", "closed")
    ((alert,),) = played.rows(sa.select(models.AlertRow))
    assert alert.name == "server"
    assert alert.began_at < alert.ended_at < played.now
    assert alert.told == alert.fence
    with played.app.app_context():
        assert alerts.health(state_of()).fine


def test_what_was_counted_is_what_was_sent(played: Played) -> None:
    """The counts went back in time with the messages, and none met another on the way."""
    with played.app.app_context(), state_of().database.reading() as connection:
        rows = tally.not_merged(connection, played.now - timedelta(days=week.DAYS + 1))
    counted = [(at, sent) for what, at, _, _, sent, *_ in rows if what == "total"]
    counted += played.rows(
        sa.select(models.ActivityRow.at, models.ActivityRow.sent).filter_by(what="total")
    )
    delivered = sum(row.status == Status.SENT for row in played.messages())
    assert sum(sent for _, sent in counted) == delivered
    assert min(at for at, _ in counted) < played.now - timedelta(days=week.DAYS - 1)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", f"Tested by {HENRIK}"),
        ("outbox/", "Your seats at the reception"),
        ("activity/?last=week", "The mailbox is over its quota"),
        ("history/", "Henrik Lund"),
        ("coverage/", "Librarians"),
        ("coverage/", week.FORMER),
        ("returned/", "they have left the company"),
    ],
)
def test_the_tabs_show_it(played: Played, path: str, words: str) -> None:
    """Each of them has something of the week, and the line of state says what waits."""
    page = played.page(f"/admin/messaging/{path}")
    assert words in page
    assert "oldest" in page.lower()


def test_a_database_with_mail_has_had_its_week(played: Played) -> None:
    """A second demo on the same data adds nothing."""
    assert week.has_mail(played.app)


def test_the_log_is_as_it_was(played: Played) -> None:
    """What the week had to be silent about is logged again afterwards."""
    assert logging.getLogger("flask_interaction_mail").level == logging.NOTSET


def test_a_date_goes_back() -> None:
    """Only the header field of the message, and only the first one."""
    content = b"To: a@b.example\r\nDate: Sun, 29 Nov 2026 10:00:00 +0000\r\n\r\nDate: today\r\n"
    assert dated(content, timedelta(days=1)) == content.replace(b"Sun, 29", b"Sat, 28")
    assert past.dated(b"To: a@b.example\r\n\r\nx\r\n", timedelta(days=1)).endswith(b"x\r\n")
