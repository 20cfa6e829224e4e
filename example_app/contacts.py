"""The contacts, their suspected duplicates, and the page that merges two of them."""

from __future__ import annotations

from flask import (
    Blueprint,
    abort,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required  # type: ignore[import-untyped]
from flask_mail import Mail, Message

from flask_interaction_mail import InteractionMailError, merge_completed, request_merge

from .database import db
from .duplicates import suggest
from .merging import describe, describe_done, may_merge, merge
from .models import Contact, Folder

bp = Blueprint("contacts", __name__)

# Flask-Mail's own object, never initialised: it finds the extension's state in
# app.extensions["mail"], so what it sends takes the way of every other message.
mail = Mail()


@bp.get("/")
@login_required  # type: ignore[untyped-decorator]
def index() -> ResponseReturnValue:
    """List the contacts by folder, suspected duplicates first."""
    folders = db.session.scalars(db.select(Folder).order_by(Folder.name)).all()
    contacts = db.session.scalars(db.select(Contact).order_by(Contact.id))
    return render_template("crm/contacts.html", folders=folders, pairs=suggest(contacts))


@bp.get("/contacts/<int:contact_id>")
@login_required  # type: ignore[untyped-decorator]
def show(contact_id: int) -> ResponseReturnValue:
    """Show one contact."""
    return render_template("crm/contact.html", contact=db.get_or_404(Contact, contact_id))


@bp.route("/merge/<int:first_id>/<int:second_id>", methods=["GET", "POST"])
@login_required  # type: ignore[untyped-decorator]
def merge_pair(first_id: int, second_id: int) -> ResponseReturnValue:
    """Compare two contacts and merge them, or ask those who may."""
    first, second = _pair(first_id, second_id)
    allowed = may_merge(current_user, first, second)
    if request.method == "GET":
        return render_template("crm/merge.html", pair=(first, second), allowed=allowed)
    if not allowed:
        deny(first, second)
    if request.form.get("survivor") not in (str(first.id), str(second.id)):
        flash("Choose the contact that stays.", "danger")
        return render_template("crm/merge.html", pair=(first, second), allowed=allowed), 400
    return complete(first, second)


def deny(first: Contact, second: Contact) -> None:
    """Refuse the merge and ask those who may do it.

    ``request_merge`` does what the signal ``merge_denied`` does, and answers with the
    notification, so that the page can tell whom it went to. It never raises because of mail,
    and the request is kept although nothing is committed here: a denial is a fact.
    """
    reason = request.form.get("reason", "").strip()[:200] or None
    notification = request_merge(describe(first, second, current_user, reason))
    page = render_template("crm/denied.html", pair=(first, second), notification=notification)
    abort(make_response(page, 403))


def complete(first: Contact, second: Contact) -> ResponseReturnValue:
    """Merge, tell the folders' owners, and call back a request that waits for this pair."""
    if request.form["survivor"] == str(first.id):
        survivor, other = first, second
    else:
        survivor, other = second, first
    done = describe_done(survivor, other, current_user)
    merge(survivor, other)
    # Before the commit: the message is stored with the merge, or neither is.
    merge_completed.send(current_app, merge=done)
    db.session.commit()
    flash(f"“{done.contacts[1].name}” was merged into “{survivor.name}”.", "success")
    return redirect(url_for("contacts.show", contact_id=survivor.id))


@bp.post("/contacts/<int:contact_id>/mail")
@login_required  # type: ignore[untyped-decorator]
def mail_me(contact_id: int) -> ResponseReturnValue:
    """Send a contact to oneself the Flask-Mail way, as code that you already have may do."""
    contact = db.get_or_404(Contact, contact_id)
    if not current_user.email:
        flash("You have no e-mail address here; an administrator can enter one.", "danger")
    else:
        _mail(contact, current_user.email)
    return redirect(url_for("contacts.show", contact_id=contact.id))


def _mail(contact: Contact, address: str) -> None:
    body = render_template("crm/contact.txt", contact=contact)
    try:
        mail.send(Message(f"Contact: {contact.name}", recipients=[address], body=body))
    except InteractionMailError as error:  # not configured yet, say: its text is for people
        flash(f"The mail was not sent: {error}", "danger")
    else:
        flash("The contact is on its way to you.", "success")


def _pair(first_id: int, second_id: int) -> tuple[Contact, Contact]:
    if first_id == second_id:
        abort(404)
    return db.get_or_404(Contact, first_id), db.get_or_404(Contact, second_id)
