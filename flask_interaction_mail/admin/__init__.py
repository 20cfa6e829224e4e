"""The panel: pages below *Configuration* in the host's Flask-Admin."""

from __future__ import annotations

from flask_admin import Admin

from .messaging import MessagingView
from .outbox import OutboxView

__all__ = ["add_views"]


def add_views(admin: Admin) -> None:
    """Add the pages to ``admin``, unless it has them from another ``create_app()``."""
    present = {view.endpoint for view in admin._views}
    for view in (
        MessagingView("Messaging", endpoint="interaction_mail", url="messaging"),
        OutboxView("Outbox", endpoint="interaction_mail_outbox", url="messaging/outbox"),
    ):
        if view.endpoint not in present:
            admin.add_view(view)
