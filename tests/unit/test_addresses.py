"""Addresses: what is one, what a short one becomes, and what pretends to be one."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_interaction_mail import addresses
from flask_interaction_mail.addresses import Mailbox, clean_domain, clean_email, complete
from flask_interaction_mail.errors import AddressError, HeaderError

CORPORA = Path(__file__).parents[1] / "corpora"
ATTACKS = json.loads((CORPORA / "attack/addresses.json").read_text())
VECTORS = json.loads((CORPORA / "email_validator/vectors.json").read_text())
NAUGHTY = json.loads((CORPORA / "blns/blns.json").read_text())


def first_of(group, *, without=()):
    return [row[0] for row in VECTORS[group] if not any(mark in row[0] for mark in without)]


@pytest.mark.parametrize(
    ("raw", "domain"),
    [
        ("corp.com", "corp.com"),
        ("@corp.com", "corp.com"),
        ("  @ Corp.COM. ", "corp.com"),
        ("interfacemail", "interfacemail"),
        ("corp.local", "corp.local"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_r8_domain_is_cleaned(raw, domain):
    """Blanks, a leading @ and a trailing dot go; the rest becomes lower-case A-labels."""
    assert clean_domain(raw) == domain


@pytest.mark.parametrize(
    "raw",
    ["", " ", "@", ".", "a@b.com", "two words", "corp..com", "-corp.com", "10.0.0.1", "[::1]",
     "corp.com\n", "corp.com\u2028", "ⓔxample.org", "exampl\u0435.org", "x" * 300, "\ud800.com"],
)  # fmt: skip
def test_r8_what_is_no_domain_is_refused(raw):
    """Anything else is an error that quotes it and says how a domain looks."""
    with pytest.raises(AddressError, match="is no domain") as caught:
        clean_domain(raw)
    assert "firm.example" in str(caught.value)


def test_r9_short_address_gets_the_company_domain():
    """The part before the @ suffices."""
    assert complete("emroberts", company_domain="interaction.com") == "emroberts@interaction.com"


def test_r10_domain_is_combined_at_use():
    """The same short address follows the company domain of the moment."""
    assert clean_email(" emroberts ") == "emroberts"
    assert complete("emroberts", company_domain="old.example") == "emroberts@old.example"
    assert complete("emroberts", company_domain="new.example") == "emroberts@new.example"


@pytest.mark.parametrize("domain", [None, "interaction.com"])
def test_r11_full_address_is_used_unchanged(domain):
    """A full address keeps its domain and the case of its local part."""
    assert complete("Info.Desk@other.org", company_domain=domain) == "Info.Desk@other.org"


def test_r12_short_address_without_a_domain_is_named():
    """Without a company domain the error names the short address and the cure."""
    with pytest.raises(AddressError, match=r"'emroberts' has no part after the @.*domain"):
        complete("emroberts", company_domain=None)


@pytest.mark.parametrize(
    "email",
    ["user@example.com", "user@firm.test", "a@host.local", "a+b@sub.corp.invalid", "o'neil@x.ie"],
)
def test_ordinary_and_internal_addresses_are_usable(email):
    """Names for tests and for internal mail are addresses too."""
    assert complete(email, company_domain=None) == email


def test_single_label_domains_must_be_own_ones():
    """``user@interfacemail`` is fine where it is ours, else probably a typing error."""
    assert complete("a@corp", company_domain="corp") == "a@corp"
    assert complete("a@corp", company_domain=None, own_domains=("corp",)) == "a@corp"
    with pytest.raises(AddressError, match="no dot"):
        complete("a@corp", company_domain="firm.example")


@pytest.mark.parametrize("raw", [one for group in ATTACKS.values() for one in group])
def test_addresses_that_pretend_are_refused(raw):
    """Nothing in the attack corpus is taken for an address, in any form."""
    for read in (clean_email, addresses.mailbox):
        with pytest.raises(AddressError):
            read(raw)


@pytest.mark.parametrize("raw", [one for group in ATTACKS.values() for one in group])
def test_errors_show_no_raw_control_characters(raw):
    """An error text is one line, whatever it quotes."""
    with pytest.raises(AddressError) as caught:
        clean_email(raw)
    assert not addresses.has_forbidden(str(caught.value))


@pytest.mark.parametrize(
    "raw",
    first_of("test_email_valid", without=('"', "<"))
    + first_of("test_email_valid_intl_local_part", without=("<",)),
)
def test_valid_addresses_of_others_are_taken(raw):
    """What the validator's authors call valid is valid; domains are shown as A-labels."""
    cleaned = clean_email(raw)
    assert addresses.domain_of(cleaned).isascii()
    assert cleaned.rpartition("@")[0] == unicodedata.normalize("NFC", raw).rpartition("@")[0]


@pytest.mark.parametrize(
    "raw", [one for one in first_of("test_email_invalid_syntax") if "@" in one]
)
def test_invalid_addresses_of_others_are_refused(raw):
    """What the validator's authors call invalid is refused."""
    with pytest.raises(AddressError):
        clean_email(raw)


@pytest.mark.parametrize("unsafe", first_of("test_email_unsafe_character"))
def test_unsafe_characters_are_refused_on_both_sides(unsafe):
    """Invisible and direction-changing characters stand neither before nor after the @."""
    for raw in (f"{unsafe}a@firm.example", f"a@{unsafe}firm.example", f"{unsafe}a"):
        with pytest.raises(AddressError):
            clean_email(raw)


@pytest.mark.parametrize(
    "raw", ["", " ", "two words", "a,b", "a;b", "a<b", '"quoted"', ".dot", "dot.", "a..b",
            "=?utf-8?q?=41?=", "a\r\nBcc: b", "a\x85", "a\u2028", "hello\uff20world", "\ud800",
            "a\x00"]
)  # fmt: skip
def test_short_forms_obey_the_same_rules(raw):
    """A local part that could not stand before an @ is no short address."""
    with pytest.raises(AddressError, match="is no e-mail address"):
        clean_email(raw)


def test_errors_quote_a_long_culprit_only_in_part():
    """A megabyte of nonsense does not make a megabyte of error text."""
    with pytest.raises(AddressError) as caught:
        clean_email("x y" * 100_000)
    assert len(str(caught.value)) < 400


def test_accents_need_smtputf8_only_before_the_at_sign():
    """A domain travels as A-labels, a local part cannot."""
    assert clean_email("ñoñó@bücher.example") == "ñoñó@xn--bcher-kva.example"
    assert addresses.needs_smtputf8(clean_email("ñoñó@firm.example"))
    assert not addresses.needs_smtputf8(clean_email("a@bücher.example"))


def test_too_long_only_when_completed():
    """A short address that fits alone, but not with the domain, is an error that says so."""
    with pytest.raises(AddressError, match="cannot be completed"):
        complete("x" * 200, company_domain="a-rather-long-name-" + "y" * 40 + ".example")


@pytest.mark.parametrize(
    ("raw", "mailbox"),
    [
        ("ada@firm.example", Mailbox("ada@firm.example")),
        ("ada", Mailbox("ada@firm.example")),
        ("Ada Lovelace <ada@x.org>", Mailbox("ada@x.org", "Ada Lovelace")),
        ("Dr. Zoë O'Hara <zoe>", Mailbox("zoe@firm.example", "Dr. Zoë O'Hara")),
        (r'"Lovelace, \"Ada\"" <ada@x.org>', Mailbox("ada@x.org", 'Lovelace, "Ada"')),
        ('"boss@bank.example" <ada@x.org>', Mailbox("ada@x.org", "boss bank.example")),
        ("<ada@x.org>", Mailbox("ada@x.org")),
    ],
)
def test_names_may_stand_before_an_address(raw, mailbox):
    """A plain string may be an address, short or full, or a name with one in angle brackets."""
    assert addresses.mailbox(raw, company_domain="firm.example") == mailbox


def test_a_written_recipient_waits_for_the_domain():
    """Parsing alone needs no settings: short addresses and internal domains are kept."""
    assert addresses.parse("Ada <ada>") == Mailbox("ada", "Ada")
    assert addresses.parse("ada@Corp") == Mailbox("ada@corp")
    assert addresses.parse("ada@firm.example") == Mailbox("ada@firm.example")
    with pytest.raises(AddressError):
        addresses.parse("")


@pytest.mark.parametrize(
    "raw", ["Ada, Bob <a@x.org>", "Ada <a@x.org> x", "a@b.org <c@d.org>", "Ada <a@x.org>\r\nBcc: x",
            "Ada\n<a@x.org>", '"Ada\u2028" <a@x.org>', "<>", "Ada <>", "a@x.org, b@x.org"]
)  # fmt: skip
def test_names_that_hide_something_are_refused(raw):
    """Lists, second addresses and line breaks are no name."""
    with pytest.raises(AddressError):
        addresses.mailbox(raw, company_domain="firm.example")


def test_a_mailbox_shows_itself():
    """For logs and tests; headers are written by the message."""
    assert str(Mailbox("a@b.org", "Ada")) == "Ada <a@b.org>"
    assert str(Mailbox("a@b.org")) == "a@b.org"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ada Lovelace", "Ada Lovelace"),
        ("  Ada \t Lovelace ", "Ada Lovelace"),
        ("boss@bank.example", "boss bank.example"),
        ("boss\uff20bank.example", "boss bank.example"),
        ("Ada\r\nBcc: x@y.org", "Ada Bcc: x y.org"),
        ("Ada\u202egpj.exe", "Ada gpj.exe"),
        ("Ada\u2028\x85\x00\u200bL", "Ada L"),
        ("=?utf-8?q?boss=40bank?=", "utf-8?q?boss=40bank"),
        ("Zoë", "Zoë"),
        ("\ud800", ""),
        ("x" * 300, "x" * 255),
    ],
)
def test_display_names_are_cleaned(name, shown):
    """A name can neither pass for an address nor end the line nor turn the text around."""
    assert addresses.display_name(name) == shown


@given(st.text(st.characters(exclude_categories=())) | st.sampled_from(NAUGHTY))
def test_any_display_name_is_harmless(name):
    """Whatever somebody calls himself, the result is clean and stays as it is."""
    shown = addresses.display_name(name)
    assert "@" not in shown
    assert not addresses.has_forbidden(shown)
    assert len(shown) <= addresses.NAME_LIMIT
    assert addresses.display_name(shown) == shown


@given(st.text(st.characters(exclude_categories=())) | st.sampled_from(NAUGHTY))
def test_any_text_is_an_address_or_an_address_error(raw):
    """No input ends in another exception, and what is taken is clean and stays as it is."""
    try:
        cleaned = complete(raw, company_domain="firm.example")
    except AddressError:
        return
    assert not addresses.has_forbidden(cleaned)
    assert complete(cleaned, company_domain=None) == cleaned


@pytest.mark.parametrize("character", ["\r", "\n", "\x00", "\t", "\x1f", "\x7f", "\x85", "\x9f",
                                       "\u2028", "\u2029", "\ud800"])  # fmt: skip
def test_control_characters_may_stand_in_no_header(character):
    """The error names the field and the character."""
    with pytest.raises(HeaderError, match=rf"subject .* U\+{ord(character):04X}"):
        addresses.check_line("subject", f"a{character}b")


def test_a_line_is_given_back():
    """An ordinary line, accents included, passes."""
    assert addresses.check_line("subject", "Grüße, 世界") == "Grüße, 世界"
