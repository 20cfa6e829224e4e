"""Why a message went where it went: a sentence for each decision, stored with the message."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..addresses import Mailbox
from ..text import one_line

# The sentence of each step; the placeholders are its ``values``.
SENTENCES: Mapping[str, str] = {
    "location": "Contacts are in {location}.",
    "chosen": "{name} ({address}) has the right to merge there, so the request goes there.",
    "named": "It is addressed to {who}.",
    "already": "{address} is a recipient already, so it is not added again.",
    "ineligible": "{name} is a {role} who does not use the desktop client, so gets no mail.",
    "no_address": "{name} has no address.",
    "bad_address": "The address of {name} cannot be used: {problem}",
    "nobody_there": "Nobody there has the right to merge, so the default To ({address}) is used.",
    "nobody_named": "No recipient is named, so the default To ({address}) is used.",
    "copies_only": "It names only recipients of copies, so nobody is added.",
    "nobody_left": "Nobody else is left, so the default To ({address}) is used.",
    "no_address_default_to": "{name} has no address, so the default To ({address}) is used.",
    "unreached": (
        "It was for {who} (message {id}), but the mail server does not accept such characters "
        "before the @, and there was no other recipient."
    ),
    "elsewhere": "{who} sent it again, to {address} alone.",
    "no_default_to": "Nobody is asked for this location: {problem}",
    "from_policy": "By the From policy it comes from the default From ({address}).",
    "from_nobody": "No user is known, so it comes from the default From ({address}).",
    "from_no_address": "{name} has no address, so it comes from the default From ({address}).",
    "from_bad_address": (
        "The address of {name} cannot be used, so it comes from the default From ({address}): "
        "{problem}"
    ),
    "from_user": "It comes from {who}, whose domain is one of our own.",
    "from_as": "It comes from {who}, whose domain is foreign, as the settings want it.",
    "from_via": "{who} is in a foreign domain, so it comes from {shown} and answers go to {who}.",
    "from_by_name": (
        "{who} has characters before the @ that not every mail server carries, so it comes from "
        "{shown}, and the text names that address."
    ),
    "from_host": "It comes from {who}, the sender that the application set.",
    "from_host_foreign": (
        "The application set the sender {who}, whose domain is foreign, so it comes from the "
        "default From ({address}) and answers go to {who}."
    ),
    "from_host_unusable": (
        "The application set the sender {who}, which cannot be used, so it comes from the default "
        "From ({address}): {problem}"
    ),
    "from_host_none": "The application named no sender, so the default From ({address}) is used.",
    "reply_to": "Answers go to {who}.",
    "reply_to_in_text": (
        "Answers are to go to {who}, but not every mail server carries such characters before the "
        "@, so the text names the address instead of the header."
    ),
}


class RouteStep(NamedTuple):
    """One step of a decision: a stable code, and the values of the sentence that ``str`` gives."""

    code: str
    values: Mapping[str, str]

    def __str__(self) -> str:
        try:
            return SENTENCES[self.code].format_map(self.values)
        except KeyError:  # stored by another version
            return ", ".join((self.code, *self.values.values()))

    def to_json(self) -> dict[str, str]:
        """The step as a flat JSON object."""
        return {"code": self.code, **self.values}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> RouteStep:
        """The step that ``to_json`` gave."""
        values = {name: str(value) for name, value in raw.items() if name != "code"}
        return cls(str(raw.get("code", "")), values)


def step(code: str, **values: str) -> RouteStep:
    """A step whose values are made legible in one line each."""
    return RouteStep(code, {name: one_line(value) for name, value in values.items()})


def grouped(steps: Iterable[RouteStep]) -> list[tuple[str, tuple[str, ...]]]:
    """The sentences of ``steps``, each with the others of its kind, in the order of the first."""
    kinds: dict[str, list[str]] = {}
    for one in steps:
        kinds.setdefault(one.code, []).append(str(one))
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
