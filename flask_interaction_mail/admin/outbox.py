"""The Outbox tab: what happened to every message."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import sqlalchemy as sa
from flask import Response, abort, flash, redirect, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose

from .. import clock, operations
from ..errors import InteractionMailError, SentAgain
from ..logs import log
from ..text import one_line
from ..values import Kind, Reason, Right, Status
from .csrf import PanelForm
from .panel_view import PanelView, current_actor, may, need, state, token_is_valid
from .texts import OUT_OF_DATE, gettext

if TYPE_CHECKING:
    from ..outbox.filters import Filters
    from .message_view import Body

# Nothing is loaded and nothing runs: only the styles within the message itself apply.
_BODY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'"
)

_TOO_LATE: Final = (
    "Too late: it has left, is on its way together with others, or was called back already."
)
_NOT_HELD: Final = "It is not held any more, or is on its way together with others."


class OutboxView(PanelView):
    """The list of all messages, the details of each, and what can be done with it."""

    right = Right.OUTBOX
    tab = "Outbox"

    @expose("/")
    def index_view(self) -> ResponseReturnValue:
        """The list, newest first."""
        from ..outbox import listing  # late, as below: loaded with the first page that is opened

        filters = _filters()
        with state().database.reading() as connection:
            page = listing.page(connection, filters)
        return self.page(
            "outbox.html",
            page=page,
            filters=filters,
            statuses=tuple(Status),
            reasons=tuple(Reason),
            kinds=tuple(Kind),
        )

    @expose("/export.csv")
    def export(self) -> ResponseReturnValue:
        """All messages that match the filters, as CSV, without their texts."""
        from ..outbox import deeds
        from .export import pieces

        filters = replace(_filters(), before="")
        pieces_left = pieces(state().database.reading, filters)
        first = next(pieces_left)  # an error comes before the response begins
        asked = urlencode(filters.arguments())
        _keep(lambda connection, by, now: deeds.note_export(connection, by, asked, now))
        return Response(
            stream_with_context(chain((first,), pieces_left)),
            mimetype="text/csv",
            headers={"Content-Disposition": 'attachment; filename="outbox.csv"'},
        )

    @expose("/<uuid:id>/")
    def details_view(self, id: uuid.UUID) -> ResponseReturnValue:
        """Everything about one message; its body only with the right to see it."""
        from ..outbox import queries
        from .message_view import body_of, headers_of

        with state().database.reading() as connection:
            details = queries.details(connection, id)
            content, intent = queries.stored(connection, id) or (None, "")
        if details is None:
            abort(404)
        return self.page(
            "message.html",
            details=details,
            headers=headers_of(content),
            body=_read(id, body_of(content, intent)) if may(Right.BODY) else None,
            form=PanelForm(),
            back=_filters().arguments(),
        )

    @expose("/<uuid:id>/html")
    def html_view(self, id: uuid.UUID) -> ResponseReturnValue:
        """The HTML text of one message, for the frame in its details."""
        from ..outbox import queries
        from .message_view import body_of

        need(Right.BODY)
        with state().database.reading() as connection:
            found = queries.stored(connection, id)
        html = _read(id, body_of(*found)).html if found else None
        if html is None:
            abort(404)
        return Response(html, headers={"Content-Security-Policy": _BODY_POLICY})

    @expose("/<uuid:id>/resend", methods=("POST",))
    def resend(self, id: uuid.UUID) -> ResponseReturnValue:
        """Route the message again and send it as a new one."""
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
                flash(str(error), "error")
        back: dict[str, Any] = {"id": id, **_filters().arguments()}
        return redirect(url_for(".details_view", **back), 303)

    def _resend(self, id: uuid.UUID) -> uuid.UUID:
        try:
            new = operations.resend(state(), id, by=current_actor(), after=_known_resend())
        except SentAgain as error:
            flash(f"{error} {gettext('Nothing was sent now.')}", "warning")
            return id
        flash(gettext("Queued as a new message: this is it."), "success")
        return new.id

    def _cancel(self, id: uuid.UUID) -> uuid.UUID:
        if operations.cancel(state(), id, by=current_actor()):
            flash(gettext("Called back: it will not be sent."), "success")
        else:
            flash(gettext(_TOO_LATE), "warning")
        return id

    def _release(self, id: uuid.UUID) -> uuid.UUID:
        if operations.release(state(), id, by=current_actor()):
            flash(gettext("Released: it is sent as it is."), "success")
        else:
            flash(gettext(_NOT_HELD), "warning")
        return id


def _read(id: uuid.UUID, body: Body) -> Body:
    """The texts of a message, which the visitor now sees; that is written down."""
    from ..outbox import deeds

    if body.text is not None or body.html is not None:
        _keep(lambda connection, by, now: deeds.note_reading(connection, by, id, now))
    return body


def _keep(note: Callable[[sa.Connection, str, datetime], None]) -> None:
    """Write down what the visitor does; if that fails it is in the log alone."""
    if request.method == "HEAD":
        return  # nobody sees anything
    try:
        with state().database.writing() as connection:
            note(connection, current_actor(), clock.now())
    except sa.exc.SQLAlchemyError:
        log.exception("deed.unrecorded: %s at %s", one_line(current_actor()), request.path)


def _filters() -> Filters:
    """The filters in the URL."""
    from ..outbox.filters import Filters

    return Filters.of(request.args)


def _known_resend() -> uuid.UUID | None:
    """The latest resend that was on the page when the button was pressed."""
    try:
        return uuid.UUID(request.form.get("after", ""))
    except ValueError:
        return None
