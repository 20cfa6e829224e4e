"""The outbox as a queue: claim with a lease, renew, give back.

A claim takes a message for a limited time and raises its *fence*. Every later write names the
fence that it was claimed with, so that a worker whose lease has ended changes nothing. Every
function works on the connection that it is given and leaves the commit to its owner; times are
naive UTC.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice, product, zip_longest
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from .. import clock
from ..language import mark
from ..logs import about, log
from ..settings.relay import DEFAULT
from ..storage.json_rows import JsonQuery, joined_update, json_table
from ..storage.tables import DELIVERY
from ..values import OPEN, Priority, Reason, Status
from .choice import bound_to
from .claimed import ANY, LARGE, Claimed, Sizes
from .fenced import Change, by_index, lock_rows_only
from .loading import WANTED, Reading, load, wanted
from .transitions import CLAIMED, RETURNED, SET_ASIDE

# Holds those of the messages just claimed that may not be sent now; gives their ids.
RateFilter = Callable[[sa.Connection, Sequence[Claimed], datetime], Collection[uuid.UUID]]
OnHeld = Callable[[sa.Connection, Sequence[uuid.UUID], datetime], None]  # gets ids of messages

_MAX_BEGUN = 3  # claims that began with a message and never ended
_MAX_BYTES = 8_000_000  # of content in one claim, so that large messages do not fill the memory
_GLANCE = 200  # messages at the head of a queue that are searched for a large one
_PRESENT = {
    "postgresql": sa.func.timezone("utc", sa.func.clock_timestamp()),
    "mysql": sa.func.utc_timestamp(6),
    "mariadb": sa.func.utc_timestamp(6),
}
_CANDIDATES = 50  # messages that a lane looks at, at least, to find those of its own


def _columns(later: sa.ColumnElement[Any]) -> sa.Select[Any]:
    columns = (DELIVERY.c.id, DELIVERY.c.size, later.label("later"), DELIVERY.c.relay)
    return sa.select(*columns).where(
        DELIVERY.c.size > sa.bindparam("over"), DELIVERY.c.size <= sa.bindparam("upto")
    )


# Whether it was to leave later than it was made, or is tried again.
_COLUMNS = _columns(sa.case((DELIVERY.c.due_at > DELIVERY.c.created_at, DELIVERY.c.due_at)))


def _head(status: object, rank: object) -> sa.Select[Any]:
    """What is due of one queue, in the order of its index."""
    due = _COLUMNS.where(_in_queue(status, rank), DELIVERY.c.due_at <= sa.bindparam("now"))
    return due.order_by(DELIVERY.c.due_at).limit(sa.bindparam("most"))


def _head_aside(status: object, rank: object) -> sa.Select[Any]:
    """What waits for its relay, as put there by ``lanes``: that it is due later means nothing."""
    aside = sa.and_(
        DELIVERY.c.due_at > sa.bindparam("now"),
        DELIVERY.c.reason == Reason.RELAY,
        DELIVERY.c.relay == sa.bindparam("aside"),
    )
    found = _columns(sa.null()).where(_in_queue(status, rank), aside)
    return found.order_by(DELIVERY.c.due_at).limit(sa.bindparam("most"))


def _in_queue(status: object, rank: object) -> sa.ColumnElement[bool]:
    return sa.and_(DELIVERY.c.status == status, DELIVERY.c.priority == rank)


_LATE = (
    _COLUMNS.where(
        DELIVERY.c.status == Status.SENDING, DELIVERY.c.lease_until < sa.bindparam("now")
    )
    .order_by(DELIVERY.c.lease_until)
    .limit(sa.bindparam("most"))
)
_WHICH: tuple[Any, Any] = (sa.bindparam("wanted"), sa.bindparam("rank"))
_PICK_DUE, _PICK_LATE, _PICK_ASIDE = (
    JsonQuery(query.with_for_update(skip_locked=True))
    for query in (_head(*_WHICH), _LATE, _head_aside(*_WHICH))
)


def _largest(head: sa.Select[Any]) -> sa.ScalarSelect[Any]:
    """The size of the largest message at the head of a queue; NULL where the queue is empty."""
    return sa.select(sa.func.max(head.subquery().c.size)).scalar_subquery()


# All queues in one look, by priority and status; the last column is of what was lost.
_QUEUES = tuple(product(Priority, OPEN))
_LOOK = sa.select(
    *(_largest(_head(status, priority.rank)) for priority, status in _QUEUES), _largest(_LATE)
)
_LOOK_ASIDE = sa.select(
    *(_largest(_head_aside(status, priority.rank)) for priority, status in _QUEUES)
)
_TAKE = (
    joined_update(DELIVERY)
    .where(DELIVERY.c.id == WANTED.c.id)
    .values(
        **CLAIMED.to(Status.SENDING),
        due_at=None,
        fence=DELIVERY.c.fence + 1,
        lost_leases=DELIVERY.c.lost_leases + WANTED.c.begun,
        lease_until=sa.bindparam("until", type_=DELIVERY.c.lease_until.type),
        worker=sa.bindparam("taker"),
        relay=sa.bindparam("carrier", type_=DELIVERY.c.relay.type),
        reason=None,
    )
)
_NOW = sa.bindparam("now", type_=DELIVERY.c.finished_at.type)
_ABANDONED = sa.update(DELIVERY).where(DELIVERY.c.lease_until < sa.bindparam("now"))
_ASIDE: dict[str, Any] = {**SET_ASIDE.to(Status.HELD), "lease_until": None, "worker": None}
_SET_ASIDE = _ABANDONED.values(
    **_ASIDE,
    finished_at=_NOW,
    reason=Reason.AMBIGUOUS,
    detail=str(mark("The worker stopped while it was sending: it may have left, or not.")),
)
_POISON = DELIVERY.c.lost_leases >= _MAX_BEGUN
_SET_POISON_ASIDE = _ABANDONED.where(_POISON).values(
    **_ASIDE,
    finished_at=_NOW,
    reason=Reason.POISON,
    detail=str(mark("Three workers in a row stopped while they were sending this message.")),
)
_JUST_SET_ASIDE = sa.select(DELIVERY.c.id).where(
    DELIVERY.c.status == Status.HELD, DELIVERY.c.finished_at == _NOW
)
_ANY_ABANDONED = (
    sa.select(DELIVERY.c.id).where(DELIVERY.c.lease_until < sa.bindparam("now")).limit(1)
)
_ANY_POISON = _ANY_ABANDONED.where(_POISON)
_CLAIMS = json_table(DELIVERY.c.id, DELIVERY.c.fence)
_RETURNED = json_table(DELIVERY.c.id, DELIVERY.c.fence, DELIVERY.c.relay)
_RENEW = Change(_CLAIMS, lease_until=sa.bindparam("until", type_=DELIVERY.c.lease_until.type))
_GIVE_BACK = Change(
    _RETURNED,
    **RETURNED.choose((DELIVERY.c.attempts > 0, Status.DEFERRED), otherwise=Status.QUEUED),
    due_at=sa.bindparam("again_at", type_=DELIVERY.c.due_at.type),
    lease_until=None,
    worker=None,
    lost_leases=0,
    relay=_RETURNED.c.relay,
    detail=sa.bindparam("why", type_=DELIVERY.c.detail.type),
)


class Picked(NamedTuple):
    """A message that may be claimed.

    Its ``size``, when it was due if that was ``later``, and the ``relay`` that it is bound to.
    """

    id: uuid.UUID
    size: int
    later: datetime | None
    relay: str | None


class Sorted(NamedTuple):
    """Messages for the relay that claims: those that were ``lost``, and others.

    ``held`` are the ids of those that are held now, as it is not known whether they have left.
    """

    lost: Sequence[Picked]
    due: Sequence[Picked]
    held: Sequence[uuid.UUID]


class Sorting(Protocol):
    """Finds out which messages are for the relay that claims; see ``lanes.Lane``.

    ``asides`` are the words under which its messages wait aside. Unless it ``takes_part``, it looks
    at no others.
    """

    @property
    def asides(self) -> Sequence[str]: ...

    @property
    def takes_part(self) -> bool: ...

    @property
    def alone(self) -> bool: ...

    def sort(
        self,
        connection: sa.Connection,
        lost: Sequence[Picked],
        due: Sequence[Picked],
        now: datetime,
    ) -> Sorted: ...


class Time:
    """The time of the database, which all workers share: the clock of a machine may be wrong.

    Between two looks the monotonic clock is added, so that setting a clock meanwhile changes
    nothing. With SQLite it is the clock of the machine. In a test that has stopped the clock it
    stands still, whatever the database says.
    """

    def __init__(self) -> None:
        self._seen = clock.now(), time.monotonic()  # together: threads share this

    def look(self, connection: sa.Connection) -> datetime:
        """Ask the database on ``connection``."""
        present = None if clock.stopped_at() else _PRESENT.get(connection.dialect.name)
        seen = clock.now() if present is None else connection.scalar(sa.select(present))
        assert isinstance(seen, datetime)  # noqa: S101 - that is what these functions give
        self._seen = seen, time.monotonic()
        return seen

    def now(self) -> datetime:
        """The present, without asking."""
        if stopped := clock.stopped_at():
            return stopped
        seen, at = self._seen
        return seen + timedelta(seconds=time.monotonic() - at)


def recover(connection: sa.Connection, now: datetime, *, hold: bool) -> list[uuid.UUID]:
    """Hold messages whose lease has ended: their worker died, or stood still too long.

    With ``hold`` that is all of them, as they may have left; else only those that three workers in
    a row had begun and not ended. Gives the ids of what is held. The next claims take over the
    rest: the same bytes under the same Message-ID.
    """
    if connection.dialect.name in ("mysql", "mariadb"):
        # Their update waits for rows that another worker is recording, and that worker may wait
        # for this one: a deadlock. There is seldom anything, and a look waits for nobody.
        look = _ANY_ABANDONED if hold else _ANY_POISON
        if connection.execute(look, {"now": now}).first() is None:
            return []
    # On SQLite, where rows are not locked, this write also locks the database for the claim.
    held = connection.execute(_SET_ASIDE if hold else _SET_POISON_ASIDE, {"now": now})
    return [*connection.scalars(_JUST_SET_ASIDE, {"now": now})] if held.rowcount else []


def claim(
    connection: sa.Connection,
    *,
    limit: int,
    worker: str,
    lease: timedelta,
    now: datetime,
    relay: str = DEFAULT,
    sorting: Sorting | None = None,
    late: int = 1,
    free: int = 1,
    hold: bool = False,
    only_fresh: bool = False,
    priorities: Sequence[Priority] = tuple(Priority),
    sizes: Sizes = ANY,
    reading: Reading | None = None,
    rate_filter: RateFilter = lambda *_: (),
    on_held: OnHeld | None = None,
) -> list[Claimed]:
    """Take up to ``limit`` messages for ``relay`` and ``lease``; no two workers get the same one.

    First come at most ``late`` messages whose worker lost its lease (unless ``hold``, see
    ``recover``); then those of each of ``priorities``, half and half those that were never tried
    and those that are to be tried again. The worker begins immediately with the lost ones and the
    first ``free`` of the rest: should it die, only they may have been the reason. With
    ``only_fresh`` nothing else is looked for, as there was only fresh mail a moment ago.
    ``sorting`` leaves out what is for another
    relay; without it everything is for this one. Messages of other ``sizes`` are left. With
    ``reading``, which any thread may call, the content of a large message is read when it is
    needed. What ``rate_filter`` holds, in the same transaction, is not given. ``on_held`` is called
    at the end, in that transaction, if anything was held. On MariaDB this is the first statement of
    its transaction.
    """
    lock_rows_only(connection)
    by_index(connection)
    held = recover(connection, now, hold=hold)
    lost: Sequence[Picked] = []
    due: Sequence[Picked] = []
    takes_part = sorting is None or sorting.takes_part
    if takes_part and not only_fresh:
        lost = _pick(connection, _PICK_LATE, min(limit, late), sizes, now=now)
    room = limit if sorting is None or sorting.alone else max(limit, _CANDIDATES)
    for priority in priorities:
        left = room - len(lost) - len(due) if takes_part else 0
        found = _due(connection, now, left, sizes, priority, only_fresh=only_fresh)
        if sorting is not None and not only_fresh:
            aside = _aside(connection, sorting.asides, now, limit, sizes, priority)
            found = _in_turn(aside, found)
        due = [*due, *found]
    if sorting is not None:
        lost, due, doubtful = sorting.sort(connection, lost, due, now)
        held += doubtful
    ids, size = _within_bytes([*lost, *islice(due, limit - len(lost))])
    claimed: list[Claimed] = []
    if ids:
        rows = wanted(ids, begun=max(len(lost), free))
        taking = {"until": now + lease, "taker": worker, "carrier": relay}
        connection.execute(_TAKE, {**rows, **taking})
        claimed, damaged = load(connection, ids, rows, size=size, reading=reading)
        _note_due({picked.id: picked.later for picked in due if picked.later}, claimed)
        _note_bound({*(picked.id for picked in (*lost, *due) if picked.relay)}, claimed, relay)
        for id, problem in damaged.items():
            _quarantine(connection, id, problem, now)
        if above := rate_filter(connection, claimed, now):
            claimed = [message for message in claimed if message.id not in above]
        held += [*damaged, *above]
    if held and on_held:
        on_held(connection, held, now)
    return claimed


def _note_due(later: Mapping[uuid.UUID, datetime], claimed: Iterable[Claimed]) -> None:
    """Note when those were due that were to leave ``later``, and were never claimed before."""
    if later:
        for message in claimed:
            if message.fence == 1:
                message.due_at = later.get(message.id)


def _note_bound(bound: Collection[uuid.UUID], claimed: Iterable[Claimed], relay: str) -> None:
    """Note which may go by ``relay`` alone."""
    if bound:
        for message in claimed:
            if message.id in bound:
                message.bound = relay


def is_due(by: datetime) -> sa.ColumnElement[bool]:
    """Whether a message waits for an attempt that might have begun at ``by``, in SQL."""
    return sa.and_(
        DELIVERY.c.status.in_(OPEN),
        DELIVERY.c.priority.in_([priority.rank for priority in Priority]),
        DELIVERY.c.due_at <= by,
    )


class Waiting(NamedTuple):
    """What a claim would find.

    ``priorities`` are those of mail that is due. ``other`` says whether there is any that was
    tried before, lost, or waits aside; ``large``, whether a ``LARGE`` message is near the head of
    a queue.
    """

    priorities: tuple[Priority, ...]
    other: bool
    large: bool


def waiting(connection: sa.Connection, now: datetime, sorting: Sorting | None = None) -> Waiting:
    """What a claim would find: a look that locks nothing, after ``by_index``."""
    # Ordered as the index is: else PostgreSQL may choose another one, and read all that waits.
    head = {**ANY._asdict(), "now": now, "most": _GLANCE}
    due: Sequence[int | None] = [None] * len(_QUEUES)
    lost: int | None = None
    if sorting is None or sorting.takes_part:
        *due, lost = connection.execute(_LOOK, head).one()
    aside = [
        size
        for word in (sorting.asides if sorting else ())
        for size in connection.execute(_LOOK_ASIDE, {**head, "aside": word}).one()
    ]
    looks = len(aside) // len(_QUEUES)
    found = {
        queue: size
        for queue, size in zip((*_QUEUES, *_QUEUES * looks), (*due, *aside), strict=True)
        if size is not None
    }
    return Waiting(
        tuple(one for one in Priority if any(priority is one for priority, _ in found)),
        lost is not None
        or any(size is not None for size in aside)
        or any(status is Status.DEFERRED for _, status in found),
        max((size or 0 for size in (*due, *aside, lost)), default=0) > LARGE.over,
    )


def _due(
    connection: sa.Connection,
    now: datetime,
    limit: int,
    sizes: Sizes,
    priority: Priority,
    *,
    only_fresh: bool,
) -> list[Picked]:
    """Messages that are due, new and deferred in turn, so that neither waits for the other."""

    def pick(status: Status, most: int) -> list[Picked]:
        rank = priority.rank
        return _pick(connection, _PICK_DUE, most, sizes, wanted=status, rank=rank, now=now)

    if only_fresh:
        return pick(Status.QUEUED, limit)
    half = limit // 2
    again = pick(Status.DEFERRED, half)
    fresh = pick(Status.QUEUED, limit - len(again))
    if len(again) == half and len(again) + len(fresh) < limit:
        again = pick(Status.DEFERRED, limit - len(fresh))
    return _in_turn(fresh, again)


def _in_turn(one: Sequence[Picked], other: Sequence[Picked]) -> list[Picked]:
    return [picked for pair in zip_longest(one, other) for picked in pair if picked]


def _aside(
    connection: sa.Connection,
    words: Iterable[str],
    now: datetime,
    limit: int,
    sizes: Sizes,
    priority: Priority,
) -> list[Picked]:
    """Messages that wait aside under ``words``: of each kind up to ``limit``."""
    found: list[Picked] = []
    for word in words:
        which = {"rank": priority.rank, "aside": word, "now": now}
        again, fresh = (
            _pick(connection, _PICK_ASIDE, limit, sizes, wanted=status, **which)
            for status in (Status.DEFERRED, Status.QUEUED)
        )
        found = _in_turn(found, _in_turn(fresh, again))
    return found


def _pick(
    connection: sa.Connection, query: JsonQuery, most: int, sizes: Sizes, **which: object
) -> list[Picked]:
    if most <= 0:
        return []
    rows = query.rows(connection, {**which, **sizes._asdict(), "most": most})
    return [Picked(id, size or 0, later, bound_to(relay)) for id, size, later, relay in rows]


def _within_bytes(picked: Sequence[Picked]) -> tuple[list[uuid.UUID], int]:
    ids: list[uuid.UUID] = []
    total = 0
    for id, size, *_ in picked:
        if ids and total + size > _MAX_BYTES:
            break
        ids.append(id)
        total += size
    return ids, total


def _quarantine(connection: sa.Connection, id: uuid.UUID, problem: str, now: datetime) -> None:
    log.error("message.poison: %s: %s", id, problem, extra=about(id))
    connection.execute(
        sa.update(DELIVERY)
        .where(DELIVERY.c.id == id)
        .values(
            **_ASIDE,
            finished_at=now,
            reason=Reason.POISON,
            detail=str(mark("This message cannot be sent: %(problem)s.", problem=problem)),
        )
    )


def renew(
    connection: sa.Connection, claims: Iterable[Claimed], *, lease: timedelta, now: datetime
) -> set[uuid.UUID]:
    """Extend the leases of ``claims``; gives the ids of those that are still this worker's."""
    return _RENEW.apply(connection, _fences(claims), until=now + lease)


def give_back(
    connection: sa.Connection, claims: Iterable[Claimed], *, due_at: datetime, detail: str | None
) -> None:
    """Return ``claims`` to the queue without an attempt; ``detail`` says why they wait."""
    rows = [(claimed.id, claimed.fence, claimed.bound) for claimed in claims]
    _GIVE_BACK.apply(connection, rows, again_at=due_at, why=detail)


def _fences(claims: Iterable[Claimed]) -> list[tuple[uuid.UUID, int]]:
    return [(claimed.id, claimed.fence) for claimed in claims]
