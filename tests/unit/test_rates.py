"""How much mail is too much: who is judged by what, in any order."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_interaction_mail.outbox.rates import (
    WINDOW,
    By,
    Candidate,
    Neighbour,
    Rates,
    above,
    digest_at,
    why,
)

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC).replace(tzinfo=None)
STEWARDS, BOB = (By.RECIPIENT, "stewards@firm.example"), (By.RECIPIENT, "bob@firm.example")
ADA = (By.ACTOR, "1")
SECOND = timedelta(seconds=1)


def at(seconds, *people):
    """A message made so many seconds after the start."""
    return Candidate(START + timedelta(seconds=seconds), uuid.uuid4(), people or (STEWARDS,))


def neighbours(*those, let_go=True):
    return [Neighbour(one.created_at, one.id, let_go) for one in those]


def test_the_first_ones_pass_and_the_rest_is_held():
    """Twelve in twelve seconds, three allowed: nine are held for their recipient."""
    flood = [at(second) for second in range(12)]
    crowd = {STEWARDS: neighbours(*flood, let_go=False)}
    held = above(flood, crowd, Rates(3, 100))
    assert held == dict.fromkeys((one.id for one in flood[3:]), By.RECIPIENT)


def test_who_is_not_crowded_is_let_through():
    """Of a recipient who is not in the crowd everything passes."""
    assert above([at(0, BOB)] * 20, {STEWARDS: []}, Rates(3, 100)) == {}


def test_a_minute_later_there_is_room_again():
    """A message a minute after the others is one of the next minute."""
    crowd = {STEWARDS: neighbours(at(0), at(1), at(2))}
    assert len(above([at(59.9)], crowd, Rates(3, 100))) == 1
    assert above([at(60)], crowd, Rates(3, 100)) == {}


def test_what_was_held_does_not_count():
    """A steady flow above the rate is not held for ever: what passed counts, nothing else."""
    flow = [at(4 * n) for n in range(60)]  # fifteen a minute, ten allowed
    held = above(flow, {STEWARDS: []}, Rates(10, 100))
    assert 15 <= len(held) <= 20


def test_an_earlier_one_that_nobody_has_judged_counts():
    """Another worker may be letting it go at this moment; a later one is its own affair."""
    one = at(10)
    early, late = neighbours(at(9), at(8), let_go=False), neighbours(at(11), at(12), let_go=False)
    assert one.id in above([one], {STEWARDS: early}, Rates(2, 100))
    assert above([one], {STEWARDS: late}, Rates(2, 100)) == {}


def test_one_that_was_stored_late_finds_those_made_after_it():
    """Made first, committed last: those that left meanwhile count all the same."""
    one = at(10)
    assert one.id in above([one], {STEWARDS: neighbours(at(11), at(12))}, Rates(2, 100))


def test_an_actor_is_held_whoever_the_recipients_are():
    """Five messages by one user to five people, three allowed."""
    sent = [at(n, ADA, (By.RECIPIENT, f"p{n}@firm.example")) for n in range(5)]
    assert list(above(sent, {ADA: []}, Rates(10, 3)).values()) == [By.ACTOR] * 2


def test_a_message_to_two_people_is_held_for_either():
    """Where one of the recipients has had enough, the message waits, and counts for nobody."""
    both = [at(n, STEWARDS, BOB) for n in range(4)]
    crowd = {STEWARDS: [], BOB: neighbours(at(0), at(1))}
    assert len(above(both, crowd, Rates(3, 100))) == 3


@given(
    seconds=st.lists(st.integers(0, 300), max_size=80), rate=st.integers(1, 10), seed=st.randoms()
)
def test_workers_that_see_each_other_never_let_more_go_than_the_rate(seconds, rate, seed):
    """Whatever is claimed first: within any minute the recipient gets the rate at most."""
    waiting = [at(second) for second in seconds]
    left: list[Candidate] = []
    held: set[uuid.UUID] = set()
    order = waiting[:]
    seed.shuffle(order)
    while order:
        batch = [order.pop() for _ in range(min(len(order), seed.randint(1, 20)))]
        unjudged = [*batch, *order]
        crowd = {STEWARDS: [*neighbours(*left), *neighbours(*unjudged, let_go=False)]}
        too_many = above(batch, crowd, Rates(rate, 100))
        held |= set(too_many)
        left += [one for one in batch if one.id not in too_many]
    assert len(left) + len(held) == len(waiting)  # nothing is forgotten
    for one in left:
        together = [o for o in left if timedelta(0) <= o.created_at - one.created_at < WINDOW]
        assert len(together) <= rate


def test_the_same_instant_is_no_way_around():
    """A thousand messages of one microsecond: ten pass, whoever has claimed which of them."""
    flood = [at(0) for _ in range(1000)]
    random.Random(7).shuffle(flood)
    first, second = flood[:500], flood[500:]
    crowd = {STEWARDS: neighbours(*flood, let_go=False)}
    passed = 1000 - sum(len(above(batch, crowd, Rates(10, 100))) for batch in (first, second))
    assert passed == 10


@pytest.mark.parametrize(
    ("expires_in", "waits"), [(None, 60), (3600, 60), (30, 25), (3, 0), (-10, 0)]
)
def test_what_expires_soon_does_not_wait_for_its_end(expires_in, waits):
    """Held for a minute, but let go some seconds before it would be too late."""
    expires_at = None if expires_in is None else START + expires_in * SECOND
    assert digest_at(START, expires_at) - START == waits * SECOND


@pytest.mark.parametrize(("by", "number"), [(By.RECIPIENT, "10"), (By.ACTOR, "100")])
def test_the_reason_tells_the_limit_and_the_time(by, number):
    """An administrator reads which limit it was, when it leaves, and what can be done before."""
    text = why(by, Rates(10, 100), START)
    assert number in text
    assert "12:00:00 UTC" in text
    assert "release or cancel" in text
