"""E-mail addresses: which are valid, how a short one is completed, and names beside them.

A *full* address has an ``@``; a *short* one is only the part before it, to be completed with the
company domain. Domains are kept as lower-case A-labels (RFC 5890), local parts as they were given.
``email_validator`` decides what is valid. ``email.utils.parseaddr`` is never used, because it finds
addresses in texts that hold none (CVE-2023-27043).
"""

from __future__ import annotations

import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import AddressError, HeaderError
from ..language import mark
from ..text import display_name
from .faults import FORBIDDEN, WRITE_IT, fault_in, fault_in_domain

if TYPE_CHECKING:
    import email_validator

# What pasted text may begin or end with: blanks of every width, zero included.
PASTED = (
    " \t\r\n\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b"
    "\u202f\u205f\u2060\u3000\ufeff"
)
_BLANK = re.compile(rf"[\s{PASTED}]*")
LOCAL_LIMIT = 64  # bytes before the @ (RFC 5321 §4.5.3.1.1)

ADDRESS_LIMIT = 254  # bytes of a full address (RFC 5321 §4.5.3.1.3)
ASCII_ONLY = mark(
    "It may have only ASCII letters before the @: it stands in every message, and many mail "
    "servers do not carry others."
)

_QUOTED = 80  # characters of a wrong text that an error quotes
_PARSED = 1000  # characters at most of a "Name <address>"
# Valid as it is; the validator takes a hundred times as long to say so.
_PLAIN_LOCAL = re.compile(r"[A-Za-z0-9_]+(?:[.-][A-Za-z0-9_]+)*")
_WHOLE = re.compile(r"[^\s@<>\"]+@[^\s@<>\"]+")
_CONTROL = mark("It has a line break or another control character.")
_NAMED = re.compile(r'(?P<name>"(?:[^"\\]|\\.)*" *|[^"<>@,;:()\[\]\\]*)<(?P<address>[^<>]*)>')
_TWICE = re.compile(
    r"(?P<name>(?P<same>[^<>\s\",;:()\[\]\\]+)) *<(?P<address>(?P=same))>", re.IGNORECASE
)
_LOOSELY_NAMED = re.compile(r"(?P<name>[^<>@]*[^<>@\s])\s*<(?P<address>[^<>]*)>")
_SPECIAL = re.compile(r'[",;:()\[\]\\]')  # allowed in a quoted name only (RFC 5322 §3.2.3)
# Alphabets whose letters look like each other's: a label that mixes two is a disguise.
_LOOK_ALIKES = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address and the name shown with it. The address is full unless ``parse`` made it."""

    address: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


def quoted(text: str) -> str:
    """``text`` for an error message: in quotes, unprintables escaped, at most 80 characters."""
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")


def has_forbidden(text: str) -> bool:
    """Whether ``text`` has a character that no header may hold (T7)."""
    return FORBIDDEN.search(text) is not None


def check_line(field: str, text: str) -> str:
    """Return ``text`` if it fits in a header; ``field`` names it in the error.

    Raises:
        HeaderError: it has a line break or another control character.
    """
    found = FORBIDDEN.search(text)
    if found is None:
        return text
    raise HeaderError(
        f"{field} may not contain line breaks or control characters: "
        f"U+{ord(found[0]):04X} in {quoted(text)}. Remove it."
    )


def is_short(email: str) -> bool:
    """Whether ``email`` is only the part before the ``@``."""
    return "@" not in email


def is_blank(email: str | None) -> bool:
    """Whether there is no address at all, valid or not."""
    return not email or _BLANK.fullmatch(email) is not None


def domain_of(address: str) -> str:
    """The part after the ``@`` of a full address."""
    return address.rpartition("@")[2]


@lru_cache(maxsize=256)  # that of the default From is asked for with each recipient
def bare_domain(email: str | None) -> tuple[str, ...]:
    """The cleaned domain of ``email`` if it has no dot, else (); for ``own_domains``."""
    _, at, domain = (email or "").strip(PASTED).rpartition("@")
    if not at or "." in domain:
        return ()
    try:
        return (clean_domain(domain),)
    except AddressError:
        return ()


def needs_smtputf8(address: str) -> bool:
    """Whether only a server with SMTPUTF8 (RFC 6531) can take ``address``."""
    return not address.isascii()


@lru_cache(maxsize=256)
def clean_domain(raw: str) -> str:
    """The domain in ``raw`` as A-labels (R8), without blanks, leading ``@`` and trailing dot.

    Single labels and internal names such as ``corp.local`` are fine.

    Raises:
        AddressError: ``raw`` is not a valid domain.
    """
    domain = raw.strip(" ").removeprefix("@").strip(" ").removesuffix(".")
    try:
        return _clean_domain(domain)
    except ValueError as error:
        why = "" if has_forbidden(domain) else fault_in_domain(domain[:_PARSED])
        raise AddressError(
            mark(
                "%(domain)s is not a valid domain. %(why)s "
                "Write only the part after the @, like firm.example.",
                domain=quoted(raw),
                why=why or error,
            )
        ) from error


def clean_email(raw: str, *, own_domains: tuple[str, ...] = ()) -> str:
    """The full or short address in ``raw``, its domain as A-labels.

    A domain without a dot, such as ``interfacemail``, is accepted only if it is one of
    ``own_domains``, which are clean.

    Raises:
        AddressError: ``raw`` is neither; the text quotes it and says what to write.
    """
    if len(raw) <= LOCAL_LIMIT and _PLAIN_LOCAL.fullmatch(raw):
        return raw  # nearly every short one
    return _clean_email(raw, own_domains)


@lru_cache(maxsize=8192)
def _clean_email(raw: str, own_domains: tuple[str, ...]) -> str:
    email = raw.strip(PASTED)
    try:
        if has_forbidden(email):
            raise ValueError(_CONTROL)
        if is_short(email):
            return _clean_short(email)
        return _clean_full(email, own_domains)
    except ValueError as error:
        raise AddressError(
            _invalid(raw, fault_in(email[:_PARSED]) or _with_advice(error))
        ) from error


@lru_cache(maxsize=8192)
def spellings(address: str) -> tuple[str, ...]:
    """How a whole address can have been stored; () if it is something else."""
    if not _WHOLE.fullmatch(address):
        return ()
    local, _, domain = address.rpartition("@")
    found = {address, address.lower(), f"{local}@{domain.lower()}"}
    with suppress(AddressError):  # what is not right can still have been stored
        found.add(clean_email(address, own_domains=(clean_domain(domain),)))
    return tuple(sorted(found))


def complete(email: str, *, company_domain: str | None, own_domains: tuple[str, ...] = ()) -> str:
    """The full address of ``email`` (R9 to R12); a short one gets the company domain.

    Raises:
        AddressError: it is not valid, or short without a company domain.
    """
    company = clean_domain(company_domain) if company_domain else ""
    own = (*own_domains, company) if company else tuple(own_domains)
    cleaned = clean_email(email, own_domains=own)
    if not is_short(cleaned):
        return cleaned
    if company:
        return _joined(email, cleaned, company)
    raise AddressError(
        mark(
            "%(address)s has no part after the @, and no company domain is set. "
            "Write the full address, or set the domain in Configuration → Messaging.",
            address=quoted(email),
        )
    )


def parse(raw: str) -> Mailbox:
    """Parse a recipient: a full or short address, or ``Name <address>``.

    The address of the result may be short, or in a domain without a dot.

    Raises:
        AddressError: it is none of these.
    """
    name, email = _split(raw)
    return named(clean_email(email, own_domains=bare_domain(email)), name)


def mailbox(
    raw: str, *, company_domain: str | None = None, own_domains: tuple[str, ...] = ()
) -> Mailbox:
    """Parse a recipient as ``parse`` does, and complete its address.

    Raises:
        AddressError: it is not valid, or short without a company domain.
    """
    name, email = _split(raw)
    address = complete(email, company_domain=company_domain, own_domains=own_domains)
    return named(address, name)


def named(address: str, name: str) -> Mailbox:
    """The mailbox of ``address``, with ``name`` made safe to stand beside it.

    A name that only repeats the address is left out.
    """
    return Mailbox(address, "" if _same(name, address) else display_name(name))


def _same(name: str, address: str) -> bool:
    if "@" not in name or len(name) > _PARSED:
        return False
    bare = name.strip(f"{PASTED}<>\"'")  # some mail programs quote it
    try:
        return clean_email(bare, own_domains=bare_domain(bare)).casefold() == address.casefold()
    except AddressError:
        return False


def _split(raw: str) -> tuple[str, str]:
    """The name and address of ``Name <address>``; of anything else an empty name and all of it."""
    text = raw.strip(PASTED) if len(raw) <= _PARSED else ""
    found = _NAMED.fullmatch(text) or _TWICE.fullmatch(text)
    if found is None:
        _refuse_open_name(raw, text)
        return "", raw
    if has_forbidden(text):
        raise AddressError(_invalid(raw, _with_advice(ValueError(_CONTROL))))
    name = found["name"].strip()
    if name.startswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return name, found["address"]


def _refuse_open_name(raw: str, text: str) -> None:
    """Refuse ``Lovelace, Ada <ada@firm.example>``: without quotes it might be two addresses."""
    found = _LOOSELY_NAMED.fullmatch(text)
    special = _SPECIAL.search(found["name"]) if found else None
    if special and not has_forbidden(text):
        why = mark(
            "The name has %(sign)s in it: put quotation marks around the name, as in "
            '"Lovelace, Ada" <ada@firm.example>.',
            sign=repr(special[0]),
        )
        raise AddressError(_invalid(raw, why))


def _invalid(raw: str, why: str) -> str:
    return mark("%(address)s is not a valid e-mail address. %(why)s", address=quoted(raw), why=why)


def _with_advice(error: ValueError) -> str:
    return mark("%(fault)s %(advice)s", fault=error, advice=WRITE_IT)


def _clean_short(local: str) -> str:
    if not local:
        raise ValueError(mark("It is empty."))
    if "\uff20" in local or "\ufe6b" in local:
        raise ValueError(mark("Its @ is not the ordinary one."))
    return _clean_local(local)


def _clean_full(email: str, own_domains: tuple[str, ...]) -> str:
    local, _, domain = email.rpartition("@")
    _fitting(email)
    if "@" in local:
        raise ValueError(mark("It has more than one @."))
    cleaned = _clean_domain(domain)
    if "." not in cleaned and cleaned not in own_domains:
        raise ValueError(
            mark(
                "The part after the @ has no dot, and is neither the company domain nor one of the "
                "listed own domains."
            )
        )
    return _fitting(f"{_clean_local(local)}@{cleaned}")


def _joined(email: str, local: str, domain: str) -> str:
    try:
        return _fitting(f"{local}@{domain}")
    except ValueError as error:
        raise AddressError(
            mark(
                "%(address)s cannot be completed with %(domain)s. %(why)s",
                address=quoted(email),
                domain=domain,
                why=error,
            )
        ) from error


def _fitting(address: str) -> str:
    """Return ``address`` if it fits in an SMTP path."""
    if len(address.encode()) > ADDRESS_LIMIT:
        raise ValueError(mark("It is longer than %(limit)s bytes.", limit=ADDRESS_LIMIT))
    return address


def _clean_local(local: str) -> str:
    if "=?" in local and "?=" in local:
        # Some servers decode an encoded word (RFC 2047) and deliver to the address inside.
        raise ValueError(mark("An encoded word may not stand before the @."))
    if len(local.encode()) > LOCAL_LIMIT:
        text = mark("The part before the @ is longer than %(limit)s bytes.", limit=LOCAL_LIMIT)
        raise ValueError(text)
    if _PLAIN_LOCAL.fullmatch(local):
        return local
    _validate(f"{local}@a.com")
    # Not the validator's result, which has names such as Info in lower case.
    return unicodedata.normalize("NFC", local)


@lru_cache(maxsize=1024)  # many people share a domain
def _clean_domain(domain: str) -> str:
    if not domain:
        raise ValueError(mark("There is nothing after the @."))
    # Internal mail uses special-use names (RFC 6761) and single labels. The validator refuses
    # them at the end of a domain only, so another label is put behind them.
    found = _validate(f"a@{domain}.com")
    unicode_form = found.domain.removesuffix(".com")
    ascii_form = (found.ascii_domain or "").removesuffix(".com")
    if ascii_form.rpartition(".")[2].isdigit():  # RFC 3696 §2
        raise ValueError(mark("The part after the @ ends in a number; a domain ends in a word."))
    # ⓔxample.org would become example.org: only the case may change.
    if unicodedata.normalize("NFC", domain).casefold() not in (
        unicode_form.casefold(),
        ascii_form,
    ):
        raise ValueError(mark("The part after the @ has characters that stand for others."))
    if not domain.isascii():
        _refuse_disguise(unicode_form)
    return ascii_form


def _refuse_disguise(domain: str) -> None:
    for label in domain.split("."):
        letters = filter(str.isalpha, label)
        scripts = {unicodedata.name(letter, "").partition(" ")[0] for letter in letters}
        if len(scripts & _LOOK_ALIKES) > 1:
            raise ValueError(mark("The part after the @ mixes alphabets whose letters look alike."))


def _validate(address: str) -> email_validator.ValidatedEmail:
    import email_validator  # late: it takes 18 ms, and many processes check no address

    if has_forbidden(address):
        raise ValueError(_CONTROL)
    try:
        return email_validator.validate_email(address, check_deliverability=False)
    except email_validator.EmailNotValidError as error:
        raise ValueError(f"{str(error).rstrip('.')}.") from error
