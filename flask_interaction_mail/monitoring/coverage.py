"""Whom mail reaches and whom it does not, and what another company domain would move.

Pure: people and settings are arguments. Each list is cut after some examples, and each count is of
the people that were given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from .. import addresses
from ..errors import AddressError, MessagingNotConfigured, NoRecipient
from ..language import said_by, translated
from ..messages import sender
from ..messages.recipients import complete, complete_setting, eligible, name_of, route_merge
from ..settings.model import ADDRESSES, ForeignSender, FromPolicy, MessagingSettings
from ..values import Party

LOCATIONS: Final = 200  # that a page looks at
PARTIES: Final = 10_000
EXAMPLES: Final = 20


# -- by location -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Who may merge at a location, where a request goes, and the sentences that say why.

    ``own`` is whether somebody there gets it at an address of their own. ``lacking`` are the groups
    with the right that have no address. ``dead`` are those of ``to`` that do not exist any more.
    """

    location: str
    who: tuple[str, ...]
    to: tuple[str, ...]
    why: tuple[str, ...]
    own: bool
    lacking: tuple[Party, ...]
    dead: tuple[str, ...] = ()


def place(
    location: str,
    parties: Sequence[Party],
    settings: MessagingSettings,
    dead: Collection[str] = (),
) -> Place:
    """Where a request for two contacts at ``location`` goes; ``parties`` may merge there.

    ``dead`` are addresses that do not exist any more, in lower case.
    """
    to: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    own = False
    try:
        routing = route_merge([(location, parties)], settings, dead)
    except (NoRecipient, AddressError) as error:
        why: tuple[str, ...] = (translated(error),)
    else:
        steps = [step for step in routing.steps if step.code != "location"]
        to, why = tuple(map(str, routing.to)), tuple(step.text for step in steps)
        gone = tuple(str(each) for each in routing.to if each.address.lower() in dead)
        own = any(step.code == "chosen" for step in steps)
    return Place(
        location=location,
        who=tuple(translated(name_of(party)) for party in parties),
        to=to,
        why=why,
        own=own,
        lacking=tuple(filter(_lacks_address, parties)),
        dead=gone,
    )


def lacking(places: Iterable[Place]) -> Mapping[Party, Sequence[str]]:
    """The groups without an address, each with the locations where it may merge."""
    found: dict[Party, list[str]] = {}
    for each in places:
        for group in each.lacking:
            found.setdefault(group, []).append(each.location)
    return found


def _lacks_address(party: Party) -> bool:
    return party.kind == "group" and addresses.is_blank(party.email)


# -- people ----------------------------------------------------------------------------


class Example(NamedTuple):
    """One of many, with what is wrong in a sentence, "" where nothing is."""

    party: Party
    problem: str = ""


@dataclass(slots=True)
class Some:
    """How many there are, and the first of them."""

    most: int = EXAMPLES
    count: int = 0
    examples: list[Example] = field(default_factory=list)

    def add(self, party: Party, problem: str = "") -> None:
        self.count += 1
        if len(self.examples) < self.most:
            self.examples.append(Example(party, problem))


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What there is to say of many people.

    ``short`` have only the part before the @ while no company domain is set, ``unusable`` an
    address that is wrong otherwise. ``never`` get no mail. ``domains`` has the users by the domain
    of their address, ``full`` counts those whose address has its domain. ``dead`` has those whose
    address does not exist any more, by that.
    """

    short: Some = field(default_factory=Some)
    unusable: Some = field(default_factory=Some)
    never: Some = field(default_factory=Some)
    domains: dict[str, Some] = field(default_factory=dict)
    full: Counter[str] = field(default_factory=Counter)
    dead: dict[str, Some] = field(default_factory=dict)


def survey(
    parties: Iterable[Party], settings: MessagingSettings, dead: Collection[str] = ()
) -> Survey:
    """Look at each of ``parties`` once; ``dead`` are addresses in lower case."""
    found = Survey(dead={address: Some() for address in dead})
    for party in parties:
        if not eligible(party):
            found.never.add(party)
        if not addresses.is_blank(party.email):
            _look_at(party, settings, found)
    return found


def _look_at(party: Party, settings: MessagingSettings, found: Survey) -> None:
    address, problem = _completed(party.email or "", settings)
    if address is None:
        without_domain = not settings.company_domain and addresses.is_short(party.email or "")
        (found.short if without_domain else found.unusable).add(party, problem)
        return
    if (gone := found.dead.get(address.lower())) is not None:
        gone.add(party)
    if party.kind == "user":
        domain = addresses.domain_of(address)
        found.domains.setdefault(domain, Some(most=3)).add(party)
        found.full[domain] += not addresses.is_short(party.email or "")


def _completed(email: str, settings: MessagingSettings) -> tuple[str | None, str]:
    """The full address, or None and why there is none: a marked text, as a file has it, too."""
    try:
        return complete(email, settings), ""
    except AddressError as error:
        return None, said_by(error)


# -- From ------------------------------------------------------------------------------


class FromDomain(NamedTuple):
    """A domain of users' addresses; ``shown`` is whether it stands in From for them."""

    domain: str
    users: Some
    own: bool
    shown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Senders:
    """``envelope`` is the domain of the default From, and ``domains`` those of the users."""

    envelope: str
    own: frozenset[str]
    domains: tuple[FromDomain, ...]

    @property
    def in_from(self) -> dict[str, int]:
        """The domains that stand in From, each with its number of addresses."""
        shown = {each.domain: each.users.count for each in self.domains if each.shown}
        return {self.envelope: 1} | shown


def senders(found: Survey, settings: MessagingSettings) -> Senders | None:
    """As whom users are shown, the most frequent domain first; None without a default From."""
    try:
        default = sender.default_from(settings)
    except (MessagingNotConfigured, AddressError):
        return None
    own = sender.own_domains(default, settings)
    by_user = settings.from_policy is FromPolicy.CURRENT_USER
    as_user = settings.foreign_sender is ForeignSender.AS
    most = sorted(found.domains.items(), key=lambda item: (-item[1].count, item[0]))
    return Senders(
        envelope=addresses.domain_of(default.address),
        own=frozenset(own),
        domains=tuple(
            FromDomain(domain, users, domain in own, by_user and (as_user or domain in own))
            for domain, users in most
        ),
    )


# -- another company domain ------------------------------------------------------------


class Move(NamedTuple):
    """An address before and after; None where it cannot be used, with the reason of the latter."""

    before: str | None
    after: str | None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What another company domain moves: how many, some of them, and addresses of the settings.

    ``unusable`` counts those that would have no usable address then. ``left`` are users who keep
    a full address in a domain that would no longer be one of our own, by that domain.
    """

    users: int
    groups: int
    unusable: int
    examples: Sequence[tuple[Party, Move]]
    settings: Sequence[tuple[str, Move]]
    left: Mapping[str, int]


def preview(
    parties: Iterable[Party],
    full: Counter[str],
    now: MessagingSettings,
    then: MessagingSettings,
) -> Preview:
    """What changes for ``parties`` from ``now`` to ``then``; ``full`` is that of their survey."""
    kinds = {"user": 0, "group": 0}
    examples: list[tuple[Party, Move]] = []
    unusable = 0
    for party, move in moves(parties, now, then):
        kinds[party.kind] += 1
        unusable += move.after is None
        if len(examples) < EXAMPLES:
            examples.append((party, move))
    return Preview(
        users=kinds["user"],
        groups=kinds["group"],
        unusable=unusable,
        examples=examples,
        settings=tuple(_of_settings(now, then)),
        left={domain: full[domain] for domain in sorted(_own(now) - _own(then)) if full[domain]},
    )


def moves(
    parties: Iterable[Party], now: MessagingSettings, then: MessagingSettings
) -> Iterator[tuple[Party, Move]]:
    """Each party whose address is another one with the settings ``then``."""
    for party in parties:
        email = party.email or ""
        if _stays(email):
            continue
        before, _ = _completed(email, now)
        after, problem = _completed(email, then)
        if before != after:
            yield party, Move(before, after, problem)


def _stays(email: str) -> bool:
    """Whether no company domain changes it; whether a domain may have no dot depends on it."""
    full = not addresses.is_short(email) and "." in addresses.domain_of(email)
    return full or addresses.is_blank(email)


def _of_settings(now: MessagingSettings, then: MessagingSettings) -> Iterator[tuple[str, Move]]:
    for name in ADDRESSES:
        email = getattr(now, name) or ""
        before, after = _setting(email, now), _setting(email, then)
        if before != after:
            yield name, Move(before, after)


def _setting(email: str, settings: MessagingSettings) -> str | None:
    try:
        return complete_setting(email, settings)
    except AddressError:
        return None


def _own(settings: MessagingSettings) -> set[str]:
    try:
        return sender.own_domains(sender.default_from(settings), settings)
    except (MessagingNotConfigured, AddressError):
        return {*settings.own_domains, *filter(None, [settings.company_domain])}
