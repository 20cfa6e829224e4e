"""Which layer decides a setting, and where a password may be used."""

from __future__ import annotations

import pytest

from flask_interaction_mail.errors import SettingsError
from flask_interaction_mail.settings.layers import (
    InForce,
    Layer,
    configured_layer,
    from_mail_config,
    in_force,
    layered,
)
from flask_interaction_mail.settings.model import (
    BOUND_TO,
    SETTINGS,
    MessagingSettings,
    Origin,
    PasswordState,
)
from flask_interaction_mail.settings.relay import Destination, Encryption
from flask_interaction_mail.settings.rules import problems
from flask_interaction_mail.settings.secret import Secret

CANARY = "kanarie-Zq7-Ω"
FULL = {
    "smtp_server": "one.example",
    "smtp_port": 587,
    "encryption": Encryption.STARTTLS,
    "ca_certificate": None,
    "login": "ada",
}
OTHER = {
    "smtp_server": "two.example",
    "smtp_port": 588,
    "encryption": Encryption.TLS,
    "ca_certificate": "another",
    "login": "eve",
}
BOUND = MessagingSettings(**FULL).destination


def stored(values: dict[str, object], bound_to: Destination | None = BOUND) -> Layer:
    """A stored layer with a password."""
    return Layer(
        origin=Origin.STORED, values={**values, "password": Secret(CANARY)}, bound_to=bound_to
    )


def merged(*layers: Layer) -> InForce:
    """What the layers come to."""
    return in_force(layers, revision=3)


class TestLayers:
    def test_r23_precedence_per_field(self):
        """Override over stored over MAIL_* over default, field by field, with the origins."""
        values, origins = layered(
            [
                Layer(origin=Origin.OVERRIDE, values={"smtp_server": "a"}),
                Layer(origin=Origin.STORED, values={"smtp_server": "b", "smtp_port": 2}),
                Layer(origin=Origin.CONFIG, values={"smtp_port": 3, "login": "c"}),
            ]
        )
        assert values == {"smtp_server": "a", "smtp_port": 2, "login": "c"}
        assert [origins[n] for n in ("smtp_server", "smtp_port", "login", "paused")] == [
            "override",
            "stored",
            "config",
            "default",
        ]
        assert set(origins) == set(SETTINGS)

    def test_a_stored_none_is_set(self):
        """A field that was emptied in the panel stays empty above MAIL_*."""
        found = merged(
            Layer(origin=Origin.STORED, values={"login": None}),
            configured_layer(Origin.CONFIG, {"login": "x"}),
        )
        assert found.settings.login is None
        assert found.origins["login"] is Origin.STORED

    def test_r23_overridden_fields_are_known(self):
        """The panel can tell which fields are read-only."""
        found = merged(configured_layer(Origin.OVERRIDE, {"paused": True}))
        assert found.overridden == {"paused"}
        assert found.settings.paused
        assert found.revision == 3

    def test_t1_stored_password_where_it_was_entered(self):
        """Unchanged connection: the password is used."""
        found = merged(stored(FULL))
        assert found.password is PasswordState.USABLE
        assert found.settings.password == Secret(CANARY)
        assert found.origins["password"] is Origin.STORED

    @pytest.mark.parametrize("name", BOUND_TO)
    @pytest.mark.parametrize("layer", ["stored", "override"])
    def test_t1_one_other_field_and_no_password(self, name, layer):
        """Each field of the group, changed in either layer, keeps the password back."""
        change = {name: OTHER[name]}
        if layer == "stored":
            found = merged(stored(FULL | change))
        else:
            found = merged(configured_layer(Origin.OVERRIDE, change), stored(FULL))
        assert found.password is PasswordState.UNBOUND
        assert found.unbound == (name,)
        assert found.settings.password is None

    @pytest.mark.parametrize("name", BOUND_TO)
    def test_t1_mail_config_password(self, name):
        """MAIL_PASSWORD is used with the MAIL_* connection and no other."""
        config = configured_layer(Origin.CONFIG, FULL | {"password": Secret(CANARY)})
        assert merged(config).settings.password == Secret(CANARY)
        found = merged(Layer(origin=Origin.STORED, values={name: OTHER[name]}), config)
        assert (found.password, found.unbound) == (PasswordState.UNBOUND, (name,))
        assert found.settings.password is None

    def test_t1_override_password_alone(self):
        """A password override without its server beside it fits nowhere, and says what lacks."""
        override = configured_layer(Origin.OVERRIDE, {"password": Secret("o")})
        found = merged(override, stored(FULL))
        assert found.password is PasswordState.UNBOUND
        assert found.unbound == ("smtp_server", "smtp_port", "login")
        assert found.origins["password"] is Origin.OVERRIDE

    def test_override_password_with_its_connection(self):
        """With the whole connection beside it, it is used."""
        override = configured_layer(Origin.OVERRIDE, FULL | {"password": Secret("o")})
        assert merged(override, stored(OTHER)).settings.password == Secret("o")

    def test_mail_config_serves_where_nothing_is_stored(self):
        """A stored layer without a password lets MAIL_PASSWORD through."""
        config = configured_layer(Origin.CONFIG, FULL | {"password": Secret("c")})
        found = merged(Layer(origin=Origin.STORED, values=FULL), config)
        assert found.settings.password == Secret("c")
        assert found.origins["password"] is Origin.CONFIG

    def test_an_unusable_higher_password_hides_a_lower_one(self):
        """The highest layer with a password decides: none is tried after another."""
        config = configured_layer(Origin.CONFIG, FULL | {"password": Secret("c")})
        found = merged(stored(FULL, MessagingSettings(**OTHER).destination), config)
        assert found.password is PasswordState.UNBOUND

    def test_r57_unreadable(self):
        """A password without its key is unreadable, and no error."""
        layer = Layer(origin=Origin.STORED, values={**FULL, "password": None})
        assert merged(layer).password is PasswordState.UNREADABLE

    def test_none_at_all(self):
        """No layer, no password, nothing configured."""
        found = in_force([], revision=0)
        assert found.settings == MessagingSettings()
        assert found.password is PasswordState.NONE


class TestMailConfig:
    def test_r3_nothing_without_a_server_of_the_host(self):
        """The other MAIL_* keys alone configure nothing."""
        assert from_mail_config({"MAIL_PORT": 25, "MAIL_USERNAME": "x"}) == {}
        assert from_mail_config({"MAIL_SERVER": None}) == {}

    def test_server_alone(self):
        """Port 25 and no encryption are what Flask-Mail would take."""
        assert from_mail_config({"MAIL_SERVER": "Mail"}) == {
            "smtp_server": "mail",
            "smtp_port": 25,
            "encryption": "none",
            "use_authentication": False,
        }

    @pytest.mark.parametrize(
        ("keys", "encryption"),
        [
            ({"MAIL_USE_TLS": True}, "starttls"),
            ({"MAIL_USE_TLS": "1"}, "starttls"),
            ({"MAIL_USE_SSL": True}, "tls"),
            ({"MAIL_USE_SSL": True, "MAIL_USE_TLS": True}, "tls"),
            ({"MAIL_USE_TLS": "false", "MAIL_USE_SSL": 0}, "none"),
        ],
    )
    def test_encryption(self, keys, encryption):
        """MAIL_USE_TLS is STARTTLS, MAIL_USE_SSL is TLS."""
        assert from_mail_config({"MAIL_SERVER": "m"} | keys)["encryption"] == encryption

    def test_authentication(self):
        """A user name switches authentication on."""
        found = from_mail_config(
            {"MAIL_SERVER": "m", "MAIL_USERNAME": "ada", "MAIL_PASSWORD": CANARY}
        )
        assert found["use_authentication"] is True
        assert (found["login"], found["password"]) == ("ada", Secret(CANARY))
        assert CANARY not in repr(found)

    def test_authentication_stays_safe(self):
        """MAIL_* credentials without encryption are not fit to be sent."""
        values = from_mail_config(
            {"MAIL_SERVER": "m", "MAIL_USERNAME": "ada", "MAIL_PASSWORD": CANARY}
        )
        found = merged(configured_layer(Origin.CONFIG, values))
        assert found.password is PasswordState.USABLE
        assert "encryption" in problems(found.settings, password=found.password)

    @pytest.mark.parametrize(
        ("sender", "address", "name"),
        [
            ("crm@firm.example", "crm@firm.example", None),
            (("The CRM", "crm@firm.example"), "crm@firm.example", "The CRM"),
            ("The CRM <crm@firm.example>", "crm@firm.example", "The CRM"),
            ('"CRM, The" <crm@firm.example>', "crm@firm.example", "CRM, The"),
            ("<crm@localhost>", "crm@localhost", None),
            (None, None, None),
        ],
    )
    def test_default_sender(self, sender, address, name):
        """Every form that Flask-Mail takes for the default sender."""
        found = from_mail_config({"MAIL_SERVER": "m", "MAIL_DEFAULT_SENDER": sender})
        assert found.get("default_from") == address
        assert found.get("sender_name") == found.get("default_from_name") == name

    def test_errors_name_the_key(self):
        """A wrong value is reported under the host's own key."""
        with pytest.raises(SettingsError) as caught:
            from_mail_config(
                {
                    "MAIL_SERVER": "a b",
                    "MAIL_PORT": "x",
                    "MAIL_DEFAULT_SENDER": 5,
                    "MAIL_PASSWORD": 7,
                }
            )
        assert set(caught.value.errors) == {
            "MAIL_SERVER",
            "MAIL_PORT",
            "MAIL_DEFAULT_SENDER",
            "MAIL_PASSWORD",
        }
