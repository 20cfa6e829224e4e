"""The Returned mail tab: what came back lately, and how its mailbox is doing."""

from __future__ import annotations

from typing import ClassVar

from flask import flash, redirect, request
from flask.typing import ResponseReturnValue
from flask_admin import expose

from ..language import gettext, mark
from ..logs import log
from ..text import one_line
from ..values import Right
from .panel_view import PanelView, current_actor, need, state, token_is_valid
from .texts import OUT_OF_DATE, TOO_MANY


class ReturnedView(PanelView):
    """Reports of mail servers about mail of this application."""

    right = Right.OUTBOX
    tab: ClassVar[str] = mark("Returned mail")

    @expose("/")
    def index(self) -> ResponseReturnValue:
        """The mailbox, and the reports that were noted last."""
        return self._page()

    @expose("/test", methods=("GET", "POST"))
    def test(self) -> ResponseReturnValue:
        """Look into the mailbox of the settings in force; nothing changes there."""
        from ..monitoring import returned, test_history  # late: few press this

        need(Right.TEST)
        if request.method != "POST":  # the address was opened again
            return redirect(self.home, 303)
        if not token_is_valid():
            flash(gettext(OUT_OF_DATE), "error")
            return redirect(self.home, 303)
        by = current_actor()
        if test_history.too_many(state(), by):
            log.warning("test.too_many: %s tests again and again", one_line(by))
            flash(gettext(TOO_MANY, limit=test_history.PER_MINUTE), "error")
            return redirect(self.home, 303)
        return self._page(trial=returned.test(state(), state().settings.current().settings))

    def _page(self, **values: object) -> str:
        from ..monitoring import returned  # late: loaded with the first page that is opened

        return self.page(
            "returned.html",
            found=returned.returned_mail(state()),
            **values,
        )
