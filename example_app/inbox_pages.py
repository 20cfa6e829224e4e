"""The inbox page of the demo: all messages that the catcher received, for any recipient."""

from __future__ import annotations

from flask import Blueprint, Response, abort, current_app, make_response, render_template
from flask.typing import ResponseReturnValue
from flask_login import login_required  # type: ignore[import-untyped]

from .inbox import Inbox, Letter

bp = Blueprint("inbox", __name__, url_prefix="/inbox")

# For the frame that shows the HTML part: no scripts, no forms, nothing loaded from anywhere.
FRAME_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'"
)


@bp.get("/")
@login_required  # type: ignore[untyped-decorator]
def index() -> ResponseReturnValue:
    """List the delivered messages, newest first."""
    return render_template("crm/inbox.html", letters=list(_inbox()))


@bp.get("/<key>")
@login_required  # type: ignore[untyped-decorator]
def show(key: str) -> ResponseReturnValue:
    """Show one message: envelope, headers, text, and HTML in a sandboxed frame."""
    return render_template("crm/letter.html", letter=_letter(key))


@bp.get("/<key>/html")
@login_required  # type: ignore[untyped-decorator]
def html(key: str) -> Response:
    """The HTML part alone, for the frame."""
    response = make_response(_letter(key).html)
    response.headers["Content-Security-Policy"] = FRAME_POLICY
    return response


def _inbox() -> Inbox:
    return Inbox(current_app.config["EXAMPLE_INBOX"])


def _letter(key: str) -> Letter:
    return _inbox().get(key) or abort(404)
