"""Which relay carries a message. Pure.

The first one in the order of the settings that may carry mail from its domain, and is not in
trouble. A message that may have left by a relay already is *bound* to that one: no other carries
it, because a second server cannot know of the first copy.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple

from ..addresses import clean_domain, domain_of
from ..errors import AddressError
from ..language import mark
from ..settings.relay import Relay

BOUND_FOR: Final = timedelta(hours=1)  # of trouble that a bound message waits for its relay
_SIGN: Final = "/"  # before each name of a group; no name of a relay has one
_LONGEST: Final = 255  # characters of the column
UNCARRIED: Final = _SIGN  # as what those messages wait aside that no relay may carry
Group = tuple[str, ...]


class Verdict(enum.StrEnum):
    """Why a message goes by the relay that is named, or by none."""

    FIRST = "first"  # the first that may carry it
    NEXT = "next"  # those before it are in trouble
    BOUND = "bound"  # it may have left by this one already
    WAITS = "waits"  # all that may carry it are in trouble; this is the first of them
    NOBODY = "nobody"  # none may carry it
    DOUBTFUL = "doubtful"  # it may have left by this one, which is gone, or in trouble for too long


class Trouble(NamedTuple):
    """Since when a relay has been in trouble (naive UTC), and why."""

    since: datetime
    why: str


class Choice(NamedTuple):
    """The ``relay`` that a message goes by or waits for; ``aside`` is as what it waits aside."""

    verdict: Verdict
    relay: str | None
    aside: str


@dataclass(frozen=True)
class Relays:
    """The relays of the settings, in their order.

    A *group* is the messages that the same relays may carry, named by these. Which relay carries a
    group depends on nothing but which ones are in trouble.
    """

    relays: Sequence[Relay]

    @property
    def alike(self) -> bool:
        """Whether every relay may carry mail from every domain."""
        return not any(relay.from_domains for relay in self.relays)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """All groups that there can be, but that of nobody."""
        domains = {domain for relay in self.relays for domain in relay.from_domains}
        found = dict.fromkeys(self.group(domain) for domain in ("", *sorted(domains)))
        return tuple(filter(None, found))

    def group(self, domain: str) -> Group:
        """The group of mail from ``domain``."""
        return tuple(relay.name for relay in self.relays if may_carry(relay, domain))

    def choose(
        self, domain: str, bound: str | None, trouble: Mapping[str, Trouble], now: datetime
    ) -> Choice:
        """The relay for a message from ``domain`` that is ``bound`` to one, or to none.

        ``trouble`` has the relays whose breaker is open, by name.
        """
        group = self.group(domain)
        if bound is None:
            return of_group(group, trouble)
        met = trouble.get(bound)
        lost = bound not in group or (met is not None and now - met.since >= BOUND_FOR)
        return Choice(Verdict.DOUBTFUL if lost else Verdict.BOUND, bound, bound)

    def carried_by(self, name: str, trouble: Mapping[str, Trouble]) -> list[str]:
        """As what those messages wait aside that the relay ``name`` carries now, if bound to none.

        It may be one of those in ``trouble`` only if all others that may carry them are, too.
        """
        choices = (of_group(group, trouble) for group in self.groups)
        return [choice.aside for choice in choices if choice.relay == name]


def of_group(group: Group, trouble: Mapping[str, Trouble]) -> Choice:
    """The relay that carries ``group`` while those in ``trouble`` are."""
    aside = _label(group)
    if not group:
        return Choice(Verdict.NOBODY, None, aside)
    for name in group:
        if name not in trouble:
            return Choice(Verdict.FIRST if name == group[0] else Verdict.NEXT, name, aside)
    return Choice(Verdict.WAITS, group[0], aside)


def _label(group: Group) -> str:
    names = _SIGN + _SIGN.join(group)
    if len(names) <= _LONGEST:
        return names
    return _SIGN + hashlib.sha256(names.encode()).hexdigest()


def may_carry(relay: Relay, domain: str) -> bool:
    """Whether ``relay`` may carry mail from ``domain``, which is in A-labels."""
    return not relay.from_domains or domain in relay.from_domains


def bound_to(relay: str | None) -> str | None:
    """The relay to which a message that waits is bound, by what stands in its column."""
    return None if relay is None or relay.startswith(_SIGN) else relay


def from_domain(sender: str | None, envelope_sender: str | None) -> str:
    """The domain of From in A-labels, by what is stored of a message; "" if that says nothing.

    ``sender`` is cut where a name is very long; the envelope sender tells it then.
    """
    for text in (sender, envelope_sender):
        domain = domain_of((text or "").rstrip("> "))
        if text and "@" in text and domain:
            try:
                return clean_domain(domain)
            except AddressError:
                continue
    return ""


def why(choice: Choice, domain: str, trouble: Mapping[str, Trouble]) -> str:
    """What to tell of a message that waits, is held, or is handed on because of ``choice``."""
    name = choice.relay or ""
    met = trouble.get(name)
    match choice.verdict:
        case Verdict.NOBODY:
            return mark(
                "No mail server may carry mail from %(domain)s. Allow the domain at one of them in "
                "the settings.",
                domain=domain or "?",
            )
        case Verdict.DOUBTFUL if met is None:
            return mark(
                "It may have left by the mail server “%(relay)s”, which may not carry it any more.",
                relay=name,
            )
        case Verdict.DOUBTFUL:
            return mark(
                "It may have left by the mail server “%(relay)s”, which has been in trouble for an "
                "hour.",
                relay=name,
            )
        case Verdict.BOUND if met is not None:
            return mark(
                "It may have left by the mail server “%(relay)s” already, so it waits for that "
                "one: %(why)s",
                relay=name,
                why=met.why,
            )
        case _ if met is not None:
            return mark("Waiting for the mail server “%(relay)s”: %(why)s", relay=name, why=met.why)
        case _:
            return mark("Waiting for its turn at the mail server “%(relay)s”.", relay=name)
