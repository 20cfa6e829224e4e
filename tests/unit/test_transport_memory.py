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
