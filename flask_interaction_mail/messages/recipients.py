"""Who gets a message, and why: by location, by name, or the default To (R5, R6, R25 to R35)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from .. import addresses
from ..addresses import Mailbox
from ..errors import AddressError, NoRecipient
from ..language import mark, said_by
from ..settings.model import MessagingSettings
from ..text import display_name, one_line
from ..values import Kind, Party
from .route import ROLES, UNNAMED, RouteStep, step
from .why import Ground

_NOBODY: Final = mark(
    "There is nobody to send this to, and no default To is set. Set one in Configuration → "
    "Messaging, so that every request has somewhere to go."
)


class Routing(NamedTuple):
    """Who gets the message and why, who deliberately does not, and the steps of that decision."""

    to: tuple[Mailbox, ...]
    suppressed: tuple[Mailbox, ...] = ()
    steps: tuple[RouteStep, ...] = ()
    grounds: tuple[Ground, ...] = ()


# Of a message with only Cc and Bcc, to which nobody is added.
COPIES_ONLY: Final = Routing(to=(), steps=(step("copies_only"),))


def who(mailbox: Mailbox) -> str:
    """A mailbox in a sentence: ``Ada (ada@firm.example)``."""
    return f"{mailbox.name} ({mailbox.address})" if mailbox.name else mailbox.address


def name_of(party: Party) -> str:
    """The name of ``party`` in a sentence; never empty."""
    return one_line(party.name) or one_line(party.email or "") or UNNAMED[party.kind]


def eligible(party: Party) -> bool:
    """Whether ``party`` may be mailed (R6)."""
    return party.kind == "group" or party.role not in ROLES or party.uses_desktop_client


def resolve(party: Party, settings: MessagingSettings) -> Mailbox:
    """The mailbox of ``party``, its address completed.

    Raises:
        AddressError: its address is missing, not valid, or short without a company domain.
    """
    if addresses.is_blank(party.email):
        raise AddressError(mark("%(name)s has no e-mail address.", name=name_of(party)))
    return addresses.named(complete(party.email or "", settings), party.name)


def complete_setting(email: str, settings: MessagingSettings) -> str:
    """Complete an address that an administrator set, whose domain may have no dot.

    Raises:
        AddressError: it is not valid, or short without a company domain.
    """
    own = (*dotless_domains(settings), *addresses.bare_domain(email))
    return addresses.complete(email, company_domain=settings.company_domain, own_domains=own)


def complete(email: str, settings: MessagingSettings) -> str:
    """Complete the address of a party.

    Raises:
        AddressError: it is not valid, or short without a company domain.
    """
    own = dotless_domains(settings)
    return addresses.complete(email, company_domain=settings.company_domain, own_domains=own)


def dotless_domains(settings: MessagingSettings) -> tuple[str, ...]:
    """The domains that are allowed in an address although they may have no dot."""
    return (*settings.own_domains, *addresses.bare_domain(settings.default_from))


def default_to(settings: MessagingSettings) -> Mailbox:
    """The mailbox for messages without another recipient (R31, R33).

    Raises:
        NoRecipient: no default To is set.
        AddressError: it is not valid, or short without a company domain.
    """
    if addresses.is_blank(settings.default_to):
        raise NoRecipient(_NOBODY)
    try:
        return Mailbox(complete_setting(settings.default_to or "", settings))
    except AddressError as error:
        text = mark("The default To cannot be used: %(why)s", why=error)
        raise AddressError(text) from error


def route_merge(
    candidates: Sequence[tuple[str, Sequence[Party]]],
    settings: MessagingSettings,
    dead: Collection[str] = (),
) -> Routing:
    """Decide who gets a request to merge.

    ``candidates`` are the distinct locations of the contacts, each with the parties that may merge
    there, best first. For each location the first one with an address gets the request, or the
    default To if there is none. All get it in one message (R28). An address that is ``dead`` counts
    as none, where the settings want that.

    Raises:
        NoRecipient, AddressError: no location has a recipient, and the default To is missing or
            cannot be used.
    """
    plan = _Plan(settings, dead)
    trouble: NoRecipient | AddressError | None = None
    for location, parties in candidates or (("", ()),):
        if location:
            plan.say("location", location=location)
        try:
            plan.take_first(parties, location)
        except (NoRecipient, AddressError) as error:
            # Another location may have a recipient, who can act for both.
            trouble = error
            plan.say("no_default_to", problem=said_by(error))
    if trouble is not None and not plan.to:
        raise trouble
    return plan.routing()


def route_parties(
    parties: Iterable[Party],
    *,
    kind: str,
    settings: MessagingSettings,
    dead: Collection[str] = (),
) -> Routing:
    """Decide who gets a message to ``parties``; the default To if there are none.

    The default To stands in for a party without an address (R33); in a request, where the settings
    want that, also for one whose address is ``dead``. A party that may not be mailed
    (R6) is passed over in a request, which goes to the default To if nobody is left. In every
    other kind of message it is suppressed.

    Raises:
        NoRecipient: the default To is needed, but not set.
        AddressError: an address, or the default To if it is needed, is not valid, or short
            without a company domain.
    """
    plan = _Plan(settings, dead if kind == Kind.REQUEST else ())
    for party in parties:
        plan.take(party)
    if not plan.to and (kind == Kind.REQUEST or not plan.passed_over):
        plan.fall_back("nobody_left" if plan.passed_over else "nobody_named", "nobody")
    return plan.routing(suppress=kind != Kind.REQUEST)


class _Plan:
    """Collects recipients, and the steps that led to them."""

    __slots__ = ("_dead", "_grounds", "_settings", "_steps", "passed_over", "to")

    def __init__(self, settings: MessagingSettings, dead: Collection[str]) -> None:
        self._settings = settings
        self._dead = dead if settings.skip_dead_addresses else ()
        self._steps: list[RouteStep] = []
        self._grounds: list[Ground] = []
        self.to: dict[str, Mailbox] = {}
        self.passed_over: list[Party] = []

    def say(self, code: str, **values: str) -> None:
        self._steps.append(step(code, **values))

    def take_first(self, parties: Sequence[Party], location: str) -> None:
        """Add the first party at ``location`` that can be mailed, else the default To."""
        for party in parties:
            mailbox = self._usable(party)
            if mailbox is not None:
                self.say("chosen", name=name_of(party), address=mailbox.address)
                code = "may_merge" if party.kind == "user" else "member_may_merge"
                self._add(mailbox, code, name_of(party), location)
                return
        ground = "nobody_may_merge" if location else "nobody"
        self.fall_back("nobody_left" if parties else "nobody_there", ground, location=location)

    def take(self, party: Party) -> None:
        """Add a party that was named explicitly; a wrong address of it is an error."""
        if not self._may_be_mailed(party):
            self.passed_over.append(party)
        elif addresses.is_blank(party.email):
            self.say("no_address", name=name_of(party))
            self.fall_back("nobody_left", "stands_in", name=name_of(party))
        else:
            mailbox = resolve(party, self._settings)
            if self._is_dead(party, mailbox):
                self.fall_back("nobody_left", "dead", name=name_of(party))
                return
            self.say("named", who=who(mailbox))
            self._add(mailbox, "named" if party.kind == "user" else "member", name_of(party))

    def fall_back(self, code: str, ground: str, *, name: str = "", location: str = "") -> None:
        """Add the default To; ``code`` says why, unless the last step was a missing address."""
        mailbox = default_to(self._settings)
        if self._steps and self._steps[-1].code == "no_address":
            last = self._steps.pop()
            self.say("no_address_default_to", address=mailbox.address, **last.values)
        else:
            self.say(code, address=mailbox.address)
        self._add(mailbox, ground, name, location)

    def routing(self, *, suppress: bool = False) -> Routing:
        """The result; ``suppress`` records the parties passed over as suppressed."""
        return Routing(
            to=tuple(self.to.values()),
            suppressed=tuple(map(self._as_far_as_known, self.passed_over if suppress else ())),
            steps=tuple(self._steps),
            grounds=tuple(self._grounds),
        )

    def _usable(self, party: Party) -> Mailbox | None:
        if not self._may_be_mailed(party):
            return None
        if addresses.is_blank(party.email):
            self.say("no_address", name=name_of(party))
            return None
        try:
            mailbox = resolve(party, self._settings)
        except AddressError as error:
            self.say("bad_address", name=name_of(party), problem=said_by(error))
            return None
        return None if self._is_dead(party, mailbox) else mailbox

    def _is_dead(self, party: Party, mailbox: Mailbox) -> bool:
        if not self._dead or mailbox.address.lower() not in self._dead:
            return False
        self.say("dead_address", name=name_of(party), address=mailbox.address)
        return True

    def _may_be_mailed(self, party: Party) -> bool:
        if eligible(party):
            return True
        role = ROLES[party.role] if party.role else ""
        self.say("ineligible", name=name_of(party), role=role)
        return False

    def _add(self, mailbox: Mailbox, ground: str, name: str = "", location: str = "") -> None:
        self._grounds.append(Ground(mailbox, ground, name, location))
        if mailbox.address in self.to:
            self.say("already", address=mailbox.address)
        self.to.setdefault(mailbox.address, mailbox)

    def _as_far_as_known(self, party: Party) -> Mailbox:
        try:
            return resolve(party, self._settings)
        except AddressError:
            address = one_line(party.email or "")[: addresses.ADDRESS_LIMIT]
            return Mailbox(address, display_name(party.name))
