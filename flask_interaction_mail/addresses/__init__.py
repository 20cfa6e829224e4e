"""E-mail addresses: what is one, how a short one becomes full, what a name may look like.

A *full* address has an ``@``; a *short* one is the part before it and waits for the company
domain. Domains are kept as lower-case A-labels (RFC 5890), local parts as they were given.
``email_validator`` decides what an address is; ``email.utils.parseaddr`` is never asked, because
it finds addresses where there are none (CVE-2023-27043).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import AddressError, HeaderError
from ..names import display_name
from .faults import fault_in, fault_in_domain

if TYPE_CHECKING:
    import email_validator

# What comes along at the ends of what is pasted: blanks of every width, none included.
PASTED = (
    " \t\r\n\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b"
    "\u202f\u205f\u2060\u3000\ufeff"
)
LOCAL_LIMIT = 64  # bytes before the @ (RFC 5321 §4.5.3.1.1)

_QUOTED = 80  # characters of a culprit that an error shows
_PARSED = 1000  # characters of a "Name <address>" that are looked at
_CONTROL = "It has a line break or another control character."
ADDRESS_LIMIT = 254  # bytes of a full address

_WRITE_IT = "Write it like name@firm.example, or only the part before the @."
# C0, DEL, C1 (with U+0085), the two separators, and surrogates, which no encoding can carry.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NAMED = re.compile(r'(?P<name>"(?:[^"\\]|\\.)*" *|[^"<>@,;:()\[\]\\]*)<(?P<address>[^<>]*)>')
_TWICE = re.compile(
    r"(?P<name>(?P<same>[^<>\s\",;:()\[\]\\]+)) *<(?P<address>(?P=same))>", re.IGNORECASE
)
_LOOSELY_NAMED = re.compile(r"(?P<name>[^<>@]*[^<>@\s])\s*<(?P<address>[^<>]*)>")
_SPECIAL = re.compile(r'[",;:()\[\]\\]')  # what only a quoted name may hold (RFC 5322 §3.2.3)
# Alphabets whose letters look like each other's: two of them in one label are a disguise.
_LOOK_ALIKES = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address, and the name that is shown with it; full except where ``parse`` made it."""

    address: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


def quoted(text: str) -> str:
    """``text`` for an error message: in quotes, unprintables escaped, cut."""
    return repr(text if len(text) <= _QUOTED else text[:_QUOTED] + "…")


def has_forbidden(text: str) -> bool:
    """Whether ``text`` has a character that may stand in no header (T7)."""
    return _FORBIDDEN.search(text) is not None


def check_line(field: str, text: str) -> str:
    """``text``, fit for a header; ``field`` names it in the error.

    Raises:
        HeaderError: it has a line break or another control character.
    """
    found = _FORBIDDEN.search(text)
    if found is None:
        return text
    raise HeaderError(
        f"{field} may not contain line breaks or control characters: "
        f"U+{ord(found[0]):04X} in {quoted(text)}. Take it out."
    )


def is_short(email: str) -> bool:
    """Whether ``email`` is only the part before the ``@``."""
    return "@" not in email


def is_blank(email: str | None) -> bool:
    """Whether there is no address at all, neither a good nor a bad one."""
    return all(one.isspace() or one in PASTED for one in email or "")


def domain_of(address: str) -> str:
    """The part after the ``@`` of a full address."""
    return address.rpartition("@")[2]


def bare_domain(email: str | None) -> tuple[str, ...]:
    """The domain of ``email`` if it has no dot, for ``own_domains`` where it may have none."""
    domain = domain_of((email or "").strip(PASTED)).lower()
    return (domain,) if "@" in (email or "") and "." not in domain else ()


ASCII_ONLY = (
    "It may have only ASCII letters before the @: it stands in every message, and many mail "
    "servers do not carry others."
)


def needs_smtputf8(address: str) -> bool:
    """Whether only a server with SMTPUTF8 (RFC 6531) can take ``address``."""
    return not address.isascii()


@lru_cache(maxsize=256)
def clean_domain(raw: str) -> str:
    """The domain that ``raw`` means (R8): without blanks, leading ``@`` and trailing dot.

    Single labels and internal names such as ``corp.local`` are fine.

    Raises:
        AddressError: ``raw`` is no domain.
    """
    domain = raw.strip(" ").removeprefix("@").strip(" ").removesuffix(".")
    try:
        return _clean_domain(domain)
    except ValueError as error:
        why = "" if has_forbidden(domain) else fault_in_domain(domain[:_PARSED])
        raise AddressError(
            f"{quoted(raw)} is no domain. {why or _sentence(error)} "
            "Write only the part after the @, like firm.example."
        ) from error


@lru_cache(maxsize=8192)
def clean_email(raw: str, *, own_domains: tuple[str, ...] = ()) -> str:
    """The full or short address that ``raw`` means.

    A domain without a dot, such as ``interfacemail``, is taken only if it is one of
    ``own_domains`` (cleaned ones).

    Raises:
        AddressError: ``raw`` is neither form; the text quotes it and says what is right.
    """
    email = raw.strip(PASTED)
    try:
        if has_forbidden(email):
            raise ValueError(_CONTROL)
        if is_short(email):
            return _clean_short(email)
        return _clean_full(email, own_domains)
    except ValueError as error:
        why = fault_in(email[:_PARSED]) or f"{_sentence(error)} {_WRITE_IT}"
        raise AddressError(f"{quoted(raw)} is no e-mail address. {why}") from error


@lru_cache(maxsize=8192)
def complete(email: str, *, company_domain: str | None, own_domains: tuple[str, ...] = ()) -> str:
    """The full address for ``email`` (R9 to R12): a short one gets the company domain.

    Raises:
        AddressError: it is no address, or short and there is no company domain.
    """
    company = clean_domain(company_domain) if company_domain else ""
    own = (*own_domains, company) if company else tuple(own_domains)
    cleaned = clean_email(email, own_domains=own)
    if not is_short(cleaned):
        return cleaned
    if company:
        return _joined(email, cleaned, company)
    raise AddressError(
        f"{quoted(email)} has no part after the @, and no company domain is set. "
        "Write the full address, or set the domain in Configuration → Messaging."
    )


def parse(raw: str) -> Mailbox:
    """What somebody wrote as a recipient: full or short address, or ``Name <address>``.

    The address of the mailbox may still be short, or in a domain without a dot.

    Raises:
        AddressError: it is none of these.
    """
    name, email = _split(raw)
    return named(clean_email(email, own_domains=bare_domain(email)), name)


def mailbox(
    raw: str, *, company_domain: str | None = None, own_domains: tuple[str, ...] = ()
) -> Mailbox:
    """Like ``parse``, with the address completed.

    Raises:
        AddressError: ``raw`` is no address, or short and there is no company domain.
    """
    name, email = _split(raw)
    address = complete(email, company_domain=company_domain, own_domains=own_domains)
    return named(address, name)


def named(address: str, name: str) -> Mailbox:
    """The mailbox of a full ``address``, with ``name`` as it may stand beside it.

    A name that is the address once more is none.
    """
    return Mailbox(address, "" if _same(name, address) else display_name(name))


def _same(name: str, address: str) -> bool:
    if "@" not in name or len(name) > _PARSED:
        return False
    bare = name.strip(f"{PASTED}<>\"'")  # some mailbox programs put it into quotes
    try:
        return clean_email(bare, own_domains=bare_domain(bare)).casefold() == address.casefold()
    except AddressError:
        return False


def _split(raw: str) -> tuple[str, str]:
    """Name and address of ``Name <address>``; anything else is all address."""
    text = raw.strip(PASTED) if len(raw) <= _PARSED else ""
    found = _NAMED.fullmatch(text) or _TWICE.fullmatch(text)
    if found is None:
        _refuse_open_name(raw, text)
        return "", raw
    if has_forbidden(text):
        raise AddressError(f"{quoted(raw)} is no e-mail address. {_CONTROL} {_WRITE_IT}")
    name = found["name"].strip()
    if name.startswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return name, found["address"]


def _refuse_open_name(raw: str, text: str) -> None:
    """Complain of ``Lovelace, Ada <ada@firm.example>``, which without quotes might be two."""
    found = _LOOSELY_NAMED.fullmatch(text)
    special = _SPECIAL.search(found["name"]) if found else None
    if special and not has_forbidden(text):
        raise AddressError(
            f"{quoted(raw)} is no e-mail address. The name has a {special[0]} in it: put quotation "
            'marks around the name, as in "Lovelace, Ada" <ada@firm.example>.'
        )


def _clean_short(local: str) -> str:
    if not local:
        raise ValueError("It is empty.")
    if "\uff20" in local or "\ufe6b" in local:
        raise ValueError("Its @ is not the ordinary one.")
    return _clean_local(local)


def _clean_full(email: str, own_domains: tuple[str, ...]) -> str:
    local, _, domain = email.rpartition("@")
    _fitting(email)
    if "@" in local:
        raise ValueError("It has more than one @.")
    cleaned = _clean_domain(domain)
    if "." not in cleaned and cleaned not in own_domains:
        raise ValueError(
            "The part after the @ has no dot, and is neither the company domain nor one of the "
            "listed own domains."
        )
    return _fitting(f"{_clean_local(local)}@{cleaned}")


def _joined(email: str, local: str, domain: str) -> str:
    try:
        return _fitting(f"{local}@{domain}")
    except ValueError as error:
        raise AddressError(f"{quoted(email)} cannot be completed with {domain}. {error}") from error


def _fitting(address: str) -> str:
    """``address``, if it fits into an SMTP path (RFC 5321 §4.5.3.1.3)."""
    if len(address.encode()) > ADDRESS_LIMIT:
        raise ValueError(f"It is longer than {ADDRESS_LIMIT} bytes.")
    return address


def _clean_local(local: str) -> str:
    if "=?" in local and "?=" in local:
        # Some servers decode an encoded word (RFC 2047) and deliver to whom it names.
        raise ValueError("An encoded word may not stand before the @.")
    if len(local.encode()) > LOCAL_LIMIT:
        raise ValueError(f"The part before the @ is longer than {LOCAL_LIMIT} bytes.")
    _validate(f"{local}@a.com")
    # The validator also lowers the case of names such as Info; a given address stays as it is.
    return unicodedata.normalize("NFC", local)


def _clean_domain(domain: str) -> str:
    if not domain:
        raise ValueError("Nothing stands after the @.")
    # Internal mail uses special-use names (RFC 6761) and single labels, which the validator
    # refuses only at the end of a domain: so they do not stand at the end.
    found = _validate(f"a@{domain}.com")
    unicode_form = found.domain.removesuffix(".com")
    ascii_form = (found.ascii_domain or "").removesuffix(".com")
    if ascii_form.rpartition(".")[2].isdigit():  # RFC 3696 §2
        raise ValueError("The part after the @ ends in a number; a domain ends in a word.")
    # ⓔxample.org would become example.org: a domain that is changed by more than its case lies.
    if unicodedata.normalize("NFC", domain).casefold() not in (
        unicode_form.casefold(),
        ascii_form,
    ):
        raise ValueError("The part after the @ has characters that stand for others.")
    if not domain.isascii():
        _refuse_disguise(unicode_form)
    return ascii_form


def _refuse_disguise(domain: str) -> None:
    for label in domain.split("."):
        scripts = {unicodedata.name(one, "").partition(" ")[0] for one in label if one.isalpha()}
        if len(scripts & _LOOK_ALIKES) > 1:
            raise ValueError("The part after the @ mixes alphabets whose letters look alike.")


def _sentence(error: ValueError) -> str:
    return f"{str(error).rstrip('.')}."


def _validate(address: str) -> email_validator.ValidatedEmail:
    import email_validator  # late: it takes 18 ms, and many processes see no address

    if has_forbidden(address):
        raise ValueError(_CONTROL)
    try:
        return email_validator.validate_email(address, check_deliverability=False)
    except email_validator.EmailNotValidError as error:
        raise ValueError(f"{error}") from error
