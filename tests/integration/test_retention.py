"""The purge of texts: each is removed once, and what the last purge saw is not read again."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from flask_interaction_mail import clock
from flask_interaction_mail.messages.intent import PURGED
from flask_interaction_mail.outbox import retention
from flask_interaction_mail.storage.tables import MESSAGE
from flask_interaction_mail.values import ENDED
from tests.outbox_rows import Store, a_message, change

NOW = clock.now().replace(microsecond=0)
DAY = timedelta(days=1)


def ended(store: Store, *moments: datetime) -> None:
    """Put in messages that ended then, in each of the ways."""
    for moment in moments:
        for status in ENDED:
            message = a_message()
            store.put(message)
            with store.writing() as connection:
                change(
                    connection,
                    message.id,
                    status=status,
                    created_at=moment,
                    finished_at=moment,
                    due_at=None,
                )


def purged(store: Store, now: datetime, bodies: timedelta = 7 * DAY) -> int:
    """How many texts a purge at that time removes."""
    return retention.purge(store, now=now, bodies=bodies, logs=900 * DAY).bodies


def left(store: Store) -> int:
    """How many messages have their text."""
    count = sa.select(sa.func.count()).where(MESSAGE.c.intent != PURGED)
    with store.reading() as connection:
        return int(connection.scalar(count) or 0)


def test_each_text_is_removed_whatever_ended_with_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though many ended at one moment, and a transaction takes few."""
    monkeypatch.setattr(retention, "_BATCH", 3)
    then = NOW - 8 * DAY
    ended(store, *[then] * 5, then + timedelta(hours=1), NOW)
    assert purged(store, NOW) == 6 * len(ENDED)
    assert left(store) == len(ENDED)


def test_a_purge_goes_on_where_the_last_one_stopped(store: Store) -> None:
    """What it has passed is not looked at again on that day, however much that is."""
    ended(store, NOW - 8 * DAY)
    assert purged(store, NOW) == len(ENDED)
    soon = timedelta(hours=12)
    ended(store, NOW - 8 * DAY, NOW - 7 * DAY + soon / 2)  # the first ones, which nobody can have
    assert purged(store, NOW + soon) == len(ENDED)
    assert left(store) == len(ENDED)


def test_what_is_committed_late_is_not_passed_over(store: Store) -> None:
    """A host may take a while to commit what it cancels, and texts may have to go at once."""
    assert purged(store, NOW, timedelta(0)) == 0
    ended(store, NOW - timedelta(minutes=50))
    assert purged(store, NOW + timedelta(hours=1), timedelta(0)) == len(ENDED)


def test_a_clock_that_was_wrong_for_a_day_keeps_no_text(store: Store) -> None:
    """It had said that all of the next year is done."""
    assert purged(store, NOW + 365 * DAY) == 0
    ended(store, NOW)
    assert purged(store, NOW + 8 * DAY) == len(ENDED)


def test_texts_that_may_stay_longer_and_then_shorter_again_go(store: Store) -> None:
    """Nothing is taken for done that was kept meanwhile."""
    ended(store, NOW - 10 * DAY)
    assert purged(store, NOW, 5 * DAY) == len(ENDED)
    ended(store, NOW)
    assert purged(store, NOW + 20 * DAY, 30 * DAY) == 0
    assert purged(store, NOW + 21 * DAY, 7 * DAY) == len(ENDED)
    assert left(store) == 0


def test_a_clock_that_was_slow_between_two_purges_keeps_no_text_for_long(store: Store) -> None:
    """What ended meanwhile seems to have ended before what is done; it goes within a day."""
    assert purged(store, NOW) == 0
    ended(store, NOW - 20 * DAY)
    assert purged(store, NOW + timedelta(hours=1)) == 0
    assert purged(store, NOW + timedelta(hours=25)) == len(ENDED)
    assert left(store) == 0
