"""The one wrapper of dnspython: a question in, an ``Answer`` out, all by one deadline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic
from typing import Final

import dns.exception
import dns.name
import dns.nameserver
import dns.rdata
import dns.resolver
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from ..language import gettext
from .answers import Answer, Found

_TRY: Final = 1.5  # s that one name server gets for one try
_QUESTION: Final = 3.0  # s for one question, all tries together
_PAUSE: Final = 0.5  # s that dnspython may sleep after the last try, whatever its lifetime says
_QUESTIONS: Final = 120  # that one resolver asks: a hostile record must not make it ask for ever
_ALIASES: Final = 8  # that are followed one after the other, where the server does not
_RECORDS: Final = 256
_CHARACTERS: Final = 16_384  # of all records of an answer
_TYPES: Final = frozenset({"A", "AAAA", "MX", "TXT"})

NameServer = tuple[str, int]  # IP address and port


class Resolver:
    """Asks until its deadline, and no question twice.

    ``name_servers`` are asked in their order; without any, those that the system uses.
    """

    def __init__(self, within: float, name_servers: Sequence[NameServer] = ()) -> None:
        """Give all questions together ``within`` seconds from now."""
        self._until = monotonic() + within
        self._answers: dict[tuple[str, str], Answer] = {}
        self._asked = 0
        self._resolver = _resolver(name_servers)

    def ask(self, name: str, type: str) -> Answer:  # noqa: A002 - DNS has no other word
        """Answer about the records of ``type`` (A, AAAA, MX, TXT) at ``name``; never raises.

        ``name`` is in A-labels, with or without the dot at its end. A name that no DNS message can
        carry is unknown.
        """
        key = (name.lower().removesuffix("."), type)
        if key not in self._answers:
            self._answers[key] = self._ask(*key)
        return self._answers[key]

    def _ask(self, name: str, kind: str) -> Answer:
        try:
            target = _name(name)
        except (dns.exception.DNSException, UnicodeError):
            return _unknown(name, kind, gettext("not a name that can be asked for"))
        for _ in range(_ALIASES):
            try:
                return _read(name, kind, self._resolve(target, kind))
            except dns.resolver.NXDOMAIN:
                return Answer(name=name, type=kind, found=Found.NO_NAME)
            except dns.resolver.NoAnswer as error:
                alias = error.response().canonical_name()  # type: ignore[no-untyped-call, unused-ignore]
                if alias == target:
                    return Answer(name=name, type=kind, found=Found.NO_DATA)
                target = alias
            except (dns.exception.DNSException, OSError, ValueError) as error:
                return _unknown(name, kind, _said(error))
        return _unknown(name, kind, gettext("too many aliases"))

    def _resolve(self, name: dns.name.Name, kind: str) -> dns.resolver.Answer:
        left = self._until - monotonic() - _PAUSE
        self._asked += 1
        if self._resolver is None:
            raise dns.resolver.NoResolverConfiguration
        if left <= 0 or self._asked > _QUESTIONS:
            raise _TimeIsUp
        # Both: a try takes as long as `timeout` says, whatever `lifetime` leaves.
        self._resolver.timeout = min(_TRY, left)
        return self._resolver.resolve(name, kind, lifetime=min(_QUESTION, left), search=False)


class _TimeIsUp(dns.exception.DNSException):
    """No more questions are asked."""


def _resolver(name_servers: Sequence[NameServer]) -> dns.resolver.Resolver | None:
    """The resolver of the ``name_servers``, None if the system has none either."""
    if name_servers:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = [
            dns.nameserver.Do53Nameserver(address, port) for address, port in name_servers
        ]
        return resolver
    try:
        return dns.resolver.Resolver()
    except (dns.resolver.NoResolverConfiguration, OSError):
        return None


def _name(text: str) -> dns.name.Name:
    """``text`` as a name, taken literally: dnspython would read escapes, and other alphabets.

    Raises:
        DNSException: a label is empty or too long, or the name is.
        UnicodeError: it is not in ASCII.
    """
    return dns.name.Name([*(label.encode("ascii") for label in text.split(".")), b""])


def _read(name: str, kind: str, answer: dns.resolver.Answer) -> Answer:
    if len(answer) > _RECORDS:
        return _unknown(name, kind, gettext("more than %(count)s records", count=_RECORDS))
    records = tuple(map(_text, answer))
    if sum(map(len, records)) > _CHARACTERS:
        return _unknown(name, kind, gettext("more than %(count)s characters", count=_CHARACTERS))
    return Answer(name=name, type=kind, found=Found.RECORDS, records=records)


def _text(record: dns.rdata.Rdata) -> str:
    match record:
        case TXT(strings=strings):
            return b"".join(strings).decode("utf-8", "replace")
        case MX(preference=preference, exchange=exchange):
            return f"{preference} {exchange.to_text(omit_final_dot=True).lower()}"
        case _:
            return record.to_text()


def _unknown(name: str, kind: str, problem: str) -> Answer:
    return Answer(name=name, type=kind, found=Found.UNKNOWN, problem=problem)


def _said(error: Exception) -> str:
    """Why there is no answer, in a few words."""
    match error:
        case _TimeIsUp():
            return gettext("there was no time left")
        case dns.resolver.NoResolverConfiguration():
            return gettext("this machine has no name server")
        case dns.exception.Timeout():
            return _each(error.kwargs.get("errors", ())) or gettext("no answer in time")
        case dns.resolver.NoNameservers():
            return _each(error.kwargs.get("errors", ())) or gettext("no name server answers")
        case _:
            return gettext("the answer makes no sense")


def _each(errors: Iterable[tuple[object, ...]]) -> str:
    """What the name servers said, each thing once: an error is an rcode or an exception."""
    return ", ".join(dict.fromkeys(_word(error[3]) for error in errors))


def _word(said: object) -> str:
    match said:
        case str():
            return said  # SERVFAIL, REFUSED
        case dns.exception.Timeout():
            return gettext("no answer in time")
        case OSError():
            return gettext("not reached")
        case _:
            return gettext("the answer makes no sense")
