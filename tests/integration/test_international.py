"""Addresses with international characters before the @, at servers that do not take them."""

from __future__ import annotations

import email
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    Kind,
    Merge,
    Party,
    clock,
    operations,
    request_merge,
    send_notification,
)
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.diagnosis.results import Outcome
from flask_interaction_mail.monitoring import alerts as monitoring_alerts
from flask_interaction_mail.outbox.conditions import AlertName
from flask_interaction_mail.outcome import Fault
from flask_interaction_mail.storage.tables import DELIVERY, MESSAGE
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.host import Host, a_merge, opened
from tests.outbox_rows import Store, a_message
from tests.servers.clients import diagnosis_of, settings
from tests.servers.scripted import Scripted, scripted

JOSE = Party("José Ñandú", "josé", id=7)
MARIA = Party("María", "maría@firm.example", id=8)
BOB = Party("Bob", "bob@firm.example", id=9)
WITH = b"250-scripted.test\r\n250-PIPELINING\r\n250 SMTPUTF8\r\n"


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture
def host(tmp_path: Path, server: Scripted) -> Iterator[Host]:
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure(smtp_port=server.port)
        yield host


def send(host: Host, *to: Party, **others: Any) -> None:
    with host.app.app_context():
        values: dict[str, Any] = {"text": "Hello", "kind": Kind.REQUEST, **others}
        send_notification(to, "Hello", **values)
        host.db.session.commit()


def drain(host: Host) -> None:
    host.dispatcher().drain()


def mails(server: Scripted) -> list[tuple[list[str], EmailMessage]]:
    return [
        (one.recipients, email.message_from_bytes(one.content, policy=default))  # type: ignore[misc]
        for one in server.messages
    ]


def outcomes(host: Host) -> list[tuple[str, str | None]]:
    return [(row.status, row.reason) for row in host.rows()]


def test_r38_r39_a_request_of_an_international_requester_leaves_at_any_server(
    host: Host, server: Scripted
) -> None:
    """Default From by the requester's name, and the address in the body."""
    with host.app.app_context():
        request_merge(a_merge(requester=JOSE))
        host.db.session.commit()
    drain(host)
    ((recipients, mail),) = mails(server)
    assert recipients == ["stewards@firm.example"]
    (from_,) = mail["From"].addresses
    assert (from_.display_name, from_.addr_spec) == ("José Ñandú", "crm@firm.example")
    assert mail["Reply-To"] is None
    assert mail["Sender"] is None
    for part in ("plain", "html"):
        body = mail.get_body((part,))
        assert body is not None
        assert body.get_content().count("josé@firm.example") == 1
    assert b"MAIL FROM:<crm@firm.example> SIZE" in b"\n".join(server.lines)
    assert outcomes(host) == [("sent", None)]


@pytest.mark.parametrize("field", ["to", "cc", "bcc"])
def test_one_of_several_recipients_fails_alone(host: Host, server: Scripted, field: str) -> None:
    """The reply names him, the others have it, and default To gets nothing."""
    copies = {field: [JOSE]} if field != "to" else {}
    send(host, *([JOSE] if field == "to" else []), BOB, **copies)
    drain(host)
    ((recipients, mail),) = mails(server)
    assert recipients == ["bob@firm.example"]
    assert server.messages[0].content.isascii()
    if field != "bcc":
        names = [group.display_name for group in mail[field].groups if not group.addresses]
        assert names == ["José Ñandú"]
    (row,) = host.rows()
    assert (row.status, row.reason) == ("failed", "refused")
    assert row.detail.startswith("553 5.6.7 josé@firm.example was not tried")


def test_at_a_server_that_takes_them_all_of_it_is_one_transaction(
    host: Host, server: Scripted
) -> None:
    """The same bytes as elsewhere; MAIL has the parameter because of the recipient."""
    server.answers["EHLO"] = WITH
    send(host, JOSE, BOB)
    drain(host)
    ((recipients, _),) = mails(server)
    assert recipients == ["josé@firm.example", "bob@firm.example"]
    assert server.messages[0].content.isascii()
    assert b"MAIL FROM:<crm@firm.example> SMTPUTF8" in server.lines


@pytest.mark.parametrize("to", [(JOSE,), (JOSE, MARIA)])
def test_a_request_whose_last_recipient_falls_away_goes_to_the_default_to(
    host: Host, server: Scripted, to: tuple[Party, ...]
) -> None:
    """Once, and its route says why; nothing of the first one is tried again."""
    send(host, *to)
    drain(host)
    drain(host)
    ((recipients, mail),) = mails(server)
    assert (recipients, mail["Subject"]) == (["merge-desk@firm.example"], "Hello")
    assert outcomes(host) == [("failed", "refused"), ("sent", None)]
    first, second = (operations._announce(host.state, [row.id])[row.id] for row in host.rows())
    assert [row.resend_of for row in host.rows()] == [None, first.id]
    assert str(first.id) in second.route[0]
    assert "josé@firm.example" in second.route[0]
    assert "default To" in second.route[1]


def test_the_key_of_such_a_request_stays_taken(host: Host, server: Scripted) -> None:
    """Called again it makes no further message, as the default To has the first one."""
    for _ in range(2):
        send(host, JOSE, key="import-7")
        drain(host)
    assert len(server.messages) == 1
    assert outcomes(host) == [("failed", "refused"), ("sent", None)]
    assert {row.key for row in host.rows()} == {"import-7"}


def test_a_merge_request_to_such_a_group_goes_to_the_default_to(
    host: Host, server: Scripted
) -> None:
    """And a merge that is done meanwhile calls it back as any request for the pair."""
    host.people.mergers = {"Firm List": [Party("Büro", "büro", id=3, kind="group")]}
    merge: Merge = a_merge(requester=BOB)
    with host.app.app_context():
        request_merge(merge)
        host.db.session.commit()
    drain(host)
    assert [recipients for recipients, _ in mails(server)] == [["merge-desk@firm.example"]]
    first, second = host.rows()
    assert (first.pair, first.actor) == (second.pair, second.actor)


@pytest.mark.parametrize(
    ("others", "default_to"), [({"kind": Kind.NOTIFICATION}, []), ({}, [("sent", None)])]
)
def test_nobody_else_gets_what_is_no_request(
    host: Host, server: Scripted, others: dict[str, Any], default_to: list[Any]
) -> None:
    """A notification informs those whom it names; of a request somebody has to hear."""
    server.answers["RCPT bob@firm.example"] = b"550 5.1.1 unknown\r\n"
    send(host, JOSE, cc=[BOB], **others)
    drain(host)
    drain(host)
    got = [one for one in server.messages if one.content]  # a lone dot, where DATA was accepted
    assert len(got) == len(default_to)
    assert outcomes(host) == [("failed", "refused"), *default_to]


def test_a_request_that_somebody_has_got_does_not_fall_back(host: Host, server: Scripted) -> None:
    """Also where the last one falls away at another attempt, at a server that knows less."""
    server.answers |= {"EHLO": WITH, "RCPT josé@firm.example": b"450 4.2.1 later\r\n"}
    send(host, JOSE, BOB)
    drain(host)
    assert outcomes(host) == [("deferred", None)]
    del server.answers["EHLO"]
    with host.app.app_context(), host.db.engine.begin() as connection:
        connection.execute(sa.update(DELIVERY).values(due_at=clock.now()))
    drain(host)
    assert outcomes(host) == [("failed", "refused")]
    assert [one.recipients[-1] for one in server.messages] == ["bob@firm.example"]


def test_a_default_to_that_is_out_of_reach_itself_ends_it(host: Host, server: Scripted) -> None:
    """One message for it, and none again for it for ever: an alert tells of that."""
    host.configure(smtp_port=server.port, default_to="büro")
    send(host, JOSE)
    drain(host)
    drain(host)
    assert server.messages == []
    assert outcomes(host) == [("failed", "refused")] * 2
    with host.app.app_context():
        assert AlertName.LOST in monitoring_alerts.health(host.state).holding


def test_diverted_mail_does_not_fall_back(host: Host, server: Scripted) -> None:
    """What the tester's mailbox is refused for says nothing about the recipients."""
    host.configure(smtp_port=server.port, divert_to="jürgen")
    send(host, BOB)
    drain(host)
    assert outcomes(host) == [("failed", "refused")]


@pytest.mark.parametrize("smtputf8", [False, True])
def test_what_was_queued_with_such_a_header_needs_the_server_that_it_needed(
    tmp_path: Path, smtputf8: bool
) -> None:
    """Bytes of the version before stay as they are; so does their need of SMTPUTF8."""
    store = Store(f"sqlite:///{tmp_path}/outbox.sqlite")
    content = "To: <josé@firm.example>\r\n\r\nx\r\n".encode()
    ehlo = b"250-x\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n" if smtputf8 else b"250 8BITMIME\r\n"
    with scripted({"EHLO": ehlo}) as server:
        message = a_message("bob@firm.example", content=content)
        store.put(message)
        with store.writing() as connection:
            connection.execute(sa.update(MESSAGE).values(smtputf8=True))
        ports = store.ports(settings=lambda: settings(server.port), transport=SmtpTransport)
        Dispatcher(ports).drain()
        row = store.message(message.id)
        assert row.status == ("sent" if smtputf8 else "failed")
        assert len(server.messages) == smtputf8
    store.engine.dispose()


def test_test_settings_names_a_default_to_that_the_server_does_not_take(server: Scripted) -> None:
    """The copy to default From arrives, and the step says what is wrong with the other."""
    diagnosis = diagnosis_of(settings(server.port, default_to="büro"))
    assert diagnosis.outcome is Outcome.PARTIAL
    assert diagnosis.failure is not None
    assert diagnosis.failure.code == Fault.SMTPUTF8_MISSING
    assert diagnosis.failure.recipient == "büro@x.test"
    assert "büro@x.test" in diagnosis.failure.texts.explanation
    assert [one.recipients for one in server.messages] == [["crm@x.test"]]
