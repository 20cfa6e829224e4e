"""The application's extensions; what Flask-Interaction-Mail needs is the last line."""

from __future__ import annotations

from flask_wtf import CSRFProtect  # type: ignore[import-untyped]

from flask_interaction_mail import InteractionMail

from .admin_area import admin
from .auth import login_manager
from .database import db
from .directory import CrmDirectory

__all__ = ["admin", "csrf", "db", "login_manager", "messaging"]

csrf = CSRFProtect()  # every POST needs a token, those of Flask-Admin and of the panel included
messaging = InteractionMail(db=db, admin=admin, directory=CrmDirectory())
