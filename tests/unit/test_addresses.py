"""Addresses: what is one, what a short one becomes, and what pretends to be one."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import email_validator
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_interaction_mail import addresses
from flask_interaction_mail.addresses import (
    WRITE_IT,
    Mailbox,
    clean_domain,
    clean_email,
    complete,
)
from flask_interaction_mail.errors import AddressError, HeaderError
from flask_interaction_mail.language import translated
from flask_interaction_mail.messages.recipients import default_to
from flask_interaction_mail.settings.model import MessagingSettings
from flask_interaction_mail.text import NAME_LIMIT, display_name

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
    with pytest.raises(AddressError, match="is not a valid domain") as caught:
        clean_domain(raw)
    assert "firm.example" in str(caught.value)


@pytest.mark.parametrize("raw", ["corp.lan2", "firm.site1", "db1.x86-64", "office2"])
def test_a_domain_may_end_in_a_digit(raw):
    """Only a last label of digits alone is none (RFC 3696 §2): it would be an IP address."""
    assert clean_domain(raw) == raw
    assert complete(f"a@{raw}", company_domain=None, own_domains=("office2",)) == f"a@{raw}"


@pytest.mark.parametrize("raw", ["corp.1", "10.0.0.1", "12"])
def test_a_domain_of_which_the_last_label_is_a_number_is_refused(raw):
    """RFC 3696 §2."""
    with pytest.raises(AddressError, match="ends in a number"):
        clean_domain(raw)


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


# What its authors refuse and we take: line breaks at the ends are cleaned off, and a top-level
# domain may end in a digit (RFC 3696 §2).
TAKEN = {"my@example.com\n", "\nmy@example.com", "me@bad.tld-2"}


@pytest.mark.parametrize(
    "raw", [one for one in first_of("test_email_invalid_syntax") if "@" in one and one not in TAKEN]
)
def test_invalid_addresses_of_others_are_refused(raw):
    """What the validator's authors call invalid is refused."""
    with pytest.raises(AddressError):
        clean_email(raw)


@pytest.mark.parametrize("unsafe", first_of("test_email_unsafe_character"))
def test_unsafe_characters_are_refused_on_both_sides(unsafe):
    """Invisible and direction-changing characters stand neither before nor after the @."""
    start = "=" if unsafe in addresses.PASTED else ""  # at the very ends such a one is cleaned off
    for raw in (f"{start}{unsafe}a@firm.example", f"a@{unsafe}firm.example", f"{start}{unsafe}a"):
        with pytest.raises(AddressError):
            clean_email(raw)


@pytest.mark.parametrize(
    "raw", ["", " ", "two words", "a,b", "a;b", "a<b", '"quoted"', ".dot", "dot.", "a..b",
            "=?utf-8?q?=41?=", "a\r\nBcc: b", "a\x85", "a\u2028", "hello\uff20world", "\ud800",
            "a\x00"]
)  # fmt: skip
def test_short_forms_obey_the_same_rules(raw):
    """A local part that could not stand before an @ is no short address."""
    with pytest.raises(AddressError, match="is not a valid e-mail address"):
        clean_email(raw)


@pytest.mark.parametrize(
    "end",
    [
        "\xa0",
        "\t",
        "\n",
        "\r\n",
        "\u200b",
        "\ufeff",
        "\u2060",
        "\u3000",
        "\u202f",
        "\u2009",
        " \u200b\n",
    ],
)
def test_what_comes_along_at_the_ends_is_cleaned_off(end):
    """A cell of a table or a line of a file is pasted with it; nobody means it."""
    for raw in (f"ada@firm.example{end}", f"{end}ada@firm.example", f"ada{end}"):
        assert complete(raw, company_domain="firm.example") == "ada@firm.example"
    assert addresses.parse(f"Ada <ada@firm.example>{end}") == Mailbox("ada@firm.example", "Ada")
    assert addresses.bare_domain(f"ada@corp{end}") == ("corp",)
    assert addresses.is_blank(end)


@pytest.mark.parametrize("local", ["x" * 65, "ä" * 33])
def test_a_local_part_has_at_most_64_bytes(local):
    """RFC 5321 §4.5.3.1.1; servers refuse more, some by closing the connection."""
    for raw in (local, f"{local}@firm.example"):
        with pytest.raises(AddressError, match="longer than 64 bytes"):
            clean_email(raw)
    assert clean_email("x" * 64) == "x" * 64


ALONE = "Write crm@firm.example alone."
ONE = "Only one"


@pytest.mark.parametrize(
    ("raw", "there", "belongs"),
    [
        ("CRM Team <crm@firm.example>", "A name stands before the address.", ALONE),
        ("Grüße Büro <crm@firm.example>", "A name stands before the address.", ALONE),
        ("Müller, Jörg <crm@firm.example>", "A name stands before the address.", ALONE),
        ("Müller <crm>", "A name stands before the address.", "Write crm alone."),
        ("A <b c>", "A name stands before the address.", "like name@firm.example"),
        ("<crm@firm.example>", "< and > stand around it.", ALONE),
        ('"crm@firm.example"', '" and " stand around it.', ALONE),
        ("mailto:crm@firm.example", "mailto: stands before the address.", ALONE),
        ("https://firm.example", "the address of a web page", "like name@firm.example"),
        ("Jörg Müller", "a space but no @", "like name@firm.example"),
        ("crm team@firm.example", "a space after 'crm'", "An address has none."),
        ("crm@ firm.example", "a space after 'crm@'", "An address has none."),
        ("crm\xa0@firm.example", "a space (U+00A0) after 'crm'", "An address has none."),
        ("a@firm.example, b@firm.example", "There are several addresses", ONE),
        ("a@firm.example;b@x.org c@x.org", "There are several addresses", ONE),
        ("ada, bob", "a comma after 'ada'", ONE),
        ("ada;bob", "a semicolon after 'ada'", ONE),
        ("crm\u200b@firm.example", "an invisible character (U+200B) after 'crm'", "Delete it"),
        ("cr\u00adm@firm.example", "an invisible character (U+00AD) after 'cr'", "Delete it"),
        ("\u202ecrm@firm.example", "an invisible character (U+202E) at its beginning", "Delete it"),
        (
            "crm\n@firm.example",
            "a line break or another control character after 'crm'",
            "Remove it",
        ),
        ("crm\uff20firm.example", "Its @ is not the ordinary one.", "like name@firm.example"),
        ("crm@firm.example.", "It ends in a dot.", ALONE),
        ("crm@10.0.0.1", "There is an IP address after the @.", "A domain belongs there"),
        ("crm@[10.0.0.1]", "There is an IP address after the @.", "A domain belongs there"),
        ("crm@corp", "The part after the @ has no dot", "like name@firm.example"),
    ],
)
def test_errors_say_what_is_there_and_what_belongs(raw, there, belongs):
    """The text blames what is wrong, not what a parser stumbled over."""
    with pytest.raises(AddressError) as caught:
        clean_email(raw)
    assert there in str(caught.value)
    assert belongs in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "there"),
    [
        ("ada@firm.example", "a whole address"),
        ("https://firm.example", "the address of a web page"),
        ("firm.example/", "the address of a web page"),
        ("Firm Ltd", "a space after 'Firm'"),
        ("fir\xa0m.example", "a space after 'fir'"),
        ("firm.example, x.org", "several domains"),
        ("fir\u200bm.example", "an invisible character (U+200B) after 'fir'"),
        ("firm..example", "A word is missing"),
    ],
)
def test_errors_of_a_domain_say_what_is_there(raw, there):
    """A field that wants no @ does not speak of what follows it."""
    with pytest.raises(AddressError) as caught:
        clean_domain(raw)
    assert there in str(caught.value)
    assert "Write only the part after the @, like firm.example." in str(caught.value)


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
        complete("x" * 64, company_domain="a-rather-long-name." * 10 + "example")


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
        ("ada@x.org <ada@x.org>", Mailbox("ada@x.org")),
        ("ADA@x.org<ada@x.org>", Mailbox("ada@x.org")),
        ("\"'ada@x.org'\" <ada@x.org>", Mailbox("ada@x.org")),
        ('"Ada@X.org" <ada@x.org>', Mailbox("ada@x.org")),
        ('"a@bücher.example" <a@xn--bcher-kva.example>', Mailbox("a@xn--bcher-kva.example")),
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


@pytest.mark.parametrize(
    "raw", ["Lovelace, Ada <a@x.org>", "Ada (Sales) <a@x.org>", "A: B <a@x.org>"]
)
def test_a_name_that_needs_quotation_marks_is_told_so(raw):
    """Without them a comma parts two recipients, so nobody guesses."""
    with pytest.raises(AddressError, match="put quotation marks around the name"):
        addresses.parse(raw)


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
        ("نازی\u200cآباد", "نازی\u200cآباد"),
        ("شاه\u064e\u200cپور", "شاه\u064e\u200cپور"),
        ("ක්\u200dෂේත්\u200dර", "ක්\u200dෂේත්\u200dර"),
        ("അവന്\u200d", "അവന്\u200d"),
        ("র\u200d্যাব", "র\u200d্যাব"),
        ("ನವರ್\u200cಮನ್", "ನವರ್\u200cಮನ್"),
        ("ᠰᠠᠷᠠᠨ\u180eᠠ", "ᠰᠠᠷᠠᠨ\u180eᠠ"),
        ("Ada 👩🏽\u200d💻", "Ada 👩🏽\u200d💻"),
        ("❤\ufe0f\u200d🔥", "❤\ufe0f\u200d🔥"),
        ("👩\u200dAda\u200d💻\u200d \u180eᠠ", "👩Ada💻 ᠠ"),
        ("Bo\u200dss\u200c", "Boss"),
        ("نا\u200c\u200cزی\u200c", "نازی"),
        ("\u200dක\u200d", "ක"),
        ("Donau\u00addampf\u200bschiff\ufeff\u2060", "Donaudampfschiff"),
        ("A\u3164\u115f\u034fda", "Ada"),
        ("\u00ad\u3164\u200b", ""),
        ("Ada\u200f\u2067L", "Ada L"),
        ("=\u200b?utf-8?q?x?\u00ad=", "utf-8?q?x"),
        ("a\u200b\u0301", "á"),
        ("ن\u200cز" * 100, ("ن\u200cز" * 100)[:255]),
        ("\ud800", ""),
        ("x" * 300, "x" * 255),
    ],
)
def test_display_names_are_cleaned(name, shown):
    """A name can neither pass for an address nor end the line nor turn the text around."""
    assert display_name(name) == shown


@given(st.text(st.characters(exclude_categories=())) | st.sampled_from(NAUGHTY))
def test_any_display_name_is_harmless(name):
    """Whatever somebody calls himself, the result is clean and stays as it is."""
    shown = display_name(name)
    assert "@" not in shown
    assert not addresses.has_forbidden(shown)
    assert len(shown) <= NAME_LIMIT
    assert display_name(shown) == shown


@given(st.from_regex(addresses._PLAIN_LOCAL, fullmatch=True).filter(lambda text: len(text) <= 64))
def test_the_validator_takes_what_is_plain_without_it(local):
    """It finds no fault in it, and would change at most its case."""
    found = email_validator.validate_email(f"{local}@a.com", check_deliverability=False)
    assert found.local_part.casefold() == clean_email(local).casefold()
    assert clean_email(local) == local


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


@pytest.mark.usefixtures("brackets")
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("ada@firm.example.", "⟦It ends in a dot. ⟦Write ada@firm.example alone.⟧⟧"),
        ("a b@firm.example", "⟦There is a space ⟦after 'a'⟧. An address has none.⟧"),
        ("a@@firm.example", "⟦⟦It has more than one @.⟧ ⟦{advice}⟧⟧"),
        ("a" * 65, "⟦⟦The part before the @ is longer than 64 bytes.⟧ ⟦{advice}⟧⟧"),
    ],
)
def test_an_error_is_told_in_the_readers_language_and_stored_in_english(wrong: str, told: str):
    """With the sentences that it is made of."""
    with pytest.raises(AddressError) as caught:
        clean_email(wrong)
    error, said = caught.value, told.format(advice=WRITE_IT)
    assert translated(error) == f"⟦{wrong!r} is not a valid e-mail address. {said}⟧"
    assert "⟦" not in f"{error}{error.args[0]}{json.dumps(error.args, ensure_ascii=False)}"
    assert type(str(error)) is type(f"{error.args[0]}") is str


@pytest.mark.usefixtures("brackets")
def test_what_a_domain_or_a_setting_lacks_is_told_in_the_readers_language():
    """Also in an error that quotes another one."""
    with pytest.raises(AddressError) as caught:
        clean_domain("a,b")
    assert "⟦There are several domains in it.⟧ Write only" in translated(caught.value)
    with pytest.raises(AddressError) as caught:
        default_to(MessagingSettings(default_to="ada"))
    assert translated(caught.value).startswith("⟦The default To cannot be used: ⟦'ada' has no")
