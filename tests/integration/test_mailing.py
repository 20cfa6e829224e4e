"""``send_each``: one message for each of many people, stored batch by batch."""

from __future__ import annotations

import email
import email.policy
import json
import tracemalloc
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import flask_mail
import pytest
import sqlalchemy as sa
from jinja2 import ChoiceLoader, DictLoader

from flask_interaction_mail import (
    ArgumentError,
    Contact,
    ContentError,
    HeaderError,
    InteractionMailError,
    MessagingNotConfigured,
    Notification,
    Party,
    Priority,
    Role,
    Sent,
    TemplateMissing,
    cancel_notification,
    clock,
    get_notification,
    notification_queued,
    send_each,
    send_notification,
)
from flask_interaction_mail.storage.tables import DELIVERY, MESSAGE, METADATA, RECIPIENT
from tests.catcher import Catcher
from tests.host import Host, opened

PAIR: dict[str, Any] = {
    "contacts": [Contact("17", "Acme", location="Sales"), Contact("42", "ACME", location="Sales")],
    "requester": "Bob Stone",
    "requester_address": "bob@firm.example",
    "reason": "They look alike.",
}
PEOPLE = [Party(f"Person {number}", f"p{number}", id=number) for number in range(5)]
pytestmark = pytest.mark.usefixtures("catcher")  # which gets the mail of each host


@pytest.fixture
def any_host(any_host: Host) -> Iterator[Host]:
    """Within its application context."""
    with any_host.app.app_context():
        yield any_host


@pytest.fixture
def host(host: Host) -> Iterator[Host]:
    """Within its application context."""
    with host.app.app_context():
        yield host


def parsed(row: Any) -> EmailMessage:
    message = email.message_from_bytes(row.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def numbers(sent: Sent) -> tuple[int, int, int, int]:
    return sent.queued, sent.known, sent.suppressed, sent.failed


def test_each_person_gets_a_message_of_their_own(any_host: Host, catcher: Catcher) -> None:
    """Nobody sees another's address; all of them leave; a rollback of the host takes none back."""
    heard: list[Notification] = []

    def hear(_: Any, notification: Notification) -> None:
        heard.append(notification)

    with notification_queued.connected_to(hear, any_host.app):
        sent = send_each(iter(PEOPLE), "News", text="Hello", batch=2, metadata={"a": "b"})
    any_host.db.session.rollback()
    assert numbers(sent) == (5, 0, 0, 0)
    assert [one.priority for one in heard] == [Priority.BULK] * 5
    assert set(sent.ids()) == {one.id for one in heard} == {row.id for row in any_host.rows()}
    any_host.dispatcher().drain()
    assert sorted(mail.recipients for mail in catcher.mails) == [
        [f"p{number}@firm.example"] for number in range(5)
    ]
    assert all(str(mail.message["To"]).count("@") == 1 for mail in catcher.mails)
    assert any_host.messaging.outbox.count(metadata={"a": "b"}, status="sent") == 5


def test_a_repeated_call_sends_only_the_rest(any_host: Host) -> None:
    """With a key: what an earlier call stored is known, also if it broke off in the middle."""

    def some() -> Iterator[Party]:
        yield from PEOPLE[:3]
        raise RuntimeError("the power fails")

    with pytest.raises(RuntimeError):
        send_each(some(), "News", text="Hello", key="news", batch=1)
    assert len(any_host.rows()) == 3
    progress: list[tuple[int, int, int, int]] = []
    sent = send_each(
        PEOPLE + PEOPLE[:1],
        "News",
        text="Hello",
        key="news",
        batch=4,
        progress=lambda now: progress.append(numbers(now)),
    )
    assert progress == [(1, 3, 0, 0), (2, 4, 0, 0)]
    assert numbers(sent) == (2, 4, 0, 0)
    assert len(list(sent.ids())) == 2
    assert len(any_host.rows()) == 5
    found = get_notification(key="news:user:4")
    assert found is not None
    # A key is free again where its message was called back.
    cancel_notification(found.id)
    any_host.db.session.commit()
    assert numbers(send_each(PEOPLE, "News", text="Hello", key="news")) == (1, 4, 0, 0)


def test_a_person_twice_in_a_batch_with_a_key_gets_one(any_host: Host) -> None:
    """By id; without an id by address."""
    nameless = Party("X", "x@other.example")
    sent = send_each([PEOPLE[0], PEOPLE[0], nameless, nameless], "News", text="Hi", key="k")
    assert numbers(sent) == (2, 2, 0, 0)


def test_who_cannot_be_reached_is_told_and_holds_nobody_up(host: Host) -> None:
    """No address, a wrong one, one that may not be mailed: in the outbox; never the default To."""
    people = [
        Party("Quiet", None, id=1),
        Party("Wrong", "a@b@c", id=2),
        Party("Prof", "prof", id=3, role=Role.PROFESSIONAL),
        Party("Ada", "ada", id=4),
    ]
    sent = send_each(people, "News", text="Hello")
    assert numbers(sent) == (1, 0, 1, 2)
    rows = {row.status: row for row in host.rows()}
    assert {row.reason for row in host.rows() if row.status == "failed"} == {"unaddressed"}
    assert rows["suppressed"].reason == "ineligible"
    assert "merge-desk@firm.example" not in host.recipients()


def test_headers_to_leave_the_list(host: Host) -> None:
    """RFC 8058: a URL for one click, of each person; nobody's where none is given."""
    urls = {0: "https://firm.example/leave/0?x=1", 1: None}
    send_each(PEOPLE[:2], "News", text="x", unsubscribe=lambda party: urls[party.id])  # type: ignore[index]
    messages = sorted((parsed(row) for row in host.rows()), key=lambda one: str(one["To"]))
    first, second = messages
    assert first["List-Unsubscribe"] == "<https://firm.example/leave/0?x=1>"
    assert first["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert "List-Unsubscribe" not in second
    for wrong in ("http://firm.example/", "https://a b/", "https://x/\r\nBcc: all@x.example"):
        urls[0] = wrong
        with pytest.raises((ContentError, HeaderError)):
            send_each(PEOPLE[:1], "News", text="x", unsubscribe=lambda party: urls[party.id])  # type: ignore[index]
    assert len(host.rows()) == 2


def test_a_template_speaks_to_each_person(host: Host, tmp_path: Path) -> None:
    """In their language, with names of their own."""
    folder = tmp_path / "templates" / "interaction_mail" / "mail"
    folder.mkdir(parents=True)
    (folder / "points.subject.txt").write_text("{{ party.name }}: {{ points }} ({{ locale }})")
    (folder / "points.txt").write_text("Dear {{ party.name }}, you have {{ points }} points.")
    loader = host.app.jinja_env.loader
    assert loader is not None
    loader.app.jinja_loader.searchpath.append(str(tmp_path / "templates"))  # type: ignore[attr-defined]
    people = [Party("Ada", "ada", id=1, locale="de"), Party("Bob", "bob", id=2)]
    points = {1: 7, 2: 9}
    sent = send_each(people, template="points", context=lambda party: {"points": points[party.id]})  # type: ignore[index]
    assert numbers(sent) == (2, 0, 0, 0)
    assert host.subjects() == ["Ada: 7 (de)", "Bob: 9 (en)"]
    with pytest.raises(TemplateMissing):
        send_each(people, template="points", context={})
    with pytest.raises(ArgumentError, match="context takes a mapping"):
        send_each(people, template="points", context=lambda _: ["points"])  # type: ignore[arg-type, return-value]


def test_each_text_reaches_its_own_person(host: Host) -> None:
    """Whatever languages are mixed, and whoever between them cannot be reached."""
    loader = host.app.jinja_env.loader
    assert loader is not None
    folder = "interaction_mail/mail/points"
    own = DictLoader({f"{folder}.subject.txt": "{{ points }}", f"{folder}.txt": "{{ locale }}"})
    host.app.jinja_env.loader = ChoiceLoader([own, loader])
    people = [
        Party(
            "P", f"p{number}" if number % 7 else "a@b@c", id=number, locale=("de", None)[number % 2]
        )
        for number in range(230)
    ]
    with host.messaging.record() as told:
        sent = send_each(people, template="points", context=lambda party: {"points": party.id})
    assert numbers(sent) == (197, 0, 0, 33)
    assert [one.subject for one in told] == [str(party.id) for party in people]
    for row in host.rows():
        number = int(row.subject)
        assert (row.status == "failed") is (number % 7 == 0)
        if row.content:
            message = parsed(row)
            assert str(message["To"]) == f"P <p{number}@firm.example>"
            assert message.get_content().strip() == ("de", "en")[number % 2]


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"parties": "bob@firm.example"}, ArgumentError, "parties takes a sequence"),
    ({"parties": [3]}, ArgumentError, "parties takes"),
    ({"kind": "request"}, ContentError, "call send_notification for it"),
    ({"batch": 0}, ContentError, "batch takes a number from 1 to 5000"),
    ({"batch": 10_000}, ContentError, "batch takes a number"),
    ({"priority": "soon"}, ContentError, "priority takes one of 'urgent', 'normal', 'bulk'"),
    ({"priority": 1}, ArgumentError, "priority takes one of"),
    ({"metadata": {"": "x"}}, ContentError, "metadata takes names"),
    ({"metadata": {"x": 1}}, ArgumentError, "For a number give its text"),
    ({"metadata": {"x": "y" * 256}}, ContentError, "up to 255 characters"),
    ({"metadata": {f"n{i}": "" for i in range(21)}}, ContentError, "up to 20 names"),
    ({"key": ""}, ContentError, "key takes"),
    ({"text": None}, ContentError, "needs a subject, and text="),
    ({"template": "x"}, ContentError, "but not both"),
]


@pytest.mark.parametrize(("given", "error", "text"), WRONG)
def test_a_wrong_argument_is_named_and_stores_nothing(
    host: Host, given: dict[str, Any], error: type[Exception], text: str
) -> None:
    arguments: dict[str, Any] = {"parties": PEOPLE, "subject": "News", "text": "Hello"}
    with pytest.raises(error, match=text):
        send_each(**(arguments | given))
    assert host.rows() == []


def test_an_open_write_of_the_host_is_no_deadlock(host: Host) -> None:
    """SQLite has one writer: who holds its lock is told so at once, with nothing stored."""
    host.db.session.add(host.Thing(name="t"))
    host.db.session.flush()
    with pytest.raises(InteractionMailError, match="has written to SQLite and not committed"):
        send_each(PEOPLE, "News", text="Hello")
    host.db.session.rollback()
    assert numbers(send_each(PEOPLE, "News", text="Hello")) == (5, 0, 0, 0)


def test_in_memory_it_needs_the_one_connection() -> None:
    """There the host's transaction is everybody's."""
    with opened("sqlite://") as host:
        host.configure(paused=True)
        with host.app.app_context():
            host.db.session.add(host.Thing(name="t"))
            host.db.session.flush()
            with pytest.raises(InteractionMailError, match="not committed"):
                send_each(PEOPLE, "News", text="Hello")
            host.db.session.commit()
            assert send_each(PEOPLE, "News", text="Hello").queued == 5


def test_without_settings_it_says_so(tmp_path: Path) -> None:
    with (
        opened(f"sqlite:///{tmp_path}/host.sqlite") as host,
        host.app.app_context(),
        pytest.raises(MessagingNotConfigured),
    ):
        send_each(PEOPLE, "News", text="Hello")


def test_memory_does_not_grow_with_the_number_of_people(host: Host) -> None:
    """One batch at a time is kept, whatever the number."""

    def many(count: int) -> Iterator[Party]:
        return (Party("P", f"p{number}", id=number) for number in range(count))

    send_each(many(200), "News", text="x" * 5000, batch=100)  # imports and caches
    peaks = []
    for count in (300, 1500):
        tracemalloc.start()
        send_each(many(count), "News", text="x" * 5000, batch=100)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_it_is_not_held_for_its_number(tmp_path: Path, catcher: Catcher) -> None:
    """The rate of whoever started it does not count; that of each recipient does."""
    limits = {"INTERACTION_MAIL_RATE": 2, "INTERACTION_MAIL_ACTOR_RATE": 3}
    with opened(f"sqlite:///{tmp_path}/host.sqlite", **limits) as host, host.app.app_context():
        host.configure(smtp_port=catcher.port)
        send_each(PEOPLE * 1, "News", text="Hello")
        host.dispatcher().drain()
        assert {row.status for row in host.rows()} == {"sent"}
        send_notification("bob", "One", text="x")  # the first of the same user that counts
        host.db.session.commit()
        send_each([PEOPLE[0]] * 3, "More", text="Hello")
        host.dispatcher().drain()
        statuses = sorted((row.subject, row.status) for row in host.rows())
    assert statuses.count(("One", "sent")) == 1
    assert (statuses.count(("More", "sent")), statuses.count(("More", "held"))) == (1, 2)


@pytest.mark.parametrize(
    "said",
    [
        {"subject": "Zoë’s news", "text": "Hello"},
        {
            "subject": "News",
            "text": "Grüße",
            "html": '<p>Grüße <img src="cid:dot"></p>',
            "headers": {"X-Campaign": "december"},
            "attachments": [
                flask_mail.Attachment(
                    "dot.png", "image/png", b"\x89P", headers={"Content-ID": "dot"}
                ),
                ("terms.txt", "text/plain", b"Terms\n"),
            ],
            "reply_to": "desk",
            "metadata": {"tenant": "north"},
        },
        {"template": "merge_request", "context": PAIR},
    ],
    ids=["text", "all", "template"],
)
def test_each_message_is_what_send_notification_would_have_stored(
    any_host: Host, said: dict[str, Any]
) -> None:
    """Byte for byte and column for column, but for what makes it part of a mailing."""
    clock.stop_at(clock.now())
    try:
        people = [
            Party("Ada", "ada", id=1),
            Party("Zoë Öst", "zoe@other.example", id="z", locale="de"),
            Party("The Buyers", "buyers", id=3, kind="group"),
            Party("", "prof", id=4, role=Role.PROFESSIONAL),
        ]
        send_each(people, **said)
        for person in people:
            send_notification(person, priority=Priority.BULK, **said)
        any_host.db.session.commit()
    finally:
        clock.stop_at(None)
    stored = stored_rows(any_host)
    assert len(stored["mailing"]) == len(people)
    assert stored["mailing"] == stored["call"]


def stored_rows(host: Host) -> dict[str, list[Any]]:
    """The rows of each message, by source, without what tells one message from another."""
    found: dict[str, list[Any]] = {}
    with host.db.engine.connect() as connection:
        for message in connection.execute(sa.select(MESSAGE)).mappings().all():
            row, id = dict(message), message["id"]
            del row["id"], row["origin"]
            source = row.pop("source")
            row["intent"] = json.loads(row["intent"]) | {"source": ""}
            unique = (row["message_id"] or "").strip("<").partition("@")[0]
            row["message_id"] = (row["message_id"] or "").replace(unique, "ID")
            row["content"] = (row["content"] or b"").replace(unique.encode() or b"ID", b"ID")
            for table in (DELIVERY, RECIPIENT, METADATA):
                of_it = sa.select(table).where(next(iter(table.c)) == id)
                row[table.name] = [tuple(one)[1:] for one in connection.execute(of_it)]
            found.setdefault(source, []).append(row)
    return {
        source: sorted(rows, key=lambda row: json.dumps(row["intent"]["to"]))
        for source, rows in found.items()
    }


def test_what_is_recorded(host: Host) -> None:
    """``record()`` lists what each batch has committed."""
    with host.messaging.record() as sent:
        send_each(PEOPLE, "News", text="Hello", batch=2)
    assert [one.recipients[0].name for one in sent] == [party.name for party in PEOPLE]
