"""Whatever is accepted arrives through a real Postfix as it was given; the rest is not sent.

``FIM_LONG=1`` tries 1,000 examples of each instead of 60.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any
from unicodedata import normalize

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from flask_interaction_mail import Party, send_notification
from flask_interaction_mail.addresses import complete, has_forbidden
from flask_interaction_mail.storage.tables import MESSAGE
from flask_interaction_mail.text import NAME_LIMIT, display_name
from tests.host import Host, opened
from tests.length import LONG
from tests.proofs import proved
from tests.security.corpora import FALSE_ADDRESSES, NAUGHTY
from tests.security.test_smuggling import configure_for
from tests.servers.postfix import Postfix

several = settings(
    max_examples=1000 if LONG else 60,
    deadline=None,  # Postfix writes to a disk
    suppress_health_check=[HealthCheck.too_slow],
)

anything = st.text(st.characters(exclude_categories=()), max_size=200) | st.sampled_from(NAUGHTY)
# Mostly what a header takes, so that most examples get through to Postfix.
line = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=200)
lines = line | line.map(str.strip) | st.sampled_from(NAUGHTY) | anything
body = st.text(st.characters(exclude_categories=("Cs",)), max_size=400) | anything
local = st.from_regex(r"[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]{1,20}", fullmatch=True)
addresses = (
    st.emails()
    | st.builds("{}@{}".format, local | line, st.sampled_from(["firm.example", "bücher.example"]))
    | st.sampled_from(FALSE_ADDRESSES)
)


class Mailbox:
    """An application that sends to ``ada`` at a Postfix, and her mailbox."""

    def __init__(self, host: Host, postfix: Postfix) -> None:
        self.host = host
        self.postfix = postfix

    def sent(self, **given: Any) -> EmailMessage | None:
        """The message as it arrived; None where it was refused, and then there is none to send."""
        arguments: dict[str, Any] = {"subject": "x", "text": "x"} | given
        self.postfix.empty()
        before = self._stored()
        with self.host.app.app_context():
            try:
                send_notification(f"ada@{self.postfix.domain}", **arguments)
            except ValueError:
                self.host.db.session.commit()
                assert self._stored() == before
                return None
            self.host.db.session.commit()
        self.host.dispatcher().drain()
        (message,) = self.postfix.mailbox("ada")
        return message

    def _stored(self) -> int:
        with self.host.app.app_context(), self.host.state.database.reading() as connection:
            return connection.scalar(sa.select(sa.func.count()).select_from(MESSAGE)) or 0


@pytest.fixture(scope="module")
def mailbox(
    running_mail_server: Postfix, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mailbox]:
    """One for all examples."""
    with opened(f"sqlite:///{tmp_path_factory.mktemp('sent')}/host.sqlite") as host:
        configure_for(host, running_mail_server)
        yield Mailbox(host, running_mail_server)


def count(threat: str, what: str, message: EmailMessage | None) -> None:
    proved(threat, f"{what} through Postfix: {{}} arrive as given", int(message is not None))
    proved(threat, f"{what} through Postfix: {{}} refused, none sent", int(message is None))


@several
@given(subject=lines, value=lines, name=lines, copied=lines)
def test_t7_headers_arrive_as_they_were_given(
    mailbox: Mailbox, subject: str, value: str, name: str, copied: str
) -> None:
    """Subject, a header of one's own, and names; there is no header that nobody asked for."""
    message = mailbox.sent(
        subject=subject,
        headers={"X-Own": value},
        reply_to=Party(name, "bob@firm.example"),
        cc=Party(copied, "crm@interaction.test"),
    )
    count("T7", "headers", message)
    refused = any(map(has_forbidden, (subject, value, name, copied)))
    assert (message is None) == refused
    if message is not None:
        assert message["Subject"] == subject
        assert message["X-Own"] == value
        for header, raw, address in (
            ("Reply-To", name, "bob@firm.example"),
            ("Cc", copied, "crm@interaction.test"),
        ):
            (one,) = message[header].addresses
            assert one.addr_spec == address
            # The parser puts a blank between the encoded words of a long name.
            assert "".join(one.display_name.split()) == "".join(display_name(raw).split())
        assert set(message.keys()) <= EXPECTED


EXPECTED = {
    *(
        "From",
        "Sender",
        "Reply-To",
        "To",
        "Cc",
        "Subject",
        "X-Own",
        "Message-ID",
        "Date",
        "MIME-Version",
    ),
    *("Content-Type", "Content-Transfer-Encoding", "Auto-Submitted", "X-Auto-Response-Suppress"),
    *("Return-Path", "X-Original-To", "Delivered-To", "Received"),  # Postfix's
}


@several
@given(raw=addresses)
def test_t8_addresses_arrive_as_they_were_given(mailbox: Mailbox, raw: str) -> None:
    """One address in, the same one out: never another, never two."""
    message = mailbox.sent(reply_to=[raw], cc=["crm@interaction.test"])
    count("T8", "addresses", message)
    if message is None:
        return
    wanted = complete(raw, company_domain=mailbox.postfix.domain)
    if wanted.isascii():
        (one,) = message["Reply-To"].addresses
        assert one.addr_spec == wanted
    assert wanted.rpartition("@")[2].isascii()
    assert str(message["Cc"]) == "crm@interaction.test"
    if "@" in raw:
        assert wanted.rpartition("@")[0] == normalize("NFC", raw.strip(" ").rpartition("@")[0])


@several
@given(text=body | st.none(), html=body | st.none(), data=st.binary(max_size=600), name=lines)
@example(text="x", html=None, data=b"", name="ก" * (NAME_LIMIT + 1))
def test_t9_content_arrives_as_it_was_given(
    mailbox: Mailbox, text: str | None, html: str | None, data: bytes, name: str
) -> None:
    """Both texts but for the form of their line ends, and every byte of an attachment."""
    assume(text is not None or html is not None)
    message = mailbox.sent(text=text, html=html, attachments=[(name, "application/pdf", data)])
    count("T9", "content", message)
    if message is None:
        forbidden = any(map(has_forbidden, (name, *filter(None, (text, html)))))
        assert forbidden or len(name) > NAME_LIMIT
        return
    assert len(name) <= NAME_LIMIT
    for kind, body_given in (("plain", text), ("html", html)):
        part = message.get_body((kind,))
        made_of_html = kind == "plain" and text is None
        assert (part is None) == (body_given is None and not made_of_html)
        if part is not None and body_given is not None:
            lines_given = re.sub(r"\r\n?", "\n", body_given).removesuffix("\n")
            assert re.sub(r"\r\n?", "\n", part.get_content()).removesuffix("\n") == lines_given
    (attached,) = message.iter_attachments()
    assert attached.get_content() == data
    # Not get_filename, which takes blanks away.
    assert attached["Content-Disposition"].params.get("filename", "") == name
