"""Why a message went where it went: a sentence for each decision, stored with the message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ..addresses import Mailbox
from ..language import gettext, mark, recalled, translated
from ..text import one_line
from ..values import Role

# The sentence of each step; the placeholders are its ``values``.
SENTENCES: Mapping[str, str] = {
    "location": mark("Contacts are in {location}."),
    "chosen": mark("{name} ({address}) has the right to merge there, so the request goes there."),
    "named": mark("It is addressed to {who}."),
    "already": mark("{address} is a recipient already, so it is not added again."),
    "ineligible": mark("{name} is a {role} who does not use the desktop client, so gets no mail."),
    "no_address": mark("{name} has no address."),
    "dead_address": mark(
        "The address of {name} ({address}) does not exist any more, as mail servers have reported."
    ),
    "bad_address": mark("The address of {name} cannot be used: {problem}"),
    "nobody_there": mark(
        "Nobody there has the right to merge, so the default To ({address}) is used."
    ),
    "nobody_named": mark("No recipient is named, so the default To ({address}) is used."),
    "copies_only": mark("It names only recipients of copies, so nobody is added."),
    "nobody_left": mark("Nobody else is left, so the default To ({address}) is used."),
    "no_address_default_to": mark("{name} has no address, so the default To ({address}) is used."),
    "unreached": (
        mark(
            "It was for {who} (message {id}), but the mail server does not accept such characters "
            "before the @, and there was no other recipient."
        )
    ),
    "redirected": mark("It was for {who} (message {id}) and has reached nobody."),
    "elsewhere": mark("{who} sent it again, to {address} alone."),
    "no_default_to": mark("Nobody is asked for this location: {problem}"),
    "from_policy": mark("By the From policy it comes from the default From ({address})."),
    "from_nobody": mark("No user is known, so it comes from the default From ({address})."),
    "from_no_address": mark(
        "{name} has no address, so it comes from the default From ({address})."
    ),
    "from_bad_address": (
        mark(
            "The address of {name} cannot be used, so it comes from the default From ({address}): "
            "{problem}"
        )
    ),
    "from_user": mark("It comes from {who}, whose domain is one of our own."),
    "from_as": mark("It comes from {who}, whose domain is foreign, as the settings want it."),
    "from_via": mark(
        "{who} is in a foreign domain, so it comes from {shown} and answers go to {who}."
    ),
    "from_by_name": (
        mark(
            "{who} has characters before the @ that not every mail server carries, so it comes "
            "from {shown}, and the text names that address."
        )
    ),
    "from_host": mark("It comes from {who}, the sender that the application set."),
    "from_host_foreign": (
        mark(
            "The application set the sender {who}, whose domain is foreign, so it comes from the "
            "default From ({address}) and answers go to {who}."
        )
    ),
    "from_host_unusable": (
        mark(
            "The application set the sender {who}, which cannot be used, so it comes from the "
            "default From ({address}): {problem}"
        )
    ),
    "from_host_none": mark(
        "The application named no sender, so the default From ({address}) is used."
    ),
    "reply_to": mark("Answers go to {who}."),
    "reply_to_in_text": (
        mark(
            "Answers are to go to {who}, but not every mail server carries such characters before "
            "the @, so the text names the address instead of the header."
        )
    ),
}


# Words of ours that stand among the values.
ROLES: Final = {Role.PROFESSIONAL: mark("professional"), Role.SECRETARY: mark("secretary")}
UNNAMED: Final = {"user": mark("An unnamed user"), "group": mark("An unnamed group")}
SOMEBODY: Final = mark("somebody")
_WORDS: Final = frozenset({*ROLES.values(), *UNNAMED.values(), SOMEBODY})


class RouteStep(NamedTuple):
    """One step of a decision: a stable code, and the values of its sentence.

    ``str`` gives the sentence in English, ``text`` in the reader's language.
    """

    code: str
    values: Mapping[str, str]

    def __str__(self) -> str:
        try:
            return SENTENCES[self.code].format_map(self.values)
        except KeyError:
            return self._unknown

    @property
    def text(self) -> str:
        """The sentence for whoever reads it now."""
        try:
            return gettext(SENTENCES[self.code]).format_map(dict(map(_said, self.values.items())))
        except KeyError:
            return self._unknown

    @property
    def _unknown(self) -> str:
        """What is known of a step that another version has stored."""
        return ", ".join((self.code, *self.values.values()))

    def to_json(self) -> dict[str, str]:
        """The step as a flat JSON object."""
        return {"code": self.code, **self.values}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> RouteStep:
        """The step that ``to_json`` gave."""
        values = {name: str(value) for name, value in raw.items() if name != "code"}
        return cls(str(raw.get("code", "")), values)


def _said(item: tuple[str, str]) -> tuple[str, str]:
    """Name and value, in the reader's language if the value is a text of ours.

    That is a marked one, and of those that were stored a problem or a word of ours.
    """
    name, value = item
    if type(value) is str and value in _WORDS:
        return name, gettext(value)
    if type(value) is str and name == "problem":
        return name, recalled(value)
    return name, translated(value)


def step(code: str, **values: str) -> RouteStep:
    """A step whose values are made legible in one line each; so are all that are stored."""
    return RouteStep(code, {name: _legible(value) for name, value in values.items()})


def _legible(value: str) -> str:
    line = one_line(value)
    return value if value == line else line  # a marked text stays one


def grouped(steps: Iterable[RouteStep]) -> list[tuple[str, tuple[str, ...]]]:
    """The sentences of ``steps`` in the reader's language, each with the others of its kind.

    In the order of the first of each kind.
    """
    kinds: dict[str, list[str]] = {}
    for one in steps:
        kinds.setdefault(one.code, []).append(one.text)
    return [(first, tuple(others)) for first, *others in kinds.values()]


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderHeaders:
    """The sender on the envelope (RFC 5321) and in the header (RFC 5322 §3.6.2).

    ``sender`` is None if there is no Sender header, ``reply_to`` empty if there is no Reply-To.
    ``in_text`` are mailboxes that the text names because no header may have them, each with the
    header in which it would be.
    """

    envelope_sender: str
    from_: Mailbox
    sender: Mailbox | None = None
    reply_to: tuple[Mailbox, ...] = ()
    in_text: tuple[tuple[str, Mailbox], ...] = ()
    steps: tuple[RouteStep, ...] = ()
