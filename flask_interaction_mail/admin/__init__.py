"""The panel: pages below *Configuration* in the host's Flask-Admin."""

from __future__ import annotations

from typing import Any, Final

from flask import Flask
from flask_admin import Admin

from ..errors import InteractionMailError
from .activity import ActivityView
from .coverage import CoverageView
from .events import EventsView
from .explain import ExplainView
from .health import HealthView
from .history import HistoryView
from .messaging import MessagingView
from .outbox import OutboxView
from .panel_view import STATIC, PanelView
from .previews import TemplatesView
from .returned import ReturnedView

__all__ = ["add_views", "check"]

# By endpoint; the tabs are in this order.
_PAGES: Final[dict[str, tuple[type[PanelView], str]]] = {
    "interaction_mail": (MessagingView, "messaging"),
    "interaction_mail_outbox": (OutboxView, "messaging/outbox"),
    "interaction_mail_returned": (ReturnedView, "messaging/returned"),
    "interaction_mail_activity": (ActivityView, "messaging/activity"),
    "interaction_mail_explain": (ExplainView, "messaging/explain"),
    "interaction_mail_coverage": (CoverageView, "messaging/coverage"),
    "interaction_mail_previews": (TemplatesView, "messaging/templates"),
    "interaction_mail_history": (HistoryView, "messaging/history"),
    "interaction_mail_health": (HealthView, "messaging/health"),
    "interaction_mail_events": (EventsView, "messaging/events"),
}


def check(admin: Admin, app: Flask) -> None:
    """Refuse what ``add_views`` would break off at, halfway.

    Raises:
        InteractionMailError: a blueprint of the host has the name of a page, or the application
            that ``admin`` met last serves requests already.
    """
    views: list[Any] = admin._views
    missing = _PAGES.keys() - {view.endpoint for view in views if isinstance(view, PanelView)}
    if missing and admin.app is not None and admin.app._got_first_request:
        raise InteractionMailError(
            f"The Admin belongs to the application {admin.app.name!r}, which serves requests "
            "already, so it takes no more pages: call InteractionMail.init_app before"
        )
    blueprints = {**(admin.app.blueprints if missing and admin.app else {}), **app.blueprints}
    folders = {name: blueprints[name].static_folder for name in _PAGES if name in blueprints}
    if taken := [name for name, folder in folders.items() if folder != str(STATIC)]:  # not ours
        raise InteractionMailError(
            f"The application has a blueprint with the name {min(taken)!r}, which is that of a "
            "page of InteractionMail: rename it"
        )


def add_views(admin: Admin, app: Flask) -> None:
    """Add the pages to ``admin``, unless it has them from another ``create_app()``."""
    present = {view.endpoint for view in admin._views}
    for endpoint, (page, url) in _PAGES.items():
        if endpoint not in present:
            view: Any = page(endpoint=endpoint, url=url)  # a BaseView, see panel_view
            admin.add_view(view)
    if admin in app.extensions.get("admin", ()):
        _register(admin, app)


def _register(admin: Admin, app: Flask) -> None:
    # Of several applications the admin gives a new view only to the one that it met last.
    for view in admin._views:
        if view.endpoint in _PAGES.keys() - app.blueprints.keys():
            app.register_blueprint(view.create_blueprint(admin), host=admin.host)
