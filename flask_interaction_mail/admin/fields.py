"""The kinds of form fields in the panel, and the kind for each setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from wtforms import BooleanField, Field, StringField, TextAreaField
from wtforms.widgets import PasswordInput

from ..settings.setting import Setting, Widget


class TextField(StringField):
    """One line of text such as a host name, without the browser's corrections."""

    def __init__(self, label: str, **kwargs: Any) -> None:
        plain = {"autocapitalize": "none", "autocorrect": "off", "spellcheck": "false"}
        super().__init__(label, render_kw=plain | kwargs.pop("render_kw", {}), **kwargs)


class NewPasswordField(StringField):
    """A password, which is never part of a page."""

    widget: PasswordInput = PasswordInput(hide_value=True)

    def __init__(self, label: str, **kwargs: Any) -> None:
        shown = {"autocomplete": "new-password"} | kwargs.pop("render_kw", {})
        super().__init__(label, render_kw=shown, **kwargs)


class NewSecretField(TextAreaField):
    """A secret of several lines, which is never part of a page."""

    def _value(self) -> str:
        return ""


class ListField(TextField):
    """Several words in one line, separated by commas."""

    def process_data(self, value: Any) -> None:
        """Take a text, or a sequence of texts."""
        self.data = (
            ", ".join(value)
            if isinstance(value, Sequence | set) and not isinstance(value, str)
            else value
        )


class ChoiceField(Field):
    """One of a few words; a request without the field does not change it.

    WTForms' own fields take their choices differently from version to version.
    """

    data: Any

    def __init__(self, label: str, *, options: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(label, **kwargs)
        self.options: dict[str, str] = dict(options)

    def process_data(self, value: Any) -> None:
        """Take the word, or the member of an enum."""
        self.data = None if value is None else str(value)

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take the word that was sent, if one was."""
        if valuelist:
            self.data = valuelist[0]


class RadioField(ChoiceField):
    """A choice whose words are all visible at once."""


_KINDS: Final[Mapping[Widget, Callable[..., Any]]] = {
    Widget.TEXT: TextField,
    Widget.LIST: ListField,
    Widget.AREA: TextAreaField,
    Widget.PASSWORD: NewPasswordField,
    Widget.SECRET_AREA: NewSecretField,
    Widget.CHECK: BooleanField,
    Widget.SELECT: ChoiceField,
    Widget.RADIOS: RadioField,
}


def field_for(setting: Setting) -> Any:
    """The form field in which ``setting`` is entered."""
    options = {"options": setting.choices} if setting.choices else {}
    return _KINDS[setting.widget](
        setting.label, description=setting.help, render_kw=dict(setting.attributes), **options
    )
