"""The panel: pages below *Configuration* in the host's Flask-Admin."""

from __future__ import annotations

from flask import Flask
from flask_admin import Admin

from .messaging import MessagingView
from .outbox import OutboxView

__all__ = ["add_views"]


def add_views(admin: Admin, app: Flask) -> None:
    """Add the pages to ``admin``, unless it has them from another ``create_app()``."""
    present = {view.endpoint for view in admin._views}
    pages = (
        MessagingView("Messaging", endpoint="interaction_mail", url="messaging"),
        OutboxView("Outbox", endpoint="interaction_mail_outbox", url="messaging/outbox"),
    )
    for view in pages:
        if view.endpoint not in present:
            admin.add_view(view)
    if admin in app.extensions.get("admin", ()):
        _register(admin, app, {view.endpoint for view in pages})


def _register(admin: Admin, app: Flask, endpoints: set[str]) -> None:
    # Of several applications the admin gives a new view only to the one that it met last.
    for view in admin._views:
        if view.endpoint in endpoints - set(app.blueprints):
            app.register_blueprint(view.create_blueprint(admin), host=admin.host)
