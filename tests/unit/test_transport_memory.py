"""The transport for the tests of applications."""

from __future__ import annotations

import pytest

from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.outcome import Reply, Result, Stage
from flask_interaction_mail.transport.base import Envelope
from flask_interaction_mail.transport.memory import MemoryTransport


def envelope(*recipients: str) -> Envelope:
    return Envelope(sender="a@x.test", recipients=recipients, content=b"S: x\r\n\r\n")


def test_it_collects_what_a_server_would_take():
    """And gives every recipient a verdict."""
    transport = MemoryTransport()
    delivery = transport.deliver(envelope("b@x.test"))
    assert delivery.result is Result.ACCEPTED
    assert delivery.verdicts["b@x.test"].code == 250
    assert transport.delivered == [envelope("b@x.test")]
    transport.close()
    assert transport.closed == 1


def test_recipients_can_be_refused():
    """One of two, then all."""
    transport = MemoryTransport()
    transport.refuse("b@x.test", Reply(450, None, "later"))
    assert transport.deliver(envelope("b@x.test", "c@x.test")).result is Result.ACCEPTED
    assert transport.deliver(envelope("b@x.test")).result is Result.TRANSIENT
    assert len(transport.delivered) == 1
    assert len(transport.tried) == 2


def test_a_reply_may_be_a_line_as_a_server_would_send_it():
    """For hosts, who have no name for a reply."""
    transport = MemoryTransport()
    transport.refuse("b@x.test", "450 4.2.1 Try again later")
    reply = transport.deliver(envelope("b@x.test")).verdicts["b@x.test"]
    assert (reply.code, reply.enhanced, reply.text) == (450, "4.2.1", "Try again later")
    transport.refuse("b@x.test", "250 2.1.5 Fine")
    assert transport.deliver(envelope("b@x.test")).result is Result.ACCEPTED
    transport.refuse("b@x.test")
    assert transport.deliver(envelope("b@x.test")).result is Result.PERMANENT
    with pytest.raises(ValueError, match="not an SMTP reply: 'no'"):
        transport.refuse("b@x.test", "no")


def test_messages_are_parsed_and_can_be_cleared():
    """A test of an application looks at them, and begins anew."""
    transport = MemoryTransport()
    transport.refuse("c@x.test")
    content = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\r\nHello\r\n"
    transport.deliver(Envelope(sender="a@x.test", recipients=("b@x.test",), content=content))
    (message,) = transport.messages
    assert (message["Subject"], message.get_content()) == ("Grüße", "Hello\r\n")
    transport.clear()
    assert transport.messages == transport.delivered == transport.tried == []
    assert transport.deliver(envelope("c@x.test")).result is Result.ACCEPTED


def test_answers_can_be_set():
    """An error, then the ordinary one."""
    transport = MemoryTransport()
    transport.answer_with(TransportError("down", stage=Stage.CONNECT), None)
    with pytest.raises(TransportError):
        transport.deliver(envelope("b@x.test"))
    assert transport.deliver(envelope("b@x.test")).result is Result.ACCEPTED


def test_it_refuses_what_the_wire_would_refuse():
    """The same last line of defence."""
    delivery = MemoryTransport().deliver(envelope("b@x.test>\r\nDATA"))
    assert delivery.result is Result.PERMANENT
