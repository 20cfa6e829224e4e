"""When an attempt in several transactions ends: rules without a server."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from flask_interaction_mail.delivery.rounds import rest_of
from flask_interaction_mail.outbox.claimed import Claimed
from flask_interaction_mail.outcome import Reply, Result, Stage
from flask_interaction_mail.transport.base import Envelope, TransportResult
from flask_interaction_mail.values import Status

NOW = datetime(2026, 11, 28, tzinfo=UTC)
PEOPLE = ("a@x.test", "b@x.test")
REFUSED = Reply(550, "5.1.1", "unknown")


def claimed(*crowds: datetime) -> Claimed:
    return Claimed(
        id=uuid.uuid4(),
        fence=1,
        attempts=0,
        created_at=NOW,
        expires_at=None,
        kind="notification",
        source="call",
        actor=None,
        resent=False,
        before={},
        lost_before=False,
        places=tuple(enumerate(PEOPLE)),
        envelope=Envelope(sender="s@x.test", recipients=PEOPLE, content=b""),
        crowds=crowds,
    )


@pytest.mark.parametrize(
    ("crowds", "goes_on"),
    [
        ((), True),
        ((NOW - timedelta(seconds=60),), True),
        ((NOW - timedelta(seconds=61),), False),
        ((NOW - timedelta(seconds=61), NOW), False),
        ((NOW,) * 18, True),
        ((NOW,) * 19, False),
    ],
)
def test_a_crowded_transaction_is_followed_by_another_for_a_minute(
    crowds: tuple[datetime, ...], goes_on: bool
) -> None:
    """Or until there were twenty of them."""
    delivery = TransportResult(
        result=Result.PERMANENT,
        stage=Stage.RECIPIENT,
        reply=REFUSED,
        verdicts=dict.fromkeys(PEOPLE, REFUSED),
        left=PEOPLE[1:],
        crowded=True,
    )
    said = {"a@x.test": (Status.FAILED, "550"), "b@x.test": (Status.DEFERRED, "550")}
    rest = rest_of(claimed(*crowds), delivery, said, NOW)
    assert (rest is not None) is goes_on
    if rest is not None:
        assert rest.envelope.recipients == PEOPLE[1:]
        assert rest.crowds == (*crowds, NOW)
