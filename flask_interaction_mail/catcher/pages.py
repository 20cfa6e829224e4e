"""Pages that show what a catcher has received, for any recipient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Blueprint, Flask, Response, abort, make_response, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.sansio.utils import host_is_trusted

from .inbox import Inbox, Letter

_PACKAGE: Final = __name__.partition(".")[0]
_POLICY: Final = "default-src 'none'; style-src 'self'; frame-src 'self'; frame-ancestors 'self'"
# For the frame that shows the HTML part: no scripts, no forms, nothing loaded from anywhere.
FRAME_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'"
)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def inbox_pages(inbox: Callable[[], Inbox], *, guard: Callable[[], Any] | None = None) -> Blueprint:
    """A blueprint ``inbox`` with a list of all messages and a page for each.

    ``guard`` is called before each request, as a ``before_request`` function of the blueprint is:
    what it returns is the answer, unless it is None.
    """
    pages = Blueprint(
        "inbox",
        _PACKAGE,
        template_folder="templates",
        static_folder="static/catcher",
        url_prefix="/inbox",
    )

    def letter(key: str) -> Letter:
        return inbox().get(key) or abort(404)

    @pages.get("/")
    def index() -> ResponseReturnValue:
        return render_template("interaction_mail/catcher/inbox.html", letters=list(inbox()))

    @pages.get("/<key>")
    def show(key: str) -> ResponseReturnValue:
        return render_template("interaction_mail/catcher/letter.html", letter=letter(key))

    @pages.get("/<key>/html")
    def html(key: str) -> Response:
        response = make_response(letter(key).html)
        response.headers["Content-Security-Policy"] = FRAME_POLICY
        return response

    if guard is not None:
        pages.before_request(guard)
    return pages


def _protected(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers.update(_HEADERS)
    return response


def inbox_application(inbox: Inbox) -> Flask:
    """An application with nothing but these pages, for a browser on this machine."""
    app = Flask(_PACKAGE, static_folder=None)
    app.register_blueprint(inbox_pages(lambda: inbox, guard=_for_this_machine))
    app.after_request(_protected)
    return app


def _for_this_machine() -> None:
    # A page of the internet whose name leads here, for it to read mail, sends its own name.
    if not host_is_trusted(request.host, ["localhost", "127.0.0.1"]):
        abort(400)
