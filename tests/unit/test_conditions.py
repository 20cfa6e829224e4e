"""When mail is in trouble: the conditions as rules, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_interaction_mail.errors import SettingsError
from flask_interaction_mail.outbox.conditions import (
    OVER,
    TITLES,
    AlertName,
    Vitals,
    holding,
    tellable,
)
from flask_interaction_mail.settings.fields import clean
from flask_interaction_mail.settings.model import MessagingSettings, PasswordState
from flask_interaction_mail.settings.rules import problems
from flask_interaction_mail.settings.secret import Secret

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC).replace(tzinfo=None)
SETTINGS = MessagingSettings(smtp_server="mail.example", default_from="crm@firm.example")
FINE = Vitals(now=NOW, here=1)


def found(settings: MessagingSettings = SETTINGS, **vitals: Any) -> set[str]:
    return set(holding(replace(FINE, **vitals), settings))


def waiting(**span: float) -> datetime:
    return NOW - timedelta(**span)


def test_nothing_holds_while_mail_flows() -> None:
    """Nor where mail is not set up."""
    assert found() == set()
    assert found(MessagingSettings(), trouble="It is gone.", failed=100) == set()


def test_a_server_in_trouble() -> None:
    """The breaker's reason comes first, then that of the last probe."""
    both = replace(FINE, trouble="The machine refused.", probe_failed="It is silent.")
    assert holding(both, SETTINGS) == {AlertName.SERVER: "The machine refused."}
    assert found(probe_failed="It is silent.") == {"server"}


@pytest.mark.parametrize(("minutes", "limit", "alert"), [
    (15, 15, True), (14.9, 15, False), (3, 2, True), (10_000, 0, False),
])  # fmt: skip
def test_a_message_waits_too_long(minutes: float, limit: int, alert: bool) -> None:
    """From so many minutes on; with 0 never."""
    settings = replace(SETTINGS, alert_waiting=limit)
    assert found(settings, oldest=waiting(minutes=minutes)) == ({"waiting"} if alert else set())


def test_that_sending_is_paused_is_said() -> None:
    """Who forgot it gets the reason with the alert."""
    late = replace(FINE, oldest=waiting(minutes=20))
    assert "paused" in holding(late, replace(SETTINGS, paused=True))[AlertName.WAITING]
    assert "paused" not in holding(late, SETTINGS)[AlertName.WAITING]


@pytest.mark.parametrize(("sent", "failed", "alert"), [
    (18, 2, True), (17, 2, False), (19, 1, False), (0, 20, True), (0, 19, False), (181, 19, False),
])  # fmt: skip
def test_many_fail(sent: int, failed: int, alert: bool) -> None:
    """A tenth of at least twenty."""
    assert found(sent=sent, failed=failed) == ({"failures"} if alert else set())


def test_other_shares_count_if_they_are_set() -> None:
    """Half of three, and never."""
    half = replace(SETTINGS, alert_failures=50, alert_failures_of=3)
    assert found(half, sent=1, failed=2) == {"failures"}
    assert found(half, sent=2, failed=1) == set()
    assert found(replace(half, alert_failures=0), failed=9) == set()
    assert found(replace(half, alert_failures_of=0)) == set()


def test_nobody_delivers() -> None:
    """Only if mail waits, longer than a worker takes to be replaced, and if that is known."""
    alone = replace(FINE, here=0, oldest=waiting(seconds=61))
    assert set(holding(alone, SETTINGS)) == {"nobody"}
    assert found(here=0) == found(here=0, oldest=waiting(seconds=59)) == set()
    assert holding(alone, SETTINGS, watched=False) == {}


def test_what_ends_soon() -> None:
    """The server's certificate and others, from so many days on; with 0 never."""
    assert found(expires=NOW + timedelta(days=14)) == {"expiry"}
    assert found(expires=NOW + timedelta(days=14, seconds=1)) == set()
    assert found(replace(SETTINGS, alert_expiry=0), expires=NOW) == set()
    ends = [("The key", NOW + timedelta(days=3)), ("The other", NOW + timedelta(days=300))]
    text = holding(FINE, SETTINGS, ends=ends)[AlertName.EXPIRY]
    assert text == "The key ends on 2026-05-07 at 12:00 UTC."


def test_no_address_is_told() -> None:
    """A server's reply may name one, and alerts go to other places than mail."""
    said = "550 5.1.0 <crm@firm.example>: sender refused (ada@x.test)\x1b[2J" + "x" * 2000
    text = holding(replace(FINE, trouble=said), SETTINGS)[AlertName.SERVER]
    assert "@" not in text
    assert text.isprintable()
    assert "sender refused" in text
    assert len(text) <= 1000


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("550 <ada@firm.example>: no", "550 <(an address)>: no"),
        ('550 "ada byron"@firm.example no', "550 (an address) no"),
        ("550 ada@[192.0.2.1] no", "550 (an address) no"),
        ("550 ada'o@firm.example, bob@firm.example no", "550 (an address), (an address) no"),
        ("550 dept:ada@firm.example no", "550 dept:(an address) no"),
        ("550 ada@ no @firm.example", "550 (an address) no (an address)"),
        ("550 ada\uff20firm.example no", "550 (an address) no"),
    ],
)
def test_an_address_in_any_form_is_left_out(said: str, told: str) -> None:
    """Nothing of it stays, and the words around it do."""
    assert tellable(said) == told


@given(st.text() | st.text('@a"[]<> '))
def test_no_text_has_an_address(text: str) -> None:
    assert "@" not in tellable(text)


def test_each_alert_has_its_sentences() -> None:
    """For its beginning and for its end."""
    assert set(TITLES) == set(OVER) == set(AlertName)


@pytest.mark.parametrize("url", [
    "https://hooks.example/services/T0/B0", "https://hooks.example:8443/?a=b",
    "http://localhost:9000/x", "http://127.0.0.1/", "http://[::1]:9000/",
])  # fmt: skip
def test_a_webhook_is_https_or_at_this_machine(url: str) -> None:
    assert clean("alert_url", f" {url} ") == url


@pytest.mark.parametrize("url", [
    "http://hooks.example/", "http://localhost.evil.example/", "http://127.0.0.1.evil.example/",
    "https://user:pw@hooks.example/", "https://hooks.example@evil.example/", "https:///x",
    "ftp://hooks.example/", "hooks.example", "https://hooks.example/a b", "https://a/\r\nX: y",
    "https://hooks.example/#part", "https://hooks.example:99999/", "https://hooks.example:0/",
    "https://[::1/", "https://\u0430pple.example/", "javascript:alert(1)",
    "https://a/" + "x" * 2000,
    "http://2130706433/", "http://0x7f000001/", "https://a\\@evil.example/",
])  # fmt: skip
def test_other_urls_are_refused(url: str) -> None:
    """What is not one plain URL, or would send an alert in the open."""
    with pytest.raises(SettingsError):
        clean("alert_url", url)


@pytest.mark.parametrize(("typed", "value"), [("", 15), (None, 15), ("0", 0), ("007", 7), (30, 30)])
def test_a_number_is_whole(typed: object, value: int) -> None:
    """An empty field is the usual number."""
    assert clean("alert_waiting", typed) == value


@pytest.mark.parametrize("typed", ["-1", "1.5", "x", "10081", "٣", True, "9" * 30])
def test_other_numbers_are_refused(typed: object) -> None:
    with pytest.raises(SettingsError, match="whole number from 0 to 10080"):
        clean("alert_waiting", typed)


def test_a_webhook_needs_a_secret() -> None:
    """Without one nobody could tell what comes from us."""
    url = replace(SETTINGS, default_to="a@b.example", alert_url="https://hooks.example/")
    assert "alert_secret" in problems(url, password=PasswordState.NONE)
    signed = replace(url, alert_secret="s")  # type: ignore[arg-type]
    assert "alert_secret" not in problems(signed, password=PasswordState.NONE)


@pytest.mark.parametrize("typed", ["whsec_", "whsec_=", "whsec_not base64!", "whsec_abc"])
def test_a_key_that_signs_nothing_is_refused(typed: str) -> None:
    """Anybody could forge with an empty one; a broken one would fit no receiver."""
    with pytest.raises(SettingsError, match="must have a key in base64"):
        clean("alert_secret", Secret(typed))


@pytest.mark.parametrize("typed", ["whsec_AAAA", "AAAA", "é", "of whsec_"])
def test_other_secrets_sign(typed: str) -> None:
    assert clean("alert_secret", Secret(typed)) == Secret(typed)
