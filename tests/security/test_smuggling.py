"""One message stays one message, also at servers that take many things for its end (T9)."""

from __future__ import annotations

import re
from contextlib import suppress

from flask_interaction_mail import HeaderError, send_notification
from tests.canary import PASSWORD
from tests.host import Host
from tests.proofs import proved
from tests.security.corpora import SMUGGLERS
from tests.servers.postfix import Postfix
from tests.servers.scripted import Peer, Received, scripted
from tests.terminal import done

# Every end of data that some server is known to take, beside the one that RFC 5321 has.
ENDS = re.compile(
    rb"(?:\r\n|\r|\n|\x0c|\xe2\x80\xa8)\x00?\.\x00?(?:\r\r\n|\r\n|\r|\n|\x0c|\xe2\x80\xa8)"
)
KINDS = ("text", "html", "attachment")


def easily_ended(peer: Peer) -> None:
    """Take a message up to the first thing that could be its end; what follows are commands."""
    peer.say(b"354 go on\r\n")
    while not (peer.buffer.endswith(b"\n") and (end := ENDS.search(peer.buffer))):
        peer.buffer += peer.socket.recv(65536)
    content, peer.buffer = peer.buffer[: end.start()], peer.buffer[end.end() :]
    peer.server.messages.append(Received(peer.sender, list(peer.recipients), content))
    peer.say(b"250 2.0.0 taken\r\n")


def queue_all(host: Host, to: str) -> int:
    """Queue every body of the corpus in each of the ways that a text may travel."""
    with host.app.app_context():
        for number, body in enumerate(SMUGGLERS):
            for kind in KINDS:
                carried = {"text": "see attachment"}
                if kind == "attachment":
                    carried["attachments"] = [("x.eml", "text/plain", body.encode())]
                else:
                    carried = {kind: body}
                send_notification(to, f"{number} {kind}", **carried)
        host.db.session.commit()
    return len(SMUGGLERS) * len(KINDS)


def test_t9_no_odd_end_of_data_makes_a_second_message(host: Host) -> None:
    """A server that ends a message at the first odd end gets as many as were sent."""
    with scripted({"DATA": easily_ended}) as server:
        host.configure(smtp_port=server.port)
        count = queue_all(host, "ada")
        done(host, "worker", "--once")
        assert len(server.messages) == count
        assert {one.sender for one in server.messages} == {"crm@firm.example"}
        subjects = {re.search(rb"\r\nSubject: (.*)\r\n", m.content)[1] for m in server.messages}
        assert len(subjects) == count
        assert server.count("MAIL") == server.count("DATA") == count
        assert b"evil" not in b"".join(server.lines)
    proved("T9", f"{len(SMUGGLERS)} bodies × {len(KINDS)} kinds: {{}} messages of {count}", count)


def test_t9_an_attached_message_makes_no_second_one(host: Host) -> None:
    """It travels as it is, so what has an odd end is refused, and the rest arrives whole."""
    count = 0
    with scripted({"DATA": easily_ended}) as server, host.app.app_context():
        host.configure(smtp_port=server.port)
        for body in (*SMUGGLERS, "x\r\n.\r\nMAIL FROM:<evil@example.net>\r\n", "x\x0c.\r\nMAIL"):
            data = f"Subject: inner\r\n\r\n{body}".encode()
            with suppress(HeaderError):
                file = ("x.eml", "message/rfc822", data)
                send_notification("ada", f"{count}", text="see there", attachments=[file])
                count += 1
        host.db.session.commit()
        done(host, "worker", "--once")
        assert len(server.messages) == server.count("MAIL") == server.count("DATA") == count > 0
        assert b"evil" not in b"".join(server.lines)
    proved("T9", "attached messages: {} messages of those that were taken", count)


def test_t9_each_body_is_one_message_in_a_real_mailbox(
    host: Host, running_mail_server: Postfix
) -> None:
    """Through Postfix every body arrives once, whole, and brings nothing with it."""
    postfix = running_mail_server
    postfix.empty()
    configure_for(host, postfix)
    count = queue_all(host, f"ada@{postfix.domain}")
    done(host, "worker", "--once")
    messages = postfix.mailbox("ada", least=count)
    assert len(messages) == count
    assert "evil@example.net" not in {str(one["From"]) for one in messages}
    for message in messages:
        number, kind = str(message["Subject"]).split()
        body = SMUGGLERS[int(number)]
        if kind == "attachment":
            (part,) = message.iter_attachments()
            assert part.get_payload(decode=True) == body.encode()
        else:
            text = message.get_body(({"text": "plain"}.get(kind, kind),)).get_content()
            assert text == re.sub(r"\r\n?", "\n", body) + "\n"
    proved("T9", "through Postfix: {} messages arrive, none is a second one", count)


def configure_for(host: Host, postfix: Postfix) -> None:
    """Settings with which mail goes through ``postfix``, encrypted and logged in."""
    host.configure(
        company_domain=postfix.domain,
        smtp_port=postfix.port,
        encryption="starttls",
        ca_certificate=postfix.ca,
        use_authentication=True,
        login=postfix.login,
        password=PASSWORD,
    )
