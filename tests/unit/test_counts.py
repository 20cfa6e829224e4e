"""What is counted of mail, and how it is merged: rules without a database."""

from __future__ import annotations

import json
import random
import uuid
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_interaction_mail.outbox import counts
from flask_interaction_mail.outbox.counts import (
    BOUNDS,
    DAY,
    DAYS,
    DOMAIN,
    HOUR,
    HOURS,
    KIND,
    MINUTE,
    OTHER,
    REFUSAL,
    TOTAL,
    Counts,
    Document,
    GrowingDocument,
    Names,
    Span,
    Sums,
    add_to,
    begin_of,
    bucket_of,
    domain_of,
    in_common,
    merged,
    quantile,
    refusals,
    rows_of,
    span_of,
)
from flask_interaction_mail.values import Status

NOW = datetime(2026, 11, 28, 10, 30, 12, 5)  # noqa: DTZ001 - as the database has it, in UTC
TIMES = st.floats(min_value=0.001, max_value=3600 * 24 * 60)


def exact(times: list[float], share: float) -> float:
    """The time within which that share of them is."""
    ordered = sorted(times)
    wanted = share * len(ordered)
    return next(time for number, time in enumerate(ordered, 1) if number >= wanted)


def counted(times: list[float]) -> dict[int, int]:
    buckets: dict[int, int] = {}
    for time in times:
        buckets[bucket_of(time)] = buckets.get(bucket_of(time), 0) + 1
    return buckets


@given(st.lists(TIMES, min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_at_most_a_tenth_off(times: list[float], share: float) -> None:
    """For any times from a millisecond to two months."""
    found = quantile(counted(times), share)
    assert found == pytest.approx(exact(times, share), rel=0.1)


@pytest.mark.parametrize("middle", [0.02, 3.0, 900.0])
def test_a_quantile_of_many_is_at_most_a_tenth_off(middle: float) -> None:
    """For times that are spread as those of mail are: most short, some a thousand times longer."""
    chance = random.Random(7)
    times = [max(0.001, chance.lognormvariate(0, 2) * middle) for _ in range(5000)]
    for share in (0.5, 0.95):
        assert quantile(counted(times), share) == pytest.approx(exact(times, share), rel=0.1)


def test_bounds_are_fixed() -> None:
    """What is stored is the number of a bucket, so they may never change."""
    assert BOUNDS[0] == 0.001
    assert BOUNDS[40] == pytest.approx(1.4697715679690847)
    assert len(BOUNDS) == 125
    assert [bucket_of(time) for time in (-5.0, 0.0, 0.001, 1.0, 1e9)] == [0, 0, 1, 38, 125]


def test_nothing_has_no_quantile() -> None:
    """And what is beyond the last bound is said to be there."""
    assert quantile({}, 0.5) is None
    assert quantile({0: 0}, 0.5) is None
    assert quantile({len(BOUNDS): 1}, 0.5) == BOUNDS[-1]


@pytest.mark.parametrize(
    ("what", "ago", "step", "span"),
    [
        (TOTAL, timedelta(minutes=91), HOUR, HOURS),
        (TOTAL, timedelta(days=8), HOUR, HOURS),
        (TOTAL, timedelta(days=8, hours=11), DAY, DAYS),
        (DOMAIN, timedelta(days=1), HOUR, HOURS),
        (DOMAIN, timedelta(days=1, hours=11), DAY, DAYS),
    ],
)
def test_old_counts_stand_in_hours_and_days(
    what: str, ago: timedelta, step: timedelta, span: str
) -> None:
    """Totals by the hour for longer, because of the chart of a week."""
    at = begin_of(MINUTE, NOW - ago)
    assert span_of(what, at, NOW) == Span(begin_of(step, at), span)


@pytest.mark.parametrize(
    ("reply", "address", "common"),
    [
        (
            "550 5.1.1 <ada@firm.example>: User unknown",
            "ada@firm.example",
            "550 5.1.1 ... User unknown",
        ),
        ("550 5.1.1 No mailbox ADA.L here", "ada.l@firm.example", "550 5.1.1 No mailbox ... here"),
        ("450 4.2.0 greylisted, see 4XyZ12ab", "", "450 4.2.0 greylisted, see ..."),
        ("554 Blocked [192.0.2.7] (2001:db8::25)", "", "554 Blocked ... ..."),
        ("421-4.7.0  Try\tlater\nplease", "", "421-4.7.0 Try later please"),
        ("550 5.7.1 mail of ada-lovelace", "ada@firm.example", "550 5.7.1 mail of ...-lovelace"),
        ("550 al", "al@firm.example", "550 al"),
        ("The connection was lost.", "", "The connection was lost."),
        ("", "", ""),
    ],
)
def test_replies_are_told_apart_by_what_they_have_in_common(
    reply: str, address: str, common: str
) -> None:
    """Without addresses, names of mailboxes, and what each reply has of its own."""
    assert in_common(reply, address) == common


@given(st.text(), st.emails())
def test_no_address_is_left(text: str, address: str) -> None:
    """Whatever stands around it; and it fits into the column."""
    found = in_common(f"550 {text}{address} {text}", address)
    assert address not in found
    assert len(found) <= 255


def test_each_refusal_counts_once_an_attempt() -> None:
    """Those of recipients, or of the whole message; what was accepted is none."""
    replies = {"a@x.test": "550 no", "b@x.test": "550 no", "c@x.test": "250 ok"}
    assert refusals("accepted", "250 ok", replies) == {"550 no"}
    assert refusals("transient", "451 later", {}) == {"451 later"}
    assert refusals("transient", None, {}) == set()
    assert refusals("accepted", "250 ok", {"c@x.test": "250 ok"}) == set()


def test_of_an_address_the_domain_is_kept() -> None:
    """In small letters; what is none has the name of its own."""
    assert domain_of("Ada@Firm.EXAMPLE") == "firm.example"
    assert domain_of('"a@b"@firm.example') == "firm.example"
    assert len(domain_of("a@" + "x" * 400)) == 255


def test_a_day_has_two_hundred_names() -> None:
    """The others are one; another day, and another kind of name, has its own."""
    names = Names()
    today, tomorrow, more = NOW.date(), (NOW + DAY).date(), {"one more": 2, "another": 3}
    most = dict.fromkeys((f"d{number}" for number in range(counts.MOST)), 1)
    assert names.of(DOMAIN, today, most) == most
    assert names.of(DOMAIN, today, {**more, "d7": 4}) == {OTHER: 5, "d7": 4}
    assert names.of(KIND, today, more) == more
    assert names.of(DOMAIN, tomorrow, more) == more
    names.forget_before(tomorrow)
    assert names.of(DOMAIN, today, more) == more


def test_a_day_may_end_while_another_thread_counts() -> None:
    """A claim and a record of one process share the names, and neither fails for the other."""
    names = Names()
    names.of(DOMAIN, NOW.date(), {"d1": 1})

    class Meanwhile(date):
        def __le__(self, other: date) -> bool:
            names.of(KIND, (NOW + DAY).date(), {"of the other thread": 1})
            return date(self.year, self.month, self.day) <= other

    names.forget_before(Meanwhile(NOW.year, NOW.month, NOW.day))
    assert names.of(DOMAIN, NOW.date(), {"d1": 1}) == {"d1": 1}


def test_the_counts_of_an_hour_are_one_document() -> None:
    """It goes through JSON, and gives a row for each kind in the hour; totals for a minute."""
    found = Counts(Names())
    for second in range(3):
        at = NOW + timedelta(seconds=second)
        found.message(at, "request", Status.SENT, made_at=at - timedelta(seconds=1))
    found.message(NOW, "request", Status.HELD, made_at=NOW)
    found.recipient(NOW, "ada@firm.example", Status.SENT)
    found.recipient(NOW, "bob@other.example", Status.FAILED)
    found.refused(NOW, ["450 later"], uuid.UUID(int=7))
    found.message(NOW, "request", Status.SUPPRESSED, made_at=NOW)  # no server knows of it
    minute, hour = begin_of(MINUTE, NOW), begin_of(HOUR, NOW)
    ((begin, document),) = found.hours.items()
    assert begin == hour
    assert sorted(rows_of(hour, json.loads(json.dumps(document)))) == [
        (DOMAIN, hour, "firm.example", HOURS, 1, 0, 0, 0, None),
        (DOMAIN, hour, "other.example", HOURS, 0, 0, 1, 0, None),
        (KIND, hour, "request", HOURS, 3, 0, 0, 1, None),
        ("latency", hour, str(bucket_of(1.0)), HOURS, 3, 0, 0, 0, None),
        ("recipients", hour, "", HOURS, 1, 0, 1, 0, None),
        (REFUSAL, hour, "450 later", HOURS, 0, 1, 0, 0, uuid.UUID(int=7).hex),
        (TOTAL, minute, "", HOURS, 3, 0, 0, 1, None),
    ]


def test_documents_add_up() -> None:
    """Numbers are summed, of two examples the later one stays, and the part is left as it was."""
    whole: Document = {}
    parts = []
    for number in range(2):
        found = Counts(Names())
        found.message(NOW, "request", Status.FAILED, made_at=NOW)
        found.refused(NOW, ["550 no"], uuid.UUID(int=number))
        (document,) = found.hours.values()
        parts.append(document)
        add_to(whole, document)
    assert whole == {
        "total failed": {NOW.minute: 2},
        "kind failed": {"request": 2},
        "refusal failed": {"550 no": 2},
        "example": {"550 no": uuid.UUID(int=1).hex},
    }
    assert [part["kind failed"] for part in parts] == [{"request": 1}, {"request": 1}]


def test_a_growing_document_is_the_sum_of_its_parts() -> None:
    """As JSON, after each part; whatever the names are."""
    growing, whole = GrowingDocument(uuid.uuid4(), NOW), Document()
    for number, text in enumerate(
        ['550 "no"', "450 sp\u00e4ter\\", "450 sp\u00e4ter\\", '550 "no"']
    ):
        found = Counts(Names())
        found.message(NOW, "request", Status.SENT, made_at=NOW)
        found.refused(NOW, [text], uuid.UUID(int=number))
        (document,) = found.hours.values()
        add_to(whole, document)
        assert json.loads(growing.add(document)) == json.loads(json.dumps(whole))


def test_notes_and_their_document_are_the_sum_of_all_parts() -> None:
    """After each part, as they stand in the database."""
    growing, whole = GrowingDocument(uuid.uuid4(), NOW), Document()
    stands: dict[uuid.UUID, str] = {}
    written = []
    for number in range(8):
        part: Document = {"total sent": {30: 2}, "example": {f"550 {number % 4}": f"{number:032x}"}}
        add_to(whole, json.loads(json.dumps(part)))
        stands |= (rows := growing.note(part))
        written.append(len(rows))
        if number == 1:  # it has grown long meanwhile
            growing.notes = [uuid.UUID(int=number) for number in (1, 2)]
        together = Document()
        for text in stands.values():
            add_to(together, json.loads(text))
        assert together["total sent"] == whole["total sent"]
        assert together["example"].keys() == whole["example"].keys()
    assert written == [1, 1, 3, 1, 1, 3, 1, 1]  # each note, then the document and emptied notes


def test_each_hour_has_a_document_of_its_own() -> None:
    """What was said before the hour ended, and is recorded after it, belongs to that hour."""
    found = Counts(Names())
    found.message(NOW, "request", Status.DEFERRED, made_at=NOW)
    found.message(NOW - HOUR, "request", Status.DEFERRED, made_at=NOW)
    hour = begin_of(HOUR, NOW)
    assert [*found.hours] == [hour, hour - HOUR]
    found = Counts(Names())
    assert found.hours == {}


def test_sums_of_several_batches_keep_the_last_example() -> None:
    """As they stand once their hours are merged."""
    sums = Sums()
    for number in range(2):
        found = Counts(Names())
        found.message(NOW - DAY, "request", Status.FAILED, made_at=NOW)
        found.refused(NOW - DAY, ["550 no"], uuid.UUID(int=number))
        for at, document in found.hours.items():
            sums.add(merged(row, NOW) for row in rows_of(at, document))
    hour = begin_of(HOUR, NOW - DAY)
    assert sorted(sums.rows()) == [
        (KIND, hour, "request", HOURS, 0, 0, 2, 0, None),
        (REFUSAL, hour, "550 no", HOURS, 0, 0, 2, 0, uuid.UUID(int=1).hex),
        (TOTAL, hour, "", HOURS, 0, 0, 2, 0, None),
    ]
