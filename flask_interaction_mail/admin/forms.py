"""The form of the panel: what is typed, judged by the rules that every other way in has too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import request
from wtforms import BooleanField, HiddenField

from ..errors import SettingsError
from ..settings.fields import clean
from ..settings.layers import InForce
from ..settings.model import ADDRESSES, SETTINGS, MessagingSettings, Origin, PasswordState
from ..settings.rules import suggested_port
from ..settings.setting import Section
from . import texts
from .csrf import PanelForm, from_here
from .fields import ChoiceField, NewPasswordField, field_for

Draft = Callable[[dict[str, object]], InForce]


class SettingsForm(PanelForm):
    """A field for each setting, and those that only the form has."""

    revision = HiddenField()
    password_confirm = NewPasswordField("Password, once more")
    overridden: frozenset[str] = frozenset()

    @classmethod
    def filled(cls, present: InForce, formdata: Any = None) -> SettingsForm:
        """The form with the settings in force, and with ``formdata`` laid over them.

        A field that this process overrides shows what is in force, whatever was sent (R23).
        """
        form = cls(formdata, data=_values(present))
        form.overridden = present.overridden
        for name in present.overridden - {"password"}:
            form[name].process(None, _values(present)[name])
        port = form["smtp_port"]
        if not str(port.data or "").strip():
            port.data = "25"  # R16: never empty, not even on the page
        if formdata is None and present.origins["smtp_port"] is Origin.DEFAULT:
            # Nobody has chosen a port yet: propose the one that fits, 587 for STARTTLS.
            port.data = str(suggested_port(present.settings.encryption))
        return form

    @classmethod
    def of(cls, present: InForce) -> SettingsForm:
        """The form with exactly these settings, to compare with."""
        return cls(data=_values(present))

    def said(self, name: str) -> str:
        """The value of the field ``name`` for a comparison."""
        data = self[name].data
        return "\n".join(str(data or "").strip().splitlines())

    def take(self, name: str, other: SettingsForm) -> None:
        """Put the value of the field ``name`` of ``other`` into this form."""
        self[name].process(None, other[name].data)

    @staticmethod
    def typed_here() -> bool:
        """Whether the request carries this form, filled in on a page of this site."""
        return from_here() and "smtp_server" in request.form

    @staticmethod
    def kept() -> list[tuple[str, str]]:
        """What was typed and may be shown again: names and values, without a password."""
        names = {"revision", *SETTINGS} - {"password"}
        return [(name, value) for name, value in request.form.items() if name in names]

    def emptied(self, present: InForce) -> SettingsForm:
        """The form as it is without what was typed, with the error of its token."""
        form = type(self).filled(present)
        form.token.errors = self.token.errors
        return form

    @property
    def base(self) -> int | None:
        """The revision that the visitor saw; None where the form does not say."""
        text = str(self.revision.data or "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

    @property
    def changes(self) -> dict[str, object]:
        """What was typed, for every field that may be set here; a blank password is no change."""
        names = [name for name in SETTINGS if name not in self.overridden]
        changes = {name: self[name].data for name in names}
        if not self["password"].data:
            changes.pop("password", None)
        return changes

    def shown(self, name: str) -> str:
        """The value of the field ``name`` in words, for those who may only look."""
        field = self[name]
        if name == "password":
            return ""
        if isinstance(field, ChoiceField):
            return texts.gettext(field.options.get(str(field.data), ""))
        if isinstance(field, BooleanField):
            return texts.gettext("yes") if field.data else texts.gettext("no")
        return str(field.data or "")

    @property
    def wrong(self) -> list[Any]:
        """The fields with an error, in the order of the page."""
        lines = [line for section in Section for line in self.lines(section)]
        return [field for line in lines for field in line if field.errors]

    def lines(self, section: str) -> list[list[Any]]:
        """The fields of a section of the page, line by line."""
        first = [
            name
            for name, setting in SETTINGS.items()
            if setting.section == section and not setting.beside
        ]
        return [[self[name] for name in (one, _BESIDE.get(one)) if name] for one in first]

    def check(self, draft: Draft) -> InForce:
        """Judge what was typed; every error goes to its field.

        ``draft`` tells what would be in force. Gives that; without errors it may be saved.
        """
        self.validate()
        good = self._clean()
        drafted = draft(good)
        found = drafted.problems.items()
        self.complain({name: text for name, text in found if not self._follows(name)})
        return drafted

    def confirm_password(self) -> None:
        """Complain unless the password was typed the same way twice (R20)."""
        if (self["password"].data or "") != (self.password_confirm.data or ""):
            self.complain({"password_confirm": texts.MISMATCH})

    def complain(self, errors: Mapping[str, str]) -> None:
        """Put ``errors`` at their fields; a field keeps the first it got."""
        for name, text in errors.items():
            field = self[name if name in self._fields else "smtp_server"]
            if not field.errors:
                field.errors = [texts.sentence(str(field.label.text), text)]

    def opens_advanced(self) -> bool:
        """Whether something under *Advanced* is wrong, or not as usual."""
        usual = _values_of(MessagingSettings())
        return any(
            self[name].errors or (self[name].data or "") != (usual[name] or "")
            for name, setting in SETTINGS.items()
            if setting.section is Section.ADVANCED
        )

    def _follows(self, name: str) -> bool:
        # With a wrong domain no short address can be completed: one error is enough for that.
        return bool(name in ADDRESSES and self["company_domain"].errors and self[name].data)

    def _clean(self) -> dict[str, object]:
        good: dict[str, object] = {}
        for name, raw in self.changes.items():
            try:
                good[name] = clean(name, raw)
            except SettingsError as error:
                self.complain(error.errors)
        return good


for _name, _setting in SETTINGS.items():
    setattr(SettingsForm, _name, field_for(_setting))
# The field to the left -> the field to the right in the same line.
_BESIDE: Final = {setting.beside: name for name, setting in SETTINGS.items() if setting.beside} | {
    "password": "password_confirm"
}


def password_hint(present: InForce) -> str:
    """What stands below the empty password field."""
    if present.password is PasswordState.NONE or "password" in present.overridden:
        return ""  # there is none to keep, or no field to leave empty
    return texts.PASSWORD_HINTS[present.password]


def _values(present: InForce) -> dict[str, object]:
    return _values_of(present.settings) | {"revision": present.revision}


def _values_of(settings: MessagingSettings) -> dict[str, object]:
    # Never the password: what is not in the form cannot get onto a page.
    values = {name: getattr(settings, name) for name in SETTINGS if name != "password"}
    return {name: "" if value is None else value for name, value in values.items()}
