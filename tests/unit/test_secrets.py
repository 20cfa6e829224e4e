"""The stored password: sealed with its destination, under keys that can change."""

from __future__ import annotations

import base64
import dataclasses
import traceback

import pytest
from cryptography.fernet import Fernet

from flask_interaction_mail.errors import SecretUnreadable
from flask_interaction_mail.settings.keyring import Keyring, keys_of
from flask_interaction_mail.settings.model import MessagingSettings
from flask_interaction_mail.settings.relay import Destination
from flask_interaction_mail.settings.secret import Secret

CANARY = "kanarie-Zq7-Ω"
PLACE = Destination(server="mail.firm.example", port=587, login="ada", ca_certificate="PEM\ntext")
SETTINGS = MessagingSettings(
    company_domain="firm.example",
    smtp_server="mail.firm.example",
    smtp_port=587,
    use_authentication=True,
    login="ada",
    password=CANARY,
    default_to="to",
    default_from="from",
)


def test_t11_sealed_password_comes_back_with_its_destination():
    """What was sealed is opened again, with the five fields that it is bound to."""
    ring = Keyring(["key"])
    token = ring.seal(Secret(CANARY), PLACE)
    assert ring.open(token) == (Secret(CANARY), PLACE)


def test_t11_token_shows_nothing():
    """Neither the password nor its base64 form, nor the server stands in the token."""
    token = Keyring(["key"]).seal(Secret(CANARY), PLACE)
    for text in (CANARY, base64.b64encode(CANARY.encode()).decode(), "mail.firm.example"):
        assert text not in token
        assert text.encode() not in base64.urlsafe_b64decode(token)
    assert token != Keyring(["key"]).seal(Secret(CANARY), PLACE)


@pytest.mark.parametrize("key", ["k", "é" * 500, b"\0\xff", "x" * 31])
def test_keys_of_any_length(key):
    """SECRET_KEY may be of any length, text or bytes."""
    assert Keyring([key]).open(Keyring([key]).seal(Secret("p"), PLACE))[0] == Secret("p")


def test_derived_key_stays_the_same():
    """A token of an earlier version can be opened: derivation is part of the stored format."""
    derived = base64.urlsafe_b64encode(
        bytes.fromhex("e373387967ff7bb421a4a7efa6a2640f7fdd95f89058360081cebd807956c4fd")
    )
    token = Fernet(derived).encrypt(b'{"password": "p", "server": "m"}').decode()
    assert Keyring(["key"]).open(token) == (Secret("p"), Destination(server="m"))


def test_no_key_is_an_error_only_at_need():
    """Without keys sealing and opening fail with what to do; a fingerprint does not."""
    ring = Keyring([])
    with pytest.raises(SecretUnreadable, match="SECRET_KEY"):
        ring.seal(Secret(CANARY), PLACE)
    with pytest.raises(SecretUnreadable, match="SECRET_KEY"):
        ring.open("x")
    with pytest.raises(SecretUnreadable, match="SECRET_KEY"):
        ring.rotate("x")
    assert ring.fingerprint(SETTINGS) == ring.fingerprint(SETTINGS)


def test_another_key_cannot_open():
    """With other keys the password is unreadable, and the text says how to go on."""
    token = Keyring(["old"]).seal(Secret(CANARY), PLACE)
    with pytest.raises(SecretUnreadable, match="SECRET_KEY_FALLBACKS"):
        Keyring(["new"]).open(token)


@pytest.mark.parametrize("payload", [b"[]", b"{", b"\xff", b'{"password": 1}x', b'{"server": "m"}'])
def test_damaged_tokens(payload):
    """A token that holds something else is unreadable, whatever it holds."""
    ring = Keyring(["key"])
    token = ring._fernets()[0].encrypt(payload).decode()
    for damaged in (token, token[:-4], "", "é"):
        with pytest.raises(SecretUnreadable):
            ring.open(damaged)


def test_t11_an_error_shows_no_password():
    """The error for a damaged payload has the password in no local variable and no cause."""
    ring = Keyring(["key"])
    token = ring._fernets()[0].encrypt(f'{{"password": "{CANARY}"'.encode()).decode()
    with pytest.raises(SecretUnreadable) as caught:
        ring.open(token)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert CANARY not in "".join(shown.format())


def test_t12_newest_key_seals_and_old_ones_open():
    """Rotation: the old key opens what it sealed, the new one seals."""
    token = Keyring(["old"]).seal(Secret(CANARY), PLACE)
    both = Keyring(["new", "old"])
    assert both.open(token)[0] == Secret(CANARY)
    rotated = both.rotate(token)
    assert Keyring(["new"]).open(rotated) == (Secret(CANARY), PLACE)
    with pytest.raises(SecretUnreadable):
        Keyring(["old"]).open(rotated)
    assert both.rotate(rotated) == rotated
    with pytest.raises(SecretUnreadable):
        Keyring(["new"]).rotate(token)


def test_keys_are_read_at_each_use():
    """A SECRET_KEY that is set late, or changed, is heeded."""
    keys: list[str] = []
    ring = Keyring(lambda: keys)
    keys.append("key")
    token = ring.seal(Secret("p"), PLACE)
    keys[:] = ["new", "key"]
    assert ring.open(token)[0] == Secret("p")


@pytest.mark.parametrize(
    ("config", "keys"),
    [
        ({}, ()),
        ({"SECRET_KEY": None}, ()),
        ({"SECRET_KEY": "a"}, ("a",)),
        ({"SECRET_KEY": b"a", "SECRET_KEY_FALLBACKS": ["b", "c"]}, (b"a", "b", "c")),
        ({"SECRET_KEY": "a", "SECRET_KEY_FALLBACKS": None}, ("a",)),
        ({"SECRET_KEY": "a", "INTERACTION_MAIL_SECRET_KEYS": "own"}, ("own",)),
        ({"INTERACTION_MAIL_SECRET_KEYS": ["new", "old"]}, ("new", "old")),
        ({"SECRET_KEY": "a", "INTERACTION_MAIL_SECRET_KEYS": []}, ()),
    ],
)
def test_t12_keys_of_the_configuration(config, keys):
    """Own keys, else SECRET_KEY and its fallbacks, newest first."""
    assert keys_of(config) == keys


def test_fingerprint_is_64_hexadecimal_digits():
    """It fits its column, and is the same in every process with the key."""
    found = Keyring(["key"]).fingerprint(SETTINGS)
    assert len(found) == 64
    assert int(found, 16)
    assert found == Keyring(["key"]).fingerprint(dataclasses.replace(SETTINGS))


@pytest.mark.parametrize(
    "change",
    [
        {"smtp_server": "other.firm.example"},
        {"smtp_port": 588},
        {"encryption": "tls"},
        {"ca_certificate": "pem"},
        {"login": "eve"},
        {"password": Secret("other")},
        {"password": None},
        {"use_authentication": False},
        {"allow_unencrypted_auth": True},
        {"helo_name": "crm.firm.example"},
        {"default_to": "else"},
        {"default_from": "else"},
        {"company_domain": "other.example"},
    ],
)
def test_fingerprint_changes_with_what_a_test_depends_on(change):
    """Any of these makes the last passed test a test of something else."""
    ring = Keyring(["key"])
    assert ring.fingerprint(SETTINGS) != ring.fingerprint(dataclasses.replace(SETTINGS, **change))


@pytest.mark.parametrize(
    "change",
    [
        {"paused": True},
        {"divert_to": "me"},
        {"from_policy": "default_from"},
        {"on_ambiguous": "hold"},
        {"foreign_sender": "as"},
        {"sender_name": "x"},
        {"smtp_server": "MAIL.firm.example."},
    ],
)
def test_fingerprint_stays_with_the_rest(change):
    """What a test does not touch leaves it passed."""
    ring = Keyring(["key"])
    assert ring.fingerprint(SETTINGS) == ring.fingerprint(dataclasses.replace(SETTINGS, **change))


def test_t11_fingerprint_is_no_oracle_for_the_password():
    """Without the key nobody can compute it, not even who knows everything else."""
    assert Keyring(["one"]).fingerprint(SETTINGS) != Keyring(["two"]).fingerprint(SETTINGS)
    assert Keyring([]).fingerprint(SETTINGS) != Keyring([]).fingerprint(SETTINGS)


def test_t12_fingerprint_of_before_a_rotation_is_known():
    """After a rotation the badge still knows the test that passed."""
    before = Keyring(["old"]).fingerprint(SETTINGS)
    after = Keyring(["new", "old"])
    assert before in after.fingerprints(SETTINGS)
    assert before != after.fingerprint(SETTINGS)
