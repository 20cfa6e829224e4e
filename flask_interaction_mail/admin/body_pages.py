"""What is in a message, for those with the right to read it: its texts, files and bytes."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from flask import Response, abort, request, send_file
from flask.typing import ResponseReturnValue
from flask_admin import expose

from .. import clock
from ..logs import log
from ..text import one_line
from ..values import Right
from .panel_view import PanelView, current_actor, need, state

if TYPE_CHECKING:
    from .message_view import Body

# Nothing is loaded and nothing runs: only the styles within the message itself apply.
_BODY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'"
)
_ANY_BYTES: Final = "application/octet-stream"  # what a browser only keeps, whatever is in it


class BodyPages(PanelView):
    """The content of a message, in parts and as a whole."""

    @expose("/<uuid:id>/html")
    def html_view(self, id: uuid.UUID) -> ResponseReturnValue:
        """The HTML text of one message as a page of its own."""
        html = _body(id).html
        if html is None:
            abort(404)
        return Response(html, headers={"Content-Security-Policy": _BODY_POLICY})

    @expose("/<uuid:id>/files/<int:number>")
    def file_view(self, id: uuid.UUID, number: int) -> ResponseReturnValue:
        """One file of a message, as a download."""
        files = _body(id).files
        if number >= len(files):
            abort(404)
        name = files[number].name or f"file-{number + 1}"
        return _download(files[number].data, _ANY_BYTES, name)

    @expose("/<uuid:id>/message.eml")
    def source_view(self, id: uuid.UUID) -> ResponseReturnValue:
        """The bytes that are sent, which mail programs open."""
        need(Right.BODY)
        content = _stored(id)[0]
        if content is None:
            abort(404)
        note_reading(id)
        return _download(content, "message/rfc822", f"{id}.eml")

    @expose("/<uuid:id>/reports/<digest>.eml")
    def report_view(self, id: uuid.UUID, digest: str) -> ResponseReturnValue:
        """One report or automatic reply as it came, as a download."""
        from ..outbox import reports

        need(Right.BODY)
        with state().database.reading() as connection:
            content = reports.content_of(connection, id, digest)
        if content is None:
            abort(404)
        note_reading(id)  # a report may hold the whole message
        name = f"{id}-{digest[:8]}"
        if content.startswith(b"{"):  # no message begins so: a provider posted it
            return _download(content, "application/json", f"{name}.json")
        return _download(content, "message/rfc822", f"{name}.eml")


def note_reading(id: uuid.UUID) -> None:
    """Write down that the visitor sees what is in message ``id``."""
    from ..outbox import deeds  # late: loaded with the first page that needs it

    keep(lambda connection, by, now: deeds.note_reading(connection, by, id, now))


def keep(note: Callable[[sa.Connection, str, datetime], None]) -> None:
    """Write down what the visitor does; if that fails it is in the log alone."""
    if request.method == "HEAD":
        return  # nobody sees anything
    try:
        with state().database.writing() as connection:
            note(connection, current_actor(), clock.now())
    except sa.exc.SQLAlchemyError:
        log.exception("deed.unrecorded: %s at %s", one_line(current_actor()), request.path)


def _body(id: uuid.UUID) -> Body:
    """The texts and files of a message, which the visitor now sees."""
    from .message_view import body_of

    need(Right.BODY)
    body = body_of(*_stored(id))
    if body.html is not None or body.files:
        note_reading(id)
    return body


def _stored(id: uuid.UUID) -> tuple[bytes | None, str]:
    from ..outbox import queries

    with state().database.reading() as connection:
        found = queries.stored(connection, id)
    return abort(404) if found is None else found


def _download(data: bytes, content_type: str, name: str) -> Response:
    answer = send_file(io.BytesIO(data), content_type, as_attachment=True, download_name=name)
    answer.headers["Content-Security-Policy"] = _BODY_POLICY
    return answer
