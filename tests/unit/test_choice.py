"""Which relay carries a message: the rule, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_interaction_mail.outbox.choice import (
    UNCARRIED,
    Relays,
    Trouble,
    Verdict,
    bound_to,
    from_domain,
    why,
)
from flask_interaction_mail.settings.relay import Relay

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC).replace(tzinfo=None)
A, B = Relay(name="a"), Relay(name="b")
OWN = Relay(name="own", from_domains=("own.example",))
OTHER = Relay(name="other", from_domains=("other.example",))


def down(*names: str, minutes: int = 5) -> dict[str, Trouble]:
    return {name: Trouble(NOW - timedelta(minutes=minutes), "It is silent.") for name in names}


@pytest.mark.parametrize(
    ("relays", "domain", "bound", "trouble", "verdict", "relay", "aside"),
    [
        # One relay.
        ([A], "x.example", None, down(), "first", "a", "/a"),
        ([A], "x.example", None, down("a"), "waits", "a", "/a"),
        ([OWN], "own.example", None, down(), "first", "own", "/own"),
        ([OWN], "x.example", None, down(), "nobody", None, "/"),
        # Their order, and trouble.
        ([A, B], "x.example", None, down(), "first", "a", "/a/b"),
        ([A, B], "x.example", None, down("b"), "first", "a", "/a/b"),
        ([A, B], "x.example", None, down("a"), "next", "b", "/a/b"),
        ([B, A], "x.example", None, down("a"), "first", "b", "/b/a"),
        ([A, B], "x.example", None, down("a", "b"), "waits", "a", "/a/b"),
        # From domains.
        ([OWN, A], "own.example", None, down(), "first", "own", "/own/a"),
        ([OWN, A], "own.example", None, down("own"), "next", "a", "/own/a"),
        ([OWN, A], "x.example", None, down(), "first", "a", "/a"),
        ([OWN, A], "x.example", None, down("a"), "waits", "a", "/a"),
        ([A, OWN], "own.example", None, down(), "first", "a", "/a/own"),
        ([OWN, OTHER], "other.example", None, down("other"), "waits", "other", "/other"),
        ([OWN, OTHER], "x.example", None, down(), "nobody", None, "/"),
        ([OWN, OTHER], "", None, down(), "nobody", None, "/"),
        ([OWN, OTHER], "sub.own.example", None, down(), "nobody", None, "/"),
        # What may have left by one already.
        ([A, B], "x.example", "b", down(), "bound", "b", "b"),
        ([A, B], "x.example", "a", down("a", minutes=59), "bound", "a", "a"),
        ([A, B], "x.example", "a", down("a", minutes=60), "doubtful", "a", "a"),
        ([A, B], "x.example", "a", down("b", minutes=600), "bound", "a", "a"),
        ([A, B], "x.example", "gone", down(), "doubtful", "gone", "gone"),
        ([OWN, A], "x.example", "own", down(), "doubtful", "own", "own"),
    ],
)
def test_which_relay(relays, domain, bound, trouble, verdict, relay, aside):
    """Order, trouble, From domains and a first copy decide, and nothing else."""
    chosen = Relays(relays).choose(domain, bound, trouble, NOW)
    assert chosen == (verdict, relay, aside)


names = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5, unique=True)
domains = st.lists(st.sampled_from(["p.example", "q.example"]), max_size=2, unique=True)


@given(st.data())
def test_every_message_has_one_lane_unless_nobody_can_carry_it(data):
    """What waits aside is looked for by the relay that the rule names for it, and by no other."""
    relays = Relays(
        [Relay(name=name, from_domains=tuple(data.draw(domains))) for name in data.draw(names)]
    )
    trouble = down(*data.draw(st.lists(st.sampled_from("abcdef"), unique=True)))
    domain = data.draw(st.sampled_from(["p.example", "q.example", "x.example"]))
    chosen = relays.choose(domain, None, trouble, NOW)
    looking = [
        relay.name
        for relay in relays.relays
        if chosen.aside in relays.carried_by(relay.name, trouble)
    ]
    assert looking == ([] if chosen.relay is None else [chosen.relay])
    assert (chosen.aside == UNCARRIED) == (chosen.verdict is Verdict.NOBODY)
    assert chosen.verdict not in (Verdict.BOUND, Verdict.DOUBTFUL)


def test_a_group_of_many_relays_fits_into_its_column():
    """Names of 60 characters for ten relays: different groups still have different words."""
    many = [Relay(name=f"{number}{'x' * 59}") for number in range(10)]
    first, second = (Relays(some).choose("", None, {}, NOW).aside for some in (many, many[1:]))
    assert first != second
    assert len(first) <= 255
    assert bound_to(first) is None


def test_what_stands_in_the_column():
    """A relay's name binds, a group does not."""
    assert bound_to("a") == "a"
    assert bound_to("/a/b") is None
    assert bound_to(UNCARRIED) is None
    assert bound_to(None) is None


@pytest.mark.parametrize(
    ("sender", "envelope", "domain"),
    [
        ("Ada <ada@Firm.Example>", None, "firm.example"),
        ("ada@firm.example", None, "firm.example"),
        ('"a@b" <ada@firm.example>', "x@other.example", "firm.example"),
        ("Ada <ada@bücher.example>", None, "xn--bcher-kva.example"),
        ("A name that was cut", "crm@firm.example", "firm.example"),
        ("A name that was cut at user@", "crm@firm.example", "firm.example"),
        (None, "crm@firm.example", "firm.example"),
        (None, None, ""),
        ("@", "nonsense", ""),
    ],
)
def test_the_domain_of_from(sender, envelope, domain):
    """It is read from what the list shows; the envelope sender helps where that was cut."""
    assert from_domain(sender, envelope) == domain


@pytest.mark.parametrize(
    ("relays", "domain", "bound", "trouble", "words"),
    [
        ([OWN], "x.example", None, down(), "No mail server may carry mail from x.example"),
        ([A, B], "", "gone", down(), "“gone”, which may not carry it any more"),
        ([A, B], "", "a", down("a", minutes=60), "in trouble for an hour"),
        ([A, B], "", "a", down("a"), "so it waits for that one: It is silent."),
        ([A, B], "", None, down("a", "b"), "Waiting for the mail server “a”: It is silent."),
        ([OWN, A], "x.example", None, down(), "Waiting for its turn at the mail server “a”."),
    ],
)
def test_the_reason_is_told(relays, domain, bound, trouble, words):
    """Each verdict that keeps a message waiting has a sentence."""
    assert words in why(Relays(relays).choose(domain, bound, trouble, NOW), domain, trouble)
