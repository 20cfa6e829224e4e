"""The grammar of an SPF record (RFC 7208 §4.6.1, §7.1, §12)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from ..language import gettext

VERSION: Final = "v=spf1"

_MACRO = r"%(?:\{[slodiphv][0-9]*r?[.+,/_=-]*\}|[%_-])"
_MACRO_STRING = re.compile(rf"(?:[!-$&-~]|{_MACRO})*", re.IGNORECASE)
_ENDS_IN_MACRO = re.compile(rf"(?s:.*){_MACRO}", re.IGNORECASE)
_TOP_LABEL = re.compile(
    r"\.(?=[a-z0-9-]*[a-z-])[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.?\Z", re.IGNORECASE
)
_MODIFIER = re.compile(r"(?P<name>[a-z][a-z0-9_.-]*)=(?P<value>.*)", re.IGNORECASE)
_MECHANISM = re.compile(
    r"(?P<qualifier>[+?~-]?)(?P<name>all|include|a|mx|ptr|ip4|ip6|exists)(?P<rest>[:/].*)?",
    re.IGNORECASE,
)
_CIDR = re.compile(r"(?P<name>.*?)(?:/(?P<v4>0|[1-9][0-9]?))?(?://(?P<v6>0|[1-9][0-9]{0,2}))?")
_IP = re.compile(r"(?P<address>[0-9a-f:.]+)(?:/(?P<length>0|[1-9][0-9]{0,2}))?", re.IGNORECASE)


class WrongTerm(ValueError):
    """A term that the grammar does not have, which makes the whole record worth nothing."""


@dataclass(frozen=True, slots=True)
class Term:
    """A mechanism or modifier, its name in lower case; ``target`` is "" for the domain itself."""

    name: str
    target: str = ""
    qualifier: str = "+"

    @property
    def depends(self) -> bool:
        """Whether the message decides what is looked up, by a macro (RFC 7208 §7)."""
        return "%" in self.target


def is_record(text: str) -> bool:
    """Whether a TXT record is one of SPF (RFC 7208 §4.5)."""
    version, blank, _ = text.partition(" ")
    return version.lower() == VERSION and (blank == " " or text == version)


def terms(record: str) -> tuple[Term, ...]:
    """The terms of ``record`` in their order.

    Raises:
        WrongTerm: one is not in the grammar; it is the error's text.
    """
    found = tuple(map(_term, record[len(VERSION) :].split(" ")))
    for name in ("redirect", "exp"):
        if sum(term.name == name for term in found if term) > 1:
            raise WrongTerm(gettext("%(name)s= a second time", name=name))
    return tuple(term for term in found if term is not None)


def _term(text: str) -> Term | None:
    if not text:
        return None
    if modifier := _MODIFIER.fullmatch(text):
        return _modifier(text, modifier["name"].lower(), modifier["value"])
    found = _MECHANISM.fullmatch(text)
    if found is None:
        raise WrongTerm(text)
    name, rest = found["name"].lower(), found["rest"] or ""
    return Term(name, _target(text, name, rest), found["qualifier"] or "+")


def _modifier(text: str, name: str, value: str) -> Term:
    if name in ("redirect", "exp"):
        return Term(name, _domain(text, value))
    if not _MACRO_STRING.fullmatch(value):
        raise WrongTerm(text)
    return Term(name, value)


def _target(text: str, name: str, rest: str) -> str:
    match name:
        case "all":
            fits = not rest
        case "ip4" | "ip6":
            fits = rest.startswith(":") and _is_network(name, rest[1:])
        case "include" | "exists":
            return _domain(text, rest[1:] if rest.startswith(":") else "")
        case "ptr":
            return _domain(text, rest[1:]) if rest.startswith(":") else _nothing(text, rest)
        case _:
            return _with_lengths(text, rest)
    return rest[1:] if fits else _nothing(text, text)


def _with_lengths(text: str, rest: str) -> str:
    """The name in ``:name/24//64``, of which each part may be missing."""
    found = _CIDR.fullmatch(rest)
    if found is None or int(found["v4"] or 0) > 32 or int(found["v6"] or 0) > 128:
        raise WrongTerm(text)
    name = found["name"]
    return _domain(text, name[1:]) if name.startswith(":") else _nothing(text, name)


def _nothing(text: str, rest: str) -> str:
    if rest:
        raise WrongTerm(text)
    return ""


def _domain(text: str, name: str) -> str:
    """``name`` if it is a domain-spec (RFC 7208 §7.1)."""
    ends = _TOP_LABEL.search(name) or _ENDS_IN_MACRO.fullmatch(name)
    if not (ends and _MACRO_STRING.fullmatch(name)):
        raise WrongTerm(text)
    return name


def _is_network(name: str, value: str) -> bool:
    found = _IP.fullmatch(value)
    if found is None:
        return False
    kind, longest = (IPv4Address, 32) if name == "ip4" else (IPv6Address, 128)
    try:
        kind(found["address"])
    except ValueError:
        return False
    return int(found["length"] or 0) <= longest
