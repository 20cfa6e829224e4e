"""What others wrote stays text in HTML mail and in the log; blind copies stay blind."""

from __future__ import annotations

import logging
import re

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    Contact,
    Merge,
    Party,
    get_notification,
    merge_completed,
    merge_denied,
    send_notification,
)
from flask_interaction_mail.storage.tables import MESSAGE
from tests.catcher import Mail
from tests.host import STEWARDS, Host
from tests.proofs import proved
from tests.security.corpora import NAUGHTY
from tests.security.dom import MARKUP, links_of, shape_of
from tests.servers.scripted import Scripted, scripted
from tests.terminal import done, run

SECRET = "whistle.blower@else.example"


def test_t15_a_blind_copy_is_on_the_envelope_alone(host: Host, server: Scripted) -> None:
    """Every byte that the server gets is searched, also after Resend and with Divert."""
    copies = [SECRET, Party("Whistle Blower", SECRET), f"Whistle Blower <{SECRET}>"]
    with host.app.app_context():
        sent = [
            send_notification("ada", "Hello", text="t", html="h", cc="bob", bcc=[copy])
            for copy in copies
        ]
        host.db.session.commit()
    done(host, "worker", "--once")
    host.configure(smtp_port=server.port, divert_to="tester")
    done(host, "outbox", "resend", str(sent[0].id))
    done(host, "worker", "--once")
    assert [SECRET in one.recipients for one in server.messages] == [True, True, True, False]
    for message in server.messages:
        assert not re.search(rb"(?im)^(resent-)?bcc\b", message.content)
        assert b"whistle" not in message.content.lower()
    proved("T15", "{} messages with a blind copy: 0 bytes of it", len(server.messages))


@pytest.mark.parametrize("signal", [merge_denied, merge_completed])
def test_t15_names_in_html_mail_make_no_element(host: Host, server: Scripted, signal) -> None:
    """Contacts, requester and reason may be called as they like: the HTML keeps its shape."""
    host.people.owners = {"Firm List": [STEWARDS]}
    texts = [*MARKUP, *(one for one in NAUGHTY if one.isprintable() and one.strip())]
    shapes = {shape_of(html) for html in [html_of(host, server, signal, "harmless", 0)]}
    tried = texts if signal is merge_denied else MARKUP
    for number, text in enumerate(tried, 1):
        html = html_of(host, server, signal, text, number)
        shapes.add(shape_of(html))
        assert not [link for link in links_of(html) if not link.startswith(("https:", "mailto:"))]
    assert len(shapes) == 1
    proved("T15", f"{signal.name}: {{}} naughty names: 0 new elements in HTML mail", len(tried))


def html_of(host: Host, server: Scripted, signal, text: str, number: int) -> str:
    """The HTML of the message about two contacts of that name."""
    contacts = (
        Contact(f"{number}a", text, location="Firm List", url="https://crm.example/1"),
        Contact(f"{number}b", text, location="Firm List", url=None),
    )
    requester = Party(text, "eve", id=99)
    with host.app.app_context():
        signal.send(host.app, merge=Merge(contacts, requester=requester, reason=text))
        host.db.session.commit()
    newest = sa.select(MESSAGE.c.content).order_by(MESSAGE.c.created_at.desc()).limit(1)
    with host.state.database.reading() as connection:
        message = Mail("", [], connection.scalar(newest)).message
    part = message.get_body(("html",))
    assert part is not None
    return str(part.get_content())


HOSTILE = (
    b"550 5.1.1 no\x1b[2J\x1b]0;x\x07 such\rERROR forged line \x00\xe2\x80\xa8\xe2\x80\xae\r\n"
)


def test_t16_a_reply_is_one_record_of_one_line(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """Line breaks, escape sequences and turned text of a server have no effect in log and table."""
    refusal = b"550-first\x1b[31m\r\n550-CRITICAL root: forged\r\n" + HOSTILE
    with scripted({"RCPT": refusal, "GREETING": [b"554 " + HOSTILE, b"220 x\r\n"]}) as server:
        host.configure(smtp_port=server.port)
        with host.app.app_context():
            sent = send_notification("ada", "Hello", text="x")
            host.db.session.commit()
        run(host, "worker", "--once")
        host.configure(smtp_port=server.port)  # which closes the breaker
        run(host, "worker", "--once")
    ours = [one for one in caplog.records if one.name == "flask_interaction_mail"]
    written = [logging.Formatter("%(levelname)s %(message)s").format(one) for one in ours]
    about = [line for line in written if r"\x1b" in line]
    assert len(about) == 1
    assert all(len(line.splitlines()) == 1 and line.isprintable() for line in written)
    with host.app.app_context():
        stored = get_notification(sent.id)
    assert stored is not None
    (recipient,) = stored.recipients
    assert r"\x1b" in str(recipient.reply)
    assert str(recipient.reply).isprintable()
    proved("T16", "a hostile reply: {} record of one line, and one line in the outbox", len(about))
