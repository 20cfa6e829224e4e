"""From which addresses mail would be stopped by receivers, and which From policy to choose.

A domain's rule is met if the domain of the envelope or of a signature fits the one in From
(RFC 9989 §4.4). The envelope is the default From's. Whether SPF and DKIM pass is another question.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..language import gettext
from ..settings.model import ForeignSender, FromPolicy
from .dmarc import Dmarc, Policy
from .findings import Finding, finding


class Prospect(enum.StrEnum):
    """What receivers would make of mail from a domain."""

    FITS = "fits"  # passes, if SPF or DKIM does
    FAILS = "fails"
    NOT_ENFORCED = "not enforced"  # fails, and the domain does not mind
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class FromDomain:
    """One domain that stands in From, and how many addresses are in it."""

    domain: str
    addresses: int
    prospect: Prospect
    policy: Policy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """``from_policy`` and ``foreign_sender`` are what to choose, None to leave them as they are."""

    domains: tuple[FromDomain, ...]
    from_policy: FromPolicy | None = None
    foreign_sender: ForeignSender | None = None
    findings: tuple[Finding, ...] = ()


def advise(
    senders: Mapping[str, int],
    *,
    envelope: str,
    own: Collection[str],
    rules: Mapping[str, Dmarc],
    signed: Collection[str] = (),
) -> Advice:
    """Say which of the ``senders``, From domains with their number of addresses, would fail.

    ``own`` are the domains as which users are shown without being asked, ``rules`` what DMARC says
    of each domain that is named here, and ``signed`` those that the relay is known to sign for.
    """
    domains = tuple(
        FromDomain(
            domain=domain,
            addresses=count,
            prospect=_prospect(domain, rules, envelope, signed),
            policy=rules[domain].policy if domain in rules else None,
        )
        for domain, count in sorted(senders.items())
    )
    failing = [each.domain for each in domains if each.prospect is Prospect.FAILS]
    findings = [_in_words(each, envelope) for each in domains]
    if any(domain in own for domain in failing):
        findings.append(finding("from_choose_default", domains=", ".join(failing)))
        policy = FromPolicy.DEFAULT_FROM
        return Advice(domains=domains, from_policy=policy, findings=tuple(findings))
    if failing:
        findings.append(finding("from_choose_via"))
        via = ForeignSender.VIA
        return Advice(domains=domains, foreign_sender=via, findings=tuple(findings))
    return Advice(domains=domains, findings=tuple(findings))


def _prospect(
    domain: str, rules: Mapping[str, Dmarc], envelope: str, signed: Collection[str]
) -> Prospect:
    if domain in (envelope, *signed):
        return Prospect.FITS
    rule = rules.get(domain)
    if rule is None or rule.unknown:
        return Prospect.UNKNOWN
    others = [*([] if rule.strict_spf else [envelope]), *([] if rule.strict_dkim else signed)]
    fits = [_same_organization(rule, rules.get(other)) for other in others]
    if True in fits:
        return Prospect.FITS
    if not rule.enforced:
        return Prospect.NOT_ENFORCED
    return Prospect.UNKNOWN if None in fits else Prospect.FAILS


def _same_organization(one: Dmarc, other: Dmarc | None) -> bool | None:
    """Whether both have the same organizational domain, None if that is not known."""
    if other is None or other.organizational is None or one.organizational is None:
        return None
    return one.organizational == other.organizational


def _in_words(each: FromDomain, envelope: str) -> Finding:
    match each.prospect:
        case Prospect.FITS:
            return finding("from_fine", domain=each.domain)
        case Prospect.NOT_ENFORCED:
            return finding("from_not_enforced", domain=each.domain)
        case Prospect.UNKNOWN:
            return finding("from_unknown", domain=each.domain, count=each.addresses)
        case Prospect.FAILS:
            refused = each.policy is Policy.REJECT
            return finding(
                "from_fails",
                domain=each.domain,
                count=each.addresses,
                envelope=envelope,
                treated=gettext("refused") if refused else gettext("put into spam"),
            )
