"""The admin area, with Flask-Admin: for administrators only.

The Messaging pages of the extension ask the index view who may come in, so protecting the
index view protects them too.
"""

from __future__ import annotations

from typing import Any

from flask import abort, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import Admin, AdminIndexView
from flask_admin.contrib.sqla import ModelView
from flask_admin.menu import MenuLink
from flask_admin.theme import Bootstrap4Theme
from wtforms import PasswordField

from .auth import signed_in
from .database import db
from .models import Contact, Folder, Group, User


class AdministratorsOnly:
    """Mixed into every view of the admin area, the index included."""

    def is_accessible(self) -> bool:
        """Let administrators in."""
        user = signed_in()
        return user is not None and user.is_administrator

    def inaccessible_callback(self, name: str, **kwargs: Any) -> ResponseReturnValue:  # noqa: ARG002
        """Ask a visitor to log in; somebody who did so already is refused."""
        if signed_in():
            abort(403)
        return redirect(url_for("auth.login", next=request.full_path.rstrip("?")))


class CrmIndexView(AdministratorsOnly, AdminIndexView):
    """The first page of the admin area."""


class CrmModelView(AdministratorsOnly, ModelView):
    """A table of the CRM."""


class UserView(CrmModelView):
    """Users; a password can be set, never seen."""

    column_list = ("login", "name", "email", "role", "uses_desktop_client", "groups")
    column_searchable_list = ("login", "name", "email")
    form_columns = (
        "login", "name", "email", "role", "uses_desktop_client", "groups", "new_password"
    )  # fmt: skip
    form_extra_fields = {  # noqa: RUF012
        "new_password": PasswordField("New password", render_kw={"autocomplete": "new-password"})
    }

    def on_model_change(self, form: Any, model: Any, is_created: bool) -> None:  # noqa: ARG002
        """Keep the hash of a new password; an empty field leaves the old one."""
        if form.new_password.data:
            model.set_password(form.new_password.data)


class GroupView(CrmModelView):
    """Groups and the folders in which they may merge all duplicates."""

    column_list = ("name", "email", "merge_folders", "members")
    column_labels = {"merge_folders": "May merge in"}  # noqa: RUF012
    form_columns = ("name", "email", "members", "merge_folders")


class FolderView(CrmModelView):
    """Folders and their owners."""

    column_list = ("name", "owner", "merge_groups")
    column_labels = {"merge_groups": "Who may merge"}  # noqa: RUF012
    form_columns = ("name", "owner", "merge_groups")


class ContactView(CrmModelView):
    """Contacts."""

    column_list = ("name", "folder", "email", "phone", "city")
    column_searchable_list = ("name", "email", "city")


admin = Admin(
    name="CRM",
    theme=Bootstrap4Theme(swatch="default"),
    index_view=CrmIndexView(),
)
admin.add_view(ContactView(Contact, db, "Contacts", endpoint="admin_contacts"))
admin.add_view(FolderView(Folder, db, "Folders", endpoint="admin_folders"))
admin.add_view(GroupView(Group, db, "Groups", endpoint="admin_groups"))
admin.add_view(UserView(User, db, "Users", endpoint="admin_users"))
admin.add_link(MenuLink("Back to the contacts", endpoint="contacts.index"))
