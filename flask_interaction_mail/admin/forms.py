"""The form of the settings, which checks what was typed by the same rules as the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

from flask import current_app, request
from wtforms import BooleanField, HiddenField

from ..config import PREFIX
from ..errors import SettingsError
from ..language import gettext, mark
from ..settings.fields import clean
from ..settings.layers import InForce
from ..settings.model import (
    ADDRESSES,
    BINDINGS,
    SECRETS,
    SETTINGS,
    MessagingSettings,
    Origin,
    PasswordState,
)
from ..settings.rules import suggested_port
from ..settings.setting import Section
from . import texts
from .csrf import PanelForm, is_same_origin
from .fields import ChoiceField, NewPasswordField, field_for

Draft = Callable[[dict[str, object]], InForce]
_OVERRIDES: Final = "INTERACTION_MAIL_OVERRIDES"


class SettingsForm(PanelForm):
    """A field for each setting, and two fields that only the form has."""

    revision: HiddenField = HiddenField()
    password_confirm: NewPasswordField = NewPasswordField(mark("Password, once more"))
    overridden: frozenset[str] = frozenset()

    @classmethod
    def filled(cls, present: InForce, formdata: Any = None) -> SettingsForm:
        """The form with ``formdata``, and the settings in force where that has no value.

        A field that this process overrides shows the value in force, whatever was sent (R23).
        """
        form = cls(formdata, data=_values(present))
        form.overridden = present.overridden
        for name in present.overridden - {*SECRETS}:
            form[name].process(None, _values(present)[name])
        port = form["smtp_port"]
        if not str(port.data or "").strip():
            port.data = "25"  # R16: never empty
        if formdata is None and present.origins["smtp_port"] is Origin.DEFAULT:
            # Nobody has chosen a port yet: propose the usual one, such as 587 for STARTTLS.
            port.data = str(suggested_port(present.settings.encryption))
        return form

    @classmethod
    def of(cls, present: InForce) -> SettingsForm:
        """The form with exactly these settings, for comparisons."""
        return cls(data=_values(present))

    def comparable(self, name: str) -> str:
        """The value of the field ``name``, for comparisons."""
        data = self[name].data
        return "\n".join(str(data or "").strip().splitlines())

    def take(self, name: str, other: SettingsForm) -> None:
        """Put the value of the field ``name`` of ``other`` into this form."""
        self[name].process(None, other[name].data)

    def fill(self, values: Mapping[str, object]) -> None:
        """Put ``values`` into their fields, but for those that this process overrides."""
        for name, value in values.items():
            if name not in self.overridden:
                self[name].process(None, value)

    @staticmethod
    def typed_here() -> bool:
        """Whether the request carries this form, filled in on a page of this site."""
        return is_same_origin() and "smtp_server" in request.form

    @staticmethod
    def values_to_show_again() -> list[tuple[str, str]]:
        """Names and values of what was typed, without secrets."""
        names = {"revision", *SETTINGS} - {*SECRETS}
        return [(name, value) for name, value in request.form.items() if name in names]

    def emptied(self, present: InForce) -> SettingsForm:
        """The form with the settings in force, and with the error of this form's token."""
        form = type(self).filled(present)
        form.token.errors = self.token.errors
        return form

    @property
    def base(self) -> int | None:
        """The revision that the visitor saw; None where the form does not say."""
        return revision_number(str(self.revision.data or ""))

    @property
    def changes(self) -> dict[str, object]:
        """What was typed in fields without an override; a blank secret is not a change."""
        names = [name for name in SETTINGS if name not in self.overridden]
        return {n: self[n].data for n in names if n not in SECRETS or self[n].data}

    @property
    def typed_key(self) -> bool:
        """Whether a secret of OAuth 2 was entered."""
        return any(self[name].data for name in BINDINGS if name.startswith("oauth_"))

    def shown(self, name: str) -> str:
        """The value of the field ``name`` in words; "" for a secret."""
        field = self[name]
        if name in SECRETS:
            return ""
        if isinstance(field, ChoiceField):
            return gettext(field.options.get(str(field.data), ""))
        if isinstance(field, BooleanField):
            return gettext("yes") if field.data else gettext("no")
        return str(field.data or "")

    @property
    def fields_with_errors(self) -> list[Any]:
        """In the order of the page."""
        lines = [line for section in Section for line in self.lines(section)]
        return [field for line in lines for field in line if field.errors]

    def lines(self, section: str) -> list[list[Any]]:
        """The fields of a section of the page, line by line."""
        return [
            [self[field] for field in (name, _RIGHT_OF.get(name)) if field]
            for name, setting in SETTINGS.items()
            if setting.section == section and not setting.beside
        ]

    def check(self, draft: Draft) -> InForce:
        """Check what was typed and put each error at its field.

        ``draft`` returns the settings that would be in force, and so does this.
        """
        drafted = self.read(draft)
        self.add_errors(
            {name: text for name, text in drafted.problems.items() if not self._follows(name)}
        )
        return drafted

    def read(self, draft: Draft) -> InForce:
        """What would be in force; only what cannot be read is an error, at its field."""
        self.validate()
        return draft(self._clean())

    def confirm_password(self) -> None:
        """Add an error unless the password was typed twice in the same way (R20)."""
        if (self["password"].data or "") != (self.password_confirm.data or ""):
            self.add_errors({"password_confirm": gettext(texts.MISMATCH)})

    def add_errors(self, errors: Mapping[str, str]) -> None:
        """Put ``errors`` at their fields; a field keeps its first error."""
        for name, text in errors.items():
            field = self[name if name in self._fields else "smtp_server"]
            if not field.errors:
                field.errors = [texts.sentence(gettext(str(field.label.text)), text)]

    def opens(self, section: str) -> bool:
        """Whether a field of ``section`` has an error, or another value than its default."""
        default = _values_of(MessagingSettings())
        return any(
            self[name].errors or self.comparable(name) != str(default.get(name) or "")
            for name, setting in SETTINGS.items()
            if setting.section == section
        )

    def _follows(self, name: str) -> bool:
        # Without a valid domain no short address can be completed: one error is enough for both.
        return bool(name in ADDRESSES and self["company_domain"].errors and self[name].data)

    def _clean(self) -> dict[str, object]:
        cleaned: dict[str, object] = {}
        for name, typed in self.changes.items():
            try:
                cleaned[name] = clean(name, typed)
            except SettingsError as error:
                self.add_errors(error.errors)
        return cleaned


for _name, _setting in SETTINGS.items():
    setattr(SettingsForm, _name, field_for(_setting))
# The field to the left -> the field to the right in the same line.
_RIGHT_OF: Final = {
    setting.beside: name for name, setting in SETTINGS.items() if setting.beside
} | {"password": "password_confirm"}


def revision_number(text: str) -> int | None:
    """The number of a revision that a form brings; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def differences(present: SettingsForm, other: SettingsForm) -> list[tuple[str, str, str]]:
    """Label and both values of each setting but secrets in which the two forms differ."""
    return [
        (gettext(setting.label), present.shown(name), other.shown(name))
        for name, setting in SETTINGS.items()
        if present.comparable(name) != other.comparable(name)
    ]


def password_hint(present: InForce) -> str:
    """The hint below the empty password field."""
    if present.password is PasswordState.NONE or "password" in present.overridden:
        return ""  # no password to keep, or no field to leave empty
    return texts.PASSWORD_HINTS[present.password]


def secret_hints(present: InForce) -> dict[str, str]:
    """The hints below the empty fields of secrets other than the password."""
    kept = [name for name in BINDINGS if getattr(present.settings, name) is not None]
    return {name: texts.KEPT for name in kept if name not in present.overridden}


def origin_notes(present: InForce) -> dict[str, str]:
    """For each setting from outside the panel, a sentence that names where it was set."""
    notes = {name: _origin_note(name, origin) for name, origin in present.origins.items()}
    return {name: note for name, note in notes.items() if note}


def _origin_note(name: str, origin: Origin) -> str:
    if origin is Origin.OVERRIDE:
        place = _override(name)
        return gettext(
            "Set by this deployment, in %(place)s; it cannot be changed here.", place=place
        )
    if origin is Origin.CONFIG:
        return gettext(
            "Taken from %(key)s in the application's configuration; Save stores it here.",
            key=SETTINGS[name].mail_key,
        )
    return ""


def _override(name: str) -> str:
    if (key := PREFIX + name.upper()) in current_app.config:
        return key
    variable = f"FLASK_{_OVERRIDES}__{name}"  # of Flask's from_prefixed_env, if the host calls that
    if variable in os.environ:
        return gettext("the variable %(name)s", name=variable)
    return gettext("%(setting)s, key “%(name)s”", setting=_OVERRIDES, name=name)


def _values(present: InForce) -> dict[str, object]:
    return _values_of(present.settings) | {"revision": present.revision}


def _values_of(settings: MessagingSettings) -> dict[str, object]:
    # Without secrets: what is not in the form cannot get onto a page.
    values = {name: getattr(settings, name) for name in SETTINGS if name not in SECRETS}
    return {name: "" if value is None else value for name, value in values.items()}
