"""Which status may follow which: one table, through which every status is written.

A statement that changes a status takes the new one from ``to`` or ``choose``, which refuse what is
no target of the step, when the module is imported. ``from_rows`` checks nothing: its rows come from
``delivery/resolution.py``. ``possible`` is the guard for the WHERE of a statement, where nothing
else says which status is there. The fence of what a worker has claimed says that it is ``sending``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from ..storage.tables import DELIVERY, RECIPIENT
from ..values import Status

_Written = dict[str, Any]  # the values of an update


class Transition(NamedTuple):
    """What happens to a message: an event, the statuses before it, and those after it.

    ``recipients`` are the statuses that its recipients have before it, where they take part. They
    are never ``sending``: while a worker has their message they are ``queued`` or ``deferred``, and
    stay so if it is accepted for everybody (see ``recipients.py``).
    """

    event: str
    sources: tuple[Status, ...]
    targets: tuple[Status, ...]
    recipients: tuple[Status, ...] = ()

    @property
    def possible(self) -> sa.ColumnElement[bool]:
        """Whether a message can take this step, in SQL."""
        return _is_one_of(DELIVERY, self.sources)

    @property
    def possible_for_recipient(self) -> sa.ColumnElement[bool]:
        """Whether a recipient takes part in it, in SQL."""
        return _is_one_of(RECIPIENT, self.recipients)

    def to(self, status: Status) -> _Written:
        """The values that write ``status``.

        Raises:
            ValueError: it cannot come of this step.
        """
        return {"status": self._checked(status)}

    def choose(self, *whens: tuple[sa.ColumnElement[bool], Status], otherwise: Status) -> _Written:
        """The values that write the status of the first true condition; raises as ``to``."""
        cases = [(condition, self._checked(status)) for condition, status in whens]
        return {"status": sa.case(*cases, else_=self._checked(otherwise))}

    def from_rows(self, column: sa.ColumnElement[Any]) -> _Written:
        """The values that write what the rows of the statement say in ``column``, unchecked."""
        return {"status": column}

    def _checked(self, status: Status) -> Status:
        if status not in self.targets:
            raise ValueError(f"{self.event}: {status} is none of {', '.join(self.targets)}")
        return status


def _is_one_of(table: sa.Table, statuses: Iterable[Status]) -> sa.ColumnElement[bool]:
    # Without IN, which SQLAlchemy renders anew for each execution.
    return sa.or_(*(table.c.status == status for status in statuses))


STORED: Final = Transition(
    event="stored",
    sources=(),
    targets=(Status.QUEUED, Status.SUPPRESSED, Status.FAILED),
)
CLAIMED: Final = Transition(
    event="claimed by a worker, also after another has lost its lease",
    sources=(Status.QUEUED, Status.DEFERRED, Status.SENDING),
    targets=(Status.SENDING,),
)
RETURNED: Final = Transition(
    event="given back untried",
    sources=(Status.SENDING,),
    targets=(Status.QUEUED, Status.DEFERRED),
)
HELD_FOR_RATE: Final = Transition(
    event="above its rate",
    sources=(Status.SENDING,),
    targets=(Status.HELD,),
    recipients=(Status.QUEUED,),
)
SET_ASIDE: Final = Transition(
    event="unreadable, or its worker has stopped in the middle of it",
    sources=(Status.SENDING,),
    targets=(Status.HELD,),
)
GIVEN_UP: Final = Transition(
    event="may have left by a relay that is gone, or in trouble for an hour",
    sources=(Status.QUEUED, Status.DEFERRED, Status.SENDING),
    targets=(Status.HELD,),
)
RECORDED: Final = Transition(
    event="tried",
    sources=(Status.SENDING,),
    targets=(Status.SENT, Status.DEFERRED, Status.FAILED, Status.HELD),
    recipients=(Status.QUEUED, Status.DEFERRED),
)
RELEASED: Final = Transition(
    event="released, or the only message for its address when the minute was over",
    sources=(Status.HELD,),
    targets=(Status.QUEUED,),
    recipients=(Status.HELD,),
)
CANCELLED: Final = Transition(
    event="cancelled, or held for those who get it in a digest",
    sources=(Status.QUEUED, Status.DEFERRED, Status.HELD),
    targets=(Status.CANCELLED, Status.HELD),
    recipients=(Status.QUEUED, Status.DEFERRED, Status.HELD),
)
DIGEST_DONE: Final = Transition(
    event="its digest is done, at first or when sent again",
    sources=(Status.HELD, Status.FAILED, Status.CANCELLED),
    targets=(Status.SENT, Status.FAILED, Status.CANCELLED),
    recipients=(Status.HELD, Status.FAILED, Status.CANCELLED),
)
ADOPTED: Final = Transition(
    event="found in a digest of version 0.1",
    sources=(Status.SENDING, Status.SENT),
    targets=(Status.HELD,),
    recipients=(Status.SENDING,),
)

TABLE: Final = (
    STORED,
    CLAIMED,
    RETURNED,
    HELD_FOR_RATE,
    SET_ASIDE,
    GIVEN_UP,
    RECORDED,
    RELEASED,
    CANCELLED,
    DIGEST_DONE,
    ADOPTED,
)
