"""The History tab: every saved revision, test and deed, and the way back to earlier settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

from flask import abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose

from .. import clock, language, operations
from ..errors import InteractionMailError, SettingsError
from ..language import gettext, labelled, mark
from ..settings import fields
from ..settings.layers import login_advice
from ..values import Right
from .csrf import PanelForm
from .forms import SettingsForm, differences, label_of, revision_number
from .panel_view import PanelView, current_actor, need, state, token_is_valid
from .texts import OUT_OF_DATE

if TYPE_CHECKING:
    from ..settings.store import Revision

_NO_NUMBER: Final = 2**31  # of a revision: the column is an integer
_CHANGED: Final = mark(
    "Somebody has saved other settings meanwhile. Look at what would change now."
)


class HistoryView(PanelView):
    """Who did what, newest first; earlier settings can be restored."""

    right = Right.HISTORY
    tab: ClassVar[str] = mark("History")

    @expose("/")
    def index(self) -> ResponseReturnValue:
        """The list, of all kinds or of one."""
        from ..monitoring import history  # late: loaded with the first page that is opened

        which = request.args.get("which", "")
        page = history.page(state(), which, clock.from_text(request.args.get("before", "")))
        return self.page(
            "history.html", page=page, which=which, whiches=history.WHICH, changes=_Changes()
        )

    @expose("/<int:revision>/")
    def revision(self, revision: int) -> ResponseReturnValue:
        """What would change if ``revision`` were restored."""
        then = state().settings.at(revision) if 0 < revision < _NO_NUMBER else None
        if then is None:
            abort(404)
        present = state().settings.current()
        return self.page(
            "revision.html",
            present=present,
            revision=revision,
            differences=differences(SettingsForm.of(present), SettingsForm.of(then)),
            form=PanelForm(),
        )

    @expose("/restore", methods=("POST",))
    def restore(self) -> ResponseReturnValue:
        """Save the settings of a revision as the newest, if they are still as they were shown."""
        need(Right.EDIT)
        revision, base = (
            revision_number(request.form.get(name, "")) for name in ("revision", "base")
        )
        if revision is None:
            abort(404)
        if not token_is_valid():
            flash(gettext(OUT_OF_DATE), "error")
        elif base != state().settings.current().revision:
            flash(gettext(_CHANGED), "warning")
        else:
            return self._restore(revision)
        return redirect(url_for(".revision", revision=revision), 303)

    def _restore(self, revision: int) -> ResponseReturnValue:
        try:
            restored = operations.restore_settings(state(), revision, changed_by=current_actor())
        except SettingsError as error:
            flash(
                " ".join(
                    labelled(label_of(name), f"{text}.") for name, text in error.errors.items()
                ),
                "error",
            )
        except InteractionMailError as error:
            flash(language.translated(error), "error")
        else:
            flash(gettext("Restored: these settings are in force again."), "success")
            for advice in login_advice(restored):
                flash(advice, "warning")
        return redirect(url_for(".index"), 303)


class _Changes:
    """The changes of a revision in words, for the template."""

    def __init__(self) -> None:
        self._form = SettingsForm()

    def __call__(self, revision: Revision) -> list[tuple[str, str, str]]:
        """Label, former and present value of each field; "" for both of a secret."""
        return [
            (
                label_of(name),
                self._shown(name, revision.former),
                self._shown(name, revision.values),
            )
            for name in revision.changed
        ]

    def _shown(self, name: str, values: Any) -> str:
        value = fields.value_of(name, values)
        if name == fields.RELAYS:
            return ", ".join(map(str, value if isinstance(value, tuple) else ()))
        field = fields.parts(name)[1]
        if not fields.is_secret(name):
            self._form[field].process(None, "" if value is None else value)
        return self._form.shown(field)
