"""The settings as a value, and the rules about them as a whole."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from flask_interaction_mail.settings.model import (
    BOUND_TO,
    SETTINGS,
    FromPolicy,
    MessagingSettings,
    Origin,
    PasswordState,
)
from flask_interaction_mail.settings.relay import Destination, Encryption
from flask_interaction_mail.settings.rules import password_advice, problems
from flask_interaction_mail.settings.secret import Secret

CANARY = "kanarie-Zq7-Ω"
RIGHT = MessagingSettings(
    company_domain="interaction.com",
    smtp_server="mail.interaction.com",
    default_to="stewards",
    default_from="crm@interaction.com",
)


def changed(**values: object) -> MessagingSettings:
    """The right settings with other values."""
    return dataclasses.replace(RIGHT, **values)


def wrong(settings: MessagingSettings, password: PasswordState = PasswordState.NONE) -> set[str]:
    """The fields that keep ``settings`` from being saved."""
    return set(problems(settings, password=password))


class TestSecret:
    def test_it_shows_itself_to_nobody(self):
        """Neither repr, str, format nor the settings show the password."""
        secret = Secret(CANARY)
        settings = MessagingSettings(password=secret)
        for shown in (repr(secret), str(secret), f"{secret}", repr(settings), str(settings)):
            assert CANARY not in shown
            assert "****" in shown

    def test_it_compares_by_value(self):
        """Two secrets are equal when their texts are, and nothing else is."""
        assert Secret("a") == Secret("a") != Secret("b")
        assert Secret("a") != "a"
        assert hash(Secret("a")) == hash(Secret("a"))
        assert Secret("a")
        assert not Secret("")

    def test_it_cannot_be_pickled(self):
        """No pickle holds a password."""
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with pytest.raises(TypeError):
                pickle.dumps(Secret(CANARY), protocol)

    def test_copies_are_itself(self):
        """Copying settings deeply works."""
        secret = Secret(CANARY)
        assert copy.copy(secret) is copy.deepcopy(secret) is secret


class TestValue:
    def test_r16_r17_r37_defaults(self):
        """Port 25, no authentication, current user, required STARTTLS."""
        settings = MessagingSettings()
        assert settings.smtp_port == 25
        assert settings.use_authentication is False
        assert settings.from_policy == "current_user"
        assert (settings.encryption, settings.foreign_sender) == ("starttls", "via")
        assert (settings.on_ambiguous, settings.paused) == ("retry", False)

    def test_names_are_those_that_hosts_know(self):
        """The public field names, in the order of the panel."""
        names = (
            *("company_domain", "kind", "region", "access_key", "secret_key"),
            *("smtp_server", "smtp_port", "encryption", "use_authentication"),
            *("sign_in", "login", "password", "oauth_mailbox", "oauth_tenant", "oauth_client_id"),
            *("oauth_client_secret", "oauth_certificate", "oauth_expires"),
            *("oauth_service_account", "oauth_authorization_url", "oauth_token_url"),
            "oauth_scope",
            *(
                "default_to",
                "default_from",
                "default_from_name",
                "from_policy",
            ),
            *("returns_server", "returns_port", "returns_encryption", "returns_sign_in"),
            *("returns_login", "returns_password", "returns_folder", "returns_moved_to"),
            "returns_ca_certificate",
            *("alert_url", "alert_secret", "alert_waiting", "alert_failures", "alert_failures_of"),
            *("alert_expiry", "probe_every"),
            *(
                "ca_certificate",
                "endpoint",
                "allow_unencrypted_auth",
                "helo_name",
                "sender_name",
                "own_domains",
            ),
            *(
                "foreign_sender",
                "on_ambiguous",
                "ask_for_success",
                "skip_dead_addresses",
                "divert_to",
                "mail_header",
                "mail_footer",
                "mail_colour",
                "paused",
            ),
            *("from_domains", "max_connections", "max_messages_per_connection", "max_per_minute"),
        )
        assert names == tuple(SETTINGS)

    def test_a_password_is_bound_to_every_part_of_the_connection(self):
        """Each field of a destination is a setting, and each such setting reaches it."""
        assert set(BOUND_TO.values()) == {part.name for part in dataclasses.fields(Destination)}

    def test_comments_in_a_ca_certificate_are_no_other_connection(self):
        """A password entered with them is used without them, as it is kept from now on."""
        begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
        one = Destination(ca_certificate=f"{begin}\n{'A' * 64}\nBB\n{end}")
        other = Destination(ca_certificate=f"\ufeffMüller\r\n{begin}{'A' * 64}BB {end}\r\n\r\n")
        assert one == other
        assert one != Destination(ca_certificate=f"{begin}\n{'A' * 64}\nBC\n{end}")

    def test_plain_strings_become_words(self):
        """A host may write the words as strings; others are refused."""
        settings = MessagingSettings(encryption="tls", from_policy="default_from", password="x")
        assert settings.encryption is Encryption.TLS
        assert settings.from_policy is FromPolicy.DEFAULT_FROM
        assert settings.password == Secret("x")
        with pytest.raises(ValueError, match="ssl"):
            MessagingSettings(encryption="ssl")

    def test_an_empty_password_is_none(self):
        """No password and an empty one are the same."""
        assert MessagingSettings(password="").password is None

    def test_r3_configured_means_server_and_default_from(self):
        """Nothing less than both counts as configured."""
        assert RIGHT.configured
        assert not changed(smtp_server=None).configured
        assert not changed(default_from=None).configured

    def test_destination_is_normalised(self):
        """Case, a trailing dot and line ends do not make another destination."""
        one = MessagingSettings(smtp_server="Mail.Firm.example.", ca_certificate="a\r\nb\r\n")
        assert one.destination == Destination(server="mail.firm.example", ca_certificate="a\nb")


class TestProblems:
    def test_right_settings(self):
        """Nothing keeps complete settings from being saved."""
        assert wrong(RIGHT) == set()

    @pytest.mark.parametrize("name", ["smtp_server", "default_to", "default_from"])
    def test_r44_required_to_save(self, name):
        """A server and both default addresses are required."""
        assert wrong(changed(**{name: None})) == {name}

    def test_r45_both_defaults_may_be_equal(self):
        """Default To and default From are two fields with, if one likes, one value."""
        assert wrong(changed(default_to="crm@interaction.com")) == set()

    def test_r12_short_address_without_domain(self):
        """A short address needs a company domain; the text names it, at its field."""
        found = problems(changed(company_domain=None, divert_to="me"), password=PasswordState.NONE)
        assert set(found) == {"default_to", "divert_to"}
        assert "'stewards'" in found["default_to"]

    def test_r18_off_needs_neither_login_nor_password(self):
        """Without authentication a stored login and an unusable password do not matter."""
        settings = changed(login="ada", encryption="none")
        for state in PasswordState:
            assert wrong(settings, state) == set()

    def test_r20_on_needs_login_and_password(self):
        """With authentication both are required, each error at its field."""
        on = changed(use_authentication=True)
        assert wrong(on) == {"login", "password"}
        assert wrong(changed(use_authentication=True, login="a"), PasswordState.USABLE) == set()

    def test_r20_password_for_another_server(self):
        """The text says that this server needs its password, and what changed."""
        found = problems(
            changed(use_authentication=True, login="a"),
            password=PasswordState.UNBOUND,
            unbound=("smtp_server", "smtp_port"),
        )
        assert found["password"].startswith("Password needed for this server")
        assert "another server and port" in found["password"]

    def test_t10_no_password_in_the_clear(self):
        """Authentication without encryption needs to be allowed."""
        plain = {"use_authentication": True, "login": "a", "encryption": "none"}
        assert wrong(changed(**plain), PasswordState.USABLE) == {"encryption"}
        allowed = changed(**plain, allow_unencrypted_auth=True)
        assert wrong(allowed, PasswordState.USABLE) == set()

    @pytest.mark.parametrize("state", PasswordState)
    @pytest.mark.parametrize("origin", Origin)
    def test_every_state_has_its_advice(self, state, origin):
        """Whatever the layer and the state, there is a text; none where all is well."""
        text = password_advice(state, origin=origin, unbound=("login",))
        assert bool(text) is (state is not PasswordState.USABLE)

    def test_advice_names_what_to_set_beside_an_override(self):
        """Of an overridden password one learns which fields are missing beside it."""
        text = password_advice(
            PasswordState.UNBOUND, origin=Origin.OVERRIDE, unbound=("smtp_server", "login")
        )
        assert "smtp_server, login" in text
