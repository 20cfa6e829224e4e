"""Presets of mail providers: what they fill in can be saved, and the rest is said."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from flask_interaction_mail.settings.fields import clean_all
from flask_interaction_mail.settings.model import MessagingSettings, PasswordState
from flask_interaction_mail.settings.presets import PRESETS, Preset
from flask_interaction_mail.settings.relay import SES, SMTP, Encryption, SignIn
from flask_interaction_mail.settings.rules import problems, suggested_port

each = pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
OAUTH = {
    SignIn.OAUTH_APPLICATION: {"oauth_tenant", "oauth_client_id", "oauth_client_secret"},
    SignIn.OAUTH_SERVICE_ACCOUNT: {"oauth_service_account"},
    SignIn.OAUTH_MAILBOX: {"oauth_tenant", "oauth_client_id"},
}
ENTERED = MessagingSettings(default_to="it@firm.example", default_from="app@firm.example")


def test_the_providers_that_are_offered():
    """Two servers of one provider are two entries, so that nobody has to complete a name."""
    assert list(PRESETS) == [
        "microsoft365", "microsoft365_consent", "microsoft365_password",
        "google_workspace", "google_consent", "google_relay", "google", "amazon_ses",
        "amazon_ses_https", "sendgrid", "sendgrid_eu", "mailgun", "mailgun_eu", "postmark", "zoho",
        "zoho_eu", "fastmail", "own",
    ]  # fmt: skip
    names = [preset.name for preset in PRESETS.values()]
    assert len(set(names)) == len(names)
    with pytest.raises(TypeError):
        PRESETS["other"] = PRESETS["own"]


@each
def test_what_it_fills_in_is_clean(preset: Preset):
    """The cleaners change nothing, whether it comes as values or as the text of a form."""
    assert clean_all(preset.values) == preset.values
    typed = {name: str(value) for name, value in preset.values.items()}
    assert clean_all(typed) == preset.values


@each
def test_what_it_leaves_open_is_all_that_is_missing(preset: Preset):
    """With it, addresses and a password, the fields with a hint are to be entered, no others."""
    settings = replace(ENTERED, **preset.values)
    hinted = set(preset.hints)
    # A machine of AWS may have credentials of its own.
    needed = (
        hinted - {"access_key"} if preset.use_authentication else hinted - {"login", "access_key"}
    )
    needed |= OAUTH.get(preset.sign_in, set())
    needed -= {"oauth_tenant"} if preset.oauth_token_url else set()
    assert set(problems(settings, password=PasswordState.USABLE)) == needed
    assert not hinted & set(preset.values)


@each
def test_a_password_is_never_sent_in_the_clear(preset: Preset):
    """Each proposes encryption, and the port that goes with it."""
    assert preset.encryption is not Encryption.NONE
    assert preset.smtp_port == suggested_port(preset.encryption)


@each
def test_a_server_is_a_full_name(preset: Preset):
    """Also the examples in its sentences: each can be entered as it is."""
    text = f"{preset.server_hint} {preset.note}"
    servers = re.findall(r"(?<!@)\b(?:e?mail|smtp)[\w-]*(?:\.[\w-]+)*\.(?:com|in|eu)\b", text)
    for server in [preset.smtp_server or "mail.example.com", *servers]:
        assert clean_all({"smtp_server": server}) == {"smtp_server": server}
        assert re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+){2,}", server)
    assert preset.smtp_server or servers or preset.kind is SES


@each
def test_texts_are_sentences(preset: Preset):
    """From a capital to a full stop, with single spaces."""
    assert preset.wants
    for text in (*preset.wants, preset.missing, *preset.hints.values()):
        assert re.fullmatch(r"(\w\S*( \S+)*\.)?", text)
        assert text[:1] == text[:1].upper()


def test_who_may_not_log_in_with_a_password_for_long_is_told():
    """Microsoft and Google want OAuth, for which there are others; the date is Microsoft's."""
    told = [preset.key for preset in PRESETS.values() if preset.missing]
    assert told == ["microsoft365_password", "google"]
    assert all("OAuth" in PRESETS[key].missing for key in told)
    assert "end of December 2026" in PRESETS["microsoft365_password"].missing


def test_a_server_of_ones_own_only_gets_a_proposal():
    values = {"kind": SMTP, "smtp_port": 587, "encryption": Encryption.STARTTLS}
    assert PRESETS["own"].values == values


def test_the_login_of_sendgrid_is_a_fixed_word():
    """The key itself is the password."""
    assert {PRESETS[key].values["login"] for key in ("sendgrid", "sendgrid_eu")} == {"apikey"}
