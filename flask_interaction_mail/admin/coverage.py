"""The Coverage tab: whom mail reaches, what a new company domain moves, what DNS says of From."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from flask import Response, abort, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_admin import expose

from .. import operations
from ..errors import SettingsError
from ..language import gettext, mark
from ..settings.fields import clean
from ..settings.model import SETTINGS, MessagingSettings
from ..text import legible, storable
from ..values import Party, Right
from . import texts
from .csrf import PanelForm, is_same_origin
from .panel_view import PanelView, current_actor, need, state, token_is_valid

if TYPE_CHECKING:
    from ..monitoring.coverage import Place, Senders
    from ..monitoring.from_dns import Checked

_LIMIT: Final = 320  # characters of what is typed
_SELECTORS: Final = 5
_COLUMNS: Final = ("kind", "id", "name", "from", "to", "problem")


class CoverageView(PanelView):
    """Who may merge where, who is reached, and what would be otherwise."""

    right = Right.EXPLAIN
    tab: ClassVar[str] = mark("Coverage")

    @expose("/")
    def index(self) -> ResponseReturnValue:
        """The page; ``domain`` previews another company domain, ``dns`` asks DNS."""
        from ..monitoring import coverage  # late, as below: loaded with the first page

        present = state().settings.current()
        wanted = _Wanted.of(present.settings)
        parties = state().people.parties(coverage.PARTIES + 1)
        looked_at = parties[: coverage.PARTIES]
        dead = operations.dead_addresses(state())
        found = coverage.survey(looked_at, present.settings, dead)
        senders = coverage.senders(found, present.settings)
        checked = None
        if _asks_dns():
            then = wanted.settings
            meant = senders if then is None else _senders(looked_at, then)
            checked = _checked(meant, then or present.settings)
        places = _places(present.settings, dead)
        page = self.page(
            "coverage.html",
            present=present,
            places=sorted(places[: coverage.LOCATIONS], key=lambda place: place.own),
            more_places=len(places) > coverage.LOCATIONS,
            lacking=coverage.lacking(places),
            parties=len(looked_at),
            more_parties=len(parties) > coverage.PARTIES,
            found=found,
            dead=dead,
            form=PanelForm(),
            senders=senders,
            checked=checked,
            selector=_typed("selector"),
            wanted=wanted,
            preview=coverage.preview(looked_at, found.full, present.settings, wanted.settings)
            if wanted.settings
            else None,
            offers=state().people.offers,
            names=SETTINGS,
            legible=legible,
            storable=storable,
        )
        return page, 400 if wanted.error else 200

    @expose("/mended", methods=("POST",))
    def mended(self) -> ResponseReturnValue:
        """Count an address as one that exists again."""
        need(Right.EDIT)
        if not token_is_valid():
            flash(gettext(texts.OUT_OF_DATE), "error")
        elif operations.mend(state(), request.form.get("address", ""), by=current_actor()):
            flash(gettext("Requests go to that address again."), "success")
        return redirect(url_for(".index"), 303)

    @expose("/moves.csv")
    def moves(self) -> ResponseReturnValue:
        """Everybody whose address ``domain`` would change, as CSV."""
        from .export import table

        now = state().settings.current().settings
        wanted = _Wanted.of(now)
        if wanted.error:
            abort(400)
        lines = _move_lines(now, wanted.settings or now)
        return Response(
            table(_COLUMNS, lines),
            mimetype="text/csv",
            headers={"Content-Disposition": 'attachment; filename="moves.csv"'},
        )


class _Wanted(NamedTuple):
    """The company domain that was typed: the settings with it, or what is wrong with it."""

    typed: str
    settings: MessagingSettings | None = None
    error: str = ""

    @classmethod
    def of(cls, now: MessagingSettings) -> _Wanted:
        """Read it from the URL."""
        typed = _typed("domain")
        if not typed:
            return cls("")
        try:
            domain: Any = clean("company_domain", typed)
        except SettingsError as error:
            label = gettext(SETTINGS["company_domain"].label)
            return cls(typed, error=texts.sentence(label, error.errors["company_domain"]))
        return cls(typed, replace(now, company_domain=domain, password=None))


def _typed(name: str) -> str:
    return request.args.get(name, "").strip()[:_LIMIT]


def _places(settings: MessagingSettings, dead: Collection[str]) -> list[Place]:
    """Each location, one more than are shown if there are more."""
    from ..monitoring import coverage

    people = state().people
    return [
        coverage.place(location, people.merge_recipients(location), settings, dead)
        for location in people.locations(coverage.LOCATIONS + 1)
    ]


def _asks_dns() -> bool:
    """Whether a page of this site asks: it takes time, and others are asked."""
    return bool(request.args.get("dns")) and is_same_origin()


def _senders(parties: Sequence[Party], settings: MessagingSettings) -> Senders | None:
    from ..monitoring import coverage

    return coverage.senders(coverage.survey(parties, settings), settings)


def _checked(senders: Senders | None, settings: MessagingSettings) -> Checked | None:
    """What DNS says of their domains."""
    from ..monitoring import from_dns

    if senders is None:
        return None
    return from_dns.check(
        senders,
        relay=settings.server,
        selectors=re.findall(r"[^\s,]+", _typed("selector"))[:_SELECTORS],
        name_servers=state().config.name_servers,
    )


def _move_lines(now: MessagingSettings, then: MessagingSettings) -> Iterator[tuple[str, ...]]:
    from ..monitoring import coverage

    # All are read before the first line leaves, so that a file that begins is complete.
    parties = state().people.parties()
    return (
        (
            party.kind,
            "" if party.id is None else str(party.id),
            party.name,
            move.before or "",
            move.after or "",
            move.problem,
        )
        for party, move in coverage.moves(parties, now, then)
    )
