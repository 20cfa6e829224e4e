"""The configuration keys: units, words, overrides, and errors that name the key."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from flask import Flask

from flask_interaction_mail.config import (
    AccessMode,
    Config,
    DeliveryMode,
    Migrations,
    TransportKind,
    parse,
    suppressed,
)
from flask_interaction_mail.errors import SettingsError
from flask_interaction_mail.settings.relay import Encryption
from flask_interaction_mail.settings.secret import Secret

CANARY = "kanarie-Zq7-Ω"


def errors_of(**keys: object) -> dict[str, str]:
    """The errors of these keys, given without their prefix."""
    with pytest.raises(SettingsError) as caught:
        parse({f"INTERACTION_MAIL_{name}": value for name, value in keys.items()})
    return caught.value.errors


def overrides_from(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, object]:
    """The overrides that an application gets from these environment variables."""
    for name, value in variables.items():
        monkeypatch.setenv(f"FLASK_INTERACTION_MAIL_OVERRIDES__{name}", value)
    app = Flask(__name__)
    app.config.from_prefixed_env()
    return dict(parse(app.config).overrides)


def test_defaults():
    """Nothing set: the values that the documentation names."""
    config = parse({})
    assert config == Config()
    assert (config.delivery, config.access, config.migrations) == ("thread", "admin", "host")
    assert (config.connections, config.rate) == (16, 10)
    assert config.lease == timedelta(seconds=60)
    assert config.request_window == timedelta(hours=24)
    assert config.body_retention == timedelta(days=7)
    assert config.log_retention == timedelta(days=90)
    assert config.overrides == {}


def test_every_key():
    """Integers count in the unit of the key."""
    config = parse(
        {
            "INTERACTION_MAIL_DELIVERY": "worker",
            "INTERACTION_MAIL_ACCESS": "host",
            "INTERACTION_MAIL_MIGRATIONS": "own",
            "INTERACTION_MAIL_CONNECTIONS": 2,
            "INTERACTION_MAIL_RATE": 5,
            "INTERACTION_MAIL_ACTOR_RATE": 50,
            "INTERACTION_MAIL_LEASE": 30,
            "INTERACTION_MAIL_REQUEST_WINDOW": 48,
            "INTERACTION_MAIL_BODY_RETENTION": 1,
            "INTERACTION_MAIL_LOG_RETENTION": timedelta(weeks=1),
            "INTERACTION_MAIL_OVERRIDES": None,
            "INTERACTION_MAIL_DENY_NETWORKS": ("10.0.0.0/8", "fd00::/8"),
            "INTERACTION_MAIL_DENY_PORTS": [22, 6379],
        }
    )
    assert config == Config(
        delivery=DeliveryMode.WORKER,
        access=AccessMode.HOST,
        migrations=Migrations.OWN,
        connections=2,
        rate=5,
        actor_rate=50,
        lease=timedelta(seconds=30),
        request_window=timedelta(hours=48),
        body_retention=timedelta(days=1),
        log_retention=timedelta(days=7),
        deny_networks=(ip_network("10.0.0.0/8"), ip_network("fd00::/8")),
        deny_ports=frozenset({22, 6379}),
    )


@pytest.mark.parametrize("value", [0, -1, True, "60", 1.5, timedelta(0), timedelta(-1), 10**12])
def test_wrong_durations(value):
    """A duration is a whole number from 1 or a positive timedelta; the key is named."""
    assert "INTERACTION_MAIL_LOG_RETENTION" in errors_of(LOG_RETENTION=value)


@pytest.mark.parametrize("value", [0, -1, True, "4", 1.5, timedelta(1)])
@pytest.mark.parametrize("name", ["CONNECTIONS", "RATE", "ACTOR_RATE"])
def test_wrong_counts(name, value):
    """A count is a whole number from 1."""
    assert "whole number from 1" in errors_of(**{name: value})[f"INTERACTION_MAIL_{name}"]


@pytest.mark.parametrize("value", ["10.0.0.0/8, 192.0.2.7", ["10.0.0.0/8", "192.0.2.7/32"]])
def test_networks_are_a_list_or_a_text_with_commas(value):
    """A single address is a network, too."""
    config = parse({"INTERACTION_MAIL_DENY_NETWORKS": value})
    assert config.deny_networks == (ip_network("10.0.0.0/8"), ip_network("192.0.2.7/32"))


@pytest.mark.parametrize("value", ["22,6379", [22, "6379"], {22, 6379}])
def test_ports_are_a_list_or_a_text_with_commas(value):
    """From the environment a single one comes as a number, several as text."""
    assert parse({"INTERACTION_MAIL_DENY_PORTS": value}).deny_ports == {22, 6379}
    assert parse({"INTERACTION_MAIL_DENY_PORTS": 22}).deny_ports == {22}


@pytest.mark.parametrize("value", ["10.1.0.0/8", ["localhost"], "10.0.0.0/33", 10, True, {"a": 1}])
def test_wrong_networks(value):
    """A slip must not leave a network open: it is an error that names the culprit."""
    text = errors_of(DENY_NETWORKS=value)["INTERACTION_MAIL_DENY_NETWORKS"]
    assert "10.0.0.0/8" in text
    assert str(value[0] if isinstance(value, list) else value) in text


def test_an_ipv4_network_in_disguise_is_to_be_written_plainly():
    """Else it would not cover the very addresses that it names."""
    text = errors_of(DENY_NETWORKS="::ffff:10.0.0.0/104")["INTERACTION_MAIL_DENY_NETWORKS"]
    assert "IPv4" in text
    assert parse({"INTERACTION_MAIL_DENY_NETWORKS": "::/0"}).deny_networks == (ip_network("::/0"),)


@pytest.mark.parametrize("value", [0, 65536, True, "ssh", [22, -1], 2.5, b"22"])
def test_wrong_ports(value):
    """A port is a whole number from 1 to 65535."""
    assert "[22, 6379]" in errors_of(DENY_PORTS=value)["INTERACTION_MAIL_DENY_PORTS"]


@pytest.mark.parametrize(
    "value", ["10.0.0.53, [fd00::53]:5353", ["10.0.0.53:53", "[fd00::53]:5353"]]
)
def test_name_servers_are_addresses_with_or_without_a_port(value):
    """An IPv6 address needs brackets only before a port."""
    servers = (("10.0.0.53", 53), ("fd00::53", 5353))
    assert parse({"INTERACTION_MAIL_NAME_SERVERS": value}).name_servers == servers
    alone = parse({"INTERACTION_MAIL_NAME_SERVERS": "fd00::53"}).name_servers
    assert alone == (("fd00::53", 53),)


@pytest.mark.parametrize("value", ["ns.example", "10.0.0.53:x", "[::1]:0", ["10.0.0.1", "no"], 53])
def test_wrong_name_servers(value):
    """A name could not be looked up."""
    assert "10.0.0.53" in errors_of(NAME_SERVERS=value)["INTERACTION_MAIL_NAME_SERVERS"]


def test_wrong_words_and_all_errors_at_once():
    """Words that are none are answered with those that are, for all keys together."""
    found = errors_of(DELIVERY="threads", ACCESS="x", MIGRATIONS=1, LEASE="x")
    assert found["INTERACTION_MAIL_DELIVERY"].startswith("must be one of thread, worker, celery")
    assert len(found) == 4


def test_r23_overrides_are_cleaned():
    """Overrides obey the rules of the form."""
    config = parse(
        {
            "INTERACTION_MAIL_OVERRIDES": {
                "smtp_server": "Mail.Firm.example",
                "smtp_port": None,
                "encryption": "none",
                "password": CANARY,
            }
        }
    )
    assert config.overrides == {
        "smtp_server": "mail.firm.example",
        "smtp_port": 25,
        "encryption": Encryption.NONE,
        "password": Secret(CANARY),
    }
    assert CANARY not in repr(config)


def test_r23_an_unknown_override_lists_the_right_names():
    """A slip in a name is an error, not a setting that has no effect."""
    found = errors_of(OVERRIDES={"smtp_sever": "x", "smtp_port": "x"})
    assert "smtp_server" in found["INTERACTION_MAIL_OVERRIDES['smtp_sever']"]
    assert "65535" in found["INTERACTION_MAIL_OVERRIDES['smtp_port']"]
    assert "dictionary" in errors_of(OVERRIDES="x")["INTERACTION_MAIL_OVERRIDES"]


def test_r23_overrides_from_the_environment(monkeypatch):
    """What Flask reads from the environment works, names in upper case too."""
    found = overrides_from(
        monkeypatch,
        smtp_server="mail.firm.example",
        SMTP_PORT="587",
        use_authentication="true",
        paused="no",
        own_domains="a.example, b.example",
        login='"12345"',
    )
    assert found == {
        "smtp_server": "mail.firm.example",
        "smtp_port": 587,
        "use_authentication": True,
        "paused": False,
        "own_domains": ("a.example", "b.example"),
        "login": "12345",
    }


@pytest.mark.parametrize("value", ["1e5", "12345678", "true"])
def test_r23_a_password_that_reads_as_a_number(monkeypatch, value):
    """It would not be the password that was meant: an error, which does not show it."""
    with pytest.raises(SettingsError, match="both kinds of quotes") as caught:
        overrides_from(monkeypatch, password=value)
    for spelled in (value, "100000"):
        assert spelled not in str(caught.value).replace("a yes or no", "")


@pytest.mark.parametrize(
    ("config", "answer"),
    [
        ({}, False),
        ({"TESTING": True}, True),
        ({"TESTING": True, "MAIL_SUPPRESS_SEND": False}, False),
        ({"TESTING": False, "MAIL_SUPPRESS_SEND": True}, True),
        ({"TESTING": True, "MAIL_SUPPRESS_SEND": None}, True),
    ],
)
def test_r51_suppressed(config, answer):
    """MAIL_SUPPRESS_SEND decides, and TESTING where it is not set."""
    assert suppressed(config) is answer


@pytest.mark.parametrize(
    ("config", "answer"),
    [({"TESTING": True}, False), ({"MAIL_SUPPRESS_SEND": True}, True), ({}, False)],
)
def test_testing_alone_suppresses_nothing_that_stays_in_memory(config, answer):
    """Nothing would leave anyhow; MAIL_SUPPRESS_SEND is obeyed."""
    assert suppressed(config, TransportKind.MEMORY) is answer


def test_transport_is_a_word_of_those_there_are():
    """By default the server of the settings."""
    assert parse({}).transport is TransportKind.SMTP
    assert parse({"INTERACTION_MAIL_TRANSPORT": "memory"}).transport is TransportKind.MEMORY
    assert parse({"INTERACTION_MAIL_TRANSPORT": "console"}).transport is TransportKind.CONSOLE
    for wrong in ("cons", "own", "console:", "memory:x", "files", "files:", ":x"):
        (text,) = errors_of(TRANSPORT=wrong).values()
        assert text == (
            "must be one of smtp, memory, console, files:FOLDER, or a function that opens a "
            f"transport, not {wrong!r}"
        )
    assert parse({"INTERACTION_MAIL_TRANSPORT": dict}).transport is TransportKind.OWN


def test_a_folder_of_files_is_named_once(monkeypatch, tmp_path):
    """Where the process changes its directory later, they are still found where they were."""
    monkeypatch.chdir(tmp_path)
    found = parse({"INTERACTION_MAIL_TRANSPORT": "files:var/mail"})
    assert found.transport is TransportKind.FILES
    assert found.mail_folder == tmp_path / "var" / "mail"
    assert parse({"INTERACTION_MAIL_TRANSPORT": "files:/x:y"}).mail_folder == Path("/x:y")
