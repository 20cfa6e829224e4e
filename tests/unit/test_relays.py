"""Several relays in the settings: names, order, and what each has of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_interaction_mail.settings import fields
from flask_interaction_mail.settings.cleaners import WrongValue
from flask_interaction_mail.settings.model import (
    RELAY_SETTINGS,
    MessagingSettings,
    relay_of,
    relays_of,
)
from flask_interaction_mail.settings.secret import Secret
from tests.canary import STEM

ONE = MessagingSettings(smtp_server="one.example", default_from="a@example.org")
TWO = {
    **{name: getattr(MessagingSettings(), name) for name in RELAY_SETTINGS},
    "smtp_server": "two.example",
    "password": Secret(STEM),
    "from_domains": ("example.net",),
    "max_per_minute": 30,
}
BOTH = replace(ONE, relays=("two", "default"), others={"two": TWO})


def test_one_relay_is_the_default():
    """Settings that name no relay have one, with today's fields."""
    assert [relay.name for relay in relays_of(ONE)] == ["default"]
    assert relays_of(ONE) == (relay_of(ONE),)
    assert relays_of(MessagingSettings()) == (relay_of(MessagingSettings()),)


def test_relays_come_in_their_order():
    """The list decides the order, and each relay has its own fields beside the shared ones."""
    two, one = relays_of(BOTH)
    assert (two.name, two.server, two.from_domains) == ("two", "two.example", ("example.net",))
    assert (two.max_per_minute, two.max_connections) == (30, None)
    assert (one.name, one.server, one.secret) == ("default", "one.example", None)
    assert two.domain == one.domain == "example.org"


def test_settings_with_another_relay_know_the_way_back():
    """Which relay the flat fields are of can be changed without losing any."""
    assert BOTH.with_relay("two").password == Secret(STEM)
    assert BOTH.with_relay("two").with_relay("default") == BOTH
    assert BOTH.with_relay("default") is BOTH
    with pytest.raises(KeyError):
        BOTH.with_relay("three")


def test_a_relay_without_a_server_is_left_out():
    """Overrides may name a relay and not its server: nothing can go there."""
    lost = replace(BOTH, others={"two": {**TWO, "smtp_server": None}})
    assert [relay.name for relay in relays_of(lost)] == ["default"]


def test_what_stands_in_does_so_for_all():
    """A host that keeps its mail here has one relay, without a server and a secret."""
    (relay,) = relays_of(BOTH, "memory")
    assert (relay.kind, relay.server, relay.secret) == ("memory", None, None)
    assert relay.stands_in


@pytest.mark.parametrize("relay", ["backup", "backup-2", "eu_west", "2", "relays"])
def test_a_name_is_the_same_in_the_form_and_elsewhere(relay: str) -> None:
    """Also where the name of the relay has hyphens."""
    for field in RELAY_SETTINGS:
        name = fields.of(relay, field)
        assert name == f"relays.{relay}.{field}"
        assert fields.parts(name) == (relay, field)
        assert fields.from_form(fields.in_form(name)) == name
    assert fields.of(relay, "default_to") == "default_to"
    assert fields.of("default", "login") == fields.from_form("login") == "login"


@pytest.mark.parametrize(
    "name",
    ["relays.default.login", "relays.backup.default_to", "relays.backup", "relays..x", "nothing"],
)
def test_what_is_no_name_means_no_setting(name: str) -> None:
    """So that nothing is stored under it."""
    assert fields.setting_of(name) is None


def test_each_relay_sees_its_own_values_beside_the_shared_ones() -> None:
    """And neither those of another nor what it cannot have."""
    values = {"login": 1, "default_to": 2, "relays.two.login": 3, "relays.two.default_to": 4}
    assert fields.seen_by("default", values) == {"login": 1, "default_to": 2}
    assert fields.seen_by("two", values) == {"login": 3, "default_to": 2}
    assert fields.seen_by("three", values) == {"default_to": 2}


@pytest.mark.parametrize("name", ["", " ", "a b", "a.b", "a__b", "a--b", "_a", "a-", "ä", "a" * 41])
def test_a_name_is_safe_everywhere(name: str) -> None:
    """In HTML, in the environment, in JSON and on the command line."""
    with pytest.raises(WrongValue):
        fields.clean_relay(name)


def test_a_name_is_in_small_letters() -> None:
    """However it was typed."""
    assert fields.clean_relay(" EU-West_2 ") == "eu-west_2"
    assert fields.clean_relays("Backup,  default") == ("backup", "default")


def test_settings_for_others_have_no_secret_of_any_relay() -> None:
    """Of neither the flat fields nor the others."""
    shown = replace(BOTH, password=Secret(STEM)).without_secrets
    assert shown.password is None
    assert shown.with_relay("two").password is None
    assert shown.with_relay("two").smtp_server == "two.example"
    assert STEM not in repr(BOTH)
