"""The right to merge, the merge itself, and how both are told to Flask-Interaction-Mail."""

from __future__ import annotations

from dataclasses import replace

from flask import url_for

from flask_interaction_mail import Merge

from .database import db
from .directory import merge_contact, user_party
from .models import Contact, Folder, User


def may_merge(user: User, *contacts: Contact) -> bool:
    """Tell whether ``user`` may merge duplicates in the folders of all these contacts."""
    return all(_may_merge_in(user, contact.folder) for contact in contacts)


def _may_merge_in(user: User, folder: Folder) -> bool:
    has_right = any(group in folder.merge_groups for group in user.groups)
    return has_right or user.is_administrator or folder.owner_id == user.id


def merge(survivor: Contact, other: Contact) -> None:
    """Fill gaps of ``survivor`` from ``other``, and delete ``other``; the caller commits."""
    for field in ("email", "phone", "city"):
        if not getattr(survivor, field):
            setattr(survivor, field, getattr(other, field))
    db.session.delete(other)


def describe(first: Contact, second: Contact, requester: User, reason: str | None = None) -> Merge:
    """Make the value that tells the extension which merge was asked for, and by whom.

    It is built from strings: what happens to the two rows afterwards does not matter.
    """
    return Merge(
        (merge_contact(first), merge_contact(second)),
        requester=user_party(requester),
        reason=reason,
        url=url_for("contacts.merge_pair", first_id=first.id, second_id=second.id, _external=True),
    )


def describe_done(survivor: Contact, removed: Contact, actor: User) -> Merge:
    """Make the value that tells of a merge that is done; only the survivor still has a page."""
    contacts = (merge_contact(survivor), replace(merge_contact(removed), url=None))
    return Merge(contacts, requester=user_party(actor))
