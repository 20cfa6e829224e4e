"""The pages of what is done with many messages: the question, the steps, the summary."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from flask import flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose
from itsdangerous import BadData

from .. import clock, operations
from ..errors import InteractionMailError, SentAgain, StillWaiting
from ..language import gettext, mark
from ..storage.database import DatabaseBusy
from ..values import Right
from . import texts
from .asked import filters_asked, id_from
from .csrf import signer
from .panel_view import PanelView, asset, current_actor, need, state, token_is_valid
from .texts import FILTERS, OUT_OF_DATE, filter_shown

if TYPE_CHECKING:
    from .bulk import Action, Fates, Job

_PURPOSE: Final = "bulk"
_NONE_CHOSEN: Final = mark(
    "No message was chosen: tick some, or “all that match”, then press again."
)
_NONE_FOUND: Final = mark("No message matches any more, so there is nothing to do.")


class BulkPages(PanelView):
    """What an administrator does with many messages at once."""

    @expose("/bulk", methods=("GET", "POST"))
    def bulk(self) -> ResponseReturnValue:
        """First the question, then a step of at most a second with each POST."""
        need(Right.RESEND)
        if request.method != "POST":  # such as after a login
            return self.page("bulk_none.html")
        if not token_is_valid():
            return self._back(OUT_OF_DATE)
        if (signed := request.form.get("job")) is not None:
            job = _unsigned(signed)
            return self._back(OUT_OF_DATE) if job is None else self._step(job)
        return self._ask()

    def _back(self, text: str) -> ResponseReturnValue:
        flash(gettext(text), "error")
        back: dict[str, Any] = {**filters_asked().arguments()}
        return redirect(url_for(".index_view", **back), 303)

    def _ask(self) -> ResponseReturnValue:
        from .bulk import Action

        action = next((one for one in Action if one == request.form.get("do")), None)
        if action is None:
            return self._back(OUT_OF_DATE)
        job = _of_all(action) if request.form.get("all") else _of_ticked(action)
        if job is None:
            return self._back(_NONE_CHOSEN)
        if job.total == 0:
            return self._back(_NONE_FOUND)
        return self._shown(job, begun=False)

    def _step(self, job: Job) -> ResponseReturnValue:
        from .bulk import work

        job, there = work(state(), replace(job, by=current_actor()), _act)
        if there:
            return self._shown(job, begun=True)
        # Without the line of state, which is in the database.
        page = self.render(
            "interaction_mail/admin/bulk_interrupted.html",
            job=job,
            signed=_signed(job),
            form_token=_token(),
            asset=asset,
            wording=texts,
            back=job.filters,
        )
        return page, 503

    def _shown(self, job: Job, *, begun: bool) -> str:
        return self.page(
            "bulk.html",
            job=job,
            signed=_signed(job),
            begun=begun,
            back=job.filters,
            narrowed=[
                (FILTERS[name], filter_shown(name, job.filters[name]))
                for name in FILTERS
                if name in job.filters
            ],
            named=_named(job) if job.is_over else (),
        )


def _of_ticked(action: Action) -> Job | None:
    from ..outbox.filters import SIZES
    from .bulk import Job

    ids = [id for id in map(id_from, request.form.getlist("id")[: max(SIZES)]) if id is not None]
    return Job.of_ids(action, filters_asked(), [*dict.fromkeys(ids)], **_who()) if ids else None


def _of_all(action: Action) -> Job:
    from ..outbox import listing
    from .bulk import Job

    filters, total = filters_asked(), None
    with state().database.reading() as connection:
        counted = listing.counts(connection, filters)
    if counted is not None:
        matching = listing.total(counted, filters.statuses)
        total = None if matching.more else matching.number
    return Job.of_all(action, filters, total, **_who())


def _who() -> dict[str, str]:
    """Who chose the messages, and when they saw the list."""
    seen = clock.from_text(request.form.get("seen", "")) or clock.now()
    return {"by": current_actor(), "seen": min(seen, clock.now()).isoformat()}


def _named(job: Job) -> list[tuple[uuid.UUID, str]]:
    """The first messages that were left out, with their subjects, as far as they exist."""
    from ..outbox import listing

    ids = [uuid.UUID(id) for id, _ in job.named]
    with state().database.reading() as connection:
        subjects = {row.id: row.subject for row in listing.rows_of(connection, ids)}
    return [(id, subjects[id]) for id in ids if id in subjects]


def _token() -> Any:
    from .csrf import PanelForm

    return PanelForm().token


def _signed(job: Job) -> str:
    return str(signer(_PURPOSE).dumps(job.plain))


def _unsigned(text: str) -> Job | None:
    """The job that this session's page carried; None for anything else."""
    from .bulk import Job

    try:
        return Job.of_plain(signer(_PURPOSE).loads(text))
    except (BadData, KeyError, TypeError, ValueError):
        return None


# -- what is done with the next messages of a job -----------------------------------------


def _act(job: Job, rows: Sequence[Any], until: float) -> Fates:
    if job.action == "resend":
        return _resend(job, rows, until)
    ids = [row.id for row in rows]
    if job.action == "cancel":
        done, why = operations.cancel(state(), *ids, by=job.by, job=uuid.UUID(job.id)), "left"
    else:
        done, why = operations.release(state(), *ids, by=job.by, job=uuid.UUID(job.id)), "free"
    return {id: "" if id in done else why for id in ids}


def _resend(job: Job, rows: Sequence[Any], until: float) -> Fates:
    fates: Fates = {}
    for row in rows:
        fates[row.id] = _resend_one(job, row)
        if time.monotonic() > until:
            break
    return fates


def _resend_one(job: Job, row: Any) -> str:
    """Send one message again; gives why it is left out, "" if it was sent."""
    seen = clock.from_text(job.seen)
    if seen is not None and row.finished_at is not None and row.finished_at > seen:
        return "changed"
    try:
        operations.resend(state(), row.id, by=job.by, job=uuid.UUID(job.id))
    except DatabaseBusy:
        raise
    except (InteractionMailError, LookupError, ValueError) as error:
        return next((why for kind, why in _WHY.items() if isinstance(error, kind)), "unfit")
    return ""


_WHY: Final = {SentAgain: "again", StillWaiting: "waiting", LookupError: "gone"}
