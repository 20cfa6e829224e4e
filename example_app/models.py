"""The CRM's tables: people, groups of people, folders and the contacts in them."""

from __future__ import annotations

from flask_login import UserMixin  # type: ignore[import-untyped]
from sqlalchemy import Column, Enum, ForeignKey, String, Table
from sqlalchemy.orm import Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash

from flask_interaction_mail import Role

from .database import Model, db

# Compared with when a login is unknown, so that the answer takes the same time either way.
NOBODY = generate_password_hash("nobody has this password")

membership = Table(
    "crm_membership",
    db.metadata,
    Column("user_id", ForeignKey("crm_user.id", name="fk_membership_user"), primary_key=True),
    Column("group_id", ForeignKey("crm_group.id", name="fk_membership_group"), primary_key=True),
)

# The right "merge all duplicates": which groups hold it in which folders.
merge_right = Table(
    "crm_merge_right",
    db.metadata,
    Column("group_id", ForeignKey("crm_group.id", name="fk_merge_right_group"), primary_key=True),
    Column("folder_id", ForeignKey("crm_folder.id", name="fk_merge_right_where"), primary_key=True),
)


class User(UserMixin, Model):  # type: ignore[misc]  # Flask-Login is not typed
    """Somebody who can log in.

    ``email`` may be a full address, the part before ``@`` alone (the company domain is added
    when a message is made), or nothing.
    """

    __tablename__ = "crm_user"

    id: Mapped[int] = mapped_column(primary_key=True)
    login: Mapped[str] = mapped_column(String(80), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    email: Mapped[str | None] = mapped_column(String(254))
    role: Mapped[Role] = mapped_column(Enum(Role, name="crm_role"), default=Role.PROFESSIONAL)
    uses_desktop_client: Mapped[bool] = mapped_column(default=False)
    password_hash: Mapped[str] = mapped_column(String(255), default="")
    groups: Mapped[list[Group]] = relationship(secondary=membership, back_populates="members")
    folders: Mapped[list[Folder]] = relationship(back_populates="owner")

    def set_password(self, password: str) -> None:
        """Keep a salted hash of ``password``, never the password."""
        self.password_hash = generate_password_hash(password)

    def has_password(self, password: str) -> bool:
        """Tell whether ``password`` is this user's."""
        return check_password_hash(self.password_hash or NOBODY, password)

    @property
    def is_administrator(self) -> bool:
        """True for those who may open the admin area."""
        return self.role is Role.ADMINISTRATOR

    def __str__(self) -> str:
        return self.name


class Group(Model):
    """A group of users with or without an e-mail address of its own."""

    __tablename__ = "crm_group"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    email: Mapped[str | None] = mapped_column(String(254))
    members: Mapped[list[User]] = relationship(secondary=membership, back_populates="groups")
    merge_folders: Mapped[list[Folder]] = relationship(
        secondary=merge_right, back_populates="merge_groups"
    )

    def __str__(self) -> str:
        return self.name


class Folder(Model):
    """A list of contacts; the *location* of the contacts in it."""

    __tablename__ = "crm_folder"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(120), unique=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("crm_user.id", name="fk_folder_owner"))
    owner: Mapped[User | None] = relationship(back_populates="folders")
    merge_groups: Mapped[list[Group]] = relationship(
        secondary=merge_right, back_populates="merge_folders", order_by=Group.name
    )
    contacts: Mapped[list[Contact]] = relationship(back_populates="folder")

    def __str__(self) -> str:
        return self.name


class Contact(Model):
    """A company or a person that the firm knows."""

    __tablename__ = "crm_contact"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str | None] = mapped_column(String(254))
    phone: Mapped[str | None] = mapped_column(String(40))
    city: Mapped[str | None] = mapped_column(String(80))
    folder_id: Mapped[int] = mapped_column(ForeignKey("crm_folder.id", name="fk_contact_folder"))
    folder: Mapped[Folder] = relationship(back_populates="contacts")

    def __str__(self) -> str:
        return self.name
