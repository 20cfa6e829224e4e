"""The same done with many messages, in steps of a second.

There is no table of jobs: the page carries the job from step to step, signed. A step that is
repeated changes nothing, because what was done is written down under the id of the job. So a job
goes on where it was after a lost connection, another process, or a second press of the button.
"""

from __future__ import annotations

import enum
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from ..logs import log
from ..outbox import deeds, listing
from ..outbox.filters import Filters, place_text
from ..state import State
from ..storage.database import DatabaseBusy, in_short, is_away
from ..storage.tables import DELIVERY, OUTBOX

SECONDS = 1.0  # of one step
TOGETHER: Final = 20  # messages in one transaction
NAMED: Final = 20  # messages that were left out, and are named at the end
_COLUMNS: Final = (DELIVERY.c.id, DELIVERY.c.created_at, DELIVERY.c.finished_at)
DONE: Final = ""  # else the word that says why it was left out
_LAST: Final = uuid.UUID(int=2**128 - 1)
Fates = dict[uuid.UUID, str]  # of the first of the messages that were looked at, in order
# Given a job, rows with id and finished_at, and the time at which it is to stop (monotonic).
Act = Callable[["Job", Sequence[Any], float], Fates]


class Action(enum.StrEnum):
    """What is done with each message."""

    RESEND = "resend"
    CANCEL = "cancel"
    RELEASE = "release"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done, and how far it has come.

    It goes through ``ids``, or through all that match ``filters`` behind ``place``. ``seen`` is
    when the page was made on which somebody chose them (naive UTC, as text): what was made later is
    not meant. ``left_out`` counts by reason, and ``named`` has the first of those messages, each
    with its reason.
    """

    id: str
    action: Action
    by: str
    seen: str
    ids: tuple[str, ...] | None
    filters: Mapping[str, str]
    place: str
    total: int | None  # None where nobody has counted that far
    done: int = 0
    left_out: Mapping[str, int]
    named: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_ids(cls, action: Action, filters: Filters, ids: Sequence[uuid.UUID], **who: str) -> Job:
        """A new job for these messages; ``who`` are ``by`` and ``seen``."""
        chosen = tuple(id.hex for id in ids)
        return cls._new(action, filters, ids=chosen, place="", total=len(chosen), **who)

    @classmethod
    def of_all(
        cls, action: Action, filters: Filters, total: int | None, *, seen: str, by: str
    ) -> Job:
        """A new job for all that match, but for what was made after ``seen``."""
        newest = place_text((datetime.fromisoformat(seen), _LAST))
        return cls._new(action, filters, ids=None, place=newest, total=total, seen=seen, by=by)

    @classmethod
    def _new(cls, action: Action, filters: Filters, **values: Any) -> Job:
        named = filters.arguments(before="", at="")
        return cls(id=uuid.uuid4().hex, action=action, filters=named, left_out={}, **values)

    @classmethod
    def of_plain(cls, plain: Mapping[str, Any]) -> Job:
        """The job that ``asdict`` made plain."""
        values = dict(plain) | {"action": Action(plain["action"])}
        values["ids"] = None if plain["ids"] is None else tuple(plain["ids"])
        values["named"] = tuple((id, why) for id, why in plain["named"])
        return cls(**values)

    @property
    def plain(self) -> dict[str, Any]:
        """The job in values that JSON has."""
        return asdict(self)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to look at."""
        return not (self.place if self.ids is None else self.ids)

    @property
    def has_begun(self) -> bool:
        """Whether a message was looked at."""
        return self.looked_at > 0

    @property
    def looked_at(self) -> int:
        """How many messages were done or left out."""
        return self.done + sum(self.left_out.values())

    def after(self, fates: Fates, *, place: str = "") -> Job:
        """The job after these messages; ``place`` is where those that match go on."""
        left_out, named = dict(self.left_out), list(self.named)
        for id, why in fates.items():
            if why != DONE:
                left_out[why] = left_out.get(why, 0) + 1
                named.append((id.hex, why))
        return replace(
            self,
            ids=None if self.ids is None else self.ids[len(fates) :],
            place=place,
            done=self.done + sum(why == DONE for why in fates.values()),
            left_out=left_out,
            named=tuple(named[:NAMED]),
        )


def work(state: State, job: Job, act: Act) -> tuple[Job, bool]:
    """One step of ``job``: as it is afterwards, and whether the database was there all the time.

    ``act`` does it with the messages that it is given, and says what became of each.
    """
    until = time.monotonic() + SECONDS
    while not job.is_over:
        began = time.monotonic()
        try:
            job = _next(state, job, act, until)
        except (sa.exc.SQLAlchemyError, DatabaseBusy) as error:
            if not is_away(error):
                raise
            log.warning("bulk.interrupted: %s %s: %s", job.action, job.id, in_short(error))
            return job, False
        now = time.monotonic()
        if now + (now - began) > until:  # another like this would take too long
            break
    return job, True


def _next(state: State, job: Job, act: Act, until: float) -> Job:
    """The job after the next few messages."""
    if job.ids is not None:
        ids = [uuid.UUID(id) for id in job.ids[:TOGETHER]]
        return job.after(_fates(state, job, ids, _rows(state, ids), act, until))
    filters = replace(Filters.of(job.filters), before=job.place)
    with state.database.reading() as connection:
        found = listing.search(connection, filters, _COLUMNS, TOGETHER)
    fates = _fates(state, job, [row.id for row in found.rows], found.rows, act, until)
    if len(fates) == len(found.rows):
        return job.after(fates, place=found.older)
    last = found.rows[len(fates) - 1]
    return job.after(fates, place=place_text((last.created_at, last.id)))


def _rows(state: State, ids: Sequence[uuid.UUID]) -> Sequence[Any]:
    named = sa.select(*_COLUMNS).select_from(OUTBOX).where(DELIVERY.c.id.in_(ids))
    with state.database.reading() as connection:
        return connection.execute(named).all()


def _fates(
    state: State,
    job: Job,
    ids: Sequence[uuid.UUID],
    rows: Sequence[Any],
    act: Act,
    until: float,
) -> Fates:
    """What becomes of ``ids``, or of the first of them if the time is up."""
    known = {row.id: row for row in rows}
    # One of them may be held again by now: it is not for this job to release it once more.
    fates = dict.fromkeys(_done_before(state, job, ids), DONE)
    fates |= act(job, [known[id] for id in ids if id in known and id not in fates], until)
    end = next((at for at, id in enumerate(ids) if id in known and id not in fates), len(ids))
    found = {id: fates.get(id, "gone") for id in ids[:end]}
    doubtful = [id for id, why in found.items() if why != DONE]
    return found | dict.fromkeys(_done_before(state, job, doubtful), DONE)


def _done_before(state: State, job: Job, ids: Sequence[uuid.UUID]) -> Sequence[uuid.UUID]:
    """Those of ``ids`` that another try of the same step has done."""
    if not ids:
        return ()
    with state.database.reading() as connection:
        done = deeds.done_in(connection, uuid.UUID(job.id), ids)
    return [id for id in ids if id in done]
