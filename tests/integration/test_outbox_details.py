"""The page of one message: what happened to each recipient, its parts, a copy elsewhere."""

from __future__ import annotations

import html
import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup

from flask_interaction_mail import Contact, Merge, clock, operations, request_merge
from flask_interaction_mail.models import AttemptRow, CheckRow, MessageRow, RecipientRow
from flask_interaction_mail.outbox import retention
from flask_interaction_mail.storage.tables import MESSAGE
from flask_interaction_mail.values import Party
from tests.host import ADA
from tests.panel import HISTORY, OUTBOX, Panel, change, form_values, opened_panel, send
from tests.reports import automatic_reply, report

EVERYTHING = {"view", "edit", "test", "outbox", "body", "resend", "history"}
FILE = ("plan; “a”.txt", "text/plain", b"secret plan")


@pytest.fixture
def rights() -> set[str]:
    return set(EVERYTHING)


@pytest.fixture
def panel(tmp_path: Path, rights: set[str]) -> Iterator[Panel]:
    with opened_panel(tmp_path, access=lambda right: right in rights) as opened:
        opened.host.configure()
        yield opened


def write(panel: Panel, *statements: Any) -> None:
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        for statement in statements:
            connection.execute(statement)


def attempt(id: uuid.UUID, number: int, result: str, replies: dict[str, str], **more: Any) -> Any:
    moment = clock.now() - timedelta(minutes=10 - number)
    row = {"message_id": id, "number": number, "started_at": moment, "finished_at": moment}
    row |= {"server": f"mail{number}.example:25", "worker": "w", "result": result}
    row |= {"stage": "recipient", "reply": None, "verdicts": json.dumps(replies)}
    return sa.insert(AttemptRow).values(**(row | more))


def of_recipient(address: str, **values: Any) -> Any:
    return sa.update(RecipientRow).where(RecipientRow.address == address).values(**values)


def lines_of(panel: Panel, id: uuid.UUID) -> dict[str, list[str]]:
    """The events on the page, by the heading of each line of events."""
    section = panel.get(f"{OUTBOX}{id}/").select_one('section[aria-labelledby="im-h-recipients"]')
    assert section is not None
    headings = [" ".join(one.text.split()) for one in section.select("h3")]
    events = [
        [" ".join(event.text.split()) for event in one.select("li")] for one in section.select("ol")
    ]
    return dict(zip(headings, events, strict=True))


def test_each_recipient_has_a_line_of_events_of_their_own(panel: Panel) -> None:
    """Who was accepted at first takes no part in what comes later for somebody else."""
    id = send(panel, "partly", [Party("Ada", "ada"), Party("Zoe", "zoe@else.example")])
    ok, later, no = "250 2.1.5 fine", "451 4.7.1 greylisted", "550 5.1.1 no such user"
    write(
        panel,
        attempt(id, 1, "accepted", {"ada@firm.example": ok, "zoe@else.example": later}),
        attempt(id, 2, "transient", {}, reply="421 closing", stage="greeting"),
        attempt(id, 3, "permanent", {"zoe@else.example": no}),
        of_recipient("ada@firm.example", status="sent", reply=ok),
        of_recipient("zoe@else.example", status="failed", reply=no),
    )
    change(panel, id, status="failed", reason="refused", due_at=None, finished_at=clock.now())
    lines = lines_of(panel, id)
    ada, zoe = lines["Ada ada@firm.example sent"], lines["Zoe zoe@else.example failed"]
    assert "The application stored it." in ada[0]
    assert "handed to the mail server mail1.example:25" in ada[1]
    assert ada[2].endswith(f"The server took it. {ok}")
    assert "the mail server's now" in ada[3]
    assert len(ada) == 4
    assert [ours for ours in zoe if "451 4.7.1 greylisted" in ours] == [zoe[2]]
    assert "could not take it yet" in zoe[2]
    assert "421 closing" in zoe[4]
    assert "The server refused it." in zoe[6]
    assert zoe[6].endswith(no)
    assert zoe[7].endswith("It was not sent.")


def test_each_attempt_that_was_accepted_says_what_the_provider_calls_it(panel: Panel) -> None:
    """Beside the reply, and for those alone whom it took; as the message's name stays the last."""
    id = send(panel, "partly", [Party("Ada", "ada"), Party("Zoe", "zoe@else.example")])
    ok, later = "250 Ok", "451 4.7.1 later"
    ada, zoe = "ada@firm.example", "zoe@else.example"
    write(
        panel,
        attempt(id, 1, "accepted", {ada: ok, zoe: later}, provider_id="<first&name>"),
        attempt(id, 2, "accepted", {zoe: ok}, provider_id="the-second-name"),
        sa.update(RecipientRow).values(status="sent", reply=ok),
    )
    change(panel, id, status="sent", finished_at=clock.now(), provider_id="the-second-name")
    lines = lines_of(panel, id)
    of_ada, of_zoe = (" ".join(lines[f"{who} sent"]) for who in (f"Ada {ada}", f"Zoe {zoe}"))
    assert f"The mail provider calls it <first&name>. {ok}" in of_ada
    assert f"The mail provider calls it the-second-name. {ok}" in of_zoe
    assert "the-second-name" not in of_ada
    assert "first" not in of_zoe
    facts = panel.get(f"{OUTBOX}{id}/").select_one("#im-provider-id")
    assert facts is not None
    assert facts.text == "the-second-name"


def test_recipients_with_the_same_fate_share_a_line(panel: Panel) -> None:
    """Sixty people are one line of events, with all of them below it."""
    people = [Party(f"P{number}", f"p{number}@x.example") for number in range(60)]
    id = send(panel, "many", people)
    (heading,) = lines_of(panel, id)
    assert "and 57 more" in heading
    page = panel.get(f"{OUTBOX}{id}/")
    assert "p59@x.example" in page.text


def test_who_waits_sees_until_when(panel: Panel) -> None:
    """A deferred recipient has the time of the next try, one that is being sent has none."""
    id = send(panel, "later")
    write(panel, of_recipient("ada@firm.example", status="deferred", reply="451 later"))
    change(panel, id, status="deferred", due_at=clock.now() + timedelta(hours=1))
    (events,) = lines_of(panel, id).values()
    assert "Next try:" in events[-1]
    assert "451 later" in events[-1]
    change(panel, id, status="sending")
    (events,) = lines_of(panel, id).values()
    assert events[-1].startswith("It is being sent now.")


def test_the_same_reason_is_told_once(panel: Panel) -> None:
    """Fifty-nine people who get no mail for one reason are not fifty-nine lines."""
    id = send(panel, "why")
    steps = [{"code": "no_address", "name": f"P{number}"} for number in range(60)]
    write(panel, sa.update(MessageRow).values(route=json.dumps(steps)))
    route = panel.get(f"{OUTBOX}{id}/").select_one(".im-route")
    assert route is not None
    assert [one.text for one in route.select("summary")] == ["and 59 more like it"]
    assert len(route.find_all("li", recursive=False)) == 1
    assert "P59 has no address." in route.text


def test_files_and_source_are_for_those_who_may_read(panel: Panel, rights: set[str]) -> None:
    """Each as a download that no browser opens by itself, and noted as reading (T4)."""
    id = send(panel, "Plan", html="<p>x</p>", attachments=[FILE])
    page = panel.get(f"{OUTBOX}{id}/")
    link = page.find("a", string=FILE[0])
    assert link is not None
    file = panel.client.get(str(link["href"]))  # type: ignore[index]
    assert file.data == FILE[2]
    assert file.headers["Content-Type"] == "application/octet-stream"
    assert file.headers["Content-Disposition"].startswith("attachment; filename")
    source = panel.client.get(f"{OUTBOX}{id}/message.eml")
    assert source.data == panel.host.rows()[0].content
    assert message_from_bytes(source.data, policy=policy.default)["Subject"] == "Plan"
    for answer in (file, source):
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    rights.discard("body")
    for url in ("files/0", "message.eml"):
        assert panel.client.get(f"{OUTBOX}{id}/{url}").status_code == 403
    hidden = panel.get(f"{OUTBOX}{id}/").text
    assert FILE[0] not in hidden
    assert ".eml" not in hidden


def test_whoever_downloads_is_in_the_history(panel: Panel) -> None:
    """The source of a message is a text that somebody read."""
    id = send(panel, "Plan")
    panel.client.get(f"{OUTBOX}{id}/message.eml")
    assert "read the text of" in panel.get(HISTORY + "?which=messages").text


def test_files_of_what_has_not_been_routed_are_listed(panel: Panel) -> None:
    """They stand in what the application wanted to say."""
    id = send(panel, "Plan", attachments=[FILE])
    change(panel, id, content=None)
    assert FILE[0] in panel.get(f"{OUTBOX}{id}/").text
    assert panel.client.get(f"{OUTBOX}{id}/files/0").data == FILE[2]
    assert panel.client.get(f"{OUTBOX}{id}/files/1").status_code == 404
    assert panel.client.get(f"{OUTBOX}{id}/message.eml").status_code == 404


@pytest.mark.parametrize(
    "fields",
    [
        f"Subject: =?utf-8?b?gICA?={'a' * 120}\r\nContent-Type: multipart/mixed; boundary=Z",
        f"To: {'a' * 120} :;@@\r\nContent-Type: multipart/mixed; boundary=Z",
        "X: y\r\nContent-Type: multipart/mixed; boundary=Z; filename*0*=utf-8''a; filename*=b",
        "X: y\r\nContent-Type: multipart/mixed; boundary=Z; charset*=utf-8''x",
    ],
)
def test_an_attached_message_is_one_file_whatever_is_in_it(panel: Panel, fields: str) -> None:
    """Somebody else wrote it: its fields and its own files are not read, and come out unchanged."""
    lines = (
        *("From: a@other.example", fields, ""),
        *("--Z", "Content-Type: text/plain", "Content-Disposition: attachment; filename=in.txt"),
        *("", "inside", "--Z--", ""),
    )
    data = "\r\n".join(lines).encode()
    id = send(panel, "Fwd", attachments=[("mail.eml", "message/rfc822", data)])
    page = panel.get(f"{OUTBOX}{id}/").text
    assert "mail.eml" in page
    assert "in.txt" not in page
    assert panel.client.get(f"{OUTBOX}{id}/files/0").data == data
    assert panel.client.get(f"{OUTBOX}{id}/files/1").status_code == 404


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("From: <\r\nSubject: Hello\r\n\r\nthe text", ("Hello", "the text", "<")),
        ("To: ünï " + "(" * 3000 + "\r\nSubject: Hello\r\n\r\nthe text", ("Hello", "the text")),
        ("Content-Type: text/plain; charset=nope\r\n\r\nthe täxt", ("the täxt",)),
        ("Content-Type: text/plain; charset=\0\r\n\r\nthe text", ("the text",)),
    ],
)
def test_what_cannot_be_read_is_shown_as_it_is(
    panel: Panel, content: str, shown: tuple[str, ...]
) -> None:
    """A field or a charset that is none: the rest of the page is there, and so is the export."""
    id = send(panel, "Plan")
    with panel.host.state.database.writing() as connection:
        raw = content.encode()
        connection.execute(sa.update(MESSAGE).values(content=raw))
    answer = panel.client.get(f"{OUTBOX}{id}/")
    assert answer.status_code == 200
    for text in shown:
        assert text in html.unescape(answer.text)
    assert panel.client.get(f"{OUTBOX}export.csv").status_code == 200


def resend_to(panel: Panel, id: uuid.UUID, address: str) -> Any:
    values = form_values(panel.get(f"{OUTBOX}{id}/")) | {"to": address}
    return panel.client.post(f"{OUTBOX}{id}/resend", data=values)


def test_a_copy_goes_to_another_address_alone(panel: Panel) -> None:
    """The history and the copy's own route name it; key and pair stay with the original."""
    id = send(panel, "Plan", [ADA, "zoe@else.example"], cc="cy@else.example", key="k")
    change(panel, id, status="sent", due_at=None, finished_at=clock.now())
    answer = resend_to(panel, id, "kim")
    (copy,) = [row for row in panel.host.rows() if row.resend_of == id]
    assert str(copy.id) in answer.location
    assert (copy.key, copy.pair) == (None, None)
    sent = message_from_bytes(copy.content, policy=policy.default)
    assert (sent["To"], sent["Cc"]) == ("kim@firm.example", None)
    page = panel.get(f"{OUTBOX}{copy.id}/")
    assert "Ada Byron sent it again, to kim@firm.example alone." in page.text
    assert panel.get(f"{OUTBOX}{id}/").find("a", string="a later message")
    history = panel.get(HISTORY + "?which=messages").text
    assert "sent again" in history
    assert "kim@firm.example" in history


def test_an_erased_address_is_gone_from_what_was_done_with_it(panel: Panel) -> None:
    """Of a copy that went there, and of an export of the messages to it (T18)."""
    id = send(panel, "Plan")
    change(panel, id, status="sent", due_at=None, finished_at=clock.now())
    resend_to(panel, id, "kim")
    panel.client.get(f"{OUTBOX}export.csv?q=kim@firm.example", buffered=True)
    with panel.host.app.app_context():
        retention.erase(panel.host.state.database, "kim@firm.example", now=clock.now())
        with panel.host.state.database.reading() as connection:
            deeds = connection.scalars(sa.select(CheckRow.steps)).all()
    assert [one for one in deeds if "kim" in one] == []
    assert "kim" not in panel.get(HISTORY).text


def test_a_copy_needs_the_right_to_read_it(panel: Panel, rights: set[str]) -> None:
    """Whoever may resend, and not read, cannot send it to themselves (T4)."""
    id = send(panel, "Reset")
    change(panel, id, status="sent", due_at=None, finished_at=clock.now())
    rights.discard("body")
    assert resend_to(panel, id, "me@else.example").status_code == 403
    assert len(panel.host.rows()) == 1
    assert panel.get(f"{OUTBOX}{id}/").select_one("#im-to") is None
    assert resend_to(panel, id, "").status_code == 303
    assert len(panel.host.rows()) == 2


@pytest.mark.parametrize("address", ["no address", "a@b@c", "x@x.example, y@x.example", "<x>"])
def test_a_copy_to_what_is_no_address_is_refused(panel: Panel, address: str) -> None:
    """With a sentence; nothing is sent."""
    id = send(panel, "Plan")
    change(panel, id, status="sent", due_at=None, finished_at=clock.now())
    page = panel.get(resend_to(panel, id, address).location)
    assert "address" in page.select_one(".alert").text  # type: ignore[union-attr]
    assert len(panel.host.rows()) == 1


def test_a_digest_and_what_is_in_it_lead_to_each_other(panel: Panel) -> None:
    """The message names its digest, and the digest its messages."""
    inner, digest = send(panel, "inner"), send(panel, "digest")
    write(
        panel,
        of_recipient("ada@firm.example", status="held"),
        sa.update(RecipientRow).where(RecipientRow.message_id == inner).values(digest_id=digest),
        sa.update(MessageRow).where(MessageRow.id == digest).values(source="digest"),
    )
    change(panel, inner, status="held", reason="rate", due_at=None)
    links = [one["href"] for one in panel.get(f"{OUTBOX}{inner}/").select("main ol a")]
    assert f"{OUTBOX}{digest}/" in links
    links = [one["href"] for one in panel.get(f"{OUTBOX}{digest}/").select("main ul a")]
    assert f"{OUTBOX}{inner}/" in links


def test_a_copy_of_a_digest_is_none(panel: Panel) -> None:
    """What becomes of the copy is not what becomes of the messages in the digest."""
    id = send(panel, "digest")
    row = panel.host.rows()[0]
    intent = json.dumps(json.loads(row.intent) | {"source": "digest"})
    write(panel, sa.update(MessageRow).values(source="digest", intent=intent))
    change(panel, id, status="sent", due_at=None, finished_at=clock.now())
    resend_to(panel, id, "kim")
    (copy,) = [row for row in panel.host.rows() if row.resend_of == id]
    assert copy.source == "resend"


def test_a_name_from_outside_is_text_in_every_part(panel: Panel) -> None:
    """Of a file, a recipient, a reply and somebody who resent it (T5)."""
    naughty = '"><img src=x onerror=alert(1)>'
    file = (naughty, "text/plain", b"x")
    id = send(panel, naughty, Party(naughty, "ada"), attachments=[file])
    write(
        panel,
        attempt(
            id, 1, naughty[:32], {"ada@firm.example": naughty}, server=naughty, stage=naughty[:32]
        ),
        of_recipient("ada@firm.example", reply=naughty),
    )
    page = panel.get(f"{OUTBOX}{id}/")
    assert page.select("main img") == []
    assert page.text.count("onerror=alert(1)>") > 4


def test_nobody_reads_by_a_head_request(panel: Panel) -> None:
    """What nobody sees is not written down."""
    id = send(panel, "Plan")
    panel.client.head(f"{OUTBOX}{id}/message.eml")
    with panel.host.app.app_context(), panel.host.state.database.reading() as connection:
        count = sa.select(sa.func.count()).select_from(CheckRow).where(CheckRow.kind == "deed")
        assert connection.scalar(count) == 0


@pytest.mark.usefixtures("brackets")
def test_what_an_administrator_does_is_stored_in_english(panel: Panel) -> None:
    """Whatever their language: a resend, its route, a cancellation, and what was in the way."""
    first, second = (send(panel, subject, Party("", "bob")) for subject in ("One", "Two"))
    page = panel.get(f"{OUTBOX}{first}/")
    assert page.select("#im-h-route ~ ol li")[0].text == "⟦It is addressed to bob@firm.example.⟧"
    panel.client.post(f"{OUTBOX}{first}/cancel", data=form_values(page))
    waits = panel.client.post(f"{OUTBOX}{second}/resend", data=form_values(page))
    told = BeautifulSoup(panel.client.get(waits.location).text, "lxml").text
    assert "⟦It is still waiting: release it or cancel it first.⟧" in told
    panel.client.post(f"{OUTBOX}{first}/resend", data=form_values(page) | {"to": "z"})
    panel.client.post(f"{OUTBOX}{first}/resend", data=form_values(page) | {"to": "y"})
    change(panel, second, status="held", reason="ambiguous")
    panel.client.post(f"{OUTBOX}{second}/release", data=form_values(page))
    with panel.host.app.app_context(), panel.host.db.engine.connect() as connection:
        rows = [
            str(row)
            for name in sa.inspect(connection).get_table_names()
            for row in connection.execute(sa.text(f"SELECT * FROM {name}"))
        ]
    assert any('"elsewhere"' in row for row in rows)
    assert [row for row in rows if "⟦" in row] == []


@pytest.mark.usefixtures("brackets")
def test_a_message_that_cannot_be_sent_says_why_in_english(tmp_path: Path) -> None:
    """Also one that a receiver of a signal sends while an administrator's page is made."""
    contacts = Contact(1, "A", location="Nowhere"), Contact(2, "B", location="Nowhere")
    with opened_panel(tmp_path) as panel:
        with panel.host.app.app_context():
            request_merge(Merge(contacts))
        (row,) = panel.host.rows()
    assert row.detail.startswith("E-mail is not configured: an SMTP server and a default From are")


def came_back(panel: Panel, id: uuid.UUID, make: Any, *arguments: str, **more: Any) -> None:
    """Take in a report, or a reply, about a message that has left."""
    with panel.host.app.app_context():
        with panel.host.state.database.reading() as connection:
            query = sa.select(MessageRow.message_id).where(MessageRow.id == id)
            message_id = connection.scalar(query)
        assert operations.take_report(panel.host.state, make(message_id, *arguments, **more))


def test_what_came_back_stands_in_the_line_of_its_recipient(panel: Panel) -> None:
    """When, from which server, why, and who is behind the address; others know nothing of it."""
    id = send(panel, "returned", [Party("Ada", "ada"), Party("Zoe", "zoe@else.example")])
    change(panel, id, status="sent", server="mail.example:25", finished_at=clock.now())
    came_back(panel, id, report, "ada@firm.example", "delayed", number=1)
    behind = "smtp; 550 5.1.1 <carol@away.example> <b>unknown</b>"
    came_back(panel, id, report, "ada@firm.example", number=2, diagnostic=behind)
    came_back(panel, id, report, "stranger@else.example", number=3)
    lines = lines_of(panel, id)
    ada, zoe = lines["Ada ada@firm.example bounced"], lines["Zoe zoe@else.example sent"]
    assert "it is delayed, and a mail server still tries. (from mx.example)" in ada[-4]
    assert "A report came: it did not arrive. (from mx.example)" in ada[-3]
    assert "leads on to carol@away.example, which this is about." in ada[-3]
    assert "5.1.1 550 5.1.1 <carol@away.example> <b>unknown</b>" in ada[-3]
    assert ada[-1].endswith("It did not arrive, a report says.")
    # Whom the third one means nobody can tell.
    assert "does not say what became of it for this recipient" in ada[-2]
    assert "does not say what became of it for this recipient" in zoe[-2]
    assert not [event for event in zoe if "did not arrive" in event]
    assert "the mail server's now" in zoe[-1]


def test_an_automatic_reply_is_shown_and_changes_nothing(panel: Panel) -> None:
    """Nobody is taken for unreachable because they are away."""
    id = send(panel, "away")
    change(panel, id, status="sent", server="mail.example:25", finished_at=clock.now())
    came_back(panel, id, automatic_reply)
    (events,) = lines_of(panel, id).values()
    assert "An automatic reply came" in events[-2]
    assert "the mail server's now" in events[-1]


def test_a_report_is_for_those_who_may_read_and_that_is_noted(
    panel: Panel, rights: set[str]
) -> None:
    """It may hold the whole message; there is no link without the right (T4)."""
    id = send(panel, "returned")
    came_back(panel, id, report, "ada@firm.example")
    link = panel.get(f"{OUTBOX}{id}/").find("a", string="Download it")
    assert link is not None
    url = str(link["href"])  # type: ignore[index]
    answer = panel.client.get(url)
    assert b"Reporting-MTA: dns; mx.example" in answer.data
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "read the text of" in panel.get(HISTORY).text
    assert panel.client.get(url.replace("/reports/", "/reports/0")).status_code == 404
    rights.discard("body")
    assert panel.client.get(url).status_code == 403
    assert panel.get(f"{OUTBOX}{id}/").find("a", string="Download it") is None


def test_what_came_back_has_tabs_and_numbers_in_the_outbox(panel: Panel) -> None:
    """As soon as there is some; the message counts among the sent ones, too."""

    def tabs() -> dict[str, str]:
        links = [" ".join(one.text.split()) for one in panel.get(OUTBOX).select("#im-states a")]
        return dict(link.rpartition(" ")[::2] for link in links)

    ids = [send(panel, f"message {number}") for number in range(3)]
    for id in ids:
        change(panel, id, status="sent", server="mail.example:25", finished_at=clock.now())
    assert not {"Bounced", "Delayed"} & set(tabs())
    came_back(panel, ids[0], report, "ada@firm.example")
    came_back(panel, ids[1], report, "ada@firm.example", "delayed", number=2)
    found = tabs()
    assert (found["All"], found["Sent"], found["Bounced"], found["Delayed"]) == ("3", "3", "1", "1")
    assert "Delivered" not in found
    page = panel.get(f"{OUTBOX}?status=bounced")
    assert [row.text for row in page.select(".im-list tbody a")] == ["message 0"]
    assert [one.text for one in page.select(".im-list .im-status")] == ["bounced"]
    # With an address, which is answered in another way.
    page = panel.get(f"{OUTBOX}?status=delayed&q=ada@firm.example")
    assert [row.text for row in page.select(".im-list tbody a")] == ["message 1"]
