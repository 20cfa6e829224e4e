"""The panel: pages below *Configuration* in the host's Flask-Admin."""

from __future__ import annotations

from typing import Final

from flask import Flask
from flask_admin import Admin

from ..errors import InteractionMailError
from .activity import ActivityView
from .history import HistoryView
from .messaging import MessagingView
from .outbox import OutboxView
from .panel_view import STATIC, PanelView

__all__ = ["add_views", "check"]

_SETTINGS: Final = "interaction_mail"
_OUTBOX: Final = "interaction_mail_outbox"
_ACTIVITY: Final = "interaction_mail_activity"
_HISTORY: Final = "interaction_mail_history"
_ENDPOINTS: Final = frozenset({_SETTINGS, _OUTBOX, _ACTIVITY, _HISTORY})


def check(admin: Admin, app: Flask) -> None:
    """Refuse what ``add_views`` would break off at, halfway.

    Raises:
        InteractionMailError: a blueprint of the host has the name of a page, or the application
            that ``admin`` met last serves requests already.
    """
    missing = _ENDPOINTS - {view.endpoint for view in admin._views if isinstance(view, PanelView)}
    if missing and admin.app is not None and admin.app._got_first_request:
        raise InteractionMailError(
            f"The Admin belongs to the application {admin.app.name!r}, which serves requests "
            "already, so it takes no more pages: call InteractionMail.init_app before"
        )
    blueprints = {**(admin.app.blueprints if missing and admin.app else {}), **app.blueprints}
    folders = {name: blueprints[name].static_folder for name in _ENDPOINTS if name in blueprints}
    if taken := [name for name, folder in folders.items() if folder != str(STATIC)]:  # not ours
        raise InteractionMailError(
            f"The application has a blueprint with the name {min(taken)!r}, which is that of a "
            "page of InteractionMail: rename it"
        )


def add_views(admin: Admin, app: Flask) -> None:
    """Add the pages to ``admin``, unless it has them from another ``create_app()``."""
    present = {view.endpoint for view in admin._views}
    pages = (
        MessagingView(endpoint=_SETTINGS, url="messaging"),
        OutboxView(endpoint=_OUTBOX, url="messaging/outbox"),
        ActivityView(endpoint=_ACTIVITY, url="messaging/activity"),
        HistoryView(endpoint=_HISTORY, url="messaging/history"),
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
