"""What DNS says of the domains that mail comes from, all of it by one deadline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ..domains import dmarc
from ..domains.advisor import Advice, advise
from ..domains.look import DomainReport, examine
from ..domains.resolver import NameServer, Resolver
from .coverage import Senders

WITHIN: Final = 5.0  # s, for a page that somebody waits for
DOMAINS: Final = 10  # whose rule is asked for, those with the most users


class Checked(NamedTuple):
    """The report on the domain of the default From, and what to choose for the users' domains.

    ``left_out`` are domains in From that were not looked at.
    """

    report: DomainReport
    advice: Advice
    left_out: int


def check(
    senders: Senders,
    *,
    relay: str | None,
    selectors: Sequence[str] = (),
    name_servers: Sequence[NameServer] = (),
) -> Checked:
    """Ask about the default From's domain first, then about the other domains in From."""
    ask = Resolver(WITHIN, name_servers).ask
    report = examine(senders.envelope, ask, selectors=selectors, relay=relay)
    in_from = senders.in_from
    looked_at = [*in_from][: DOMAINS + 1]  # the first is that of the default From
    rules = {domain: dmarc.examine(domain, ask) for domain in looked_at}
    advice = advise(
        {domain: in_from[domain] for domain in looked_at},
        envelope=senders.envelope,
        own=senders.own,
        rules=rules,
    )
    return Checked(report, advice, len(in_from) - len(looked_at))
