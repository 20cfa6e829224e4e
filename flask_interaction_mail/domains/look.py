"""The use case: everything that DNS says about a domain that mail comes from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..addresses import clean_domain
from . import dkim, dmarc, mx, spf
from .answers import Ask
from .dkim import Dkim
from .dmarc import Dmarc
from .findings import Finding, Kind
from .mx import Mx
from .providers import provider_of
from .resolver import NameServer, Resolver
from .spf import Spf

WITHIN: Final = 8.0  # s


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainReport:
    """What there is to say about one domain, by topic."""

    domain: str  # as A-labels
    provider: str | None  # through which its mail leaves, if it is known
    mx: Mx
    spf: Spf
    dkim: Dkim
    dmarc: Dmarc

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them, in the order of the topics."""
        return tuple(self._findings())

    @property
    def fine(self) -> bool:
        """Whether nothing is missing or wrong, and everything could be checked."""
        return all(found.kind is Kind.FINE for found in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        return {
            "domain": self.domain,
            "provider": self.provider,
            "mail_servers": self.mx.hosts,
            "spf": self.spf.record,
            "spf_lookups": self.spf.lookups,
            "dkim_selectors": self.dkim.selectors,
            "dmarc": self.dmarc.record,
            "dmarc_policy": self.dmarc.policy,
            "organizational_domain": self.dmarc.organizational,
            "findings": [found.to_json() for found in self.findings],
        }

    def _findings(self) -> Iterator[Finding]:
        for part in (self.mx, self.spf, self.dkim, self.dmarc):
            yield from part.findings


def look(
    domain: str,
    *,
    selectors: Sequence[str] = (),
    relay: str | None = None,
    name_servers: Sequence[NameServer] = (),
    within: float = WITHIN,
) -> DomainReport:
    """Ask DNS about ``domain``, for ``within`` seconds at most.

    ``selectors`` are those of DKIM; without any, the usual ones are tried. ``relay`` is the host
    through which its mail leaves. What is not answered in time could not be checked.

    Raises:
        AddressError: ``domain`` is not valid.
    """
    ask = Resolver(within, name_servers).ask
    return examine(clean_domain(domain), ask, selectors=selectors, relay=relay)


def examine(
    domain: str, ask: Ask, *, selectors: Sequence[str] = (), relay: str | None = None
) -> DomainReport:
    """``look`` for a clean ``domain``, with the answers of ``ask``."""
    provider = provider_of(relay)
    # DMARC before SPF, which may lead to many slow names.
    where, rule = mx.examine(domain, ask), dmarc.examine(domain, ask)
    return DomainReport(
        domain=domain,
        provider=provider.name if provider else None,
        mx=where,
        dmarc=rule,
        dkim=dkim.examine(domain, ask, selectors, provider),
        spf=spf.examine(domain, ask, provider),
    )
