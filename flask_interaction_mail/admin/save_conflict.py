"""Two administrators edited the settings at once: who saved first, and what both changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from .. import clock
from ..settings.layers import InForce
from ..settings.model import SECRETS, SETTINGS
from ..settings.store import SettingsStore
from .forms import SettingsForm

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

    ``taken`` are the labels of fields that only they have changed. ``password`` says whether
    they changed the password. ``decided`` is true once every difference has a choice.
    """

    by: str
    at: datetime | None
    differences: tuple[Difference, ...]
    taken: tuple[str, ...]
    secrets: frozenset[str]
    decided: bool


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
    for name in SETTINGS:
        if name in SECRETS or name in present.overridden:
            continue
        mine, other = form.comparable(name), theirs.comparable(name)
        original = before.comparable(name) if before else None
        if mine == other or other == original:
            continue
        if mine == original:
            taken.append(str(form[name].label.text))
            form.take(name, theirs)
            continue
        choice = sent.get(f"keep_{name}", "")
        differences.append(
            Difference(
                name=name,
                label=str(form[name].label.text),
                before=before.shown(name) if before else "",
                theirs=theirs.shown(name),
                mine=form.shown(name),
                choice=choice if choice in (MINE, THEIRS) else "",
            )
        )
        if choice == THEIRS:
            form.take(name, theirs)
    history = store.history()
    newer = [entry for entry in history if entry.revision > form.base] or history[:1]
    return Conflict(
        by=", ".join(dict.fromkeys(entry.by for entry in newer if entry.by)),
        at=clock.to_db(newer[0].at) if newer else None,
        differences=tuple(differences),
        taken=tuple(taken),
        secrets=frozenset(name for entry in newer for name in entry.changed if name in SECRETS),
        decided=sent.get("conflict") == str(present.revision)
        and all(difference.choice for difference in differences),
    )
