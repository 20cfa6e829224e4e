"""The form of the settings, which checks what was typed by the same rules as the command line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from flask import current_app, request
from wtforms import BooleanField, Form, HiddenField

from ..config import PREFIX
from ..errors import SettingsError
from ..language import gettext, labelled, mark
from ..settings import fields
from ..settings.cleaners import WrongValue
from ..settings.fields import clean
from ..settings.layers import InForce
from ..settings.model import (
    ADDRESSES,
    BINDINGS,
    RELAY_SETTINGS,
    SECRETS,
    SETTINGS,
    MessagingSettings,
    Origin,
    PasswordState,
)
from ..settings.relay import DEFAULT
from ..settings.rules import suggested_port
from ..settings.setting import Section
from . import texts
from .csrf import PanelForm, is_same_origin
from .fields import ChoiceField, NewPasswordField, field_for

Draft = Callable[[dict[str, object]], InForce]
_OVERRIDES: Final = "INTERACTION_MAIL_OVERRIDES"


class Shown(NamedTuple):
    """A setting as those see it who may not change it."""

    relay: str
    name: str
    written: str  # its name in the form
    label: str
    shown: str
    secret: bool

    @classmethod
    def of(cls, form: SettingsForm, name: str) -> Shown:
        """The setting ``name`` of ``form``."""
        relay, field = fields.parts(name)
        return cls(
            relay=relay,
            name=field,
            written=fields.in_form(name),
            label=label_of(name),
            shown=form.shown(name),
            secret=fields.is_secret(name),
        )


class RelayForm(Form):
    """A field for each setting that a relay has of its own, and one that only the form has.

    The fields of the relay "backup" are called ``relays-backup-smtp_server`` and the like.
    """

    password_confirm: NewPasswordField = NewPasswordField(mark("Password, once more"))

    @classmethod
    def filled(cls, relay: str, present: InForce, formdata: Any = None) -> RelayForm:
        """The form of ``relay``, as ``SettingsForm.filled``; of an unknown one with defaults."""
        prefix = f"{fields.RELAYS}-{relay}-"
        known = relay in present.settings.relays
        values = _values_of(present.of(relay).settings if known else MessagingSettings())
        sent = formdata is not None and f"{prefix}smtp_server" in formdata
        form = cls(formdata if sent else None, prefix=prefix, data=values)
        origins = present.of(relay).origins if known else {}
        for name, origin in origins.items():
            if origin is Origin.OVERRIDE and name in form and name not in SECRETS:
                form[name].process(None, values[name])
        _propose_port(form["smtp_port"], values, chosen=sent or known)
        return form


class SettingsForm(PanelForm):
    """A field for each setting, and three fields that only the form has.

    ``others`` are the forms of all relays but "default". ``form["relays.backup.login"]`` is a
    field of one of them.
    """

    revision: HiddenField = HiddenField()
    relays: HiddenField = HiddenField(texts.ORDER)  # their names
    password_confirm: NewPasswordField = NewPasswordField(mark("Password, once more"))
    overridden: frozenset[str] = frozenset()
    fixed: tuple[str, ...] = ()  # relays that only the overrides know
    stored: tuple[str, ...] = fields.ALONE  # the relays in force that are stored
    others: dict[str, RelayForm]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.others = {}

    def __getitem__(self, name: str) -> Any:
        """The field of the setting ``name``."""
        relay, field = fields.parts(name)
        return super().__getitem__(name) if relay == DEFAULT else self.others[relay][field]

    @classmethod
    def filled(cls, present: InForce, formdata: Any = None) -> SettingsForm:
        """The form with ``formdata``, and the settings in force where that has no value.

        A field that this process overrides shows the value in force, whatever was sent (R23).
        """
        form = cls._with_relays(present, formdata)
        form.overridden = present.overridden
        for name in present.overridden - {*SECRETS}:
            if fields.parts(name)[0] == DEFAULT:
                form[name].process(None, _values(present)[name])
        # Nobody has chosen a port yet: propose the usual one, such as 587 for STARTTLS.
        chosen = formdata is not None or present.origins["smtp_port"] is not Origin.DEFAULT
        _propose_port(form["smtp_port"], {"encryption": present.settings.encryption}, chosen=chosen)
        return form

    @classmethod
    def of(cls, present: InForce) -> SettingsForm:
        """The form with exactly these settings, for comparisons."""
        return cls._with_relays(present)

    @classmethod
    def _with_relays(cls, present: InForce, formdata: Any = None) -> SettingsForm:
        form = cls(formdata, data=_values(present))
        form.fixed = tuple(one for one in present.settings.relays if one in present.fixed)
        form.stored = present.stored
        form.others = {
            relay: RelayForm.filled(relay, present, formdata)
            for relay in form.listed
            if relay != DEFAULT
        }
        return form

    @classmethod
    def typed(cls, formdata: Any) -> SettingsForm:
        """The form with nothing but what was typed, for whoever may not see what is in force."""
        form = cls(formdata)
        form.others = {
            relay: RelayForm(formdata, prefix=f"{fields.RELAYS}-{relay}-")
            for relay in form.listed
            if relay != DEFAULT
        }
        return form

    def facts(self) -> list[tuple[str, str]]:
        """Label and value of each field with a value, but for secrets."""
        found = [(label_of(name), self.shown(name)) for name in self.names()]
        return [(label, value) for label, value in found if value]

    @property
    def listed(self) -> tuple[str, ...]:
        """The relays in the form, in their order; those in force if what was sent is no list."""
        try:
            listed = fields.clean_relays(self.relays.data)
        except WrongValue:
            return self.stored
        return tuple(relay for relay in listed if relay not in self.fixed)

    @property
    def several(self) -> bool:
        """Whether there is more than one relay."""
        return len(self.listed) + len(self.fixed) > 1

    def names(self) -> list[str]:
        """The names of all settings in the form; the list of relays only where it matters."""
        alone = self.listed == self.stored == fields.ALONE
        return [n for n in fields.all_of(self.listed) if not (alone and n == fields.RELAYS)]

    def arrange(self, relays: tuple[str, ...], present: InForce) -> None:
        """Show ``relays`` in this order; a new one has the first values of each setting."""
        self.relays.data = ", ".join(relays)
        others = {one: self.others.get(one) for one in relays if one != DEFAULT}
        self.others = {
            relay: form or RelayForm.filled(relay, present) for relay, form in others.items()
        }

    def comparable(self, name: str) -> str:
        """The value of the field ``name``, for comparisons; "" of a relay that is not there."""
        if not self.has(name):
            return ""
        return "\n".join(_plain(self[name].data).strip().splitlines())

    def take(self, name: str, other: SettingsForm, present: InForce) -> None:
        """Put the value of the field ``name`` of ``other`` into this form."""
        if name == fields.RELAYS:
            self.arrange(other.listed, present)
        elif self.has(name) and other.has(name):
            self[name].process(None, other[name].data)

    def fill(self, values: Mapping[str, object]) -> None:
        """Put ``values`` into their fields, but for those that this process overrides."""
        for name, value in values.items():
            if name not in self.overridden and self.has(name):
                self[name].process(None, value)

    def has(self, name: str) -> bool:
        """Whether there is a field for the setting ``name``."""
        return fields.parts(name)[0] in (DEFAULT, *self.others)

    @staticmethod
    def typed_here() -> bool:
        """Whether the request carries this form, filled in on a page of this site."""
        return is_same_origin() and "smtp_server" in request.form

    @staticmethod
    def values_to_show_again() -> list[tuple[str, str]]:
        """Names and values of what was typed, without secrets."""
        return [
            (written, value)
            for written, value in request.form.items()
            if (name := fields.from_form(written)) in ("revision", fields.RELAYS)
            or (fields.setting_of(name) and not fields.is_secret(name))
        ]

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
        names = [name for name in self.names() if name not in self.overridden]
        return {n: self[n].data for n in names if not fields.is_secret(n) or self[n].data}

    @property
    def typed_password(self) -> bool:
        """Whether the password of a relay was entered."""
        return any(form["password"].data for form in self._forms())

    def differs_from(self, present: InForce) -> bool:
        """Whether something was typed that ``present`` has not, a secret included."""
        secrets = filter(fields.is_secret, self.names())
        return any(self[name].data for name in secrets) or bool(
            differences(type(self).of(present), self)
        )

    @property
    def typed_key(self) -> bool:
        """Whether a secret of OAuth 2 or of Amazon SES was entered."""
        return any(form[name].data for form in self._forms() for name in KEYS)

    def part(self, relay: str) -> Form:
        """The form with the fields of ``relay``; an empty one for those that cannot be changed."""
        return self if relay == DEFAULT else self.others.get(relay) or RelayForm()

    def _forms(self) -> list[Form]:
        return [self, *self.others.values()]

    def shown(self, name: str) -> str:
        """The value of the field ``name`` in words; "" for a secret, and where it is not.

        Who may only look sees it, so of a web address that may have a key in its path, the host is
        shown alone.
        """
        if fields.is_secret(name) or not self.has(name):
            return ""
        field = self[name]
        if isinstance(field, ChoiceField):
            return gettext(field.options.get(str(field.data), ""))
        if isinstance(field, BooleanField):
            return gettext("yes") if field.data else gettext("no")
        setting = fields.setting_of(name)
        return _host(field.data) if setting and setting.key_in_path else str(field.data or "")

    @property
    def fields_with_errors(self) -> list[Any]:
        """In the order of the page."""
        lines = [line for section in Section for line in self.lines(section)]
        lines += [
            line for relay in self.others for part in RELAY for line in self.lines(part, relay)
        ]
        found = [field for line in lines for field in line if field.errors]
        return found if not self.relays.errors else [self.relays, *found]

    @property
    def errors(self) -> dict[str, Any]:
        """All errors, by the names of fields in the form."""
        found = dict(super().errors)
        for form in self.others.values():
            found |= {field.name: field.errors for field in form if field.errors}
        return found

    def lines(self, section: str, relay: str = DEFAULT) -> list[list[Any]]:
        """The fields of a section of the page, line by line; those of one relay alone."""
        form = self if relay == DEFAULT else self.others[relay]
        return [
            [form[field] for field in (name, _RIGHT_OF.get(name)) if field]
            for name, setting in SETTINGS.items()
            if setting.section == section
            and not setting.beside
            and (setting.of_relay or relay == DEFAULT)
        ]

    def own_lines(self, section: str, relay: str) -> list[list[Any]]:
        """As ``lines``, without what all relays share."""
        return [
            line for line in self.lines(section, relay) if SETTINGS[line[0].short_name].of_relay
        ]

    def shared_lines(self, section: str) -> list[list[Any]]:
        """As ``lines``, without what each relay has of its own where there are several."""
        return [
            line
            for line in self.lines(section)
            if not (self.several and SETTINGS[line[0].short_name].of_relay)
        ]

    def all_fields(self) -> list[Shown]:
        """All settings that mean anything, for those who may only look."""
        parts = [(name, *fields.parts(name)) for name in fields.all_of(self.listed)]
        return [
            Shown.of(self, name)
            for name, relay, field in parts
            if field and SETTINGS[field].fits(self.part(relay)["kind"].data)
        ]

    def faulty(self, relay: str) -> bool:
        """Whether a field of ``relay`` has an error."""
        form = self.part(relay)
        return any(form[name].errors for name in (*RELAY_SETTINGS, "password_confirm"))

    @property
    def read_only(self) -> frozenset[str]:
        """The names, as they are written in the form, of fields that this process overrides."""
        return frozenset(map(fields.in_form, self.overridden))

    def called(self, field: Any) -> str:
        """The label of ``field``, with the name of its relay where there are several."""
        label, (relay, name) = (
            gettext(str(field.label.text)),
            fields.parts(fields.from_form(field.name)),
        )
        own = name in SETTINGS and SETTINGS[name].of_relay
        return labelled(relay, label) if self.several and own else label

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

    def validate(self, *args: Any, **kwargs: Any) -> bool:
        """Check the form of each relay as well."""
        found = [form.validate() for form in self.others.values()]
        return bool(super().validate(*args, **kwargs)) and all(found)

    def confirm_passwords(self) -> None:
        """Add an error where a password was not typed twice in the same way (R20)."""
        for form in self._forms():
            again = form["password_confirm"]
            if (form["password"].data or "") != (again.data or "") and not again.errors:
                again.errors = [gettext(texts.MISMATCH)]

    def forget_errors_of_others(self, relay: str) -> None:
        """Drop the errors at fields of relays other than ``relay``."""
        for field in self.fields_with_errors:
            whose, name = fields.parts(fields.from_form(field.name))
            if whose != relay and name in SETTINGS and SETTINGS[name].of_relay:
                field.errors = []

    def add_errors(self, errors: Mapping[str, str]) -> None:
        """Put ``errors`` at their fields; a field keeps its first error."""
        for name, text in errors.items():
            known = self.has(name) and (fields.setting_of(name) or name == fields.RELAYS)
            field = self[name if known else "smtp_server"]
            if not field.errors:
                field.errors = [texts.sentence(gettext(str(field.label.text)), text)]

    def opens(self, section: str) -> bool:
        """Whether a field of ``section`` that all relays share has an error, or is not as at first.

        Where there is one relay, its own fields count as well.
        """
        default = _values_of(MessagingSettings())
        return any(
            self[name].errors or self.comparable(name) != _plain(default.get(name))
            for name, setting in SETTINGS.items()
            if setting.section == section and not (self.several and setting.of_relay)
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
    if _setting.of_relay:
        setattr(RelayForm, _name, field_for(_setting))
# The sections of the page in which a relay has something of its own.
RELAY: Final = tuple(
    section
    for section in Section
    if any(setting.of_relay and setting.section == section for setting in SETTINGS.values())
)
# The secrets of a sign-in, other than a password.
KEYS: Final = tuple(name for name in BINDINGS if SETTINGS[name].of_relay)
# The field to the left -> the field to the right in the same line.
_RIGHT_OF: Final = {
    setting.beside: name for name, setting in SETTINGS.items() if setting.beside
} | {"password": "password_confirm"}


def revision_number(text: str) -> int | None:
    """The number of a revision that a form brings; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def differences(present: SettingsForm, other: SettingsForm) -> list[tuple[str, str, str]]:
    """Label and both values of each setting but secrets in which the two forms differ.

    Of a relay that only one of them has, the list of relays tells.
    """
    return [
        (label_of(name), present.shown(name), other.shown(name))
        for name in fields.all_of(present.listed)
        if present.comparable(name) != other.comparable(name) and other.has(name)
    ]


def label_of(name: str) -> str:
    """What a person calls the setting ``name``."""
    if name == fields.RELAYS:
        return gettext(texts.ORDER)
    relay, setting = fields.parts(name)[0], fields.setting_of(name)
    label = gettext(setting.label) if setting else name
    return label if relay == DEFAULT else labelled(relay, label)


def _host(url: str | None) -> str:
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc}/…" if parts.netloc else ""


def secret_hints(present: InForce) -> dict[str, str]:
    """The hints below the empty fields of secrets, by the names of fields in the form."""
    found, overridden = {}, present.overridden
    for relay, one in present.each.items():
        if one.password is not PasswordState.NONE:
            found[fields.of(relay, "password")] = texts.PASSWORD_HINTS[one.password]
        kept = [name for name in BINDINGS if getattr(one.settings, name) is not None]
        found |= {fields.of(relay, name): texts.KEPT for name in kept}
    # Where it is overridden there is no field to leave empty.
    return {fields.in_form(name): text for name, text in found.items() if name not in overridden}


def origin_notes(present: InForce) -> dict[str, str]:
    """For each setting from outside the panel, a sentence that names where it was set.

    They are by the names of fields in the form.
    """
    origins = {
        fields.of(relay, name): origin
        for relay, one in present.each.items()
        for name, origin in one.origins.items()
    }
    notes = {fields.in_form(name): _origin_note(name, origin) for name, origin in origins.items()}
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
    # Of Flask's from_prefixed_env, if the host calls that.
    variable = f"FLASK_{_OVERRIDES}__{name.replace('.', '__')}"
    if variable in os.environ:
        return gettext("the variable %(name)s", name=variable)
    return gettext("%(setting)s, key “%(name)s”", setting=_OVERRIDES, name=name)


def _plain(value: object) -> str:
    return "" if value is None or value is False or value == () else str(value)


def _values(present: InForce) -> dict[str, object]:
    shown = {"revision": present.revision, fields.RELAYS: ", ".join(present.stored)}
    return _values_of(present.settings) | shown


def _propose_port(field: Any, values: Mapping[str, Any], *, chosen: bool) -> None:
    if not str(field.data or "").strip():
        field.data = "25"  # R16: never empty
    if not chosen:
        field.data = str(suggested_port(values["encryption"]))


def _values_of(settings: MessagingSettings) -> dict[str, object]:
    # Without secrets: what is not in the form cannot get onto a page.
    values = {name: getattr(settings, name) for name in SETTINGS if name not in SECRETS}
    return {name: "" if value is None else value for name, value in values.items()}
