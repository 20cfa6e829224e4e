"""The shape of an entry in the table of settings, which is ``MessagingSettings`` in ``model``."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Section(enum.StrEnum):
    """A part of the page; its title is in the template."""

    DOMAIN = "domain"
    SERVER = "server"
    AUTHENTICATION = "authentication"
    ADDRESSES = "addresses"
    FROM = "from"
    ADVANCED = "advanced"  # closed until something in it is not as usual


class Widget(enum.StrEnum):
    """How a setting is entered on the page."""

    TEXT = "text"  # one line
    LIST = "list"  # one line, with commas
    AREA = "area"  # several lines: the command line reads them from a file and shows "set"
    PASSWORD = "password"  # noqa: S105 - the name of the widget
    CHECK = "check"
    SELECT = "select"
    RADIOS = "radios"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting: what it may be, and all that is said of it anywhere.

    The form, the options of ``settings set``, overrides, revisions and ``docs/settings.md`` are
    made from it. Texts are English; the page translates ``label``, ``help`` and ``choices``.
    """

    default: object
    clean: Callable[[object], object]  # text as typed -> value; ValueError says what is right

    # On the page
    section: Section
    label: str
    help: str = ""
    widget: Widget = Widget.TEXT
    choices: Mapping[Any, str] = field(default_factory=dict)  # word -> what it means
    attributes: Mapping[str, str] = field(default_factory=dict)  # of the HTML element
    beside: str = ""  # the setting to the left in the same line

    # On the command line, and in the reference beside what default, choices and required say
    command: str = ""
    allowed: str = ""
    unset: str = ""  # what holds instead of an empty default

    # Rules and groups
    required: str = ""  # what to do if it is empty; "" if it may be
    part: str = ""  # of the connection that a password is bound to: "server", "CA certificate"
    tested: bool = False  # whether the result of a test depends on it; on a part it does anyway
    mail_key: str = ""  # the key of Flask-Mail that sets it, too

    @property
    def kind(self) -> type[Any]:
        """The type of its values; a text may be None as well."""
        return str if self.default is None else type(self.default)
