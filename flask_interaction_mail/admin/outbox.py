"""The Outbox tab: what happened to every message."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlencode

from flask import Response, abort, flash, redirect, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose

from .. import clock, language, operations
from ..errors import InteractionMailError, SentAgain
from ..language import gettext, mark
from ..values import Kind, Reason, Right, Status
from . import texts
from .asked import filters_asked, id_from
from .body_pages import BodyPages, keep, note_reading
from .bulk_pages import BulkPages
from .csrf import PanelForm
from .panel_view import current_actor, may, need, state, token_is_valid
from .texts import OUT_OF_DATE, RETURNED_TABS, STATES, TABS, badge, reader_zone

if TYPE_CHECKING:
    from ..outbox.filters import Filters
    from ..outbox.listing import Total
    from .message_view import Body

_TOO_LATE: Final = mark(
    "Too late: it has left, is on its way together with others, or was cancelled already."
)
_NOT_HELD: Final = mark("It is not held any more, or is on its way together with others.")
_MOVING: Final = (Status.QUEUED, Status.SENDING, Status.DEFERRED, Status.HELD)
_FOLLOWED: Final = 60  # messages that a page asks about


class OutboxView(BulkPages, BodyPages):
    """The list of all messages, the details of each, and what can be done with it."""

    right = Right.OUTBOX
    tab: ClassVar[str] = mark("Outbox")

    @expose("/")
    def index_view(self) -> ResponseReturnValue:
        """The list, newest first."""
        from ..outbox import listing  # late, as below: loaded with the first page that is opened
        from ..outbox.filters import SIZES

        filters, seen = filters_asked(), clock.now()
        with state().database.reading() as connection:
            page = listing.page(connection, filters)
            counted = listing.counts(connection, filters)
        return self.page(
            "outbox.html",
            page=page,
            filters=filters,
            seen=seen.isoformat(),
            tabs_of_states=_tabs(filters, counted),
            total=listing.total(counted, filters.statuses) if counted else None,
            newest=page.newest if not filters.place else "",
            moving=_MOVING,
            reasons=tuple(Reason),
            kinds=tuple(Kind),
            sizes=SIZES,
            zone=reader_zone(),
            form=PanelForm(),
        )

    @expose("/live")
    def live(self) -> ResponseReturnValue:
        """What has changed since a list was shown: its messages, the counts, and newer ones."""
        from ..outbox import listing
        from ..outbox.filters import place_from

        filters, place = filters_asked(), place_from(request.args.get("newest", ""))
        ids = [id_from(text) for text in request.args.getlist("row")[:_FOLLOWED]]
        with state().database.reading() as connection:
            rows = listing.rows_of(connection, [id for id in ids if id is not None])
            counted = listing.counts(connection, filters)
            newer = listing.newer(connection, filters, place) if place else 0
        return self.render(
            "interaction_mail/admin/outbox_live.html",
            wording=texts,
            state_badge=badge,
            rows=rows,
            newer=newer,
            filters=filters,
            moving=_MOVING,
            tabs_of_states=_tabs(filters, counted),
        )

    @expose("/export.csv")
    def export(self) -> ResponseReturnValue:
        """All messages that match the filters, as CSV, without their texts."""
        from ..outbox import deeds
        from .export import pieces

        filters = replace(filters_asked(), before="")
        pieces_left = pieces(state().database.reading, filters, reader_zone())
        first = next(pieces_left)  # an error comes before the response begins
        asked = urlencode(filters.arguments(size="", at=""), safe="@")  # for who erases one
        keep(lambda connection, by, now: deeds.note_export(connection, by, asked, now))
        return Response(
            stream_with_context(chain((first,), pieces_left)),
            mimetype="text/csv",
            headers={"Content-Disposition": 'attachment; filename="outbox.csv"'},
        )

    @expose("/<uuid:id>/")
    def details_view(self, id: uuid.UUID) -> ResponseReturnValue:
        """Everything about one message; its body only with the right to see it."""
        from ..messages.route import grouped
        from ..outbox import queries
        from ..outbox.timeline import timelines
        from .message_view import body_of, headers_of

        with state().database.reading() as connection:
            details = queries.details(connection, id)
            content, intent = queries.stored(connection, id) or (None, "")
        if details is None:
            abort(404)
        return self.page(
            "message.html",
            details=details,
            timelines=timelines(details),
            why=grouped(details.route),
            headers=headers_of(content),
            body=_read(id, body_of(content, intent)) if may(Right.BODY) else None,
            form=PanelForm(),
            back=filters_asked().arguments(),
        )

    @expose("/<uuid:id>/resend", methods=("POST",))
    def resend(self, id: uuid.UUID) -> ResponseReturnValue:
        """Route the message again and send it as a new one; with ``to``, to that address alone."""
        return self._act(id, self._resend)

    @expose("/<uuid:id>/cancel", methods=("POST",))
    def cancel(self, id: uuid.UUID) -> ResponseReturnValue:
        """Cancel a message that has not left."""
        return self._act(id, self._cancel)

    @expose("/<uuid:id>/release", methods=("POST",))
    def release(self, id: uuid.UUID) -> ResponseReturnValue:
        """Queue a held message unchanged."""
        return self._act(id, self._release)

    def _act(self, id: uuid.UUID, act: Callable[[uuid.UUID], uuid.UUID]) -> ResponseReturnValue:
        need(Right.RESEND)
        if not token_is_valid():
            flash(gettext(OUT_OF_DATE), "error")
        else:
            try:
                id = act(id)
            except LookupError:
                abort(404)
            except (InteractionMailError, ValueError) as error:
                flash(language.translated(error), "error")
        back: dict[str, Any] = {"id": id, **filters_asked().arguments()}
        return redirect(url_for(".details_view", **back), 303)

    def _resend(self, id: uuid.UUID) -> uuid.UUID:
        to = request.form.get("to", "").strip() or None
        if to is not None:
            need(Right.BODY)  # whoever gets the copy reads it
        after = id_from(request.form.get("after", ""))  # the latest resend that was on the page
        try:
            new = operations.resend(state(), id, by=current_actor(), after=after, to=to)
        except SentAgain as error:
            told = language.translated(error), gettext("Nothing was sent now.")
            flash(" ".join(told), "warning")
            return id
        flash(gettext("Queued as a new message: this is it."), "success")
        return new.id

    def _cancel(self, id: uuid.UUID) -> uuid.UUID:
        if operations.cancel(state(), id, by=current_actor()):
            flash(gettext("Cancelled: it will not be sent."), "success")
        else:
            flash(gettext(_TOO_LATE), "warning")
        return id

    def _release(self, id: uuid.UUID) -> uuid.UUID:
        if operations.release(state(), id, by=current_actor()):
            flash(gettext("Released: it is sent as it is."), "success")
        else:
            flash(gettext(_NOT_HELD), "warning")
        return id


def _tabs(
    filters: Filters, counted: Mapping[Status, int] | None
) -> list[tuple[str, str, Total | None]]:
    """Word, name and number of messages of each state that has a tab, and of one that is shown.

    What came back has one as soon as there is some.
    """
    from ..outbox import listing

    back = [word for word in RETURNED_TABS if counted and counted[Status(word)]]
    titles = {**STATES, **RETURNED_TABS, **TABS}
    words = list(dict.fromkeys([*TABS, *back, *([filters.status] if filters.statuses else [])]))
    return [
        (
            word,
            titles.get(word, word),
            listing.total(counted, replace(filters, status=word).statuses) if counted else None,
        )
        for word in words
    ]


def _read(id: uuid.UUID, body: Body) -> Body:
    """The texts of a message, which the visitor now sees; that is written down."""
    if body.text is not None or body.html is not None:
        note_reading(id)
    return body
