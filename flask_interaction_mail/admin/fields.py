"""The kinds of form fields of the panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wtforms import Field, StringField
from wtforms.widgets import PasswordInput


class TextField(StringField):
    """One line of text; ``ltr`` data such as host names, so without the browser's corrections."""

    def __init__(self, label: str, **kwargs: Any) -> None:
        plain = {"autocapitalize": "none", "autocorrect": "off", "spellcheck": "false"}
        super().__init__(label, render_kw=plain | kwargs.pop("render_kw", {}), **kwargs)


class NewPasswordField(StringField):
    """A password that is typed anew each time and never part of a page."""

    widget = PasswordInput(hide_value=True)

    def __init__(self, label: str, **kwargs: Any) -> None:
        super().__init__(label, render_kw={"autocomplete": "new-password"}, **kwargs)


class ListField(TextField):
    """Several words in one line, with commas between them."""

    def process_data(self, value: Any) -> None:
        """Take a text, or a sequence of texts."""
        self.data = (
            ", ".join(value)
            if isinstance(value, Sequence | set) and not isinstance(value, str)
            else value
        )


class ChoiceField(Field):
    """One of a few words; one that is missing from a request stays what it is.

    WTForms' own fields want their choices in different ways from version to version.
    """

    def __init__(self, label: str, *, options: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(label, **kwargs)
        self.options = dict(options)

    def process_data(self, value: Any) -> None:
        """Take the word, or the member of an enum."""
        self.data = None if value is None else str(value)

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Take the word that was sent, if one was."""
        if valuelist:
            self.data = valuelist[0]
