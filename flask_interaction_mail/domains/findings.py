"""What was found about a domain: a sentence for somebody who does not know DNS, and what to add."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..language import gettext, mark, ngettext
from ..text import one_line
from .answers import Answer


class Kind(enum.StrEnum):
    """What a finding comes to."""

    FINE = "fine"
    MISSING = "missing"
    WRONG = "wrong"
    UNKNOWN = "could not be checked"


class Topic(enum.StrEnum):
    """What a finding is about."""

    MX = "MX"
    SPF = "SPF"
    DKIM = "DKIM"
    DMARC = "DMARC"
    FROM = "From"


@dataclass(frozen=True, slots=True)
class Record:
    """A record to add, or to put in the place of one that is wrong."""

    name: str
    type: str
    value: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: a stable code, the values of its sentence, and a record that helps."""

    code: str
    values: Mapping[str, str]
    record: Record | None = None

    @property
    def topic(self) -> Topic:
        return _TEXTS[self.code].topic

    @property
    def kind(self) -> Kind:
        return _TEXTS[self.code].kind

    @property
    def text(self) -> str:
        """What it means in the reader's language, without technical words where possible."""
        sentence = _TEXTS[self.code].sentence
        if isinstance(sentence, str):
            return gettext(sentence).format_map(self.values)
        return sentence(**self.values)

    @property
    def term(self) -> str:
        """The technical word behind it, with the section of the RFC, in the reader's language."""
        return gettext(_TEXTS[self.code].term)

    def to_json(self) -> dict[str, Any]:
        """The finding as a JSON object."""
        record = self.record
        return {
            "topic": self.topic,
            "kind": self.kind,
            "code": self.code,
            "text": self.text,
            "term": self.term,
            "record": record and {"name": record.name, "type": record.type, "value": record.value},
        }


def finding(code: str, record: Record | None = None, /, **values: object) -> Finding:
    """A finding whose values are made legible in one line each."""
    return Finding(code, {name: one_line(str(value)) for name, value in values.items()}, record)


def unknown(topic: Topic, answer: Answer) -> Finding:
    """The finding that a question was not answered, which is neither fine nor missing."""
    return finding(f"{topic.lower()}_unknown", name=answer.name, problem=answer.problem)


@dataclass(frozen=True, slots=True)
class _Text:
    topic: Topic
    kind: Kind
    term: str
    sentence: str | Callable[..., str]  # the latter gives the form for the value "count"


_TEXTS: Final[Mapping[str, _Text]] = {
    "mx_fine": _Text(
        Topic.MX,
        Kind.FINE,
        mark("MX (RFC 5321 §5.1)"),
        mark("Mail to {domain} goes to {hosts}, so answers and bounces can arrive."),
    ),
    "mx_null": _Text(
        Topic.MX,
        Kind.WRONG,
        mark("null MX (RFC 7505)"),
        mark(
            "{domain} says that it takes no mail. No answer and no bounce can arrive there, and "
            "many servers refuse mail from such a domain."
        ),
    ),
    "mx_null_beside": _Text(
        Topic.MX,
        Kind.WRONG,
        mark("null MX beside others (RFC 7505 §3)"),
        mark(
            "{domain} names mail servers and says at the same time that it takes no mail. Remove "
            "the record whose server is only a dot."
        ),
    ),
    "mx_fallback": _Text(
        Topic.MX,
        Kind.MISSING,
        mark("no MX, address used instead (RFC 5321 §5.1)"),
        mark(
            "{domain} names no mail server, so mail is brought to the machine {address} that its "
            "name leads to, often a web server. Add a record that names the mail server."
        ),
    ),
    "mx_none": _Text(
        Topic.MX,
        Kind.WRONG,
        mark("no MX, no A, no AAAA (RFC 5321 §5.1)"),
        mark(
            "There is no way to bring mail to {domain}: no answer and no bounce can arrive, and "
            "many servers refuse mail from such a domain."
        ),
    ),
    "mx_no_domain": _Text(
        Topic.MX,
        Kind.WRONG,
        mark("NXDOMAIN (RFC 8020)"),
        mark("The name service knows no domain {domain}. Look for a typing error."),
    ),
    "mx_host_gone": _Text(
        Topic.MX,
        Kind.WRONG,
        mark("MX without an address (RFC 5321 §5.1)"),
        mark(
            "The mail server {host} of {domain} has no address, so mail for it cannot arrive there."
        ),
    ),
    "mx_host_address": _Text(
        Topic.MX,
        Kind.WRONG,
        mark("MX with an IP address (RFC 1035 §3.3.9)"),
        mark("{domain} names the mail server {host} by its number. A name belongs there."),
    ),
    "mx_unknown": _Text(
        Topic.MX,
        Kind.UNKNOWN,
        mark("no usable DNS answer"),
        mark(
            "Where mail to the domain goes could not be checked: the name service gave no answer "
            "about {name} ({problem})."
        ),
    ),
    "spf_fine": _Text(
        Topic.SPF,
        Kind.FINE,
        mark("SPF record (RFC 7208)"),
        mark(
            "{domain} lists which servers may send its mail, with {lookups} of at most 10 "
            "look-ups; {rest}. Whether your server's outgoing address is among them cannot be seen "
            "from here."
        ),
    ),
    "spf_none": _Text(
        Topic.SPF,
        Kind.MISSING,
        mark("no SPF record (RFC 7208 §4.5)"),
        mark(
            "{domain} does not say which servers may send its mail. Ask whoever runs your mail "
            "server for the record."
        ),
    ),
    "spf_none_provider": _Text(
        Topic.SPF,
        Kind.MISSING,
        mark("no SPF record (RFC 7208 §4.5)"),
        mark(
            "{domain} does not say which servers may send its mail. This record allows {provider}."
        ),
    ),
    "spf_several": _Text(
        Topic.SPF,
        Kind.WRONG,
        mark("SPF permerror: several records (RFC 7208 §4.5)"),
        lambda count, **values: ngettext(
            "%(name)s has %(count)s list of servers that may send its mail, and with more than "
            "one, none counts. Put them together into one record.",
            "%(name)s has %(count)s lists of servers that may send its mail, and with more than "
            "one, none counts. Put them together into one record.",
            int(count),
            **values,
        ),
    ),
    "spf_syntax": _Text(
        Topic.SPF,
        Kind.WRONG,
        mark("SPF permerror: syntax (RFC 7208 §4.6)"),
        mark(
            "The list of servers at {name} cannot be read, so none of it counts: {term} is not "
            "understood."
        ),
    ),
    "spf_lookups": _Text(
        Topic.SPF,
        Kind.WRONG,
        mark("SPF permerror: too many DNS look-ups (RFC 7208 §4.6.4)"),
        mark(
            "To read the whole list of {domain}, receivers would have to look up {count} names, "
            "and they stop after 10: the list then counts for nothing. Remove services that you no "
            "longer use, or list addresses instead of names."
        ),
    ),
    "spf_voids": _Text(
        Topic.SPF,
        Kind.WRONG,
        mark("SPF permerror: too many void look-ups (RFC 7208 §4.6.4)"),
        lambda count, **values: ngettext(
            "The list of %(domain)s leads to %(count)s name that does not exist or is empty, and "
            "receivers stop after 2: %(names)s. Remove it.",
            "The list of %(domain)s leads to %(count)s names that do not exist or are empty, and "
            "receivers stop after 2: %(names)s. Remove them.",
            int(count),
            **values,
        ),
    ),
    "spf_loop": _Text(
        Topic.SPF,
        Kind.WRONG,
        mark("SPF permerror: include or redirect loop (RFC 7208 §4.6.4)"),
        mark(
            "The list of {domain} leads back to {name}, so that it has no end and counts for "
            "nothing. Remove what leads there."
        ),
    ),
    "spf_include_none": _Text(
        Topic.SPF,
        Kind.WRONG,
        mark("SPF permerror: include or redirect without a record (RFC 7208 §5.2, §6.1)"),
        mark(
            "The list of {domain} leads to {name}, which has no such list. The whole list then "
            "counts for nothing. Remove it, or correct the name."
        ),
    ),
    "spf_many_hosts": _Text(
        Topic.SPF,
        Kind.WRONG,
        mark("SPF permerror: more than 10 MX (RFC 7208 §4.6.4)"),
        mark(
            "The list of {domain} allows the mail servers of {name}, which are more than 10. The "
            "whole list then counts for nothing. List their addresses instead."
        ),
    ),
    "spf_open": _Text(
        Topic.SPF,
        Kind.WRONG,
        mark("SPF +all (RFC 7208 §5.1)"),
        mark(
            "The list of {domain} allows every server in the world to send its mail. Let it end in "
            "~all or -all."
        ),
    ),
    "spf_ptr": _Text(
        Topic.SPF,
        Kind.WRONG,
        mark("SPF ptr mechanism (RFC 7208 §5.5)"),
        mark(
            "The list at {name} uses “ptr”, which is slow and unreliable, and which many receivers "
            "ignore. List servers by name or address instead."
        ),
    ),
    "spf_provider_listed": _Text(
        Topic.SPF,
        Kind.FINE,
        mark("SPF include (RFC 7208 §5.2)"),
        mark("The list of {domain} allows {provider}, through which your mail leaves."),
    ),
    "spf_provider_unlisted": _Text(
        Topic.SPF,
        Kind.WRONG,
        mark("SPF include (RFC 7208 §5.2)"),
        mark(
            "Your mail leaves through {provider}, which the list of {domain} does not allow. "
            "Replace the record by this one."
        ),
    ),
    "spf_provider_own": _Text(
        Topic.SPF,
        Kind.FINE,
        mark("SPF identity is MAIL FROM (RFC 7208 §2.4)"),
        mark(
            "Your mail leaves through {provider}, which usually puts an address of its own on the "
            "envelope. The list of {domain} is then not asked, and the signature decides."
        ),
    ),
    "spf_unknown": _Text(
        Topic.SPF,
        Kind.UNKNOWN,
        mark("no usable DNS answer"),
        mark(
            "Which servers may send could not be checked completely: the name service gave no "
            "answer about {name} ({problem})."
        ),
    ),
    "dkim_fine": _Text(
        Topic.DKIM,
        Kind.FINE,
        mark("DKIM key record (RFC 6376 §3.6.1)"),
        mark(
            "There is a key for signatures under {selector}: {key}. A mail that arrived shows "
            "whether your server signs with it."
        ),
    ),
    "dkim_none": _Text(
        Topic.DKIM,
        Kind.MISSING,
        mark("no DKIM key record (RFC 6376 §3.6.2)"),
        mark(
            "There is no key for signatures under {selector}. Whoever runs your mail server makes "
            "the key and tells you the record to add at {name}."
        ),
    ),
    "dkim_no_selector": _Text(
        Topic.DKIM,
        Kind.UNKNOWN,
        mark("DKIM selector not known (RFC 6376 §3.1)"),
        mark(
            "Whether mail of {domain} is signed could not be checked, since keys cannot be listed. "
            "None was found under the usual names ({tried}). The name stands after “s=” in the "
            "header DKIM-Signature of a mail that arrived."
        ),
    ),
    "dkim_selector": _Text(
        Topic.DKIM,
        Kind.WRONG,
        mark("DKIM selector (RFC 6376 §3.1)"),
        mark(
            "{selector} cannot be the name of a key. It consists of letters, digits, "
            "hyphens and underscores, with dots between."
        ),
    ),
    "dkim_several": _Text(
        Topic.DKIM,
        Kind.WRONG,
        mark("several DKIM key records (RFC 6376 §3.6.2.2)"),
        lambda count, **values: ngettext(
            "There is %(count)s record under %(selector)s, and it is not defined which of them "
            "counts. Keep one.",
            "There are %(count)s records under %(selector)s, and it is not defined which of them "
            "counts. Keep one.",
            int(count),
            **values,
        ),
    ),
    "dkim_syntax": _Text(
        Topic.DKIM,
        Kind.WRONG,
        mark("DKIM key record, syntax (RFC 6376 §3.6.1)"),
        mark(
            "The key under {selector} cannot be read ({problem}), so signatures made with it fail. "
            "Copy the record again from where it was shown to you."
        ),
    ),
    "dkim_revoked": _Text(
        Topic.DKIM,
        Kind.WRONG,
        mark("DKIM key revoked, empty p= (RFC 6376 §3.6.1)"),
        mark("The key under {selector} was withdrawn: signatures made with it fail."),
    ),
    "dkim_short": _Text(
        Topic.DKIM,
        Kind.WRONG,
        mark("DKIM key length (RFC 8301 §3.2)"),
        mark(
            "The key under {selector} has {bits} bits. Receivers ignore signatures made with less "
            "than 1024. Have a key of 2048 bits made."
        ),
    ),
    "dkim_weak": _Text(
        Topic.DKIM,
        Kind.FINE,
        mark("DKIM key length (RFC 8301 §3.2)"),
        mark(
            "There is a key for signatures under {selector}. It has {bits} bits, which is "
            "accepted; 2048 are recommended."
        ),
    ),
    "dkim_testing": _Text(
        Topic.DKIM,
        Kind.WRONG,
        mark("DKIM t=y (RFC 6376 §3.6.1)"),
        mark(
            "The key under {selector} says that it is only being tested, so receivers may treat "
            "signed mail as if it were not signed. Remove t=y."
        ),
    ),
    "dkim_service": _Text(
        Topic.DKIM,
        Kind.WRONG,
        mark("DKIM s= (RFC 6376 §3.6.1)"),
        mark("The key under {selector} is not for e-mail, so signatures made with it fail."),
    ),
    "dkim_unknown": _Text(
        Topic.DKIM,
        Kind.UNKNOWN,
        mark("no usable DNS answer"),
        mark(
            "A key for signatures could not be checked: the name service gave no answer about "
            "{name} ({problem})."
        ),
    ),
    "dmarc_none": _Text(
        Topic.DMARC,
        Kind.MISSING,
        mark("no DMARC policy record (RFC 9989 §4.10.1)"),
        mark(
            "{domain} does not say what is to become of mail that only pretends to come from it, "
            "and some receivers want that. This record asks for reports and changes nothing else; "
            "put a mailbox there that somebody reads."
        ),
    ),
    "dmarc_several": _Text(
        Topic.DMARC,
        Kind.WRONG,
        mark("several DMARC policy records (RFC 9989 §4.10)"),
        lambda count, **values: ngettext(
            "There is %(count)s rule at %(name)s, and with more than one, none counts. Keep one.",
            "There are %(count)s rules at %(name)s, and with more than one, none counts. Leave "
            "one.",
            int(count),
            **values,
        ),
    ),
    "dmarc_form": _Text(
        Topic.DMARC,
        Kind.WRONG,
        mark("DMARC record, syntax (RFC 9989 §4.8)"),
        mark(
            "The rule at {name} cannot be read, so it does not count: it has to begin with "
            "v=DMARC1; and to name nothing twice."
        ),
    ),
    "dmarc_value": _Text(
        Topic.DMARC,
        Kind.WRONG,
        mark("DMARC record, invalid policy (RFC 9989 §4.10.1)"),
        mark(
            "The rule at {name} wants {tag}={value}, which means nothing. Receivers act as if "
            "nothing was wanted. Write none, quarantine or reject."
        ),
    ),
    "dmarc_watch": _Text(
        Topic.DMARC,
        Kind.FINE,
        mark("DMARC none (RFC 9989 §4.7)"),
        mark(
            "Mail that fails the check of {domain} is delivered all the same: the rule at {name} "
            "only watches."
        ),
    ),
    "dmarc_quarantine": _Text(
        Topic.DMARC,
        Kind.FINE,
        mark("DMARC quarantine (RFC 9989 §4.7)"),
        mark(
            "Mail from {domain} that is neither sent by a listed server nor signed goes to spam, "
            "by the rule at {name}."
        ),
    ),
    "dmarc_reject": _Text(
        Topic.DMARC,
        Kind.FINE,
        mark("DMARC reject (RFC 9989 §4.7)"),
        mark(
            "Mail from {domain} that is neither sent by a listed server nor signed is refused, by "
            "the rule at {name}."
        ),
    ),
    "dmarc_testing": _Text(
        Topic.DMARC,
        Kind.FINE,
        mark("DMARC t=y (RFC 9989 §4.7)"),
        mark(
            "The rule at {name} says {asked}, but is being tested: receivers apply {policy} "
            "instead."
        ),
    ),
    "dmarc_pct": _Text(
        Topic.DMARC,
        Kind.WRONG,
        mark("DMARC pct was removed (RFC 9989, appendix A.6)"),
        mark(
            "The rule at {name} is to count for {value} percent of the mail. That no longer "
            "exists: newer receivers apply it to all. Use t=y for a test, or remove pct."
        ),
    ),
    "dmarc_unknown": _Text(
        Topic.DMARC,
        Kind.UNKNOWN,
        mark("no usable DNS answer"),
        mark(
            "What becomes of mail that fails the check could not be found out: the name service "
            "gave no answer about {name} ({problem})."
        ),
    ),
    "from_fine": _Text(
        Topic.FROM,
        Kind.FINE,
        mark("DMARC alignment (RFC 9989 §4.4)"),
        mark(
            "Mail from {domain} fits the envelope or a signature, so it passes if SPF or DKIM does."
        ),
    ),
    "from_not_enforced": _Text(
        Topic.FROM,
        Kind.FINE,
        mark("DMARC p=none or no record (RFC 9989 §4.7)"),
        mark(
            "Mail from {domain} fits neither the envelope nor a known signature, but the domain "
            "does not want it stopped."
        ),
    ),
    "from_fails": _Text(
        Topic.FROM,
        Kind.WRONG,
        mark("DMARC without alignment (RFC 9989 §4.4)"),
        lambda count, **values: ngettext(
            "Mail from %(domain)s (%(count)s address) fits neither the envelope (%(envelope)s) "
            "nor a known signature, and the domain wants such mail %(treated)s.",
            "Mail from %(domain)s (%(count)s addresses) fits neither the envelope (%(envelope)s) "
            "nor a known signature, and the domain wants such mail %(treated)s.",
            int(count),
            **values,
        ),
    ),
    "from_unknown": _Text(
        Topic.FROM,
        Kind.UNKNOWN,
        mark("DMARC policy not known"),
        lambda count, **values: ngettext(
            "Whether mail from %(domain)s (%(count)s address) would be stopped could not be "
            "checked.",
            "Whether mail from %(domain)s (%(count)s addresses) would be stopped could not be "
            "checked.",
            int(count),
            **values,
        ),
    ),
    "from_choose_via": _Text(
        Topic.FROM,
        Kind.WRONG,
        mark("foreign_sender=via"),
        mark(
            "Let users with an address elsewhere be sent for via the default From address: their "
            "name is shown, and answers still go to them."
        ),
    ),
    "from_choose_default": _Text(
        Topic.FROM,
        Kind.WRONG,
        mark("from_policy=default_from"),
        mark(
            "Let messages always come from the default From address, until your mail server signs "
            "for {domains}. Answers still go to the user."
        ),
    ),
}
