"""Replies, and what several of them come to."""

from __future__ import annotations

import pytest

from flask_interaction_mail.outcome import Reply, Result, result_of

OK, LATER, NEVER = (Reply(code, None, "") for code in (250, 450, 550))


@pytest.mark.parametrize(
    ("replies", "result"),
    [
        ([OK], Result.ACCEPTED),
        ([OK, LATER, NEVER], Result.ACCEPTED),
        ([LATER, NEVER], Result.TRANSIENT),
        ([NEVER, NEVER], Result.PERMANENT),
        ([], Result.PERMANENT),
    ],
)
def test_one_recipient_who_may_be_reached_makes_another_attempt_worth_it(replies, result):
    """Accepted beats transient, transient beats permanent."""
    assert result_of(replies) is result


def test_a_reply_reads_as_the_server_wrote_it():
    """Code, enhanced code and text, and nothing for what is missing."""
    assert str(Reply(550, "5.1.1", "no such user")) == "550 5.1.1 no such user"
    assert str(Reply(421, None, "")) == "421"


@pytest.mark.parametrize(
    ("code", "positive", "transient", "permanent"),
    [(250, 1, 0, 0), (354, 1, 0, 0), (421, 0, 1, 0), (554, 0, 0, 1), (199, 0, 0, 0)],
)
def test_the_first_digit_decides(code, positive, transient, permanent):
    """2 and 3 are positive, 4 transient, 5 permanent (RFC 5321 section 4.2.1)."""
    reply = Reply(code, None, "")
    assert (reply.positive, reply.transient, reply.permanent) == (positive, transient, permanent)
