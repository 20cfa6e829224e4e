"""The account of a stand: what it must notice."""

from __future__ import annotations

from dataclasses import replace

from tests.servers.stand.account import account
from tests.servers.stand.drain import Said
from tests.servers.stand.letters import mixed
from tests.servers.stand.returned import Verdict, WayBack
from tests.servers.stand.stored import Stored, stored

ADA, BAD = "ada@firm.example", "nobody-1@firm.example"


def said(address=ADA, status="sent", body="x"):
    return Said("<1@firm.example>", address, status, None, body)


def kept(*recipients, body="x"):
    return Stored("<1@firm.example>", recipients, body)


def test_what_was_told_as_it_is_is_right():
    """A good one sent, a bad one refused."""
    found = account([said(), said(BAD, "failed")], [kept(ADA)], refusing=True)
    assert found.right
    assert found.changed == 0


def test_what_is_said_to_be_sent_and_is_not_there_is_lost():
    """Whatever else there is."""
    assert account([said()], [], refusing=True).lost == 1


def test_a_second_copy_is_doubled():
    """In one message or in two."""
    assert account([said()], [kept(ADA), kept(ADA)], refusing=True).doubled == 1
    assert account([said()], [kept(ADA, ADA)], refusing=True).doubled == 1


def test_a_wrong_word_about_a_recipient_is_noticed():
    """A good one that failed or waits, there or not; a bad one that was not refused."""
    for status in ("failed", "deferred", "held"):
        assert account([said(status=status)], [], refusing=True).misjudged == 1
        assert account([said(status=status)], [kept(ADA)], refusing=True).misjudged == 1
    assert account([said(BAD)], [kept(BAD)], refusing=True).misjudged == 1
    assert account([said(BAD)], [kept(BAD)], refusing=False).right


def test_another_body_is_noticed():
    """What follows the header counts, without its line ends."""
    assert account([said()], [kept(ADA, body="y")], refusing=True).changed == 1
    one = stored(b"Message-ID: <1@x>\r\nA: b\r\n\r\n.\r\n", [ADA])
    assert one == stored(b"Received: z\nMessage-id: <1@x>\n\n.\n\n", [ADA])
    assert one.body != stored(b"Message-ID: <1@x>\n\n..\n", [ADA]).body


def test_what_came_back_wrong_is_noticed():
    """Nobody told of, somebody else bounced, one noted twice, or the reason missing."""
    gone = Verdict("to one", "gone-1", "bounced", "5.1.1 550 5.1.1 no such mailbox")
    good = Verdict("to one", "reader-1", "sent", "")
    counts = {"noted": 1, "known": 1, "foreign": 0}
    right = WayBack(3, "noted", counts, {"noted": 1, "known": 2}, (gone, good))
    assert right.right
    assert replace(right, verdicts=(replace(gone, status="sent", told=False), good)).right
    wrong = [
        replace(right, reports=0),
        replace(right, by_input="known"),
        replace(right, by_imap={"noted": 2}),
        replace(right, by_maildir={"noted": 3}),
        replace(right, by_maildir={"noted": 1, "known": 2, "foreign": 1}),
        replace(right, verdicts=(replace(gone, status="sent"), good)),
        replace(right, verdicts=(replace(gone, reason="5.0.0"), good)),
        replace(right, verdicts=(gone, replace(good, status="bounced"))),
    ]
    assert not any(one.right for one in wrong)


def test_the_mixed_messages_are_the_same_each_time():
    """A server is not luckier than another."""
    assert list(mixed(30)) == list(mixed(30))
