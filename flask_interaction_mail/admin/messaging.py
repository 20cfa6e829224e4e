"""Configuration → Messaging: the form, Save, and Test Settings."""

from __future__ import annotations

import logging
from typing import Any

from flask import Response, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose

from ..errors import InteractionMailError, SettingsConflict, SettingsError
from ..settings_store import InForce
from ..steps import one_line
from .base import PanelView, need, state, visitor
from .forms import SettingsForm, password_hint
from .wording import gettext

log = logging.getLogger("flask_interaction_mail")


class MessagingView(PanelView):
    """The settings in one form (R7)."""

    right = "view"

    @expose("/", methods=("GET", "POST"))
    def index(self) -> ResponseReturnValue:
        """The form; a POST saves it, everything or nothing (R57)."""
        present = state().settings.current()
        if request.method == "POST":
            need("edit")
            return self._save(present)
        return self._form(SettingsForm.filled(present), present)

    @expose("/test", methods=("GET", "POST"))
    def test(self) -> ResponseReturnValue:
        """The result of a test of the values in the form, as a page beside it (R47, R56)."""
        from . import checks  # late, as below: diagnosis is for those who open the page

        need("test")
        if request.method != "POST":  # HEAD is for looking, too
            return self.page("test_none.html")
        present = state().settings.current()
        form = SettingsForm.filled(present, request.form)
        drafted = form.check(state().settings.draft)
        if form.password_confirm.data:
            form.confirm_password()
        if form.errors:
            return self.page("test_invalid.html", form=form, present=present), 400
        by = visitor()
        if checks.too_many(state(), by):
            log.warning("test.too_many: %s tests again and again", one_line(by))
            page = self.page("test_too_many.html", limit=checks.PER_MINUTE, present=present)
            return page, 429, {"Retry-After": "60"}
        return self._streamed(drafted, by)

    def _streamed(self, drafted: InForce, by: str) -> Response:
        from . import trial

        pieces = trial.page(state(), drafted, by=by, **self.frame())
        response = Response(pieces, mimetype="text/html")
        response.headers["X-Accel-Buffering"] = "no"  # each step is to be seen when it happens
        return response

    def _save(self, present: InForce) -> ResponseReturnValue:
        form = SettingsForm.filled(present, request.form)
        form.check(state().settings.draft)
        form.confirm_password()
        if form.errors:
            return self._form(form, present), 400
        base = present.revision if form.base is None else form.base
        try:
            state().save_settings(form.changes, base=base, changed_by=visitor())
        except SettingsConflict:
            return self._form(form, present, conflict=True), 409
        except SettingsError as error:
            form.complain(error.errors)
            return self._form(form, present), 400
        except InteractionMailError as error:
            flash(str(error), "error")
            return self._form(form, present), 503
        flash(gettext("Saved. Every message from now on is sent with these settings."), "success")
        return redirect(url_for(".index"), 303)

    def _form(self, form: SettingsForm, present: InForce, **values: Any) -> str:
        from . import checks

        return self.page(
            "messaging.html",
            form=form,
            present=present,
            hints={"password": password_hint(present)},
            badge=checks.badge(state(), present),
            **values,
        )
