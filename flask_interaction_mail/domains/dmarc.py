"""What a domain wants done with mail that fails (RFC 9989, which replaces RFC 7489).

The organizational domain is found by a walk up the tree of names (§4.10), without a list of public
suffixes.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from .answers import Answer, Ask, Found
from .findings import Finding, Record, Topic, finding, unknown
from .tags import tags_of

MOST_QUERIES: Final = 8
_IS_RECORD = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")  # the value in this case only
_URI = re.compile(r"[a-z][a-z0-9+.-]*:[^\s,!]+(?:![0-9]+[kmgt]?)?", re.IGNORECASE)


class Policy(enum.StrEnum):
    """What is to become of mail that fails."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


_POLICIES: Final = frozenset(Policy)
# In test mode each policy gives way to the one before it (§4.7).
_TESTED: Final = {
    Policy.NONE: Policy.NONE,
    Policy.QUARANTINE: Policy.NONE,
    Policy.REJECT: Policy.QUARANTINE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dmarc:
    """The rule that counts for a domain.

    ``policy`` is what receivers are to apply, None where they apply none or, if it is ``unknown``,
    nobody knows. ``organizational`` is None if the walk could not be finished.
    """

    domain: str
    record: str | None
    found_at: str | None
    organizational: str | None
    policy: Policy | None
    strict_dkim: bool = False
    strict_spf: bool = False
    unknown: bool = False
    findings: tuple[Finding, ...] = ()

    @property
    def enforced(self) -> bool:
        """Whether mail that fails is stopped, or put aside."""
        return self.policy in (Policy.QUARANTINE, Policy.REJECT)


def walk(domain: str) -> tuple[str, ...]:
    """The domains whose record is asked for, from ``domain`` upwards, at most 8 (§4.10)."""
    labels = domain.split(".")
    first = max(1, len(labels) - (MOST_QUERIES - 1))
    return (domain, *(".".join(labels[at:]) for at in range(first, len(labels))))


def examine(domain: str, ask: Ask) -> Dmarc:
    """Find the rule for mail from ``domain``, and the organizational domain for alignment."""
    tree = _climb(domain, ask)
    organizational = None if tree.unanswered else _organizational(domain, tree)
    at, tag = _applicable(domain, tree, organizational)
    if at is None:
        return _without(domain, tree, organizational)
    return _with(domain, tree, organizational, at, _choose(tag, tree.found[at], domain, ask))


@dataclass
class _Tree:
    """What stands in the tree of names above a domain."""

    found: dict[str, dict[str, str]] = field(default_factory=dict)  # domain -> tags
    records: dict[str, str] = field(default_factory=dict)
    unanswered: Answer | None = None  # the first that was not answered
    findings: list[Finding] = field(default_factory=list)


def _climb(domain: str, ask: Ask) -> _Tree:
    tree = _Tree()
    for at in walk(domain):
        answer = ask(f"_dmarc.{at}", "TXT")
        if answer.unknown and tree.unanswered is None:
            tree.unanswered = answer
        if tags := _tags(answer, tree):
            tree.found[at] = tags
            if tags.get("psd") in ("y", "n"):
                break
    return tree


def _tags(answer: Answer, tree: _Tree) -> dict[str, str] | None:
    records = [record for record in answer.records if _IS_RECORD.match(record)]
    if len(records) > 1:
        said = finding("dmarc_several", name=answer.name, count=len(records))
        tree.findings.append(said)
    wrong = [text for text in answer.records if text.lower().startswith("v=dmarc")]
    tags = tags_of(records[0]) if len(records) == 1 else None
    if tags:
        tree.records[answer.name] = records[0]
    elif len(records) == 1 or (wrong and not records):
        tree.findings.append(finding("dmarc_form", name=answer.name))
    return tags


def _organizational(domain: str, tree: _Tree) -> str:
    """The organizational domain (§4.10.2)."""
    for at, tags in tree.found.items():
        if tags.get("psd") == "n":
            return at
        if tags.get("psd") == "y" and at != domain:
            labels = domain.split(".")
            return ".".join(labels[len(labels) - len(at.split(".")) - 1 :])
    return next(reversed(tree.found), domain)


def _applicable(
    domain: str, tree: _Tree, organizational: str | None
) -> tuple[str | None, tuple[str, ...]]:
    """Whose record counts (§4.10.1), and the tags to look at, None if there is none."""
    if domain in tree.found:
        return domain, ("p",)
    if organizational in tree.found:
        return organizational, ("sp", "p")
    suffix = next((at for at, tags in tree.found.items() if tags.get("psd") == "y"), None)
    return (None if tree.unanswered else suffix), ("sp", "p")


def _choose(
    tags: tuple[str, ...], record: dict[str, str], domain: str, ask: Ask
) -> tuple[str, str]:
    """The tag that counts and its value; ``np`` is for a domain that does not exist."""
    if tags != ("p",) and "np" in record and ask(domain, "MX").found is Found.NO_NAME:
        tags = ("np", *tags)
    name = next((tag for tag in tags if tag in record), "p")
    return name, record.get(name, Policy.NONE)


def _without(domain: str, tree: _Tree, organizational: str | None) -> Dmarc:
    findings = list(tree.findings)
    if tree.unanswered:
        findings.append(unknown(Topic.DMARC, tree.unanswered))
    elif not findings:
        record = Record(f"_dmarc.{domain}", "TXT", f"v=DMARC1; p=none; rua=mailto:dmarc@{domain}")
        findings.append(finding("dmarc_none", record, domain=domain))
    return Dmarc(
        domain=domain,
        record=None,
        found_at=None,
        organizational=organizational,
        policy=None,
        unknown=tree.unanswered is not None,
        findings=tuple(findings),
    )


def _with(
    domain: str, tree: _Tree, organizational: str | None, at: str, chosen: tuple[str, str]
) -> Dmarc:
    tags, name = tree.found[at], f"_dmarc.{at}"
    findings = list(tree.findings)
    policy = _policy(tags, chosen[1])
    findings += _wrong_values(name, tags)
    if policy is not None:
        findings += _in_words(domain, name, tags, policy)
    if tree.unanswered:
        findings.append(unknown(Topic.DMARC, tree.unanswered))
    if tags.get("pct", "100") != "100":
        findings.append(finding("dmarc_pct", name=name, value=tags["pct"]))
    return Dmarc(
        domain=domain,
        record=tree.records[name],
        found_at=at,
        organizational=organizational,
        policy=policy and _in_force(tags, policy),
        strict_dkim=tags.get("adkim", "r").lower() == "s",
        strict_spf=tags.get("aspf", "r").lower() == "s",
        findings=tuple(findings),
    )


def _policy(tags: dict[str, str], value: str) -> Policy | None:
    """The policy that is asked for; a record that says it wrongly asks for reports alone."""
    if all(tags[tag].lower() in _POLICIES for tag in ("p", "sp", "np") if tag in tags):
        return Policy(value.lower())
    uris = map(str.strip, tags.get("rua", "").split(","))
    return Policy.NONE if any(_URI.fullmatch(uri) for uri in uris) else None


def _in_force(tags: dict[str, str], policy: Policy) -> Policy:
    return _TESTED[policy] if tags.get("t", "n").lower() == "y" else policy


def _wrong_values(name: str, tags: dict[str, str]) -> Iterator[Finding]:
    for tag in ("p", "sp", "np"):
        if tag in tags and tags[tag].lower() not in _POLICIES:
            yield finding("dmarc_value", name=name, tag=tag, value=tags[tag])


def _in_words(domain: str, name: str, tags: dict[str, str], policy: Policy) -> Iterator[Finding]:
    applied = _in_force(tags, policy)
    code = "dmarc_watch" if applied is Policy.NONE else f"dmarc_{applied}"
    yield finding(code, domain=domain, name=name)
    if applied is not policy:
        yield finding("dmarc_testing", name=name, asked=policy, policy=applied)
