"""Merging for programs: the place where the plain signals are enough.

A program has no page to read, so there is nothing to tell it but the status: emit the signal
and answer 403. The signal never raises, whatever the mail settings are.
"""

from __future__ import annotations

from flask import Blueprint, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from flask_login import current_user  # type: ignore[import-untyped]

from flask_interaction_mail import merge_completed, merge_denied

from .database import db
from .merging import describe, describe_done, may_merge, merge
from .models import Contact

bp = Blueprint("api", __name__, url_prefix="/api")


@bp.post("/merge")
def merge_contacts() -> ResponseReturnValue:
    """Merge ``{"keep": id, "remove": id}``; needs a session and the header X-CSRFToken."""
    if not current_user.is_authenticated:
        abort(401)
    keep, remove = _contact("keep"), _contact("remove")
    if keep is remove:
        abort(400, "keep and remove must be two contacts")
    if not may_merge(current_user, keep, remove):
        merge_denied.send(current_app, merge=describe(keep, remove, current_user))
        return jsonify(error="You may not merge these contacts; those who may were asked."), 403
    done = describe_done(keep, remove, current_user)
    merge(keep, remove)
    merge_completed.send(current_app, merge=done)
    db.session.commit()
    return jsonify(id=keep.id, name=keep.name)


def _contact(field: str) -> Contact:
    body = request.get_json()
    wanted = body.get(field) if isinstance(body, dict) else None
    if not isinstance(wanted, int):
        abort(400, f"{field} must be the number of a contact")
    return db.get_or_404(Contact, wanted)
