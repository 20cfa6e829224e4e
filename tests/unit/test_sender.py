"""Envelope sender, From, Sender and Reply-To: the whole matrix, and who tries to get around it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_interaction_mail.addresses import Mailbox
from flask_interaction_mail.errors import AddressError, HeaderError, MessagingNotConfigured
from flask_interaction_mail.messages.sender import (
    choose_flask_mail_sender,
    choose_sender,
    default_from,
)
from flask_interaction_mail.settings.model import MessagingSettings, PasswordState
from flask_interaction_mail.settings.rules import problems
from flask_interaction_mail.values import Party

CRM = Mailbox("crm@firm.example")
SETTINGS = MessagingSettings(
    company_domain="firm.example",
    default_to="crm",
    default_from="crm",
    own_domains=("sister.example",),
)
POLICY = replace(SETTINGS, from_policy="default_from")
AS = replace(SETTINGS, foreign_sender="as")
ADA = Party("Ada Lovelace", "ada")
GUEST = Party("Gus Guest", "gus@other.org")
NOBODY = Party("Nora Noaddress")


def choose(settings, user, **others):
    return choose_sender(settings, user=user, **{"via": "Firm CRM", **others})


def headers(chosen):
    return chosen.envelope_sender, chosen.from_, chosen.sender, chosen.reply_to


JOSE = Party("José Ñandú", "ñoñó@firm.example")
OTHER_JOSE = Party("José Ñandú", "ñoñó@other.org")


@pytest.mark.parametrize(
    ("settings", "user", "from_", "in_text"),
    [
        (SETTINGS, JOSE, Mailbox("crm@firm.example", "José Ñandú"), ["From"]),
        (SETTINGS, OTHER_JOSE, Mailbox("crm@firm.example", "José Ñandú via Firm CRM"), ["From"]),
        (AS, OTHER_JOSE, Mailbox("crm@firm.example", "José Ñandú"), ["From"]),
        (POLICY, JOSE, CRM, ["Reply-To"]),
        (SETTINGS, Party("", "ñoñó"), CRM, ["From"]),
        (SETTINGS, Party("", "ñoñó@other.org"), CRM, ["From"]),
        (replace(SETTINGS, default_from_name="Desk"), Party("", "ñ"), "Desk", ["From"]),
    ],
)
def test_r38_an_international_local_part_stands_in_no_header(settings, user, from_, in_text):
    """From is default From by the user's name, Reply-To is left out, the text has the address."""
    chosen = choose(settings, user)
    if from_ == "Desk":
        from_ = Mailbox("crm@firm.example", "Desk")
    assert headers(chosen) == ("crm@firm.example", from_, None, ())
    assert [field for field, _ in chosen.in_text] == in_text
    assert "ñ" in chosen.in_text[0][1].address
    assert "the text names" in story(chosen)
    by_name = choose(settings, None, named=user)
    assert (headers(by_name), by_name.in_text) == (headers(chosen), chosen.in_text)


def test_of_several_reply_to_those_stand_there_whom_every_server_takes():
    """The others are named in the text, and the policy's own stays where nobody is left."""
    bob, jose = Mailbox("bob@x.org"), Mailbox("ñ@x.org", "José")
    chosen = choose(SETTINGS, ADA, reply_to=(jose, bob))
    assert (chosen.reply_to, chosen.in_text) == ((bob,), (("Reply-To", jose),))
    chosen = choose(SETTINGS, GUEST, reply_to=(jose,))
    assert [one.address for one in chosen.reply_to] == ["gus@other.org"]
    assert chosen.in_text == (("Reply-To", jose),)


@pytest.mark.parametrize("sender", ["José <ñ@firm.example>", "José <ñ@other.org>"])
def test_a_flask_mail_sender_with_an_international_local_part_is_a_name(sender):
    """Own domain or foreign: the default From, by that name."""
    chosen = choose_flask_mail_sender(SETTINGS, sender=sender)
    named = Mailbox("crm@firm.example", "José")
    assert headers(chosen) == ("crm@firm.example", named, None, ())
    assert chosen.in_text[0][1] == Mailbox(sender.partition("<")[2][:-1], "José")


@pytest.mark.parametrize("email", ["büro", "büro@firm.example"])
def test_the_default_from_has_ascii_letters_alone(email):
    """It stands in every header, and MAIL would need a server with SMTPUTF8."""
    settings = replace(SETTINGS, default_from=email)
    with pytest.raises(AddressError, match="only ASCII letters"):
        default_from(settings)
    assert "ASCII" in problems(settings, password=PasswordState.NONE)["default_from"]


def story(chosen):
    return " ".join(map(str, chosen.steps))


@pytest.mark.parametrize(
    ("settings", "user", "from_", "sender", "reply_to"),
    [
        (POLICY, ADA, CRM, None, [Mailbox("ada@firm.example", "Ada Lovelace")]),
        (POLICY, GUEST, CRM, None, [Mailbox("gus@other.org", "Gus Guest")]),
        (POLICY, NOBODY, CRM, None, []),
        (POLICY, None, CRM, None, []),
        (SETTINGS, ADA, Mailbox("ada@firm.example", "Ada Lovelace"), CRM, []),
        (SETTINGS, Party("S", "s@sister.example"), Mailbox("s@sister.example", "S"), CRM, []),
        (SETTINGS, Party("CRM", "crm"), Mailbox("crm@firm.example", "CRM"), None, []),
        (
            SETTINGS,
            GUEST,
            Mailbox("crm@firm.example", "Gus Guest via Firm CRM"),
            None,
            [Mailbox("gus@other.org", "Gus Guest")],
        ),
        (AS, GUEST, Mailbox("gus@other.org", "Gus Guest"), CRM, []),
        (SETTINGS, NOBODY, CRM, None, []),
        (SETTINGS, None, CRM, None, []),
        (AS, None, CRM, None, []),
    ],
)
def test_r36_r38_header_matrix(settings, user, from_, sender, reply_to):
    """Every row: From, Sender and Reply-To are exactly these, the envelope is the default From."""
    chosen = choose(settings, user)
    assert headers(chosen) == ("crm@firm.example", from_, sender, tuple(reply_to))
    assert len(chosen.steps) == 1 + (settings is POLICY and bool(reply_to))


NAMED = replace(SETTINGS, default_from_name="Acme Support")
SHOWN = Mailbox("crm@firm.example", "Acme Support")


@pytest.mark.parametrize(
    ("settings", "user", "from_", "sender"),
    [
        (replace(NAMED, from_policy="default_from"), ADA, SHOWN, None),
        (NAMED, None, SHOWN, None),
        (NAMED, NOBODY, SHOWN, None),
        (NAMED, Party("", "crm"), SHOWN, None),
        (NAMED, Party("CRM", "crm"), Mailbox("crm@firm.example", "CRM"), None),
        (NAMED, ADA, Mailbox("ada@firm.example", "Ada Lovelace"), CRM),
        (NAMED, GUEST, Mailbox("crm@firm.example", "Gus Guest via Firm CRM"), None),
    ],
)
def test_the_default_from_has_a_name_where_it_stands_alone(settings, user, from_, sender):
    """In From and nowhere else; beside "via" stands the name of the sender as before."""
    chosen = choose(settings, user)
    assert (chosen.envelope_sender, chosen.from_, chosen.sender) == (CRM.address, from_, sender)


@pytest.mark.parametrize("sender", [None, "crm@firm.example", "gus@other.org"])
def test_the_default_from_has_its_name_in_flask_mail_messages(sender):
    """Without a sender, with that one, and where a foreign one becomes Reply-To."""
    assert choose_flask_mail_sender(NAMED, sender=sender).from_ == SHOWN
    named = choose_flask_mail_sender(NAMED, sender="Desk <crm@firm.example>")
    assert named.from_ == Mailbox("crm@firm.example", "Desk")


def test_the_name_of_the_default_from_is_harmless():
    """It is cleaned as every name is, and the address once more is none."""
    odd = replace(SETTINGS, default_from_name="boss@bank.example =?x?=")
    assert default_from(odd).name == "boss bank.example x"
    assert default_from(replace(SETTINGS, default_from_name="crm@firm.example")) == CRM


def test_r37_the_default_policy_is_the_current_user():
    """Without any choice the user stands in From."""
    assert choose(MessagingSettings(default_from="crm@firm.example", company_domain="firm.example"),
                  ADA).from_.address == "ada@firm.example"  # fmt: skip


def test_r38_user_is_completed_with_the_company_domain():
    """A short user address becomes full as every other."""
    assert choose(SETTINGS, ADA).from_ == Mailbox("ada@firm.example", "Ada Lovelace")


def test_r39_reply_to_names_who_asked_when_from_is_the_default():
    """Answers reach the person, not the default mailbox."""
    assert choose(POLICY, ADA).reply_to[0].address == "ada@firm.example"
    assert "Answers go to Ada Lovelace (ada@firm.example)." in story(choose(POLICY, ADA))


def test_r39_no_reply_to_that_only_repeats_from():
    """A user who has the default From as address needs no Reply-To."""
    assert choose(POLICY, Party("CRM", "crm")).reply_to == ()


@pytest.mark.parametrize("settings", [SETTINGS, POLICY, AS])
@pytest.mark.parametrize("user", [ADA, GUEST, NOBODY, None])
def test_r40_envelope_sender_is_always_the_default_from(settings, user):
    """Bounces come back to us, whoever stands in From."""
    assert choose(settings, user).envelope_sender == "crm@firm.example"
    assert choose(settings, None, named=user).envelope_sender == "crm@firm.example"


def test_r41_policy_overrides_a_named_sender():
    """Host code may name a sender; the policy decides."""
    chosen = choose(POLICY, None, named=Party("Bot", "bot"))
    assert chosen.from_ == CRM
    assert chosen.reply_to == (Mailbox("bot@firm.example", "Bot"),)


def test_named_sender_stands_before_the_user():
    """Under the other policy the named sender is who sends."""
    chosen = choose(SETTINGS, ADA, named=Party("Bot", "bot"))
    assert chosen.from_ == Mailbox("bot@firm.example", "Bot")
    nameless = choose(SETTINGS, ADA, named=Party("", "bot"))
    assert nameless.from_ == Mailbox("bot@firm.example")


@pytest.mark.parametrize("named", ["two words", "a@b@c.org", "bot\r\nBcc: x@y.org"])
def test_named_sender_with_a_wrong_address_is_an_error(named):
    """What code names explicitly is never silently replaced."""
    with pytest.raises(AddressError):
        choose(SETTINGS, ADA, named=Party("Bot", named))


@pytest.mark.parametrize("user", [None, NOBODY, Party("Blank", "  ")])
@pytest.mark.parametrize("settings", [SETTINGS, POLICY, AS])
def test_r42_works_without_a_user_and_without_an_address(settings, user):
    """A job or a user without address sends from the default From."""
    assert choose(settings, user).from_ == CRM


@pytest.mark.parametrize(
    ("settings", "email"),
    [
        (SETTINGS, "two words"),
        (SETTINGS, "ada\r\nBcc: x@y.org"),
        (MessagingSettings(default_from="crm@firm.example"), "ada"),
    ],
)
def test_r43_unusable_user_address_means_default_from(settings, email):
    """The message goes out all the same, and the step says what is wrong with the address."""
    chosen = choose(settings, Party("Ada", email))
    assert headers(chosen) == ("crm@firm.example", CRM, None, ())
    assert "The address of Ada cannot be used" in story(chosen)


def test_reply_to_of_the_caller_wins():
    """In every row of the matrix."""
    wanted = (Mailbox("desk@firm.example", "Desk"),)
    for settings in (SETTINGS, POLICY, AS):
        for user in (ADA, GUEST, None):
            assert choose(settings, user, reply_to=wanted).reply_to == wanted


def test_via_takes_the_sender_name_of_the_settings():
    """The setting stands before the admin's name; without both the name stands alone."""
    named = replace(SETTINGS, sender_name="The Firm")
    assert choose(named, GUEST).from_.name == "Gus Guest via The Firm"
    assert choose(SETTINGS, GUEST, via="").from_.name == "Gus Guest"
    assert choose(SETTINGS, Party("", "gus@other.org")).from_.name == "gus via Firm CRM"


@pytest.mark.parametrize(
    "email", ["a@sub.firm.example", "a@notfirm.example", "a@firm.example.evil.org", "a@example"]
)
def test_look_alikes_of_own_domains_are_foreign(email):
    """Only the exact domain is ours."""
    chosen = choose(SETTINGS, Party("A", email))
    assert chosen.from_.address == "crm@firm.example"


def test_domain_of_default_from_is_our_own():
    """It counts even where no company domain is set."""
    settings = MessagingSettings(default_from="crm@Firm.Example")
    user = Party("Ada", "ada@firm.example")
    assert choose(settings, user).from_.address == "ada@firm.example"


def test_domain_of_default_from_may_lack_a_dot():
    """Internal mail has such names."""
    settings = MessagingSettings(default_from="crm@Corp")
    assert default_from(settings) == Mailbox("crm@corp")
    assert choose(settings, Party("Ada", "ada@corp")).from_.address == "ada@corp"


ATTACKS = [
    "Ada\r\nBcc: victim@x.org",
    "boss@bank.example",
    '"boss@bank.example" <boss@bank.example>',
    "Ada\u202e\u2066",
    "=?utf-8?q?boss=40bank.example?=",
    "Ada\x00\u2028\x85",
]


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("settings", [SETTINGS, POLICY, AS])
@pytest.mark.parametrize("email", ["ada", "ada@other.org", None])
def test_names_of_users_are_cleaned_in_every_case(settings, name, email):
    """No name makes an address, a line or an encoded word, in any header or sentence."""
    chosen = choose(settings, Party(name, email), via=name)
    for mailbox in (chosen.from_, *chosen.reply_to):
        assert mailbox.name.isprintable()
        assert not {"@", "=?"} & {mailbox.name[i : i + n] for n in (1, 2) for i in range(99)}
    assert story(chosen).isprintable()


@pytest.mark.parametrize("email", [None, "", "  "])
def test_r4_no_default_from_is_not_configured(email):
    """The error says who can do something about it."""
    with pytest.raises(MessagingNotConfigured, match="administrator"):
        choose(MessagingSettings(default_from=email), ADA)


def test_r13_default_from_may_be_short():
    """It is completed; where that is impossible the error names it."""
    assert default_from(SETTINGS) == CRM
    with pytest.raises(AddressError, match="The default From cannot be used: 'crm'"):
        default_from(MessagingSettings(default_from="crm"))


@pytest.mark.parametrize(
    ("sender", "from_", "reply_to"),
    [
        (None, CRM, []),
        ("", CRM, []),
        ("noreply@firm.example", Mailbox("noreply@firm.example"), []),
        ("noreply", Mailbox("noreply@firm.example"), []),
        (
            '"Firm, Inc." <noreply@sister.example>',
            Mailbox("noreply@sister.example", "Firm, Inc."),
            [],
        ),
        ('"Firm" <noreply@firm.example>', Mailbox("noreply@firm.example", "Firm"), []),
        ("Gus <gus@other.org>", CRM, [Mailbox("gus@other.org", "Gus")]),
        ('"b@bank.example" <gus@other.org>', CRM, [Mailbox("gus@other.org", "b bank.example")]),
    ],
)
@pytest.mark.parametrize("settings", [SETTINGS, POLICY, AS])
def test_flask_mail_keeps_its_sender_in_own_domains(settings, sender, from_, reply_to):
    """Its own sender, else the default From with Reply-To; never a Sender header."""
    chosen = choose_flask_mail_sender(settings, sender=sender)
    assert headers(chosen) == ("crm@firm.example", from_, None, tuple(reply_to))


def test_flask_mail_reply_to_wins():
    """The host's own Reply-To stays."""
    wanted = (Mailbox("desk@firm.example"),)
    chosen = choose_flask_mail_sender(SETTINGS, sender="gus@other.org", reply_to=wanted)
    assert chosen.reply_to == wanted


def test_flask_mail_sender_with_a_control_character_is_an_error():
    """Nothing odd reaches a header."""
    with pytest.raises(HeaderError):
        choose_flask_mail_sender(SETTINGS, sender="a\r\nBcc: x@y.org")


@pytest.mark.parametrize(
    ("sender", "reply_to"),
    [
        ("two words", ()),
        ("A <a@b@c.org>", ()),
        ("A <>", ()),
        ("jürgen@localhost", ()),
        ("no-reply@localhost", (Mailbox("no-reply@localhost"),)),
        ("A <no-reply@localhost>", (Mailbox("no-reply@localhost", "A"),)),
    ],
)
def test_flask_mail_sender_that_cannot_be_used_gives_way(sender, reply_to):
    """To the default From, with Reply-To where it is an address at all."""
    chosen = choose_flask_mail_sender(SETTINGS, sender=sender)
    assert headers(chosen) == ("crm@firm.example", CRM, None, reply_to)
    assert chosen.steps[0].code == "from_host_unusable"
