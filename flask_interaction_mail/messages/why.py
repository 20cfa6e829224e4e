"""What a message says of why its reader gets it: a sentence made of the route. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from ..addresses import Mailbox
from ..language import gettext, mark, ngettext
from ..text import one_line
from .intent import REDIRECT

# The sentence of each ground; the placeholders are its name and its locations.
SENTENCES: Final[Mapping[str, str]] = {
    "may_merge": mark("You get this because you have the right to merge contacts in {location}."),
    "member_may_merge": mark(
        "You get this because you belong to {name}, who may merge contacts in {location}."
    ),
    "nobody_may_merge": mark(
        "You get this because nobody with an e-mail address may merge contacts in {location}. "
        "Such requests go to this mailbox."
    ),
    "owner": mark("You get this because you own a folder that contained one of them."),
    "member": mark("You get this because you belong to {name}."),
    "stands_in": mark(
        "You get this because {name} has no e-mail address. Such messages go to this mailbox."
    ),
    "dead": mark(
        "You get this because the address of {name} does not exist any more. Such messages go to "
        "this mailbox."
    ),
    "nobody": mark(
        "You get this because there is nobody else to send it to. Such messages go to this mailbox."
    ),
    "redirected": mark(
        "You get this because it has reached nobody else. Such requests go to this mailbox."
    ),
    "reported": mark("You get this because such reports go to this mailbox."),
}
# Some messages go to people, or to the default To, for a reason of their own.
_OF_SOURCE: Final[Mapping[str, Mapping[str, str]]] = {
    "merge_completed": {"named": "owner", "member": "owner"},
    "notice": {"nobody": "reported"},
    REDIRECT: {"nobody": "redirected"},
}
_NAMED: Final = 5  # recipients in one sentence


class Ground(NamedTuple):
    """Why a mailbox is a recipient, with the name and the location that its sentence needs.

    Of ``named``, a person whom the message is addressed to, there is nothing to say.
    """

    mailbox: Mailbox
    code: str
    name: str = ""
    location: str = ""


def grounds_of(source: str, grounds: Sequence[Ground]) -> Sequence[Ground]:
    """``grounds`` in the words for messages of ``source``."""
    codes = _OF_SOURCE.get(source)
    if codes is None:
        return grounds
    return [
        ground._replace(code=codes[ground.code], name="") if ground.code in codes else ground
        for ground in grounds
    ]


def sentence_of(grounds: Sequence[Ground], copies: Sequence[Mailbox]) -> str:
    """What the text says of its recipients; "" if it has been addressed to them by name.

    One sentence for all who have the same ground, otherwise one for each with their names.
    """
    if len(grounds) == 1 and not copies:  # nearly always
        _, code, name, location = grounds[0]
        return _said(code, name, one_line(location))
    places: dict[tuple[Mailbox, str, str], list[str]] = {}
    for ground in grounds:
        places.setdefault((ground.mailbox, ground.code, ground.name), []).append(ground.location)
    said: dict[str, list[Mailbox]] = {}
    for (mailbox, code, name), locations in places.items():
        text = _said(code, name, _listed(locations))
        said.setdefault(text, []).append(mailbox)
    alone = len(said) == 1
    sentences = [
        text if alone else gettext("%(who)s: %(sentence)s", who=_who(mailboxes), sentence=text)
        for text, mailboxes in said.items()
        if text
    ]
    if copies:
        sentences.append(gettext("Copies go to %(who)s.", who=_who(copies)))
    return " ".join(sentences)


def _said(code: str, name: str, location: str) -> str:
    return gettext(SENTENCES.get(code, "")).format(name=name, location=location)


def _who(mailboxes: Sequence[Mailbox]) -> str:
    names = [mailbox.name or mailbox.address for mailbox in mailboxes]
    if len(names) > _NAMED:
        further = len(names) - _NAMED + 1
        names[_NAMED - 1 :] = [ngettext("%(count)s more", "%(count)s more", further)]
    return _listed(names)


def _listed(names: Sequence[str]) -> str:
    *others, last = [one_line(name) for name in names]
    if not others:
        return last
    return gettext("%(others)s and %(last)s", others=", ".join(others), last=last)
