"""Whom mail reaches and what another company domain moves, without a host."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_interaction_mail import MessagingSettings, Party, Role, addresses
from flask_interaction_mail.monitoring import coverage

FIRM = MessagingSettings(
    company_domain="firm.example",
    smtp_server="mail.firm.example",
    default_to="desk",
    default_from="crm",
)
NEW = replace(FIRM, company_domain="new.example")
ADA = Party("Ada", "ada", id=1)
STEWARDS = Party("Stewards", "stewards", id=10, kind="group")
NAMELESS = Party("Nameless", " ", id=11, kind="group")


@pytest.mark.parametrize(
    ("parties", "to", "own", "lacking"),
    [
        ([STEWARDS], ("Stewards <stewards@firm.example>",), True, ()),
        ([NAMELESS, STEWARDS], ("Stewards <stewards@firm.example>",), True, (NAMELESS,)),
        ([NAMELESS], ("desk@firm.example",), False, (NAMELESS,)),
        ([Party("Nobody")], ("desk@firm.example",), False, ()),
        ([], ("desk@firm.example",), False, ()),
    ],
)
def test_where_a_request_from_a_place_goes(
    parties: list[Party], to: tuple[str, ...], own: bool, lacking: tuple[Party, ...]
) -> None:
    """To somebody with the right, or by the default To; groups without an address are named."""
    found = coverage.place("Firm List", parties, FIRM)
    assert (found.to, found.own, found.lacking) == (to, own, lacking)
    assert found.why
    assert not any("Firm List" in sentence for sentence in found.why)


def test_a_place_whose_requests_reach_nobody_says_why() -> None:
    """Without a default To, which overrides can bring about."""
    found = coverage.place("Firm List", [NAMELESS], replace(FIRM, default_to=None))
    assert found.to == ()
    assert "no default To is set" in found.why[0]


def test_a_group_without_an_address_is_listed_once_with_its_places() -> None:
    """In their order."""
    places = [coverage.place(name, [NAMELESS], FIRM) for name in ("A", "B")]
    assert coverage.lacking(places) == {NAMELESS: ["A", "B"]}


def test_people_are_counted_by_what_is_wrong() -> None:
    """Each under all that applies, with what is wrong; a missing address alone is nothing here."""
    people = [
        ADA,
        Party("Wrong", "a b@firm.example"),
        Party("Sec", "sec", role=Role.SECRETARY),
        Party("Pro", None, role=Role.PROFESSIONAL),
        Party("Reached", "pro", role=Role.PROFESSIONAL, uses_desktop_client=True),
        Party("Else", "x@Else.example"),
        STEWARDS,
        NAMELESS,
    ]
    found = coverage.survey(people, FIRM)
    assert [one.party.name for one in found.never.examples] == ["Sec", "Pro"]
    assert [one.party.name for one in found.unusable.examples] == ["Wrong"]
    assert "not a valid e-mail address" in found.unusable.examples[0].problem
    assert found.short.count == 0
    assert {name: some.count for name, some in found.domains.items()} == {
        "firm.example": 3,
        "else.example": 1,
    }
    assert {**found.full} == {"firm.example": 0, "else.example": 1}


def test_short_addresses_without_a_company_domain_are_listed_apart() -> None:
    """They are not wrong, the domain is missing."""
    found = coverage.survey(
        [ADA, STEWARDS, Party("Wrong", "@")], replace(FIRM, company_domain=None)
    )
    assert (found.short.count, found.unusable.count) == (2, 1)


def test_of_many_there_are_examples() -> None:
    """The first ones, and the number of all."""
    found = coverage.survey([Party("P", role=Role.SECRETARY)] * 1000, FIRM)
    assert (found.never.count, len(found.never.examples)) == (1000, coverage.EXAMPLES)


def test_a_new_domain_moves_short_addresses_alone() -> None:
    """Of users and groups, and those of the settings."""
    people = [ADA, STEWARDS, NAMELESS, Party("Full", "full@firm.example"), Party("Bad", "a b")]
    full = coverage.survey(people, FIRM).full
    found = coverage.preview(people, full, FIRM, NEW)
    assert (found.users, found.groups, found.unusable) == (1, 1, 0)
    assert found.examples == [
        (ADA, coverage.Move("ada@firm.example", "ada@new.example")),
        (STEWARDS, coverage.Move("stewards@firm.example", "stewards@new.example")),
    ]
    assert found.settings == (
        ("default_to", coverage.Move("desk@firm.example", "desk@new.example")),
        ("default_from", coverage.Move("crm@firm.example", "crm@new.example")),
    )
    assert found.left == {"firm.example": 1}


def test_who_stays_in_a_listed_domain_is_not_left() -> None:
    """Nor who is in the domain of a default From with a full address."""
    people = [Party("Full", "full@firm.example")]
    full = coverage.survey(people, FIRM).full
    for changes in ({"own_domains": ("firm.example",)}, {"default_from": "crm@firm.example"}):
        now = replace(FIRM, **changes)  # type: ignore[arg-type]
        then = replace(now, company_domain="new.example")
        assert coverage.preview(people, full, now, then).left == {}


def test_who_has_no_usable_address_afterwards_is_counted() -> None:
    """An address that is too long with the new domain, and one whose domain has no dot."""
    people = [Party("Long", "x" * 64), Party("Intern", "x@corp")]
    corp = replace(FIRM, company_domain="corp")
    then = replace(FIRM, company_domain=".".join(["d" * 60] * 3 + ["example"]))
    found = coverage.preview(people, coverage.survey(people, corp).full, corp, then)
    assert (found.users, found.unusable) == (2, 2)
    assert all(move.problem for _, move in found.examples)


def test_the_same_domain_moves_nobody() -> None:
    """However it is written."""
    found = coverage.preview([ADA], coverage.survey([ADA], FIRM).full, FIRM, FIRM)
    assert (found.users, found.examples, found.settings) == (0, [], ())


@pytest.mark.parametrize(
    ("changes", "in_from"),
    [
        ({}, {"firm.example": 2}),
        ({"foreign_sender": "as"}, {"firm.example": 2, "else.example": 1}),
        ({"own_domains": ("else.example",)}, {"firm.example": 2, "else.example": 1}),
        ({"from_policy": "default_from"}, {"firm.example": 1}),
        ({"default_from": "crm@mail.example"}, {"mail.example": 1, "firm.example": 2}),
    ],
)
def test_which_domains_stand_in_from(changes: dict[str, str], in_from: dict[str, int]) -> None:
    """By the policy, and by what is one's own; the default From's is always there."""
    settings = replace(FIRM, **changes)  # type: ignore[arg-type]
    people = [ADA, Party("Bob", "bob"), Party("Eve", "eve@else.example"), STEWARDS]
    found = coverage.senders(coverage.survey(people, settings), settings)
    assert found is not None
    assert found.in_from == in_from


def test_without_a_default_from_nobody_is_shown() -> None:
    """There is nothing to check then."""
    settings = replace(FIRM, default_from=None)
    assert coverage.senders(coverage.survey([ADA], settings), settings) is None
    assert coverage.preview([], coverage.survey([], settings).full, settings, NEW).left == {}


def test_many_people_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator, which takes most of the time, is asked once for each domain."""
    asked: list[str] = []
    validate = addresses._validate

    def counted(address: str) -> object:
        asked.append(address)
        return validate(address)

    monkeypatch.setattr(addresses, "_validate", counted)
    domains = [f"many{number}.example" for number in range(10)]
    short = [Party("Many", f"many.{number}") for number in range(1000)]
    full = [Party("Many", f"many_{number}@{domains[number % 10]}") for number in range(1000)]
    found = coverage.survey([*short, *full], FIRM)
    assert sum(each.count for each in found.domains.values()) == 2000
    assert len(asked) <= len(domains) + 1
