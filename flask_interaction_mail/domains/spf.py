"""Which servers may send for a domain, and whether receivers can read the list (RFC 7208).

What a receiver concludes depends on the address that the mail comes from, which is not known here.
So the record is followed as for an address that nothing in it matches: as far as anybody may have
to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ..language import gettext, mark
from . import mx
from .answers import Answer, Ask
from .findings import Finding, Record, Topic, finding, unknown
from .providers import Provider
from .spf_terms import VERSION, Term, WrongTerm, is_record, terms

MOST_LOOKUPS: Final = 10  # RFC 7208 §4.6.4
MOST_VOIDS: Final = 2
_MOST_HOSTS: Final = 10  # servers of one "mx"
_COUNTED: Final = 40  # look-ups after which nobody cares how many there are
_ASKING: Final = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
_RESTS: Final = {
    "-": mark("mail from others is to be refused"),
    "~": mark("mail from others is suspicious"),
    "?": mark("nothing is said about others"),
    "+": mark("everybody else may, too"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spf:
    """What a domain publishes. ``includes`` are the domains whose lists count, too."""

    record: str | None
    lookups: int
    voids: tuple[str, ...]
    includes: frozenset[str]
    rest: str  # the qualifier for servers that are not listed: - ~ ? +
    findings: tuple[Finding, ...]


def examine(domain: str, ask: Ask, provider: Provider | None = None) -> Spf:
    """Follow the record of ``domain``, through which mail leaves by way of ``provider``."""
    walk = _Walk(ask, domain)
    record, rest = walk.follow(domain)
    findings = [*walk.findings, *_limits(walk)]
    if record is not None and rest == "+":
        findings.append(finding("spf_open", domain=domain))
    if record is not None and not findings:
        said = gettext(_RESTS[rest])
        findings.append(finding("spf_fine", domain=domain, lookups=walk.lookups, rest=said))
    findings += _about(domain, record, walk, provider)
    return Spf(
        record=record,
        lookups=walk.lookups,
        voids=tuple(walk.voids),
        includes=frozenset(walk.included),
        rest=rest,
        findings=tuple(findings),
    )


@dataclass
class _Walk:
    """One way through a record and those that it leads to, with what is counted on it."""

    ask: Ask
    domain: str
    lookups: int = 0
    voids: list[str] = field(default_factory=list)
    included: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    incomplete: bool = False

    def follow(self, name: str, chain: tuple[str, ...] = ()) -> tuple[str | None, str]:
        """The record of ``name`` and its qualifier for all others; ``chain`` led here."""
        answer = self.ask(name, "TXT")
        if answer.unknown:
            self._unknown(answer)
            return None, "?"
        records = [record for record in answer.records if is_record(record)]
        if len(records) > 1:
            self._add("spf_several", name=name, count=len(records))
        elif records:
            return records[0], self._rest(name, records[0], (*chain, name.lower()))
        elif chain:
            self._void(answer)
            self._add("spf_include_none", domain=self.domain, name=name)
        return None, "?"

    def _rest(self, name: str, record: str, chain: tuple[str, ...]) -> str:
        try:
            found = terms(record)
        except WrongTerm as error:
            self._add("spf_syntax", name=name, term=error)
            return "?"
        for term in found:
            if self._matches_everybody(name, term, chain):
                return term.qualifier  # nothing after it is read, a redirect neither (§5.1)
        redirect = next((term for term in found if term.name == "redirect"), None)
        return "?" if redirect is None else self._go_to(redirect, chain)[1]

    def _matches_everybody(self, name: str, term: Term, chain: tuple[str, ...]) -> bool:
        """Whether ``term`` ends the record; looks up what it leads to."""
        if term.name == "all":
            return True
        if term.name == "include":
            return self._go_to(term, chain)[1] == "+"
        if term.name not in _ASKING - {"redirect"}:
            return False
        self.lookups += 1
        if term.name == "ptr":
            self._add("spf_ptr", name=name)
        if term.name == "ptr" or term.depends or self.lookups > _COUNTED:
            return False
        return self._asked(term.name, term.target or name)

    def _asked(self, mechanism: str, target: str) -> bool:
        """Whether a name is there that is the same for everybody, which "exists" asks for."""
        if mechanism == "mx":
            self._servers(target)
            return False
        answer = self.ask(target, "A") if mechanism == "exists" else self._address(target)
        self._void(answer)
        return mechanism == "exists" and bool(answer.records)

    def _go_to(self, term: Term, chain: tuple[str, ...]) -> tuple[str | None, str]:
        self.lookups += 1
        target = term.target.lower().removesuffix(".")
        if target in chain:
            self._add("spf_loop", domain=self.domain, name=target)
        elif not term.depends and self.lookups <= _COUNTED:
            self.included.add(target)
            return self.follow(target, chain)
        return None, "?"

    def _servers(self, name: str) -> None:
        answer = self.ask(name, "MX")
        self._void(answer)
        hosts = mx.hosts_of(answer)
        if len(hosts) > _MOST_HOSTS:
            self._add("spf_many_hosts", domain=self.domain, name=name)
        for host in hosts[:_MOST_HOSTS]:
            if host != ".":
                self._void(self._address(host))

    def _address(self, host: str) -> Answer:
        return mx.addresses(host, self.ask)

    def _void(self, answer: Answer) -> None:
        if answer.unknown:
            self._unknown(answer)
        elif answer.void:
            self.voids.append(answer.name)

    def _unknown(self, answer: Answer) -> None:
        self.incomplete = True
        self._put(unknown(Topic.SPF, answer))

    def _add(self, code: str, **values: object) -> None:
        self._put(finding(code, **values))

    def _put(self, found: Finding) -> None:
        if found not in self.findings:
            self.findings.append(found)


def _limits(walk: _Walk) -> Iterator[Finding]:
    if walk.lookups > MOST_LOOKUPS:
        uncounted = walk.lookups > _COUNTED
        count = gettext("more than %(count)s", count=_COUNTED) if uncounted else walk.lookups
        yield finding("spf_lookups", domain=walk.domain, count=count)
    if len(walk.voids) > MOST_VOIDS:
        names = ", ".join(dict.fromkeys(walk.voids))
        yield finding("spf_voids", domain=walk.domain, count=len(walk.voids), names=names)


def _about(
    domain: str, record: str | None, walk: _Walk, provider: Provider | None
) -> Iterator[Finding]:
    """What there is to say of a missing record, and of the provider in use."""
    if record is None and not walk.findings:
        yield _missing(domain, provider)
    elif record is None or provider is None:
        return
    elif provider.include is None:
        yield finding("spf_provider_own", domain=domain, provider=provider.name)
    elif walk.included & {provider.include, *provider.also}:
        yield finding("spf_provider_listed", domain=domain, provider=provider.name)
    elif not walk.incomplete:
        mended = Record(domain, "TXT", _with_include(record, provider.include))
        yield finding("spf_provider_unlisted", mended, domain=domain, provider=provider.name)


def _missing(domain: str, provider: Provider | None) -> Finding:
    if provider is None or provider.include is None:
        return finding("spf_none", domain=domain)
    record = Record(domain, "TXT", f"{VERSION} include:{provider.include} ~all")
    return finding("spf_none_provider", record, domain=domain, provider=provider.name)


def _with_include(record: str, include: str) -> str:
    """``record`` with one more include, first, so that nothing can end the list before it."""
    version, _, others = record.partition(" ")
    return " ".join(filter(None, (version, f"include:{include}", others.strip())))
