"""Several relays in the settings: names, order, and what each has of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
