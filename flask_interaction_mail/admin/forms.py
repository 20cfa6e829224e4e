"""The form of the panel: what is typed, judged by the rules that every other way in has too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from wtforms import BooleanField, HiddenField, TextAreaField

from ..errors import SettingsError
from ..setting_fields import clean
from ..setting_layers import InForce
from ..setting_rules import problems
from ..settings import ADDRESSES, FIELDS, MessagingSettings, PasswordState
from . import wording
from .csrf import PanelForm
from .fields import ChoiceField, ListField, NewPasswordField, TextField

ADVANCED: Final = FIELDS[FIELDS.index("ca_certificate") :]
Draft = Callable[[dict[str, object]], InForce]


class SettingsForm(PanelForm):
    """All settings, in the order of the page (R46)."""

    revision = HiddenField()
    company_domain = TextField("Company domain", render_kw={"placeholder": "example.com"})
    smtp_server = TextField("SMTP server", render_kw={"placeholder": "mail.example.com"})
    encryption = ChoiceField("Encryption", options=wording.ENCRYPTION)
    smtp_port = TextField("Port", render_kw={"inputmode": "numeric", "maxlength": "8"})
    use_authentication = BooleanField("Use SMTP authentication")
    login = TextField("Login", render_kw={"autocomplete": "off"})
    password = NewPasswordField("Password")
    password_confirm = NewPasswordField("Password, once more")
    default_to = TextField("Default To")
    default_from = TextField("Default From")
    from_policy = ChoiceField("Messages come from", options=wording.FROM_POLICY)
    ca_certificate = TextAreaField("CA certificate", render_kw={"rows": "4", "spellcheck": "false"})
    allow_unencrypted_auth = BooleanField("Allow authentication without encryption")
    helo_name = TextField("Name of this machine")
    sender_name = TextField("Name of the sender")
    own_domains = ListField("Other domains of your own")
    foreign_sender = ChoiceField("Users with an address elsewhere", options=wording.FOREIGN_SENDER)
    on_ambiguous = ChoiceField(
        "When nobody knows whether a message arrived", options=wording.ON_AMBIGUOUS
    )
    divert_to = TextField("Divert all mail to")
    paused = BooleanField("Pause sending")

    @classmethod
    def filled(cls, present: InForce, formdata: Any = None) -> SettingsForm:
        """The form with the settings in force, and with ``formdata`` laid over them.

        A field that this process overrides shows what is in force, whatever was sent (R23).
        """
        form = cls(formdata, data=_values(present))
        form.overridden = present.overridden
        for name in present.overridden - {"password"}:
            form[name].process(None, _values(present)[name])
        if not str(form.smtp_port.data or "").strip():
            form.smtp_port.data = "25"  # R16: never empty, not even on the page
        return form

    overridden: frozenset[str] = frozenset()

    @property
    def base(self) -> int | None:
        """The revision that the visitor saw; None where the form does not say."""
        text = str(self.revision.data or "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

    @property
    def changes(self) -> dict[str, object]:
        """What was typed, for every field that may be set here; a blank password is no change."""
        names = [name for name in FIELDS if name not in self.overridden]
        changes = {name: self[name].data for name in names}
        if not self.password.data:
            changes.pop("password", None)
        return changes

    @property
    def wrong(self) -> list[Any]:
        """The fields with an error, in the order of the page."""
        return [field for field in self if field.errors and field.name in _IN_FORM]

    def check(self, draft: Draft) -> InForce:
        """Judge what was typed; every error goes to its field.

        ``draft`` tells what would be in force. Gives that; without errors it may be saved.
        """
        self.validate()
        good = self._clean()
        drafted = draft(good)
        found = problems(
            drafted.settings,
            password=drafted.password,
            origin=drafted.origins["password"],
            unbound=drafted.unbound,
        )
        self.complain({name: text for name, text in found.items() if not self._follows(name)})
        return drafted

    def confirm_password(self) -> None:
        """Complain unless the password was typed the same way twice (R20)."""
        if (self.password.data or "") != (self.password_confirm.data or ""):
            self.complain({"password_confirm": wording.MISMATCH})

    def complain(self, errors: Mapping[str, str]) -> None:
        """Put ``errors`` at their fields; a field keeps the first it got."""
        for name, text in errors.items():
            field = self[name if name in self._fields else "smtp_server"]
            if not field.errors:
                field.errors = [wording.sentence(str(field.label.text), text)]

    def opens_advanced(self) -> bool:
        """Whether something under *Advanced* is wrong, or not as usual."""
        usual = _values_of(MessagingSettings())
        return any(
            self[name].errors or (self[name].data or "") != (usual[name] or "") for name in ADVANCED
        )

    def _follows(self, name: str) -> bool:
        # With a wrong domain no short address can be completed: one error is enough for that.
        return bool(name in ADDRESSES and self.company_domain.errors and self[name].data)

    def _clean(self) -> dict[str, object]:
        good: dict[str, object] = {}
        for name, raw in self.changes.items():
            try:
                good[name] = clean(name, raw)
            except SettingsError as error:
                self.complain(error.errors)
        return good


_IN_FORM: Final = frozenset((*FIELDS, "password_confirm"))


def password_hint(present: InForce) -> str:
    """What stands below the empty password field."""
    if present.password is PasswordState.NONE:
        return ""
    return wording.PASSWORD_HINTS[present.password]


def _values(present: InForce) -> dict[str, object]:
    return _values_of(present.settings) | {"revision": present.revision}


def _values_of(settings: MessagingSettings) -> dict[str, object]:
    # Never the password: what is not in the form cannot get onto a page.
    values = {name: getattr(settings, name) for name in FIELDS if name != "password"}
    values["own_domains"] = ", ".join(settings.own_domains)
    return {name: "" if value is None else value for name, value in values.items()}
