"""What is said of a mail domain: MX, SPF, DKIM, DMARC, and From."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from string import Formatter
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from flask_interaction_mail.domains import dkim, dmarc, findings, mx, spf, spf_terms
from flask_interaction_mail.domains.advisor import Prospect, advise
from flask_interaction_mail.domains.dmarc import Policy
from flask_interaction_mail.domains.findings import Kind, Record
from flask_interaction_mail.domains.providers import PROVIDERS, provider_of, usual_selectors
from flask_interaction_mail.settings.model import ForeignSender, FromPolicy
from tests.answers import Zone, answers

FIRM = "firm.example"


def codes(found: Any) -> list[str]:
    return [one.code for one in found.findings]


# MX


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ({FIRM: ["MX 10 mx.firm.example"], "mx.firm.example": ["A 192.0.2.1"]}, "mx_fine"),
        ({FIRM: ["MX 10 mx.firm.example"], "mx.firm.example": ["AAAA 2001:db8::1"]}, "mx_fine"),
        ({FIRM: ["MX 0 ."]}, "mx_null"),
        ({FIRM: ["MX 0 .", "MX 5 mx.firm.example"]}, "mx_null_beside"),
        ({FIRM: ["A 192.0.2.1"]}, "mx_fallback"),
        ({FIRM: ["TXT x"]}, "mx_none"),
        ({}, "mx_no_domain"),
        ({FIRM: ["MX 10 mx.firm.example"]}, "mx_host_gone"),
        ({FIRM: ["MX 10 192.0.2.1"]}, "mx_host_address"),
        ({FIRM: None}, "mx_unknown"),
        ({FIRM: ["MX 10 mx.firm.example"], "mx.firm.example": None}, "mx_unknown"),
    ],
)
def test_where_mail_goes(zone: Zone, expected: str):
    """Each answer about MX is told apart from the others, above all from none."""
    assert codes(mx.examine(FIRM, answers(zone))) == [expected]


def test_the_preferred_server_comes_first():
    """By its number, not by its text."""
    zone = {FIRM: ["MX 100 c.example", "MX 9 a.example", "MX 10 b.example"]}
    assert mx.examine(FIRM, answers(zone)).hosts == ("a.example", "b.example", "c.example")


# SPF


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1",
        "V=SPF1 -ALL",
        "v=spf1  a   mx  ~all ",
        "v=spf1 a:mail.firm.example/24//64 mx//48 ip4:192.0.2.0/24 ip6:2001:db8::/32 ?all",
        "v=spf1 exists:%{i}._spf.%{d2r} include:_spf.firm.example redirect=_spf.firm.example",
        "v=spf1 include:%{d} exp=why.firm.example unknown=any/thing -all",
        "v=spf1 a:a_b.xn--mnchen-3ya.example. ptr ptr:firm.example",
    ],
)
def test_what_the_grammar_of_spf_has(record: str):
    """Everything of RFC 7208 §12 is read."""
    assert spf_terms.is_record(record)
    spf_terms.terms(record)


@pytest.mark.parametrize(
    "term",
    [
        "al",
        "all:firm.example",
        "+-all",
        "include",
        "include:",
        "include:localhost",
        "include:firm.example/24",
        "a:192.0.2.1",
        "a:firm.example/33",
        "a/24/64",
        "a//129",
        "a/08",
        "ip4:192.0.2",
        "ip4:192.0.2.256",
        "ip4:192.0.2.0/33",
        "ip4",
        "ip6:192.0.2.1",
        "ip6:2001:db8::/129",
        "exists",
        "exists:%{x}.firm.example",
        "exists:%i.firm.example",
        "redirect=a.example redirect=b.example",
        "redirect=",
        "ipv4:192.0.2.1",
        "-",
        "mx\t-all",
        "a:fir\u00e4.example",
        "a:\ufffd.example",
        "-all;",
    ],
)
def test_what_the_grammar_of_spf_does_not_have(term: str):
    """One wrong term makes the record worth nothing, and the finding quotes it."""
    found = spf.examine(FIRM, answers({FIRM: [f"TXT v=spf1 {term} -all"]}))
    assert codes(found) == ["spf_syntax"]


@pytest.mark.parametrize(
    "text", ["v=spf10 -all", "v=spf1;-all", " v=spf1", "spf1 -all", "v=spf2.0"]
)
def test_what_is_no_record_of_spf(text: str):
    """Such texts are nobody's business here."""
    assert codes(spf.examine(FIRM, answers({FIRM: [f"TXT {text}"]}))) == ["spf_none"]


def chained(count: int) -> dict[str, list[str]]:
    """Records of which each includes the next; all together ``count`` look-ups."""
    zone = {f"s{at}.example": [f"TXT v=spf1 include:s{at + 1}.example -all"] for at in range(count)}
    zone[FIRM] = zone.pop("s0.example")
    return zone | {f"s{count}.example": ["TXT v=spf1 -all"]}


def test_ten_lookups_are_enough_and_eleven_too_many():
    """Counted through includes, and told to whoever has to shorten the list."""
    assert codes(spf.examine(FIRM, answers(chained(10)))) == ["spf_fine"]
    found = spf.examine(FIRM, answers(chained(11)))
    assert (codes(found), found.lookups) == (["spf_lookups"], 11)
    assert "look up 11 names" in found.findings[0].text


def test_a_bomb_of_includes_ends():
    """Ten includes on each of ten levels are 10^10 look-ups; 41 are counted."""
    asked = 0
    ask = answers(
        {
            name: ["TXT v=spf1 " + " ".join(f"include:s{level + 1}x{n}.example" for n in range(10))]
            for level in range(9)
            for name in ([FIRM] if not level else [f"s{level}x{n}.example" for n in range(10)])
        }
    )

    def counted(name: str, kind: str) -> Any:
        nonlocal asked
        asked += 1
        return ask(name, kind)

    found = spf.examine(FIRM, counted)
    assert "more than 40" in found.findings[-2].text
    assert codes(found)[-2:] == ["spf_lookups", "spf_voids"]
    assert asked <= 41


def test_void_lookups_are_counted_wherever_they_are():
    """Two are allowed, a third is an error, also where an MX has no address."""
    zone = {FIRM: ["TXT v=spf1 a:gone.example exists:away.example -all"]}
    assert codes(spf.examine(FIRM, answers(zone))) == ["spf_fine"]
    zone = {FIRM: ["TXT v=spf1 a:gone.example exists:away.example mx -all", "MX 5 lost.example"]}
    found = spf.examine(FIRM, answers(zone))
    assert (codes(found), found.lookups) == (["spf_voids"], 3)
    assert found.voids == ("gone.example", "away.example", "lost.example")


@pytest.mark.parametrize(
    "zone",
    [
        {FIRM: ["TXT v=spf1 include:firm.example -all"]},
        {FIRM: ["TXT v=spf1 redirect=FIRM.example."]},
        {FIRM: ["TXT v=spf1 include:b.example"], "b.example": ["TXT v=spf1 redirect=firm.example"]},
    ],
)
def test_a_loop_is_seen(zone: Zone):
    """A list that leads back to itself is told as what it is."""
    assert codes(spf.examine(FIRM, answers(zone))) == ["spf_loop"]


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (["TXT v=spf1 -all", "TXT v=spf1 ~all"], "spf_several"),
        (["TXT v=spf1 +all"], "spf_open"),
        (["TXT v=spf1 all"], "spf_open"),
        (["TXT v=spf1 ptr -all"], "spf_ptr"),
        (["TXT v=spf1 include:gone.example -all"], "spf_include_none"),
        (["TXT v=spf1 redirect=gone.example"], "spf_include_none"),
        (["TXT v=spf1 mx -all", *(f"MX 5 m{n}.example" for n in range(11))], "spf_many_hosts"),
    ],
)
def test_what_is_wrong_with_a_list(records: Sequence[str], expected: str):
    """Each mistake has a sentence of its own."""
    assert expected in codes(spf.examine(FIRM, answers({FIRM: records})))


def test_what_was_not_answered_is_neither_fine_nor_missing():
    """For the domain itself, and for what its list leads to."""
    found = spf.examine(FIRM, answers({FIRM: None}), provider_of("smtp.gmail.com"))
    assert codes(found) == ["spf_unknown"]
    zone: Zone = {FIRM: ["TXT v=spf1 include:b.example -all"], "b.example": None}
    found = spf.examine(FIRM, answers(zone), provider_of("smtp.gmail.com"))
    assert codes(found) == ["spf_unknown"]
    assert {one.kind for one in found.findings} == {Kind.UNKNOWN}


def test_nothing_after_all_is_read():
    """Mechanisms after it never match, and a redirect does not count (RFC 7208 §5.1)."""
    zone = {FIRM: ["TXT v=spf1 -all include:gone.example redirect=gone.example"]}
    found = spf.examine(FIRM, answers(zone))
    assert (codes(found), found.lookups, found.rest) == (["spf_fine"], 0, "-")


@pytest.mark.parametrize("term", ["include:b.example", "exists:b.example"])
def test_a_list_is_open_by_what_it_leads_to(term: str):
    """An include that allows everybody does, and a name that is there for everybody."""
    zone = {FIRM: [f"TXT v=spf1 {term} -all"], "b.example": ["TXT v=spf1 +all", "A 192.0.2.1"]}
    assert codes(spf.examine(FIRM, answers(zone))) == ["spf_open"]
    zone[FIRM] = [f"TXT v=spf1 -{term} +all"]
    assert spf.examine(FIRM, answers(zone)).rest == "-"


def test_a_redirect_decides_about_the_rest():
    """What it says of others is what the domain says."""
    zone = {FIRM: ["TXT v=spf1 redirect=b.example"], "b.example": ["TXT v=spf1 +all"]}
    assert codes(spf.examine(FIRM, answers(zone))) == ["spf_open"]


def test_the_provider_in_use_is_looked_for():
    """Through includes of includes; where it is not listed, the record to put there is shown."""
    google = provider_of("smtp-relay.gmail.com")
    zone = {
        FIRM: ["TXT v=spf1 include:all.example ~all"],
        "all.example": ["TXT v=spf1 include:_SPF.google.com -all"],
        "_spf.google.com": ["TXT v=spf1 -all"],
    }
    assert codes(spf.examine(FIRM, answers(zone), google)) == ["spf_fine", "spf_provider_listed"]

    found = spf.examine(FIRM, answers({FIRM: ["TXT v=spf1 ip4:192.0.2.1 -all"]}), google)
    assert codes(found) == ["spf_fine", "spf_provider_unlisted"]
    mended = "v=spf1 include:_spf.google.com ip4:192.0.2.1 -all"
    assert found.findings[-1].record == Record(FIRM, "TXT", mended)

    found = spf.examine(FIRM, answers({}), google)
    assert found.findings[-1].record == Record(FIRM, "TXT", "v=spf1 include:_spf.google.com ~all")

    zone = {FIRM: ["TXT v=spf1 -all"]}
    found = spf.examine(FIRM, answers(zone), provider_of("email-smtp.eu-west-1.amazonaws.com"))
    assert codes(found) == ["spf_fine", "spf_provider_own"]


def test_a_relay_is_known_by_the_end_of_its_name():
    """Not by a name that only ends in the same letters."""
    assert provider_of("SMTP.Office365.com.") is PROVIDERS[0]
    assert provider_of("notgmail.com") is None
    assert provider_of(None) is None
    assert usual_selectors(PROVIDERS[0]) == ("selector1", "selector2")
    assert {"selector1", "google", "default"} <= set(usual_selectors(None))


# DKIM


def public(key: Any) -> str:
    return base64.b64encode(
        key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()


def rsa_key(bits: int) -> str:
    return public(rsa.generate_private_key(65537, bits))


RSA_2048 = rsa_key(2048)
ED25519 = base64.b64encode(
    ed25519.Ed25519PrivateKey.generate().public_key().public_bytes_raw()
).decode()
# Newer versions of cryptography refuse to make such a short key.
RSA_512 = (
    "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALk15c6O3GxAUvKXCTtWuPVg9wlyiNYF"
    "MtCzIivO3wJ/93TdKO3VwjM/QWePbbkFDdDOwYlY2qfyqvBnrVfkWkkCAwEAAQ=="
)


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (f"v=DKIM1; k=rsa; p={RSA_2048}", ["dkim_fine"]),
        (f"p={RSA_2048[:100]} \t {RSA_2048[100:]}", ["dkim_fine"]),
        (f"v=DKIM1; k=ed25519; p={ED25519}", ["dkim_fine"]),
        (f"k=rsa; t=s; s=email:other; p={RSA_2048}", ["dkim_fine"]),
        (f"p={rsa_key(1024)}", ["dkim_weak"]),
        (f"p={RSA_512}", ["dkim_short"]),
        ("v=DKIM1; p=", ["dkim_revoked"]),
        (f"v=DKIM1; t=s:y; p={RSA_2048}", ["dkim_fine", "dkim_testing"]),
        (f"v=DKIM1; s=tlsrpt; p={RSA_2048}", ["dkim_fine", "dkim_service"]),
        (f"k=rsa; v=DKIM1; p={RSA_2048}", ["dkim_syntax"]),
        (f"v=DKIM2; p={RSA_2048}", ["dkim_syntax"]),
        ("v=DKIM1; k=rsa", ["dkim_syntax"]),
        (f"p={RSA_2048}; p={RSA_2048}", ["dkim_syntax"]),
        (f"p={RSA_2048[:-20]}", ["dkim_syntax"]),
        ("p=%%%", ["dkim_syntax"]),
        (f"k=ed25519; p={RSA_2048}", ["dkim_syntax"]),
        (f"k=dsa; p={RSA_2048}", ["dkim_syntax"]),
        (f"p={public(ec.generate_private_key(ec.SECP256R1()))}", ["dkim_syntax"]),
    ],
    ids=range(18),  # not the keys, which are new each time
)
def test_what_a_key_record_says(record: str, expected: list[str]):
    """Withdrawn, cut, short, weak and tested keys are told apart."""
    zone = {"one._domainkey.firm.example": [f"TXT {record}"]}
    assert codes(dkim.examine(FIRM, answers(zone), ["one"])) == expected


def test_a_typed_selector_is_answered_for_itself():
    """Missing, several, not answered, and one that no name can have."""
    zone: Zone = {
        "two._domainkey.firm.example": ["TXT p=", "TXT p=x"],
        "off._domainkey.firm.example": None,
    }
    found = dkim.examine(FIRM, answers(zone), ["none", "two", "off", "a b", "-", "x" * 64 + "."])
    expected = ["dkim_none", "dkim_several", "dkim_unknown", *["dkim_selector"] * 3]
    assert codes(found) == expected
    assert found.selectors == ()


def test_the_usual_selectors_are_tried():
    """What they find is told; where they find nothing, nothing is known."""
    zone: dict[str, list[str] | None] = {
        "selector1._domainkey.firm.example": [f"TXT p={RSA_2048}"],
        "selector2._domainkey.firm.example": ["TXT p="],
    }
    found = dkim.examine(FIRM, answers(zone))
    assert (codes(found), found.selectors) == (["dkim_fine"], ("selector1",))

    found = dkim.examine(FIRM, answers({}))
    assert [(one.code, one.kind) for one in found.findings] == [("dkim_no_selector", Kind.UNKNOWN)]

    del zone["selector1._domainkey.firm.example"]
    assert codes(dkim.examine(FIRM, answers(zone))) == ["dkim_revoked"]
    zone["selector2._domainkey.firm.example"] = None
    assert codes(dkim.examine(FIRM, answers(zone))) == ["dkim_unknown"]


# DMARC


def test_the_walk_asks_eight_names_at_most():
    """The example of RFC 9989 §4.10, and a short one."""
    assert dmarc.walk("a.b.c.d.e.f.g.h.i.j.mail.example.com") == (
        "a.b.c.d.e.f.g.h.i.j.mail.example.com",
        "g.h.i.j.mail.example.com",
        "h.i.j.mail.example.com",
        "i.j.mail.example.com",
        "j.mail.example.com",
        "mail.example.com",
        "example.com",
        "com",
    )
    assert dmarc.walk("mail.example.com") == ("mail.example.com", "example.com", "com")
    assert dmarc.walk("a.b.c.d.e.f.g.h")[1] == "b.c.d.e.f.g.h"
    assert dmarc.walk("corp") == ("corp",)


def rule(text: str = "p=reject") -> list[str]:
    return [f"TXT v=DMARC1; {text}"]


@pytest.mark.parametrize(
    ("domain", "zone", "organizational", "policy"),
    [
        # The examples of RFC 9989 §4.10.2.
        (
            "a.mail.example.com",
            {"_dmarc.mail.example.com": rule(), "_dmarc.example.com": rule("p=none")},
            "example.com",
            Policy.NONE,
        ),
        (
            "a.mail.example.com",
            {"_dmarc.mail.example.com": rule("p=reject; psd=n"), "_dmarc.example.com": rule()},
            "mail.example.com",
            Policy.REJECT,
        ),
        (
            "a.mail.example.com",
            {"_dmarc.com": rule("psd=y; p=none; sp=reject")},
            "example.com",
            "reject",
        ),
        # The domain's own rule counts, and "sp" is for those below.
        (
            "example.com",
            {"_dmarc.example.com": rule("p=none; sp=reject")},
            "example.com",
            Policy.NONE,
        ),
        (
            "a.example.com",
            {
                "a.example.com": ["MX 5 b.example.com"],
                "_dmarc.example.com": rule("p=none; sp=reject"),
            },
            "example.com",
            Policy.REJECT,
        ),
        # "np" is for names that do not exist.
        (
            "a.example.com",
            {"_dmarc.example.com": rule("p=none; sp=none; np=reject")},
            "example.com",
            Policy.REJECT,
        ),
        (
            "a.example.com",
            {"a.example.com": ["A 192.0.2.1"], "_dmarc.example.com": rule("p=none; np=reject")},
            "example.com",
            Policy.NONE,
        ),
        # A public suffix that asks for itself is its own organization.
        ("com", {"_dmarc.com": rule("psd=y; p=reject")}, "com", Policy.REJECT),
        # Tests, and what is left out.
        ("example.com", {"_dmarc.example.com": rule("p=reject; t=y")}, "example.com", "quarantine"),
        ("example.com", {"_dmarc.example.com": rule("p=quarantine; t=y")}, "example.com", "none"),
        (
            "example.com",
            {"_dmarc.example.com": rule("rua=mailto:a@b.example")},
            "example.com",
            "none",
        ),
        (
            "example.com",
            {"_dmarc.example.com": ["TXT v=DMARC1;p=REJECT;unknown=1;;nonsense"]},
            "example.com",
            Policy.REJECT,
        ),
        ("example.com", {}, "example.com", None),
        # Two rules are none, and the search goes on above.
        (
            "a.example.com",
            {
                "_dmarc.a.example.com": [*rule("p=none"), *rule("p=none")],
                "_dmarc.example.com": rule("p=reject"),
            },
            "example.com",
            Policy.REJECT,
        ),
    ],
)
def test_which_rule_counts(domain: str, zone: Zone, organizational: str, policy: Policy | None):
    """By RFC 9989 §4.10.1 and §4.10.2."""
    found = dmarc.examine(domain, answers(zone))
    assert (found.organizational, found.policy) == (organizational, policy)
    assert not found.unknown


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        (rule("p=reject"), ["dmarc_reject"]),
        (rule("p=quarantine"), ["dmarc_quarantine"]),
        (rule("p=none"), ["dmarc_watch"]),
        (rule("p=reject; t=y"), ["dmarc_quarantine", "dmarc_testing"]),
        (rule("p=none; t=y"), ["dmarc_watch"]),
        (rule("p=reject; pct=20"), ["dmarc_reject", "dmarc_pct"]),
        (rule("p=reject; pct=100"), ["dmarc_reject"]),
        (rule("p=refuse"), ["dmarc_value"]),
        (rule("p=reject; sp=all; rua=mailto:a@b.example!10m"), ["dmarc_value", "dmarc_watch"]),
        (rule("p=reject; p=none"), ["dmarc_form"]),
        (["TXT v=dmarc1; p=reject"], ["dmarc_form"]),
        (["TXT v=DMARC1 p=reject"], ["dmarc_form"]),
        ([*rule(), *rule()], ["dmarc_several"]),
        (["TXT v=spf1 -all"], ["dmarc_none"]),
        ([*rule(), "TXT any"], ["dmarc_reject"]),
    ],
)
def test_what_is_said_of_a_rule(records: list[str], expected: list[str]):
    """Each in a sentence of its own; a wildcard's other text is no rule."""
    found = dmarc.examine(FIRM, answers({"_dmarc.firm.example": records}))
    assert codes(found) == expected


def test_the_rule_to_add_is_shown():
    """It only watches, so that it stops no mail."""
    found = dmarc.examine(FIRM, answers({})).findings[0]
    value = "v=DMARC1; p=none; rua=mailto:dmarc@firm.example"
    assert (found.kind, found.record) == (Kind.MISSING, Record("_dmarc.firm.example", "TXT", value))


def test_a_walk_that_was_not_answered_proves_nothing():
    """Without the domain's own record nothing is known; with it, only the organization is not."""
    found = dmarc.examine("a.firm.example", answers({"_dmarc.firm.example": None}))
    assert (found.unknown, found.policy, codes(found)) == (True, None, ["dmarc_unknown"])
    found = dmarc.examine(FIRM, answers({"_dmarc.firm.example": rule(), "_dmarc.example": None}))
    assert (found.unknown, found.policy, found.organizational) == (False, Policy.REJECT, None)
    assert codes(found) == ["dmarc_reject", "dmarc_unknown"]
    zone: Zone = {"_dmarc.a.firm.example": None, "_dmarc.firm.example": rule()}
    assert dmarc.examine("a.firm.example", answers(zone)).unknown


# From


def rules(zone: Zone, *domains: str) -> dict[str, dmarc.Dmarc]:
    return {domain: dmarc.examine(domain, answers(zone)) for domain in domains}


PEERS: Zone = {
    "_dmarc.firm.example": rule("p=reject"),
    "_dmarc.strict.example": rule("p=reject; aspf=s; adkim=s"),
    "_dmarc.calm.example": rule("p=none"),
    "_dmarc.other.example": rule("p=quarantine"),
    "_dmarc.lost.example": None,
}


@pytest.mark.parametrize(
    ("sender", "envelope", "signed", "expected"),
    [
        (FIRM, FIRM, [], Prospect.FITS),
        ("mail.firm.example", FIRM, [], Prospect.FITS),
        (FIRM, "mail.firm.example", [], Prospect.FITS),
        ("a.strict.example", "strict.example", [], Prospect.FAILS),  # adkim=s; aspf=s
        ("other.example", FIRM, [], Prospect.FAILS),
        ("other.example", FIRM, ["other.example"], Prospect.FITS),
        ("other.example", FIRM, ["mail.other.example"], Prospect.FITS),
        ("calm.example", FIRM, [], Prospect.NOT_ENFORCED),
        ("nothing.example", FIRM, [], Prospect.NOT_ENFORCED),
        ("lost.example", FIRM, [], Prospect.UNKNOWN),
        ("other.example", "lost.example", [], Prospect.UNKNOWN),
    ],
)
def test_which_from_would_fail(sender: str, envelope: str, signed: list[str], expected: Prospect):
    """Relaxed alignment by the organizational domain; what is not known is not said to fail."""
    found = rules(PEERS, sender, envelope, *signed)
    advice = advise({sender: 3}, envelope=envelope, own=(), rules=found, signed=signed)
    assert [each.prospect for each in advice.domains] == [expected]


def test_which_policy_to_choose():
    """Users elsewhere go via the default From; a domain of one's own needs its address in From."""
    found = rules(PEERS, FIRM, "other.example", "calm.example")
    senders = {FIRM: 200, "other.example": 12, "calm.example": 1}

    advice = advise(senders, envelope=FIRM, own=[FIRM], rules=found)
    assert (advice.from_policy, advice.foreign_sender) == (None, ForeignSender.VIA)
    told = {one.code: one.text for one in advice.findings}
    assert "(12 addresses)" in told["from_fails"]
    alone = advise({"other.example": 1}, envelope=FIRM, own=[FIRM], rules=found).findings
    assert "(1 address)" in alone[0].text
    assert "into spam" in told["from_fails"]
    assert [*told][-1] == "from_choose_via"

    advice = advise(senders, envelope=FIRM, own=[FIRM, "other.example"], rules=found)
    assert (advice.from_policy, advice.foreign_sender) == (FromPolicy.DEFAULT_FROM, None)

    advice = advise({FIRM: 1, "calm.example": 1}, envelope=FIRM, own=[FIRM], rules=found)
    assert (advice.from_policy, advice.foreign_sender) == (None, None)


# Texts


def test_no_hostile_answer_gets_into_a_sentence_as_it_is():
    """Controls, line breaks and text that turns around become blanks."""
    zone = {FIRM: ["TXT v=spf1 a:\x1b[31m\u202e\n<script>"]}
    text = spf.examine(FIRM, answers(zone)).findings[0].text
    assert text.isprintable()
    assert "<script>" in text  # a page escapes it


def test_every_sentence_can_be_translated():
    """A sentence has no placeholder without a name, and each topic can be unknown."""
    for code, text in findings._TEXTS.items():
        if isinstance(text.sentence, str):  # else a function, which names its values
            parts = Formatter().parse(text.sentence)
            names = [name for _, name, _, _ in parts if name is not None]
            assert all(name.isidentifier() for name in names), code
        assert code.startswith(text.topic.lower())
        assert text.term


@pytest.mark.usefixtures("brackets")
def test_a_finding_is_told_in_the_readers_language():
    """Counted, with the technical word, and with what was wrong in a record."""
    several = spf.examine(FIRM, answers({FIRM: ["TXT v=spf1 -all", "TXT v=spf1 ~all"]})).findings[0]
    assert several.text.startswith(f"⟦{FIRM} has 2 lists of servers")
    assert several.term.startswith("⟦SPF permerror")
    assert several.to_json()["topic"] == "SPF"
    key = {f"one._domainkey.{FIRM}": ["TXT v=DKIM1; p=!"]}
    wrong = dkim.examine(FIRM, answers(key), ["one"]).findings[0]
    assert "cannot be read (⟦p= is not base64, or was cut⟧)" in wrong.text
    fine = spf.examine(FIRM, answers({FIRM: ["TXT v=spf1 -all"]})).findings[0]
    assert "; ⟦mail from others is to be refused⟧." in fine.text
