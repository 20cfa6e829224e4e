"""Two administrators edited the settings at once: who saved first, and what both changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from .. import clock
from ..settings import fields
from ..settings.layers import InForce
from ..settings.store import SettingsStore
from .forms import KEYS, SettingsForm, label_of

MINE, THEIRS = "mine", "theirs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A field that both have changed: three values in words, and the visitor's choice.

    ``choice`` is "mine", "theirs", or "" before a choice was made.
    """

    name: str
    label: str
    before: str
    theirs: str
    mine: str
    choice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """What others saved since the visitor opened the page; ``at`` is naive UTC.

    ``taken`` are the labels of fields that only they have changed, ``secrets`` the names of the
    secrets that they entered. ``decided`` is true once every difference has a choice.
    """

    by: str
    at: datetime | None
    differences: tuple[Difference, ...]
    taken: tuple[str, ...]
    secrets: frozenset[str]
    decided: bool

    @property
    def password(self) -> bool:
        """Whether they have entered the password of a relay."""
        return any(fields.parts(name)[1] == "password" for name in self.secrets)

    @property
    def key(self) -> bool:
        """Whether they have entered another secret of a sign-in."""
        return any(fields.parts(name)[1] in KEYS for name in self.secrets)


def between(
    store: SettingsStore, form: SettingsForm, present: InForce, sent: Mapping[str, str]
) -> Conflict | None:
    """The conflict of ``form`` with the settings in force; None if it was opened with those.

    Puts into ``form`` what only the others have changed, and their values that were chosen.
    """
    if form.base is None or form.base == present.revision:
        return None
    base, theirs = store.at(form.base), SettingsForm.of(present)
    before = SettingsForm.of(base) if base else None
    differences, taken = [], []
    # The list comes first: which fields there are depends on it.
    names, overridden = fields.all_of((*form.listed, *theirs.listed)), present.overridden
    for name in dict.fromkeys((fields.RELAYS, *names)):
        if fields.is_secret(name) or name in overridden or not form.has(name):
            continue
        mine, other = form.comparable(name), theirs.comparable(name)
        original = before.comparable(name) if before else None
        if mine == other or other == original or not theirs.has(name):
            continue
        if mine == original and not (name == fields.RELAYS and _lost(form, theirs, before)):
            taken.append(label_of(name))
            form.take(name, theirs, present)
            continue
        choice = sent.get(f"keep_{fields.in_form(name)}", "")
        differences.append(
            Difference(
                name=fields.in_form(name),
                label=label_of(name),
                before=before.shown(name) if before else "",
                theirs=theirs.shown(name),
                mine=form.shown(name),
                choice=choice if choice in (MINE, THEIRS) else "",
            )
        )
        if choice == THEIRS:
            form.take(name, theirs, present)
    history = store.history()
    newer = [entry for entry in history if entry.revision > form.base] or history[:1]
    return Conflict(
        by=", ".join(dict.fromkeys(entry.by for entry in newer if entry.by)),
        at=clock.to_db(newer[0].at) if newer else None,
        differences=tuple(differences),
        taken=tuple(taken),
        secrets=frozenset(
            name for entry in newer for name in entry.changed if fields.is_secret(name)
        ),
        decided=sent.get("conflict") == str(present.revision)
        and all(difference.choice for difference in differences),
    )


def _lost(form: SettingsForm, theirs: SettingsForm, before: SettingsForm | None) -> bool:
    """Whether the others have removed a relay in which the visitor has changed something."""
    gone = [relay for relay in form.others if relay not in theirs.others]
    return before is not None and any(
        form.comparable(name) != before.comparable(name)
        for name in fields.all_of(gone)
        if fields.parts(name)[0] in gone and not fields.is_secret(name)
    )
