"""Who gets a message: location, group, default To, and the sentences that say why."""

from __future__ import annotations

import json

import pytest

from flask_interaction_mail.addresses import WRITE_IT, Mailbox
from flask_interaction_mail.errors import AddressError, NoRecipient
from flask_interaction_mail.language import speaking
from flask_interaction_mail.messages.recipients import resolve, route_merge, route_parties
from flask_interaction_mail.messages.route import RouteStep, grouped
from flask_interaction_mail.settings.model import MessagingSettings
from flask_interaction_mail.values import Party, Role

DESK = "merge-desk@firm.example"
SETTINGS = MessagingSettings(
    company_domain="firm.example", default_to="merge-desk", default_from="crm"
)
BARE = MessagingSettings(default_from="crm@firm.example")

STEWARDS = Party("Data Stewards", "stewards", kind="group")
MUTE = Party("Mute Group", None, kind="group")
ADA = Party("Ada Lovelace", "ada@firm.example", role=Role.ADMINISTRATOR)
OWNER = Party("Olga Owner", "olga", role=Role.FOLDER_OWNER)
LAWYER = Party("Lea Lawyer", "lea", role=Role.PROFESSIONAL)
CLERK = Party("Cem Clerk", "cem", role=Role.SECRETARY)
DESKTOP = Party("Dora Desktop", "dora", role=Role.SECRETARY, uses_desktop_client=True)


def to(routing):
    return [one.address for one in routing.to]


def story(routing):
    return " ".join(map(str, routing.steps))


def test_r5_an_ordinary_user_gets_mail_only_as_a_recipient():
    """Nobody is added to those who were resolved."""
    plain = Party("Paul Plain", "paul")
    assert to(route_parties([plain], kind="notification", settings=SETTINGS)) == [
        "paul@firm.example"
    ]
    assert "paul@firm.example" not in to(route_merge([("List", [STEWARDS])], SETTINGS))


@pytest.mark.parametrize("person", [LAWYER, CLERK])
def test_r6_notification_to_somebody_without_the_client_is_suppressed(person):
    """A professional or secretary without the desktop client is recorded, not mailed."""
    routing = route_parties([person], kind="notification", settings=SETTINGS)
    assert routing.to == ()
    assert routing.suppressed == (Mailbox(f"{person.email}@firm.example", person.name),)
    assert "does not use the desktop client" in story(routing)


def test_r6_the_others_still_get_the_notification():
    """Only the ineligible one is left out; a secretary with the client is mailed."""
    routing = route_parties([LAWYER, DESKTOP], kind="notification", settings=SETTINGS)
    assert to(routing) == ["dora@firm.example"]
    assert [one.name for one in routing.suppressed] == ["Lea Lawyer"]


@pytest.mark.parametrize("email", [None, "not an address", "lea"])
def test_r6_suppressing_needs_no_usable_address(email):
    """Somebody who gets nothing anyway causes no error by a bad address."""
    person = Party("Lea", email, role=Role.PROFESSIONAL)
    routing = route_parties([person], kind="notification", settings=BARE)
    assert routing.suppressed == (Mailbox(email or "", "Lea"),)


def test_r6_request_skips_the_ineligible():
    """In a request the next candidate acts instead."""
    routing = route_merge([("Firm List", [LAWYER, OWNER])], SETTINGS)
    assert to(routing) == ["olga@firm.example"]


@pytest.mark.parametrize("explicit", [True, False])
def test_r6_request_with_nobody_left_goes_to_default_to(explicit):
    """Somebody must act, so the default To gets it, with the reason."""
    if explicit:
        routing = route_parties([LAWYER, CLERK], kind="request", settings=SETTINGS)
    else:
        routing = route_merge([("Firm List", [LAWYER, CLERK])], SETTINGS)
    assert to(routing) == [DESK]
    assert routing.suppressed == ()
    assert "Lea Lawyer is a professional who does not use the desktop client" in story(routing)
    assert f"Nobody else is left, so the default To ({DESK}) is used." in story(routing)


def test_r6_a_group_is_never_a_person():
    """The role of a group says nothing about who reads its mailbox."""
    group = Party("Partners", "partners", kind="group", role=Role.PROFESSIONAL)
    routing = route_parties([group], kind="notification", settings=SETTINGS)
    assert to(routing) == ["partners@firm.example"]


def test_r9_r11_short_and_full_addresses_may_be_mixed():
    """Users and groups alike are completed; full addresses stay as they are."""
    guest = Party("Guest", "guest@other.org")
    routing = route_parties([STEWARDS, OWNER, guest], kind="request", settings=SETTINGS)
    assert to(routing) == ["stewards@firm.example", "olga@firm.example", "guest@other.org"]


def test_r10_a_new_domain_moves_every_short_address():
    """The same parties under another company domain."""
    moved = MessagingSettings(company_domain="new.example", default_to="merge-desk")
    assert to(route_merge([("List", [STEWARDS])], moved)) == ["stewards@new.example"]
    assert to(route_merge([("List", [MUTE])], moved)) == ["merge-desk@new.example"]


@pytest.mark.parametrize("named", [Party("", "emroberts"), Party("Em", "emroberts")])
def test_r12_explicit_short_address_without_a_domain_is_an_error(named):
    """The caller learns at once, and the text names the address."""
    with pytest.raises(AddressError, match="'emroberts' has no part after the @"):
        route_parties([named], kind="notification", settings=BARE)


@pytest.mark.parametrize(
    "named", [Party("", "a b@c.org"), Party("", "a@b@c.org"), Party("X", "nope nope")]
)
def test_explicit_address_that_is_none_is_an_error(named):
    """What was named explicitly is never silently replaced."""
    with pytest.raises(AddressError, match="is not a valid e-mail address"):
        route_parties([named], kind="request", settings=SETTINGS)


def test_r27_r29_the_group_with_the_right_there_is_the_first_choice():
    """The first candidate at the location gets the request, and only that one."""
    routing = route_merge([("Firm List", [STEWARDS, OWNER])], SETTINGS)
    assert routing.to == (Mailbox("stewards@firm.example", "Data Stewards"),)
    assert [str(one) for one in routing.steps] == [
        "Contacts are in Firm List.",
        "Data Stewards (stewards@firm.example) has the right to merge there, "
        "so the request goes there.",
    ]


def test_r28_every_distinct_location_is_resolved():
    """Different recipients all get it, in one message."""
    candidates = [("Firm List", [STEWARDS]), ("Ada's Folder", [ADA])]
    assert to(route_merge(candidates, SETTINGS)) == ["stewards@firm.example", "ada@firm.example"]


def test_r28_a_location_without_an_address_adds_the_default_to():
    """The group of the one location and the default To for the other."""
    routing = route_merge([("Firm List", [STEWARDS]), ("Attic", [MUTE])], SETTINGS)
    assert to(routing) == ["stewards@firm.example", DESK]


def test_r28_one_recipient_for_two_locations_is_mailed_once():
    """The same address, spelled differently, stands in To once."""
    other = Party("Stewards again", "stewards@Firm.EXAMPLE", kind="group")
    routing = route_merge([("A", [STEWARDS]), ("B", [other])], SETTINGS)
    assert to(routing) == ["stewards@firm.example"]
    assert "stewards@firm.example is a recipient already" in story(routing)


def test_r30_the_groups_own_address_is_used():
    """One mailbox a group, whoever is in it."""
    routing = route_merge([("List", [STEWARDS])], SETTINGS)
    assert routing.to == (Mailbox("stewards@firm.example", "Data Stewards"),)


@pytest.mark.parametrize("email", [None, "", "   ", "\t\n"])
def test_r31_group_without_address_goes_to_default_to(email):
    """A missing or blank address means the default To, and the sentence says so."""
    group = Party("Data Stewards", email, kind="group")
    routing = route_merge([("Firm List", [group])], SETTINGS)
    assert to(routing) == [DESK]
    assert story(routing) == (
        "Contacts are in Firm List. "
        f"Data Stewards has no address, so the default To ({DESK}) is used."
    )


def test_r32_no_group_goes_to_default_to():
    """Nobody has the right there."""
    routing = route_merge([("Firm List", [])], SETTINGS)
    assert to(routing) == [DESK]
    assert "Nobody there has the right to merge" in story(routing)


def test_r32_of_several_groups_the_first_with_an_address():
    """A group without an address is named and passed over."""
    routing = route_merge([("Firm List", [MUTE, STEWARDS, ADA])], SETTINGS)
    assert to(routing) == ["stewards@firm.example"]
    assert "Mute Group has no address." in story(routing)


@pytest.mark.parametrize("role", [Role.FOLDER_OWNER, Role.ADMINISTRATOR, None])
@pytest.mark.parametrize("kind", ["request", "notification", "of the host"])
def test_r33_default_to_serves_every_recipient_without_an_address(role, kind):
    """Owners and administrators too, in every kind of message."""
    owner = Party("Olga", " ", role=role)
    routing = route_parties([owner, ADA], kind=kind, settings=SETTINGS)
    assert to(routing) == [DESK, "ada@firm.example"]
    assert f"Olga has no address, so the default To ({DESK}) is used." in story(routing)


def test_nobody_named_means_the_default_to():
    """An empty ``to`` is served, not refused."""
    routing = route_parties([], kind="notification", settings=SETTINGS)
    assert to(routing) == [DESK]
    assert "No recipient is named" in story(routing)


@pytest.mark.parametrize(
    "route",
    [
        lambda: route_merge([("Firm List", [MUTE])], BARE),
        lambda: route_merge([], BARE),
        lambda: route_parties([], kind="request", settings=BARE),
        lambda: route_parties([MUTE], kind="request", settings=BARE),
        lambda: route_parties([ADA, MUTE], kind="notification", settings=BARE),
    ],
)
def test_r35_no_default_to_is_an_error(route):
    """With nowhere to go, the error says what to set."""
    with pytest.raises(NoRecipient, match="Set one in Configuration"):
        route()


def test_r35_another_location_still_gets_the_request():
    """Somebody who can act is better than an error; the missing default To is noted."""
    routing = route_merge([("Attic", [MUTE]), ("Desk", [ADA])], BARE)
    assert to(routing) == ["ada@firm.example"]
    assert "no default To is set" in story(routing)


@pytest.mark.parametrize(
    ("email", "named"), [("two words", "'two words'"), ("stewards", "'stewards' has no part")]
)
def test_candidate_whose_address_cannot_be_used_is_named_and_passed_over(email, named):
    """A mail problem of one group must not keep the request from the next."""
    settings = MessagingSettings(default_to=DESK, default_from="crm@firm.example")
    bad = Party("Data Stewards", email, kind="group")
    routing = route_merge([("Firm List", [bad, ADA])], settings)
    assert to(routing) == ["ada@firm.example"]
    assert "The address of Data Stewards cannot be used: " in story(routing)
    assert named in story(routing)
    assert to(route_merge([("Firm List", [bad])], settings)) == [DESK]


def test_default_to_that_cannot_be_used_is_an_error():
    """A short default To without a company domain is named as such."""
    settings = MessagingSettings(default_to="merge-desk", default_from="crm@firm.example")
    with pytest.raises(AddressError, match=r"The default To cannot be used: 'merge-desk'"):
        route_merge([("Firm List", [MUTE])], settings)


def test_an_address_gets_the_message_once():
    """Whoever is named a second time, by whichever name or form of the address."""
    named = [Party("", "ada@firm.example"), ADA, Party("Bob", "bob@x.org"), Party("Cy", "cy"),
             Party("C", "cy@firm.example")]  # fmt: skip
    routing = route_parties(named, kind="notification", settings=SETTINGS)
    assert routing.to == (
        Mailbox("ada@firm.example"),
        Mailbox("bob@x.org", "Bob"),
        Mailbox("cy@firm.example", "Cy"),
    )


def test_local_parts_that_differ_in_case_are_two_mailboxes():
    """Only the receiving server may say that they are the same (RFC 5321 §2.4)."""
    routing = route_parties(
        [Party("", "Ada@x.org"), Party("", "ada@X.org")], kind="request", settings=SETTINGS
    )
    assert to(routing) == ["Ada@x.org", "ada@x.org"]


@pytest.mark.parametrize("name", ["Ada\r\nBcc: x@y.org", "boss@bank.example", "A\u202eda", "=?x?="])
def test_names_are_cleaned_in_mailboxes_and_sentences(name):
    """What somebody calls himself breaks neither a header nor a sentence."""
    routing = route_merge([("Firm\r\nList", [Party(name, "ada")])], SETTINGS)
    assert "@" not in routing.to[0].name
    assert routing.to[0].name.isprintable()
    assert story(routing).isprintable()


def test_internal_domains_without_a_dot_work_where_they_were_set():
    """An administrator's addresses may be in one, and everybody in default From's domain."""
    settings = MessagingSettings(default_to="desk@interfacemail", default_from="crm@corp")
    assert to(route_merge([("Firm List", [MUTE])], settings)) == ["desk@interfacemail"]
    assert to(route_parties([Party("", "ada@corp")], kind="request", settings=settings)) == [
        "ada@corp"
    ]
    with pytest.raises(AddressError, match="no dot"):
        route_parties([Party("", "ada@gmial")], kind="request", settings=settings)


def test_copies_need_an_address_of_their_own():
    """A Cc or Reply-To without an address is an error that names the party."""
    assert resolve(OWNER, SETTINGS) == Mailbox("olga@firm.example", "Olga Owner")
    with pytest.raises(AddressError, match="Mute Group has no e-mail address"):
        resolve(MUTE, SETTINGS)
    with pytest.raises(AddressError, match="An unnamed user"):
        resolve(Party(""), SETTINGS)


def test_steps_survive_the_database():
    """A step comes back from JSON as it was, sentence included."""
    for step in route_merge([("Firm List", [MUTE, LAWYER])], SETTINGS).steps:
        again = RouteStep.from_json(json.loads(json.dumps(step.to_json())))
        assert again == step
        assert str(again) == str(step)


def test_a_step_of_another_version_is_still_readable():
    """An unknown code shows itself and its values instead of failing."""
    assert str(RouteStep.from_json({"code": "by_moon", "phase": "full"})) == "by_moon, full"
    assert str(RouteStep("location", {})) == "location"


@pytest.mark.usefixtures("brackets")
def test_a_step_is_told_in_the_readers_language_and_stored_in_english():
    """With its role, and with a problem while it is known from what it was made."""
    wrong = Party("Will Wrong", "a b", role=Role.ADMINISTRATOR)
    steps = route_merge([("Firm List", [Party(""), LAWYER, wrong])], SETTINGS).steps
    told = [step.text for step in steps]
    assert told == [
        "⟦Contacts are in Firm List.⟧",
        "⟦⟦An unnamed user⟧ has no address.⟧",
        "⟦Lea Lawyer is a ⟦professional⟧ who does not use the desktop client, so gets no mail.⟧",
        "⟦The address of Will Wrong cannot be used: ⟦'a b' is not a valid e-mail address. ⟦It has "
        f"a space but no @, so it looks like a name. ⟦{WRITE_IT}⟧⟧⟧⟧",
        f"⟦Nobody else is left, so the default To ({DESK}) is used.⟧",
    ]
    stored = json.dumps([step.to_json() for step in steps], ensure_ascii=False)
    assert "⟦" not in stored + "".join(map(str, steps))
    again = [RouteStep.from_json(step) for step in json.loads(stored)]
    assert [step.text for step in again[:3]] == told[:3]
    assert again[3].text.startswith("⟦The address of Will Wrong cannot be used: ")


def test_a_stored_problem_is_told_in_german():
    """Though only its English text was kept, with the address in it."""
    wrong = Party("Will Wrong", "a b", role=Role.ADMINISTRATOR)
    steps = route_merge([("Firm List", [wrong])], SETTINGS).steps
    again = RouteStep.from_json(json.loads(json.dumps(steps[1].to_json())))
    assert again.code == "bad_address"
    with speaking("de"):
        told = again.text
    assert "'a b' ist keine gültige E-Mail-Adresse." in told
    assert "valid" not in told


@pytest.mark.usefixtures("brackets")
def test_a_name_is_not_translated():
    """Though it is one of our texts, such as of a group of this name."""
    routing = route_parties([Party("Sent", "s", kind="group")], kind="request", settings=SETTINGS)
    assert [step.text for step in routing.steps] == ["⟦It is addressed to Sent (s@firm.example).⟧"]


@pytest.mark.usefixtures("brackets")
def test_steps_of_one_kind_are_told_together():
    """The page of a message lists them so."""
    people = [STEWARDS, DESKTOP, DESKTOP]
    steps = route_parties(people, kind="request", settings=SETTINGS).steps
    (first, others), *rest = grouped(steps)
    assert first.startswith("⟦It is addressed to Data Stewards")
    assert (len(others), len(rest)) == (2, 1)
    assert all(text.startswith("⟦") for text in others)
