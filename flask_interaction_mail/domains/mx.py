"""Where mail to a domain goes (RFC 5321 §5.1, RFC 7505)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from .answers import Answer, Ask, Found
from .findings import Finding, Topic, finding, unknown

_SHOWN = 5  # servers that a sentence names, and whose address is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Mx:
    """The mail servers of a domain, the preferred one first."""

    hosts: tuple[str, ...]
    findings: tuple[Finding, ...]


def examine(domain: str, ask: Ask) -> Mx:
    """Say where mail to ``domain`` goes, so also answers and bounces."""
    answer = ask(domain, "MX")
    hosts = hosts_of(answer)
    return Mx(hosts=hosts, findings=tuple(_findings(domain, answer, hosts, ask)))


def hosts_of(answer: Answer) -> tuple[str, ...]:
    """The servers in the records of an ``answer`` about MX, the preferred one first."""
    pairs = [record.partition(" ")[::2] for record in answer.records]
    return tuple(host for _, host in sorted(pairs, key=lambda pair: int(pair[0])))


def addresses(host: str, ask: Ask) -> Answer:
    """The answer about A or, if there is none, about AAAA."""
    answer = ask(host, "A")
    if answer.found is not Found.NO_DATA:
        return answer
    return ask(host, "AAAA")


def _findings(domain: str, answer: Answer, hosts: tuple[str, ...], ask: Ask) -> Iterator[Finding]:
    if answer.unknown:
        yield unknown(Topic.MX, answer)
    elif answer.found is Found.NO_NAME:
        yield finding("mx_no_domain", domain=domain)
    elif not hosts:
        yield _without(domain, ask)
    elif hosts == (".",):
        yield finding("mx_null", domain=domain)
    elif "." in hosts:
        yield finding("mx_null_beside", domain=domain)
    else:
        yield from _with(domain, hosts, ask)


def _without(domain: str, ask: Ask) -> Finding:
    answer = addresses(domain, ask)
    if answer.unknown:
        return unknown(Topic.MX, answer)
    if answer.records:
        return finding("mx_fallback", domain=domain, address=answer.records[0])
    return finding("mx_none", domain=domain)


def _with(domain: str, hosts: tuple[str, ...], ask: Ask) -> Iterator[Finding]:
    troubles = [found for host in hosts[:_SHOWN] if (found := _trouble(domain, host, ask))]
    if not troubles:
        more = ", …" if len(hosts) > _SHOWN else ""
        yield finding("mx_fine", domain=domain, hosts=", ".join(hosts[:_SHOWN]) + more)
    yield from troubles


def _trouble(domain: str, host: str, ask: Ask) -> Finding | None:
    if _is_address(host):
        return finding("mx_host_address", domain=domain, host=host)
    answer = addresses(host, ask)
    if answer.unknown:
        return unknown(Topic.MX, answer)
    return finding("mx_host_gone", domain=domain, host=host) if answer.void else None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
