"""What the CRM tells Flask-Interaction-Mail about its people: the part to write for your own host.

A *location* is any string that means a place for contacts to your application. Here it is the
name of a folder, because the name also stands in the messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flask import url_for
from sqlalchemy import ColumnElement, func, or_

from flask_interaction_mail import Contact as MergeContact
from flask_interaction_mail import Directory, Party

from .auth import signed_in
from .database import db
from .models import Contact, Folder, Group, User


class CrmDirectory(Directory):
    """The CRM's users, groups and folders as the extension asks for them."""

    def current_user(self) -> Party | None:
        """The logged-in user; None for visitors, commands and background jobs."""
        user = signed_in()
        return user_party(user) if user else None

    def merge_recipients(self, location: str) -> Sequence[Party]:
        """The groups with the right to merge in that folder; where there is none, its owner."""
        folder = _folder(location)
        if folder is None:
            return ()
        groups = [group_party(group) for group in folder.merge_groups]
        return groups or self.folder_owners(location)

    def folder_owners(self, location: str) -> Sequence[Party]:
        """The owner of that folder, told when contacts in it were merged."""
        folder = _folder(location)
        return [user_party(folder.owner)] if folder and folder.owner else ()

    def locations(self) -> Sequence[str]:
        """Every folder, by name."""
        return list(db.session.scalars(db.select(Folder.name).order_by(Folder.name)))

    def parties(self) -> Iterator[Party]:
        """Every user and every group; a generator, since there may be many."""
        yield from map(user_party, db.session.scalars(db.select(User).order_by(User.id)))
        yield from map(group_party, db.session.scalars(db.select(Group).order_by(Group.id)))

    def find_parties(self, text: str, limit: int = 20) -> Sequence[Party]:
        """Those with this id or address, then those with the text in their name or address."""
        users, groups = (
            db.session.scalars(
                db.select(kind)
                .where(or_(_is(kind, text), _has(kind, text)))
                .order_by(_is(kind, text).desc(), kind.id)
                .limit(limit)
            )
            for kind in (User, Group)
        )
        return [*map(user_party, users), *map(group_party, groups)][:limit]

    def find_contacts(self, text: str, limit: int = 20) -> Sequence[MergeContact]:
        """The contacts with this text in their name."""
        named = Contact.name.icontains(text, autoescape=True)
        found = db.select(Contact).where(named).order_by(Contact.id).limit(limit)
        return [*map(merge_contact, db.session.scalars(found))]

    def contact(self, id: str) -> MergeContact | None:
        """The contact with this id, which somebody may have typed."""
        found = db.session.get(Contact, int(id)) if _is_id(id) else None
        return merge_contact(found) if found else None


def user_party(user: User) -> Party:
    """A user as the extension sees one."""
    return Party(
        user.name,
        user.email,
        id=user.id,
        role=user.role,
        uses_desktop_client=user.uses_desktop_client,
    )


def group_party(group: Group) -> Party:
    """A group as the extension sees one: its own address counts, never its members'."""
    return Party(group.name, group.email, id=group.id, kind="group")


def merge_contact(contact: Contact) -> MergeContact:
    """A contact as the extension sees one, with what the mail shows of it."""
    # The link is made of the host name in the request: see TRUSTED_HOSTS in create_app.
    url = url_for("contacts.show", contact_id=contact.id, _external=True)
    fields = {"E-mail": contact.email, "Phone": contact.phone, "City": contact.city}
    return MergeContact(
        contact.id, contact.name, location=contact.folder.name, url=url, fields=fields
    )


def _is_id(text: str) -> bool:
    """Whether a column for ids can hold ``text``."""
    return text.isascii() and text.isdecimal() and len(text) < 10


def _is(kind: type[User] | type[Group], text: str) -> ColumnElement[bool]:
    address = func.coalesce(kind.email, "") == text
    return or_(address, kind.id == int(text)) if _is_id(text) else address


def _has(kind: type[User] | type[Group], text: str) -> ColumnElement[bool]:
    return or_(*(column.icontains(text, autoescape=True) for column in (kind.name, kind.email)))


def _folder(name: str) -> Folder | None:
    found: Folder | None = db.session.scalar(db.select(Folder).filter_by(name=name))
    return found
