"""The Templates tab: how each message looks, and a copy of it for the visitor."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, ClassVar

from flask import abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose

from .. import language
from ..errors import InteractionMailError
from ..language import gettext, mark
from ..logs import log
from ..text import one_line
from ..values import Party, Right
from .csrf import PanelForm
from .panel_view import (
    PanelView,
    current_actor,
    need,
    state,
    token_is_valid,
    visitor_with_address,
)
from .texts import COPY_ACCEPTED, NO_ADDRESS, OUT_OF_DATE, TOO_MANY

if TYPE_CHECKING:
    from ..diagnosis.results import Diagnosis
    from ..monitoring.previews import Listed


class TemplatesView(PanelView):
    """The templates that ship and those of the host, each with a preview."""

    right = Right.VIEW
    tab: ClassVar[str] = mark("Templates")

    @expose("/")
    def index(self) -> ResponseReturnValue:
        """The list of templates, and what stands around all messages."""
        from ..messages.letterhead import letterhead_of
        from ..monitoring import previews  # late, as below: loaded with the first page

        present = state().settings.current()
        return self.page(
            "templates.html",
            present=present,
            templates=previews.listed(state()),
            letterhead=letterhead_of(present.settings, state().organisation),
        )

    @expose("/preview/<path:which>")
    def preview(self, which: str) -> ResponseReturnValue:
        """One message with sample data, in a language: header fields, HTML and text."""
        from ..monitoring import previews
        from .message_view import Body

        template, shown, problem = _found(which), None, ""
        languages = previews.languages(state())
        chosen = _chosen(request.args, languages)
        try:
            shown = previews.preview(state(), template, locale=chosen)
        except InteractionMailError as error:
            problem = language.translated(error)
        return self.page(
            "template.html",
            listed=template,
            shown=shown,
            body=Body(text=shown.text, html=shown.html) if shown else None,
            problem=problem,
            languages=languages,
            chosen=chosen,
            visitor=visitor_with_address(),
            form=PanelForm(),
        )

    @expose("/send", methods=("POST",))
    def send(self) -> ResponseReturnValue:
        """Send a message with sample data to the visitor, and to nobody else."""
        need(Right.TEST)
        from ..monitoring import previews

        template = _found(request.form.get("name", ""))
        chosen = _chosen(request.form, previews.languages(state()))
        visitor = visitor_with_address()
        if not token_is_valid():
            flash(gettext(OUT_OF_DATE), "error")
        elif visitor is None:
            flash(gettext(NO_ADDRESS), "error")
        else:
            flash(*_sent(template, visitor, chosen))
        other = chosen if chosen != language.spoken() else None
        return redirect(url_for(".preview", which=template.name, language=other), 303)


def _found(name: str) -> Listed:
    from ..monitoring import previews

    return previews.find(state(), name) or abort(404)


def _chosen(given: Mapping[str, str], languages: Container[str]) -> str:
    """The language that the visitor asks for, else that of the page."""
    asked = given.get("language", "")
    return asked if asked in languages else language.spoken()


def _sent(template: Listed, visitor: Party, chosen: str) -> tuple[str, str]:
    """Send the message of ``template``; returns what came of it, and the kind of that news."""
    from ..monitoring import previews, test_history

    by = current_actor()
    if test_history.too_many(state(), by):
        log.warning("test.too_many: %s sends samples again and again", one_line(by))
        return gettext(TOO_MANY, limit=test_history.PER_MINUTE), "error"
    try:
        end = previews.send(state(), template, visitor, locale=chosen)
    except InteractionMailError as error:
        return language.translated(error), "error"
    log.info("template.sent: %s, %s, to %s", end.outcome, template.name, one_line(by))
    return _in_words(end)


def _in_words(end: Diagnosis) -> tuple[str, str]:
    if end.passed:
        return gettext(COPY_ACCEPTED, address=end.values["to"]), "success"
    texts = end.texts
    return " ".join(filter(None, (f"{texts.title}.", texts.explanation, texts.advice))), "error"
