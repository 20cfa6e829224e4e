"""The shape of an entry in the table of settings, which is ``MessagingSettings`` in ``model``."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class WrongValue(ValueError):
    """A value that a setting cannot have; the text tells the person who typed it what it can."""


class Section(enum.StrEnum):
    """A section of the settings page; the template has its title."""

    DOMAIN = "domain"
    SERVER = "server"
    AUTHENTICATION = "authentication"
    ADDRESSES = "addresses"
    FROM = "from"
    RELAY = "relay"  # what it may carry, and how fast; shown where there are several relays
    LOOK = "look"  # what stands around the text of every message
    OPERATION = "operation"  # switches for a while: not how mail is sent, but whether
    RETURNS = "returns"  # folded, as the next two are
    ALERTS = "alerts"
    ADVANCED = "advanced"  # folded while everything in it has its default


class Widget(enum.StrEnum):
    """How a setting is entered on the page."""

    TEXT = "text"  # one line
    LIST = "list"  # one line, with commas
    AREA = "area"  # several lines: the command line reads them from a file and shows "set"
    PASSWORD = "password"  # noqa: S105 - the name of the widget
    SECRET_AREA = "secret_area"  # noqa: S105 - the same of several lines, such as a key
    CHECK = "check"
    SELECT = "select"
    RADIOS = "radios"


class Setting(NamedTuple):
    """One setting: its values and every text about it.

    The form, the options of ``settings set``, overrides, revisions and ``docs/settings.md`` are
    made from it. Texts are in English, and translated where an administrator reads them, but for
    ``command``, ``allowed`` and ``unset``.
    """

    default: object
    clean: Callable[[object], object]  # text as typed -> value; a ValueError says what is allowed

    # On the page
    section: Section
    label: str
    help: str = ""
    widget: Widget = Widget.TEXT
    choices: Mapping[Any, str] = MappingProxyType({})  # word -> what it means
    attributes: Mapping[str, str] = MappingProxyType({})  # of the HTML element
    beside: str = ""  # the setting to its left on the same line
    key_in_path: bool = False  # of a URL: only who may change it sees more than its host

    # On the command line and in the reference, which also show default, choices and required
    command: str = ""
    allowed: str = ""
    unset: str = ""  # what applies instead of an empty default

    # Rules and groups
    required: str = ""  # what to enter if it is empty; "" if it may be empty
    bound_to: str = ""  # the field of ``Destination`` that a password is bound to
    part: str = ""  # the name of that in sentences about the password
    kinds: tuple[str, ...] = ()  # of relays that it is for; () for all
    sign_ins: tuple[str, ...] = ()  # with which it is needed; () for all
    tested: bool = False  # whether a test's result depends on it; it always does on ``bound_to``
    mail_key: str = ""  # the Flask-Mail key that also sets it
    of_relay: bool = False  # whether each relay has its own value

    def fits(self, kind: str) -> bool:
        """Whether it means anything for a relay of ``kind``."""
        return not self.kinds or kind in self.kinds

    @property
    def secret(self) -> bool:
        """Whether it is stored encrypted, and shown nowhere."""
        return self.widget in (Widget.PASSWORD, Widget.SECRET_AREA)

    @property
    def kind(self) -> type[Any]:
        """The type of its values; a text may also be None."""
        return str if self.default is None else type(self.default)
