"""What the CRM tells Flask-Interaction-Mail about its people: the part to write for your own host.

A *location* is any string that means a place for contacts to your application. Here it is the
name of a folder, because the name also stands in the messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flask_interaction_mail import Directory, Party

from .auth import signed_in
from .database import db
from .models import Folder, Group, User


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


def _folder(name: str) -> Folder | None:
    found: Folder | None = db.session.scalar(db.select(Folder).filter_by(name=name))
    return found
