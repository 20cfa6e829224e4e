"""The Explain tab: who would get a merge request, as whom, and why. Nothing is stored or sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Final

from flask import request
from flask.typing import ResponseReturnValue
from flask_admin import expose
from werkzeug.datastructures import MultiDict

from .. import operations
from ..language import gettext, mark
from ..settings import fields
from ..settings.layers import InForce
from ..settings.model import MessagingSettings
from ..values import Contact, Merge, Party, Right
from .forms import SettingsForm, differences
from .panel_view import PanelView, need, state, token_is_valid
from .texts import OUT_OF_DATE

if TYPE_CHECKING:
    from ..messages.explain import DryRun
    from ..monitoring.lookup import Match

_LIMIT: Final = 320  # characters of what is typed
_PLACES: Final = 500  # locations that the page offers


class ExplainView(PanelView):
    """A dry run with the settings in force, and beside it with those in the form."""

    right = Right.EXPLAIN
    tab: ClassVar[str] = mark("Explain")

    @expose("/", methods=("GET", "POST"))
    def index(self) -> ResponseReturnValue:
        """A GET explains the settings in force, a POST those of the settings' form as well."""
        present = state().settings.current()
        if request.method != "POST":
            return self._page(present, request.args)
        compares = "smtp_server" in request.form
        if compares:
            need(Right.VIEW)  # as the values in force stand beside those of the form
            need(Right.EDIT)
        if not token_is_valid():
            return self._page(present, {}, problem=gettext(OUT_OF_DATE)), 400
        if not compares:
            return self._page(present, request.form)
        form = SettingsForm.filled(present, _without_secrets())
        drafted = form.read(state().settings.draft)
        return self._page(present, request.form, form, drafted), 400 if form.errors else 200

    def _page(
        self,
        present: InForce,
        sent: Mapping[str, str],
        form: SettingsForm | None = None,
        drafted: InForce | None = None,
        *,
        problem: str = "",
    ) -> str:
        from . import explained  # late: loaded when the page is opened

        asked = _Asked.of(sent)
        readable = drafted is not None and form is not None and not form.errors
        settings = [present.settings] + ([drafted.settings] if drafted and readable else [])
        runs = asked.explain(settings)
        places = state().people.locations(_PLACES)
        return self.page(
            "explain.html",
            present=present,
            asked=asked,
            problem=problem,
            form=form,
            typed=SettingsForm.values_to_show_again() if form else [],
            differences=differences(SettingsForm.of(present), form) if form and readable else [],
            runs=runs,
            lines=explained.lines(state(), runs),
            parts=[explained.parts(run) for run in runs],
            places=places,
            unknown=asked.unknown(places) if 0 < len(places) < _PLACES else [],
            offers=state().people.offers,
        )


def _without_secrets() -> MultiDict[str, str]:
    """What was sent, but for secrets, which explain nothing."""
    sent = request.form.items(multi=True)
    return MultiDict([(name, value) for name, value in sent if not _is_secret(name)])


def _is_secret(written: str) -> bool:
    return fields.is_secret(fields.from_form(written.removesuffix("_confirm")))


@dataclass
class _Asked:
    """What the visitor typed: a user, and locations or two contacts.

    ``users``, and ``choices`` for each of the contacts, are values and labels of which one has to
    be chosen; ``meant`` are the labels of what was found. ``troubles`` are sentences. ``examples``
    is whether the contacts are made up.
    """

    requester: str = ""
    locations: list[str] = field(default_factory=list)
    contacts: list[str] = field(default_factory=list)
    users: Sequence[tuple[str, str]] = ()
    choices: dict[int, Sequence[tuple[str, str]]] = field(default_factory=dict)
    meant: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    merge: Merge | None = None
    examples: bool = False

    @classmethod
    def of(cls, sent: Mapping[str, str]) -> _Asked:
        """Read it, and look up whom and what it means."""
        listed = MultiDict(sent)
        asked = cls(
            requester=_typed(sent.get("requester", "")),
            locations=[*filter(None, map(_typed, listed.getlist("location")))][:2],
            contacts=[*filter(None, map(_typed, listed.getlist("contact")))][:2],
        )
        if asked.contacts or asked.locations:
            asked._look_up()
        elif asked.requester:
            asked.troubles.append(gettext("Name a location, or two contacts."))
        return asked

    def explain(self, drafts: Sequence[MessagingSettings]) -> list[DryRun]:
        """The dry runs; none if nothing is asked, or if it is not clear what."""
        return operations.dry_runs(state(), self.merge, drafts) if self.merge else []

    def nth(self, name: str, number: int) -> str:
        """What is typed into one of several fields with the same ``name``."""
        typed: list[str] = getattr(self, name)
        return typed[number] if number < len(typed) else ""

    def unknown(self, places: Sequence[str]) -> list[str]:
        """The locations that were typed and are none of ``places``."""
        return [text for text in self.locations if self.examples and text not in places]

    def _look_up(self) -> None:
        requester = self._user()
        contacts = self._found_contacts() if self.contacts else self._made_up()
        if len(contacts) == 2 and not self.troubles:
            self.merge = Merge((contacts[0], contacts[1]), requester=requester)

    def _user(self) -> Party | None:
        from ..monitoring import lookup

        if not self.requester:
            return None
        match = lookup.user(state().people, self.requester)
        self.users = [(lookup.key_of(user), _named(user)) for user in match.several]
        self._complain(match, self.requester)
        if match.one is not None:
            self.meant["requester"] = _named(match.one)
        return match.one

    def _found_contacts(self) -> list[Contact]:
        from ..monitoring import lookup

        if len(self.contacts) < 2:
            self.troubles.append(gettext("Name both contacts."))
        found = []
        for number, text in enumerate(self.contacts):
            match = lookup.contact(state().people, text)
            self.choices[number] = [(str(each.id), _placed(each)) for each in match.several]
            self._complain(match, text)
            if match.one is not None:
                self.meant[str(number)] = _placed(match.one)
                found.append(match.one)
        return found

    def _made_up(self) -> list[Contact]:
        self.examples = True
        names = mark("First contact"), mark("Second contact")  # for the message, in its language
        where = self.locations[0], self.locations[-1]
        return [
            Contact(number, name, location=location)
            for number, (name, location) in enumerate(zip(names, where, strict=True), 1)
        ]

    def _complain(self, match: Match[Any], text: str) -> None:
        if match.several:
            said = gettext("“%(typed)s” can mean several: choose one.", typed=text)
        elif match.one is None:
            said = gettext("Nothing is found for “%(typed)s”.", typed=text)
        else:
            return
        self.troubles.append(said)


def _typed(text: str) -> str:
    return text.strip()[:_LIMIT]


def _named(user: Party) -> str:
    return f"{user.name} ({user.email})" if user.email else user.name


def _placed(contact: Contact) -> str:
    where = {"name": contact.name, "location": contact.location}
    return gettext("%(name)s (in %(location)s)", **where)
