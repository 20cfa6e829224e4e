"""Two administrators who saved at once: who, what, and what each of them wants, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from .. import clock
from ..settings.layers import InForce
from ..settings.model import SETTINGS
from ..settings.store import SettingsStore
from .forms import SettingsForm

MINE, THEIRS = "mine", "theirs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A field that both have changed: three values in words, and what was chosen, or ""."""

    name: str
    label: str
    before: str
    theirs: str
    mine: str
    choice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """What others saved since the visitor opened the page; ``at`` is naive UTC.

    ``taken`` are labels of fields that they alone have changed. ``password`` tells whether
    they changed that. ``decided`` is true once there is a choice for everything shown.
    """

    by: str
    at: datetime | None
    differences: tuple[Difference, ...]
    taken: tuple[str, ...]
    password: bool
    decided: bool


def between(
    store: SettingsStore, form: SettingsForm, present: InForce, sent: Mapping[str, str]
) -> Conflict | None:
    """The conflict of ``form`` with what is in force; None if it was made on that.

    What they alone have changed is put into ``form``, and so is what was chosen of theirs.
    """
    if form.base is None or form.base == present.revision:
        return None
    base, theirs = store.at(form.base), SettingsForm.of(present)
    before = SettingsForm.of(base) if base else None
    found, taken = [], []
    for name in SETTINGS:
        if name == "password" or name in present.overridden or form.said(name) == theirs.said(name):
            continue
        if before is None or form.said(name) != before.said(name) != theirs.said(name):
            found.append(_difference(name, form, theirs, before, sent.get(f"keep_{name}", "")))
        elif form.said(name) == before.said(name):
            taken.append(str(form[name].label.text))
            form.take(name, theirs)
    for one in found:
        if one.choice == THEIRS:
            form.take(one.name, theirs)
    decided = sent.get("conflict") == str(present.revision) and all(one.choice for one in found)
    return _conflict(store, form.base, tuple(found), tuple(taken), decided=decided)


def _difference(
    name: str, form: SettingsForm, theirs: SettingsForm, before: SettingsForm | None, choice: str
) -> Difference:
    return Difference(
        name=name,
        label=str(form[name].label.text),
        before=before.shown(name) if before else "",
        theirs=theirs.shown(name),
        mine=form.shown(name),
        choice=choice if choice in (MINE, THEIRS) else "",
    )


def _conflict(
    store: SettingsStore,
    base: int,
    found: tuple[Difference, ...],
    taken: tuple[str, ...],
    *,
    decided: bool,
) -> Conflict:
    history = store.history()
    since = [one for one in history if one.revision > base] or history[:1]
    return Conflict(
        by=", ".join(dict.fromkeys(one.by for one in since if one.by)),
        at=clock.to_db(since[0].at) if since else None,
        differences=found,
        taken=taken,
        password=any("password" in one.changed for one in since),
        decided=decided,
    )
