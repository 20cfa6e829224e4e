"""Who a message comes from: envelope sender, From, Sender, Reply-To (R36 to R43).

The envelope sender is always the default From (R40). From is another address only in a domain of
the company's own, or if the administrator wants it: otherwise the receiver's DMARC check would
fail (RFC 7489 §3.1). An address that not every server can carry (RFC 6531) is in no header: From
has only the name, and the text has the address.
"""

from __future__ import annotations

from dataclasses import replace

from .. import addresses
from ..addresses import Mailbox
from ..errors import AddressError, MessagingNotConfigured
from ..language import mark, said_by
from ..settings.model import ForeignSender, FromPolicy, MessagingSettings
from ..text import display_name
from ..values import Party
from .recipients import complete_setting, dotless_domains, name_of, resolve, who
from .route import RouteStep, SenderHeaders, step


def choose_sender(
    settings: MessagingSettings,
    *,
    user: Party | None,
    named: Party | None = None,
    reply_to: tuple[Mailbox, ...] = (),
    via: str = "",
) -> SenderHeaders:
    """Choose the sender of a message.

    ``user`` caused it, ``named`` was named instead by host code, ``reply_to`` is what the caller
    wants there, and ``via`` is the organisation's name if the settings have none.

    Raises:
        MessagingNotConfigured: there is no default From.
        AddressError: the address of the default From or of ``named`` is not valid, or short
            without a company domain. A ``user`` with such an address counts as one without (R43).
    """
    default = default_from(settings)
    person, steps = _person(settings, default, user, named)
    headers = _by_settings(settings, default, person, settings.sender_name or via, steps)
    return _with_reply_to(headers, reply_to)


def choose_flask_mail_sender(
    settings: MessagingSettings, *, sender: str | None, reply_to: tuple[Mailbox, ...] = ()
) -> SenderHeaders:
    """Choose the sender of a Flask-Mail message: its own if the domain is one of ours.

    Otherwise, and without a ``sender``, it is the default From, whatever the policy; a foreign
    ``sender`` becomes Reply-To. The current user is never named.

    Raises:
        MessagingNotConfigured: there is no default From.
        AddressError: the default From is not valid, or short without a company domain. A
            ``sender`` that cannot be used is replaced by it, and becomes Reply-To if possible.
        HeaderError: ``sender`` has a control character.
    """
    default = default_from(settings)
    if sender is None or addresses.is_blank(sender):
        return _with_reply_to(_from_default(default, "from_host_none"), reply_to)
    addresses.check_line("sender", sender)
    try:
        given = addresses.mailbox(
            sender, company_domain=settings.company_domain, own_domains=dotless_domains(settings)
        )
    except AddressError as error:
        return _unusable(default, sender, error, reply_to)
    if addresses.needs_smtputf8(given.address):
        headers = _by_name(default, given, "")
    elif is_own(given.address, default, settings):
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
    """The completed default From, with its name; the envelope sender of every message.

    Raises:
        MessagingNotConfigured: none is set.
        AddressError: it is not valid, or short without a company domain.
    """
    if addresses.is_blank(settings.default_from):
        raise MessagingNotConfigured(
            mark(
                "E-mail is not configured: there is no default From. "
                "An administrator can set it in Configuration → Messaging."
            )
        )
    try:
        address = complete_setting(settings.default_from or "", settings)
    except AddressError as error:
        raise AddressError(_unusable_default(error)) from error
    if addresses.needs_smtputf8(address):
        raise AddressError(_unusable_default(addresses.ASCII_ONLY))
    return addresses.named(address, settings.default_from_name or "")


def _unusable_default(why: AddressError | str) -> str:
    return mark("The default From cannot be used: %(why)s", why=why)


def is_own(address: str, default: Mailbox, settings: MessagingSettings) -> bool:
    """Whether the domain of a full ``address`` is the company's, default From's or a listed one.

    Subdomains do not count, since the server need not be allowed to send for them.
    """
    return addresses.domain_of(address) in own_domains(default, settings)


def own_domains(default: Mailbox, settings: MessagingSettings) -> set[str]:
    """The domains that may stand in From, where ``default`` is the completed default From."""
    own = {*settings.own_domains, addresses.domain_of(default.address)}
    if settings.company_domain:
        own.add(addresses.clean_domain(settings.company_domain))
    return own


def _person(
    settings: MessagingSettings, default: Mailbox, user: Party | None, named: Party | None
) -> tuple[Mailbox | None, tuple[RouteStep, ...]]:
    """The mailbox of the person who sends, or None and a step that says why there is none."""
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
        said = {"name": name_of(party), "address": default.address, "problem": said_by(error)}
        return None, (step("from_bad_address", **said),)


def _by_settings(
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
    own = is_own(person.address, default, settings)
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
    """``mailbox``, but ``default`` if it has the same address and no name of its own."""
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
    """From with only the name of ``person``, whose address no header may have."""
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
    """``headers`` with these mailboxes in Reply-To, and a step that says so; unchanged for ().

    Mailboxes whose address no header may have are named in the text instead.
    """
    if not reply_to:
        return headers
    others = [mailbox for mailbox in reply_to if addresses.needs_smtputf8(mailbox.address)]
    ours = [mailbox for mailbox in reply_to if mailbox not in others]
    for code, mailboxes in (("reply_to", ours), ("reply_to_in_text", others)):
        if mailboxes:
            said = step(code, who=", ".join(map(who, mailboxes)))
            headers = replace(headers, steps=(*headers.steps, said))
    return replace(
        headers,
        reply_to=tuple(ours) or headers.reply_to,
        in_text=(*headers.in_text, *(("Reply-To", mailbox) for mailbox in others)),
    )


def _unusable(
    default: Mailbox,
    sender: str,
    error: AddressError,
    reply_to: tuple[Mailbox, ...],
) -> SenderHeaders:
    """The default From instead of a ``sender`` such as ``no-reply@localhost``."""
    said = {"who": sender, "address": default.address, "problem": said_by(error)}
    steps = (step("from_host_unusable", **said),)
    headers = SenderHeaders(envelope_sender=default.address, from_=default, steps=steps)
    try:
        answers = addresses.parse(sender)
    except AddressError:
        return _with_reply_to(headers, reply_to)
    fits = not (addresses.is_short(answers.address) or addresses.needs_smtputf8(answers.address))
    return _with_reply_to(headers, reply_to or ((answers,) if fits else ()))
