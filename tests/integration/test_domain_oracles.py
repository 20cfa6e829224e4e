"""Whether pyspf reads SPF as we do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import dns.resolver
import pytest
import spf as pyspf
from hypothesis import given
from hypothesis import strategies as st

from flask_interaction_mail.domains import spf
from flask_interaction_mail.domains.findings import Kind
from flask_interaction_mail.domains.resolver import Resolver
from tests.answers import Zone, answers
from tests.servers.names import SERVFAIL, NameServer, name_server

FIRM = "firm.example"
_RESULTS = {"-": "fail", "~": "softfail", "?": "neutral", "+": "pass"}
STRANGER = "203.0.113.9"  # which no list has, so that each is read to its end


def judged(monkeypatch: pytest.MonkeyPatch, lookup: Any) -> tuple[str, int, int]:
    """What pyspf says of mail from a stranger: the result, look-ups, void look-ups."""
    with monkeypatch.context() as patch:
        patch.setattr(pyspf, "DNSLookup", lookup)
        query = pyspf.query(i=STRANGER, s=f"a@{FIRM}", h=FIRM)
        result = query.check()[0]
        # pyspf sets the count of look-ups where it begins, and has none before.
        return result, getattr(query, "lookups", 0), query.void_lookups


def by_network(
    resolver: dns.resolver.Resolver, name: str, kind: str, strict: Any = 0, timeout: float = 20
) -> list[Any]:
    """One look-up as pyspf makes it, of the server that ``resolver`` knows."""
    try:
        found = resolver.resolve(name, kind, search=False)
    except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
        return []
    except dns.resolver.NoNameservers as error:
        raise pyspf.TempError("DNS") from error
    return [((name, kind), _value(kind, record)) for record in found]


def _value(kind: str, record: Any) -> Any:
    match kind:
        case "MX":
            return record.preference, record.exchange.to_text(True)
        case "TXT":
            return record.strings
        case _:
            return record.address


CASES: dict[str, dict[str, list[str]]] = {
    "none": {FIRM: ['TXT "x"']},
    "several": {FIRM: ['TXT "v=spf1 -all"', 'TXT "v=spf1 ~all"']},
    "in pieces": {FIRM: ['TXT "v=spf1 ip4:192.0.2." "1 ~all"']},
    "ten": {
        FIRM: ['TXT "v=spf1 ' + " ".join(f"a:a{at}.example" for at in range(10)) + ' -all"'],
    }
    | {f"a{at}.example": ["A 192.0.2.1"] for at in range(10)},
    "eleven": {
        FIRM: ['TXT "v=spf1 ' + " ".join(f"a:a{at}.example" for at in range(11)) + ' -all"'],
    }
    | {f"a{at}.example": ["A 192.0.2.1"] for at in range(11)},
    "two void": {FIRM: ['TXT "v=spf1 a:b.example exists:c.example ?all"']},
    "three void": {FIRM: ['TXT "v=spf1 a:b.example exists:c.example a:d.example -all"']},
    "loop": {
        FIRM: ['TXT "v=spf1 include:b.example"'],
        "b.example": ['TXT "v=spf1 a mx include:firm.example"'],
    },
    "redirect": {
        FIRM: ['TXT "v=spf1 redirect=b.example"'],
        "b.example": ['TXT "v=spf1 mx ~all"', "MX 5 c.example."],
        "c.example": ["A 192.0.2.1"],
    },
    "redirect to nothing": {FIRM: ['TXT "v=spf1 redirect=b.example"']},
    "syntax": {FIRM: ['TXT "v=spf1 ip4:192.0.2.1000 -all"']},
    "syntax in an include": {
        FIRM: ['TXT "v=spf1 include:b.example -all"'],
        "b.example": ['TXT "v=spf1 al"'],
    },
    "eleven servers": {
        FIRM: ['TXT "v=spf1 mx -all"', *(f"MX 5 m{at}.example." for at in range(11))]
    }
    | {f"m{at}.example": ["A 192.0.2.1"] for at in range(11)},
    "not answered": {FIRM: ['TXT "v=spf1 include:servfail.example -all"']},
}


@pytest.fixture(scope="module")
def server() -> Iterator[NameServer]:
    with name_server() as server:
        server.faults["servfail.example"] = SERVFAIL
        yield server


@pytest.mark.parametrize("case", CASES)
def test_pyspf_comes_to_the_same(server: NameServer, monkeypatch: pytest.MonkeyPatch, case: str):
    """An error where we say that a list is wrong, and the same number of look-ups where not."""
    server.zone = CASES[case]
    ours = spf.examine(FIRM, Resolver(30, [("127.0.0.1", server.port)]).ask)
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
    result, lookups, voids = judged(monkeypatch, partial(by_network, resolver))

    kinds = {one.kind for one in ours.findings}
    assert (result == "permerror") == (Kind.WRONG in kinds), result
    assert (result == "temperror") == (Kind.UNKNOWN in kinds), result
    assert (result == "none") == (Kind.MISSING in kinds), result
    if kinds == {Kind.FINE}:
        assert (ours.lookups, len(ours.voids)) == (lookups, voids)
        assert result == _RESULTS[ours.rest]


NAMES = [f"n{at}.example" for at in range(6)]
TERMS = [
    *(f"{word}:{name}" for word in ("a", "mx", "include") for name in NAMES),
    *("a", "mx", "ip4:192.0.2.0/24", "%{i}", "a:b", "?a", "-include:n3.example"),
    "exists:gone.example",
]
ENDS = ["", "-all", "~all", "?all", "-all a:n0.example"]
REDIRECTS = [f"redirect={name}" for name in NAMES[:3]]
MATCHING = [*(f"exists:{name}" for name in NAMES), "~exists:n1.example", "+all"]
OTHERS = st.sampled_from(["A 192.0.2.1", "MX 5 n0.example", "MX 5 n1.example", "TXT x"])


def zones(terms: list[str], ends: list[str]) -> st.SearchStrategy[Zone]:
    """Zones whose lists are made of ``terms``, with one of ``ends``."""
    record = st.builds(
        lambda each, end: " ".join(["TXT v=spf1", *each, end]),
        st.lists(st.sampled_from(terms), max_size=7),
        st.sampled_from(ends),
    )
    records = st.builds(lambda text, others: [text, *sorted(others)], record, st.sets(OTHERS))
    return st.dictionaries(st.sampled_from([FIRM, *NAMES]), records, min_size=2)


def includes_itself(zone: Zone) -> bool:
    """Whether a list names itself."""
    return any(f"include:{name} " in f"{texts[0]} " for name, texts in zone.items() if texts)


# Apart, because pyspf counts a redirect that is never followed (RFC 7208 §6.1), and sees that a
# list includes itself before it sees that this is never reached.
ZONES = (
    zones(TERMS, ENDS[:1] + REDIRECTS)
    | zones(TERMS, ENDS)
    | zones(TERMS + MATCHING, ENDS).filter(lambda zone: not includes_itself(zone))
)


@given(zone=ZONES)
def test_pyspf_comes_to_the_same_of_any_list(zone: Zone):
    """Of lists that lead to each other in every way."""
    ask = answers(zone)

    def lookup(name: str, kind: str, strict: Any = 0, timeout: float = 20) -> list[Any]:
        return [((name, kind), _plain(kind, text)) for text in ask(name, kind).records]

    ours = spf.examine(FIRM, ask)
    with pytest.MonkeyPatch.context() as patch:
        result, lookups, voids = judged(patch, lookup)
    wrong = {one.code for one in ours.findings if one.kind is Kind.WRONG}
    assert (result == "permerror") == bool(wrong - {"spf_open"}), (result, wrong)
    if result not in ("permerror", "none"):
        assert result == _RESULTS[ours.rest]
        assert (ours.lookups, len(ours.voids)) == (lookups, voids)


def _plain(kind: str, text: str) -> Any:
    match kind:
        case "MX":
            number, _, host = text.partition(" ")
            return int(number), host
        case "TXT":
            return (text.encode(),)
        case _:
            return text
