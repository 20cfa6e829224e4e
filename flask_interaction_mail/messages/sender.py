"""Whose name a message bears: envelope sender, From, Sender, Reply-To (R36 to R43).

The envelope sender is always the default From (R40). From is somebody else only in a domain that
the company's mail server answers for, or where the administrator wants it: elsewhere the
receiver's DMARC check would fail (RFC 7489 §3.1). An address that not every server can carry
(RFC 6531) stands in no header: then From bears the name alone, and the text names the address.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .. import addresses
from ..addresses import Mailbox
from ..errors import AddressError, MessagingNotConfigured
from ..settings.model import ForeignSender, FromPolicy, MessagingSettings
from ..text import display_name
from ..values import Party
from .recipients import complete_setting, name_of, own_domains, resolve, who
from .route import RouteStep, step


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderHeaders:
    """What stands for the sender: on the envelope (RFC 5321) and in the header (RFC 5322 §3.6.2).

    ``sender`` is None where no Sender header is written, ``reply_to`` empty where no Reply-To is.
    ``in_text`` are those whom the text has to name because no header may: with the field that
    would have.
    """

    envelope_sender: str
    from_: Mailbox
    sender: Mailbox | None = None
    reply_to: tuple[Mailbox, ...] = ()
    in_text: tuple[tuple[str, Mailbox], ...] = ()
    steps: tuple[RouteStep, ...] = ()


def choose_sender(
    settings: MessagingSettings,
    *,
    user: Party | None,
    named: Party | str | None = None,
    reply_to: tuple[Mailbox, ...] = (),
    via: str = "",
) -> SenderHeaders:
    """Whom a message names as its sender.

    ``user`` is who caused it, ``named`` whom host code named instead, ``reply_to`` what the
    caller wants there, and ``via`` the organisation's name where the settings have none.

    Raises:
        MessagingNotConfigured: there is no default From.
        AddressError: the default From or the ``named`` sender is no address, or short without
            a company domain. A ``user`` with such an address counts as one without (R43).
    """
    default = default_from(settings)
    person, steps = _person(settings, default, user, named)
    headers = _matrix(settings, default, person, settings.sender_name or via, steps)
    return _with_reply_to(headers, reply_to)


def choose_flask_mail_sender(
    settings: MessagingSettings, *, sender: str | None, reply_to: tuple[Mailbox, ...] = ()
) -> SenderHeaders:
    """Whom a Flask-Mail message names as its sender: its own where the domain is ours.

    A foreign one becomes Reply-To of the default From; without one it is the default From,
    whatever the policy. Such a message never names the current user.

    Raises:
        MessagingNotConfigured: there is no default From.
        AddressError: the default From is no address, or short without a domain. A ``sender``
            that cannot be used gives way to it, and stands in Reply-To if it is an address.
        HeaderError: ``sender`` has a control character.
    """
    default = default_from(settings)
    if sender is None or addresses.is_blank(sender):
        return _with_reply_to(_from_default(default, "from_host_none"), reply_to)
    addresses.check_line("sender", sender)
    try:
        given = _mailbox(sender, settings)
    except AddressError as error:
        return _unusable(default, sender, error, reply_to)
    if addresses.needs_smtputf8(given.address):
        headers = _by_name(default, given, "")
    elif _is_own(given.address, default, settings):
        steps = (step("from_host", who=who(given)),)
        from_ = _shown(given, default)
        headers = SenderHeaders(envelope_sender=default.address, from_=from_, steps=steps)
    else:
        steps = (step("from_host_foreign", who=who(given), address=default.address),)
        headers = SenderHeaders(
            envelope_sender=default.address, from_=default, reply_to=(given,), steps=steps
        )
    return _with_reply_to(headers, reply_to)


def default_from(settings: MessagingSettings) -> Mailbox:
    """The completed default From, every message's envelope sender, and the name shown with it.

    Raises:
        MessagingNotConfigured: none is set.
        AddressError: it is no address, or short without a company domain.
    """
    if addresses.is_blank(settings.default_from):
        raise MessagingNotConfigured(
            "E-mail is not configured: there is no default From. "
            "An administrator sets it in Configuration → Messaging."
        )
    try:
        address = complete_setting(settings.default_from or "", settings)
    except AddressError as error:
        raise AddressError(f"The default From cannot be used: {error}") from error
    if addresses.needs_smtputf8(address):
        raise AddressError(f"The default From cannot be used: {addresses.ASCII_ONLY}")
    return addresses.named(address, settings.default_from_name or "")


def _is_own(address: str, default: Mailbox, settings: MessagingSettings) -> bool:
    """Whether the domain of a full ``address`` is the company's, default From's or a listed one.

    Subdomains are others: whether a server may send for them is another question.
    """
    domain = addresses.domain_of(address)
    own = {*settings.own_domains, addresses.domain_of(default.address)}
    if settings.company_domain:
        own.add(addresses.clean_domain(settings.company_domain))
    return domain in own


def _person(
    settings: MessagingSettings, default: Mailbox, user: Party | None, named: Party | str | None
) -> tuple[Mailbox | None, tuple[RouteStep, ...]]:
    """The mailbox of whoever sends, or None and the step that tells why there is none."""
    if isinstance(named, str):
        named = _party(named, settings)
    party = named or user
    if party is None:
        return None, (step("from_nobody", address=default.address),)
    if addresses.is_blank(party.email):
        return None, (step("from_no_address", name=name_of(party), address=default.address),)
    try:
        return resolve(party, settings), ()
    except AddressError as error:
        if named is not None:
            raise
        said = {"name": name_of(party), "address": default.address, "problem": str(error)}
        return None, (step("from_bad_address", **said),)


def _party(named: str, settings: MessagingSettings) -> Party:
    mailbox = _mailbox(named, settings)
    return Party(mailbox.name, mailbox.address)


def _mailbox(text: str, settings: MessagingSettings) -> Mailbox:
    return addresses.mailbox(
        text, company_domain=settings.company_domain, own_domains=own_domains(settings)
    )


def _matrix(
    settings: MessagingSettings,
    default: Mailbox,
    person: Mailbox | None,
    via: str,
    steps: tuple[RouteStep, ...],
) -> SenderHeaders:
    if settings.from_policy is FromPolicy.DEFAULT_FROM:
        return _by_policy(default, person)
    if person is None:
        return SenderHeaders(envelope_sender=default.address, from_=default, steps=steps)
    own = _is_own(person.address, default, settings)
    as_person = own or settings.foreign_sender is ForeignSender.AS
    if addresses.needs_smtputf8(person.address):
        return _by_name(default, person, "" if as_person else via)
    if as_person:
        return _as_person(default, person, "from_user" if own else "from_as")
    return _via(default, person, via)


def _by_policy(default: Mailbox, person: Mailbox | None) -> SenderHeaders:
    headers = _from_default(default, "from_policy")
    if person is None or person.address == default.address:
        return headers
    return _with_reply_to(headers, (person,))


def _as_person(default: Mailbox, person: Mailbox, code: str) -> SenderHeaders:
    return SenderHeaders(
        envelope_sender=default.address,
        from_=_shown(person, default),
        sender=None if person.address == default.address else Mailbox(default.address),
        steps=(step(code, who=who(person)),),
    )


def _shown(mailbox: Mailbox, default: Mailbox) -> Mailbox:
    """``mailbox``, by the name of the default From where it is that one and has none itself."""
    return default if mailbox == Mailbox(default.address) else mailbox


def _via(default: Mailbox, person: Mailbox, via: str) -> SenderHeaders:
    name = person.name or person.address.partition("@")[0]
    from_ = Mailbox(default.address, _name_via(name, via))
    return SenderHeaders(
        envelope_sender=default.address,
        from_=from_,
        reply_to=(person,),
        steps=(step("from_via", who=who(person), shown=who(from_)),),
    )


def _by_name(default: Mailbox, person: Mailbox, via: str) -> SenderHeaders:
    """``person`` without the address, which no header may hold."""
    from_ = Mailbox(default.address, _name_via(person.name, via)) if person.name else default
    return SenderHeaders(
        envelope_sender=default.address,
        from_=from_,
        in_text=(("From", person),),
        steps=(step("from_by_name", who=who(person), shown=who(from_)),),
    )


def _name_via(name: str, via: str) -> str:
    organisation = display_name(via)
    return display_name(f"{name} via {organisation}" if organisation else name)


def _from_default(default: Mailbox, code: str) -> SenderHeaders:
    steps = (step(code, address=default.address),)
    return SenderHeaders(envelope_sender=default.address, from_=default, steps=steps)


def _with_reply_to(headers: SenderHeaders, reply_to: tuple[Mailbox, ...]) -> SenderHeaders:
    """``headers`` with these Reply-To, and a step that says so; as they are if there are none.

    Those whose address no header may hold are named in the text instead.
    """
    if not reply_to:
        return headers
    ours = [one for one in reply_to if not addresses.needs_smtputf8(one.address)]
    others = [one for one in reply_to if addresses.needs_smtputf8(one.address)]
    for code, those in (("reply_to", ours), ("reply_to_in_text", others)):
        if those:
            said = step(code, who=", ".join(map(who, those)))
            headers = replace(headers, steps=(*headers.steps, said))
    return replace(
        headers,
        reply_to=tuple(ours) or headers.reply_to,
        in_text=(*headers.in_text, *(("Reply-To", one) for one in others)),
    )


def _unusable(
    default: Mailbox,
    sender: str,
    error: AddressError,
    reply_to: tuple[Mailbox, ...],
) -> SenderHeaders:
    """The default From instead of a ``sender`` such as ``no-reply@localhost``."""
    steps = (step("from_host_unusable", who=sender, address=default.address, problem=str(error)),)
    headers = SenderHeaders(envelope_sender=default.address, from_=default, steps=steps)
    try:
        answers = addresses.parse(sender)
    except AddressError:
        return _with_reply_to(headers, reply_to)
    fits = not (addresses.is_short(answers.address) or addresses.needs_smtputf8(answers.address))
    return _with_reply_to(headers, reply_to or ((answers,) if fits else ()))
