"""Configuration → Messaging: the form, Save, and Test Settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final

from flask import Response, abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose
from werkzeug.exceptions import Forbidden

from .. import language, operations
from ..errors import InteractionMailError, SettingsConflict, SettingsError
from ..language import gettext, mark
from ..logs import log
from ..outbox import messages
from ..settings import fields
from ..settings.layers import InForce
from ..settings.model import SETTINGS, MessagingSettings
from ..settings.presets import PRESETS, Preset
from ..settings.relay import DEFAULT
from ..text import one_line
from ..values import Right
from . import mailbox
from .csrf import is_same_origin
from .forms import SettingsForm, origin_notes, secret_hints
from .panel_view import (
    PanelView,
    asset,
    current_actor,
    need,
    pages_of,
    state,
    token_is_valid,
    visitor_with_address,
)
from .texts import ENDED, OUT_OF_DATE

if TYPE_CHECKING:
    from .relay_list import Rearranged
    from .save_conflict import Conflict

# The form, the settings in it, those in force, and who asks.
Trial = Callable[[SettingsForm, InForce, InForce, str], ResponseReturnValue]
ALSO_ME: Final = "also_me"  # beside the form's fields, for the test alone


class MessagingView(PanelView):
    """The settings in one form (R7)."""

    right = Right.VIEW
    tab: ClassVar[str] = mark("Settings")

    def _handle_view(self, name: str, **kwargs: Any) -> ResponseReturnValue | None:
        if request.method != "POST" or not SettingsForm.typed_here():
            return super()._handle_view(name, **kwargs)
        try:
            answer = super()._handle_view(name, **kwargs)
        except Forbidden:
            if state().people.current_user() is not None:
                raise
        else:
            if answer is None:
                return None
        # Instead of the host's login page, which would lose what was typed.
        return self._session_ended(), 403

    def _session_ended(self) -> str:
        """A page with what the visitor typed, and nothing else, as nobody is logged in."""
        admin = state().admin
        return self.render(
            "interaction_mail/admin/session_ended.html",
            form=SettingsForm.typed(request.form),
            typed=SettingsForm.values_to_show_again(),
            login=url_for(f"{admin.index_view.endpoint}.index") if admin else "",
            asset=asset,
        )

    @expose("/", methods=("GET", "POST"))
    def index(self) -> ResponseReturnValue:
        """The form. A POST saves all of it or nothing (R57)."""
        present = state().settings.current()
        if request.method == "POST":
            need(Right.EDIT)
            return self._save(present)
        return self._form(SettingsForm.filled(present), present)

    @expose("/test", methods=("GET", "POST"))
    def test(self) -> ResponseReturnValue:
        """Test the values in the form; the result is shown beside it (R47, R56)."""
        need(Right.TEST)
        if request.method != "POST":  # HEAD changes nothing either
            return self.page("test_none.html")
        return self._tried(self._streamed)

    @expose("/alert", methods=("POST",))
    def alert(self) -> ResponseReturnValue:
        """Tell a test alert with the values in the form; the result is shown beside it."""
        need(Right.TEST)
        return self._tried(self._alerted)

    @expose("/mailbox", methods=("POST",))
    def mailbox(self) -> ResponseReturnValue:
        """Look into the mailbox in the form; the result is shown beside it."""
        need(Right.TEST)
        return self._tried(self._looked)

    def _tried(self, trial: Trial) -> ResponseReturnValue:
        """The answer of ``trial``, if the form has no error and the visitor may try again."""
        from ..monitoring import test_history  # late, as below: loaded with the first test

        present = state().settings.current()
        form = SettingsForm.filled(present, request.form)
        relay = request.values.get("relay") or DEFAULT
        if relay not in (*form.listed, *form.fixed):
            abort(404)
        drafted = form.check(state().settings.draft)
        if form.part(relay)["password_confirm"].data:
            form.confirm_passwords()
        form.forget_errors_of_others(relay)
        if form.errors:
            return self.page("test_invalid.html", form=form, present=present), 400
        by = current_actor()
        if test_history.too_many(state(), by):
            log.warning("test.too_many: %s tests again and again", one_line(by))
            page = self.page("test_too_many.html", limit=test_history.PER_MINUTE, present=present)
            return page, 429, {"Retry-After": "60"}
        return trial(form, drafted.of(relay), present, by)

    @expose("/preset", methods=("POST",))
    def preset(self) -> ResponseReturnValue:
        """Fill in what a provider wants, for browsers without JavaScript; nothing is saved."""
        need(Right.EDIT)
        present = state().settings.current()
        form = SettingsForm.filled(present, request.form)
        form.validate()
        if form.token.errors:
            return self._without_token(form, present)
        preset = PRESETS.get(request.form.get("preset", ""))
        form = SettingsForm.filled(present, request.form)  # without errors: nothing is judged yet
        if preset is not None:
            relay = request.form.get("preset_relay") or DEFAULT
            form.fill({fields.of(relay, name): value for name, value in preset.entered.items()})
        return self._form(form, present, preset=preset)

    @expose("/relays", methods=("POST",))
    def relays(self) -> ResponseReturnValue:
        """Add, move or remove a relay in the form, which comes back; nothing is saved."""
        from . import relay_list  # late: few have several relays

        need(Right.EDIT)
        present = state().settings.current()
        form = SettingsForm.filled(present, request.form)
        form.validate()
        if form.token.errors:
            return self._without_token(form, present)
        form = SettingsForm.filled(present, request.form)  # without errors: nothing is judged yet
        done, typed = (request.form.get(name, "") for name in ("do", relay_list.NAME))
        found = relay_list.rearranged(form.listed, form.fixed, done, typed, self._waiting_at)
        form.arrange(found.relays, present)
        page = self._form(form, present, rearranged=found)
        return (page, 400) if found.wrong else page

    @staticmethod
    def _waiting_at(relay: str) -> int:
        with state().database.reading() as connection:
            return messages.waiting_at(connection, relay)

    @expose("/end/<any(paused, divert_to):switch>", methods=("POST",))
    def end(self, switch: str) -> ResponseReturnValue:
        """End *Pause* or *Divert* from any page, and go back to its tab."""
        need(Right.EDIT)
        if not token_is_valid():
            flash(gettext(OUT_OF_DATE), "error")
        else:
            self._end(switch)
        tabs = {view.endpoint: view for view in pages_of(self.admin)}
        return redirect(tabs.get(request.form.get("tab", ""), self).home, 303)

    def _end(self, switch: str) -> None:
        off: dict[str, object] = {switch: getattr(MessagingSettings(), switch)}
        try:
            operations.save_settings(state(), off, base=None, changed_by=current_actor())
        except InteractionMailError as error:
            flash(language.translated(error), "error")
        else:
            flash(gettext(ENDED[switch]), "success")

    @expose("/connect", methods=("POST",))
    def connect(self) -> ResponseReturnValue:
        """Send the browser to where the person who has the mailbox agrees."""
        need(Right.EDIT)
        present = state().settings.current()
        if page := self._unsaved(present):
            return page
        here = self._mailbox(mailbox.named(present))
        return redirect(mailbox.connect(present) or here, 303)

    @expose("/connected")
    def connected(self) -> ResponseReturnValue:
        """Take the provider's answer; the address of the page that follows has no code in it."""
        need(Right.EDIT)
        if request.method == "GET":  # HEAD changes nothing
            relay = mailbox.finish(state().settings.current())
            return redirect(self._mailbox(relay), 303)
        return redirect(self._mailbox(DEFAULT), 303)

    @expose("/disconnect", methods=("POST",))
    def disconnect(self) -> ResponseReturnValue:
        """Forget what was agreed to."""
        need(Right.EDIT)
        present = state().settings.current()
        if page := self._unsaved(present):
            return page
        mailbox.disconnect(present)
        return redirect(self._mailbox(mailbox.named(present)), 303)

    def _mailbox(self, relay: str) -> str:
        return url_for(".index", _anchor=mailbox.anchor(relay))

    def _unsaved(self, present: InForce) -> ResponseReturnValue | None:
        """The form again, if its token is wrong, or if what was typed would be lost."""
        form = SettingsForm.filled(present, request.form)
        form.validate()
        if form.token.errors:
            return self._without_token(form, present)
        if not (SettingsForm.typed_here() and form.differs_from(present)):
            return None
        flash(gettext("Save your changes first, or press Cancel. Nothing was done."), "warning")
        return self._form(SettingsForm.filled(present, request.form), present, unsaved=True), 409

    def _streamed(
        self, form: SettingsForm, drafted: InForce, present: InForce, by: str
    ) -> Response:
        from . import test_page

        pieces = test_page.page(
            state(),
            form,
            drafted,
            present=present,
            by=by,
            tester=visitor_with_address() if request.form.get(ALSO_ME) else None,
            **self.stream_values(),
        )
        response = Response(pieces, mimetype="text/html")
        response.headers["X-Accel-Buffering"] = "no"  # so that nginx passes each step on at once
        return response

    def _alerted(
        self, _: SettingsForm, drafted: InForce, present: InForce, by: str
    ) -> ResponseReturnValue:
        from ..monitoring import alerts

        told, why = False, ""
        try:
            told = alerts.send_test(state(), drafted.settings, by=by)
        except InteractionMailError as error:
            why = language.translated(error)
        return self.page("test_alert.html", present=present, told=told, why=why)

    def _looked(
        self, _: SettingsForm, drafted: InForce, present: InForce, by: str
    ) -> ResponseReturnValue:
        from ..monitoring import returned

        trial = returned.test(state(), drafted.settings)
        log.info("test.mailbox: by %s", one_line(by))
        return self.page("test_mailbox.html", present=present, trial=trial)

    def _save(self, present: InForce) -> ResponseReturnValue:
        form = SettingsForm.filled(present, request.form)
        valid = form.validate()
        if form.token.errors:
            return self._without_token(form, present)
        if valid and (page := self._ask_about_conflict(form, present)):
            return page
        form.check(state().settings.draft)
        form.confirm_passwords()
        if form.errors:
            return self._form(form, present), 400
        try:
            operations.save_settings(
                state(), form.changes, base=present.revision, changed_by=current_actor()
            )
        except SettingsConflict:
            present = state().settings.current()
            return self._ask_about_conflict(form, present) or abort(409)
        except SettingsError as error:
            form.add_errors(error.errors)
            return self._form(form, present), 400
        except InteractionMailError as error:
            flash(language.translated(error), "error")
            return self._form(form, present), 503
        flash(gettext("Saved. Every message from now on is sent with these settings."), "success")
        return redirect(url_for(".index"), 303)

    def _without_token(self, form: SettingsForm, present: InForce) -> ResponseReturnValue:
        """The form again, with the error of its token; emptied if another site has sent it."""
        return self._form(form if is_same_origin() else form.emptied(present), present), 400

    def _ask_about_conflict(
        self, form: SettingsForm, present: InForce
    ) -> ResponseReturnValue | None:
        """The page that lets the visitor choose; None without a conflict, or after all choices.

        Then ``form`` has what is to be saved.
        """
        from . import save_conflict

        found = save_conflict.between(state().settings, form, present, request.form)
        if found is None or found.decided:
            form.revision.data = str(present.revision)
            return None
        return self._form(form, present, conflict=found), 409

    def _form(
        self,
        form: SettingsForm,
        present: InForce,
        *,
        conflict: Conflict | None = None,
        preset: Preset | None = None,
        unsaved: bool = False,
        rearranged: Rearranged | None = None,
    ) -> str:
        from ..monitoring import test_history

        badges = {
            relay: test_history.badge(state(), present.of(relay))
            if relay in present.settings.relays
            else test_history.Badge(kind="never")
            for relay in (*form.listed, *form.fixed)
        }
        return self.page(
            "messaging.html",
            origins=origin_notes(present),
            form=form,
            names=SETTINGS,
            present=present,
            hints=secret_hints(present),
            badge=badges[DEFAULT],
            badges=badges,
            rearranged=rearranged,
            conflict=conflict,
            presets=PRESETS.values(),
            steps=_steps,
            preset=preset,
            unsaved=unsaved,
            mailboxes={name: mailbox.shown(present, name) for name in present.settings.relays},
            redirect_url=mailbox.redirect_url(),
            tester=visitor_with_address(),
        )


def _steps(preset: Preset) -> list[tuple[str, str]]:
    """What to do at the provider, and the title of what a test says where it was forgotten."""
    from ..diagnosis.texts import text_of  # late: few open this page

    return [
        (gettext(step.text), gettext(text_of(step.forgotten).title) if step.forgotten else "")
        for step in preset.steps
    ]
