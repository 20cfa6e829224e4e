"""The base of every page of the panel: its right and tab, its header fields, its template.

All pages share one entry of the menu, *Configuration → Messaging*. Each view has a menu item of
this name, and only that of the first page that the visitor may open is visible.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from flask import Blueprint, Response, abort, current_app, make_response, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from .. import language
from ..errors import TablesMissing
from ..state import KEY, State
from ..text import storable
from ..values import Party, Right
from . import access, csrf, security_headers, texts, visitor_language
from .csrf import PanelForm
from .state_line import who_delivers

if TYPE_CHECKING:

    class BaseView:
        """What the panel uses of Flask-Admin's, which is not marked as typed (PEP 561)."""

        admin: Any
        endpoint: str
        _default_view: str  # the name of the method that is exposed as "/"
        _template_args: dict[str, Any]

        def __init__(
            self,
            name: str | None = None,
            category: str | None = None,
            endpoint: str | None = None,
            url: str | None = None,
            static_folder: str | None = None,
            static_url_path: str | None = None,
        ) -> None: ...
        def create_blueprint(self, admin: Any) -> Blueprint: ...
        def render(self, template: str, **kwargs: Any) -> str: ...
        def is_visible(self) -> bool: ...
        def is_accessible(self) -> bool: ...
        def _get_view_url(self, admin: Any, url: str | None) -> str: ...
        def _handle_view(self, name: str, **kwargs: Any) -> ResponseReturnValue | None: ...
        def _run_view(self, fn: Any, *args: Any, **kwargs: Any) -> ResponseReturnValue: ...
else:
    from flask_admin import BaseView

STATIC = Path(__file__).parent.parent / "static" / "interaction_mail"


class PanelView(BaseView):
    """A page of the panel. One object serves every app that its ``Admin`` serves."""

    right: ClassVar[Right]  # without it the page is closed, and has no tab
    tab: ClassVar[str] = ""  # none: for no visitor, so it has no place in the menu either

    def __init__(self, *, endpoint: str, url: str) -> None:
        super().__init__(
            "Messaging",
            category="Configuration",
            endpoint=endpoint,
            url=url,
            static_folder=str(STATIC),
            static_url_path="/static",
        )

    def _get_view_url(self, admin: Any, url: str | None) -> str:
        # For an admin at "/" Flask-Admin's own would be "//messaging".
        return url if url and url.startswith("/") else f"{admin.url.rstrip('/')}/{url}"

    def is_accessible(self) -> bool:
        """Whether the visitor may open this page; False in an app without the extension."""
        return KEY in current_app.extensions and may(self.right)

    @property
    def home(self) -> str:
        """The URL of the page's tab."""
        return url_for(f"{self.endpoint}.{self._default_view}")

    def is_visible(self) -> bool:
        """Whether the menu's entry leads to this page."""
        first = next((view for view in pages_of(self.admin) if view.is_accessible()), None)
        return first is self

    def _handle_view(self, name: str, **kwargs: Any) -> ResponseReturnValue | None:
        if KEY not in current_app.extensions:
            return abort(404)
        visitor_language.begin(state())
        if self.is_accessible():
            return None
        access.turned_away(state(), self.right)
        return access.refusal(state(), name, **kwargs)

    def create_blueprint(self, admin: Any) -> Blueprint:
        """Flask-Admin's blueprint, with our header fields on refusals and errors too.

        Its request ends with the language of its visitor.
        """
        blueprint = super().create_blueprint(admin)
        blueprint.url_value_preprocessor(csrf.exempt_from_host_check)
        blueprint.after_request(security_headers.mark)
        blueprint.teardown_request(visitor_language.end)
        return blueprint

    def _run_view(self, fn: Any, *args: Any, **kwargs: Any) -> Response:
        try:
            return visitor_language.kept(make_response(fn(self, *args, **kwargs)), state())
        except TablesMissing as error:
            text = self.render("interaction_mail/admin/problem.html", text=str(error))
            return make_response(text, 503)

    def page(self, template: str, **values: Any) -> str:
        """Render ``interaction_mail/admin/<template>`` with what all pages need.

        Names of the host may hold characters that no encoding carries.
        """
        from ..monitoring.overview import overview  # late: loaded with the first page

        present = values.pop("present", None) or state().settings.current()
        now = overview(state(), present)
        html = self.render(
            f"interaction_mail/admin/{template}",
            present=present,
            settings=present.settings,
            may=may,
            asset=asset,
            wording=texts,
            time=texts.time,
            recalled=language.recalled,
            translated=language.translated,
            status=texts.status,
            state_badge=texts.badge,
            leaves_by_itself=texts.leaves_by_itself,
            suppressed=state().suppressed,
            transport=state().config.transport,
            tabs=[view for view in pages_of(self.admin) if view.is_accessible()],
            overview=now,
            deliverer=who_delivers(state().config.delivery, now.at_work, now.called),
            buttons=PanelForm(),
            **values,
        )
        return storable(html)

    def stream_values(self) -> dict[str, Any]:
        """What a streamed page needs in its template, because Flask-Admin does not render it."""
        nonce = self.admin.csp_nonce_generator if self.admin else None
        return {
            "_gettext": texts.page_gettext,
            "_ngettext": texts.page_ngettext,
            "page_language": language.spoken(),
            "translated": language.translated,
            "asset": asset,
            "admin_csp_nonce_attribute": Markup('nonce="{}"').format(nonce()) if nonce else "",
        }

    def render(self, template: str, **kwargs: Any) -> str:
        """Flask-Admin's rendering, with our texts in the visitor's language."""
        arguments: dict[str, Any] = self._template_args
        arguments["_gettext"] = texts.page_gettext
        arguments["_ngettext"] = texts.page_ngettext
        return super().render(template, page_language=language.spoken(), **kwargs)


def pages_of(admin: Any) -> list[PanelView]:
    """The pages of the panel that have a tab, in the order of the tabs."""
    views = admin._views if admin else []
    return [view for view in views if isinstance(view, PanelView) and view.tab]


def state() -> State:
    """The extension in the app that serves this request."""
    found: State = current_app.extensions[KEY]
    return found


def may(right: str) -> bool:
    """Whether the visitor has ``right``, which templates name by its word."""
    return access.allowed(state(), Right(right))


def need(right: Right) -> None:
    """Abort with 403 unless the visitor has ``right``."""
    if not may(right):
        access.turned_away(state(), right)
        abort(403)


def current_actor() -> str:
    """The name of the visitor, for the history."""
    user = state().people.current_user()
    return (user.name.strip() if user else "")[:255] or "administrator"


def visitor_with_address() -> Party | None:
    """The visitor, if a message can be sent to them."""
    user = state().people.current_user()
    return user if user is not None and user.email else None


def token_is_valid() -> bool:
    """Whether this POST from a page without a form of its own carries the right token."""
    return bool(PanelForm(request.form).validate())


def asset(name: str) -> str:
    """The URL of one of our static files, which changes with its content."""
    return url_for("interaction_mail.static", filename=name, v=_version(name))


@cache
def _version(name: str) -> str:
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:8]
