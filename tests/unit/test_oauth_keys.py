"""What an administrator pastes to ask for access tokens: one spelling, or what is wrong with it."""

from __future__ import annotations

import datetime
import json
import re

import pytest

from flask_interaction_mail.errors import SettingsError
from flask_interaction_mail.settings import grant, oauth
from flask_interaction_mail.settings.cleaners import WrongValue
from flask_interaction_mail.settings.fields import clean
from flask_interaction_mail.settings.secret import Secret
from tests.canary import STEM
from tests.servers.keys import certificate_pem, key_pem, service_account_json

URL = "https://oauth2.example.com/token"


def spelled(text: str) -> list[str]:
    """As it comes out of files, browsers and editors."""
    return [
        text,
        text.replace("\n", "\r\n"),
        "\ufeff" + text,
        "  \n\t" + text.replace("\n", "  \n ") + "\n\n ",
        text.replace("\n", "\\n"),
        text.replace("\n", "\\r\\n"),
    ]


@pytest.mark.parametrize("number", range(6))
def test_a_certificate_has_one_spelling(number):
    """Line ends, literal \\n, byte order mark and blanks do not matter."""
    plain = certificate_pem() + key_pem()
    cleaned = oauth.client_certificate(Secret(spelled(plain)[number]))
    assert cleaned == oauth.client_certificate(Secret(plain))
    assert cleaned == oauth.client_certificate(cleaned)
    assert grant.key_in(cleaned).key_size == 2048


@pytest.mark.parametrize("old", [True, False])
def test_key_and_certificate_in_any_order(old):
    """And in the format that OpenSSL wrote before."""
    pasted = Secret(key_pem(old=old) + "some words\n" + certificate_pem())
    assert grant.certificate_in(oauth.client_certificate(pasted))


@pytest.mark.parametrize("number", range(6))
def test_a_key_within_json_has_one_spelling(number):
    """Also one whose \\n was escaped once more, or came to be real line ends."""
    plain = json.loads(service_account_json(URL))
    pasted = {**plain, "private_key": spelled(plain["private_key"])[number]}
    cleaned = oauth.service_account(Secret("\ufeff " + json.dumps(pasted) + "\r\n"))
    assert cleaned == oauth.service_account(Secret(json.dumps(plain)))
    assert cleaned == oauth.service_account(cleaned)
    real = json.dumps(plain).replace("\\n", "\n")
    assert oauth.service_account(Secret(real)) == cleaned
    assert grant.account_in(cleaned)["token_uri"] == URL


CERTIFICATES = {
    "protected": (lambda: certificate_pem() + key_pem(password="secret"), "by a password"),
    "protected, old": (
        lambda: certificate_pem() + key_pem(password="secret", old=True),
        "by a password",
    ),
    "no key": (certificate_pem, "exactly one private key"),
    "no certificate": (key_pem, "no certificate"),
    "two keys": (lambda: certificate_pem() + key_pem() + key_pem("other"), "exactly one"),
    "another's key": (lambda: certificate_pem() + key_pem("other"), "does not belong"),
    "cut": (lambda: certificate_pem() + re.sub("\n.{64}\n", "\n", key_pem(), count=1), "whole RSA"),
    "a cut certificate": (
        lambda: re.sub("\n.{64}\n", "\n", certificate_pem(), count=1) + key_pem(),
        "cannot be read",
    ),
    "words": (lambda: f"{STEM} words", "no certificate"),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_what_is_wrong_with_a_certificate_is_said(name):
    """Without a word of it."""
    make, said = CERTIFICATES[name]
    with pytest.raises(WrongValue, match=said) as caught:
        oauth.client_certificate(Secret(make()))
    assert caught.value.__cause__ is None
    assert STEM not in str(caught.value)


ACCOUNTS = {
    "not JSON": (lambda: f"{{{STEM}", "whole content of the JSON"),
    "deep": (lambda: "[" * 2000, "whole content of the JSON"),
    "an OAuth client": (lambda: '{"installed": {"client_id": "x"}}', "is an OAuth client"),
    "a web client": (lambda: '{"web": {"client_id": "x"}}', "is an OAuth client"),
    "a user": (lambda: '{"type": "authorized_user"}', r"another kind of credentials \(authorized_"),
    "other JSON": (lambda: '{"a": 1}', "not the key of a service account"),
    "a list": (lambda: "[1]", "not the key of a service account"),
    "a part is missing": (
        lambda: service_account_json(URL, client_email=None),
        "lacks a part",
    ),
    "protected": (
        lambda: service_account_json(URL, private_key=key_pem("account", "secret")),
        "by a password",
    ),
    "no key in it": (lambda: service_account_json(URL, private_key="abc"), "exactly one private"),
}


@pytest.mark.parametrize("name", ACCOUNTS)
def test_what_is_wrong_with_a_service_account_is_said(name):
    """Without a word of it."""
    make, said = ACCOUNTS[name]
    with pytest.raises(WrongValue, match=said) as caught:
        oauth.service_account(Secret(make()))
    assert caught.value.__cause__ is None
    assert STEM not in str(caught.value)


def test_the_service_that_an_account_names_is_encrypted():
    """As one that was entered."""
    with pytest.raises(SettingsError, match="must be a complete https"):
        clean("oauth_service_account", Secret(service_account_json("http://oauth2.example.com/")))


@pytest.mark.parametrize(
    ("typed", "tenant"),
    [
        ("", None),
        (" Contoso.onmicrosoft.com ", "contoso.onmicrosoft.com"),
        ("11111111-2222-3333-4444-ABCDEF012345", "11111111-2222-3333-4444-abcdef012345"),
    ],
)
def test_a_tenant_is_an_id_or_a_domain(typed, tenant):
    """In lower case."""
    assert oauth.tenant(typed) == tenant


def test_a_tenant_that_was_pasted_as_an_address_is_found_in_it():
    """The text says what to enter."""
    with pytest.raises(WrongValue, match="such as 11111111-2222-3333-4444-abcdef012345, and no"):
        oauth.tenant(
            "https://login.microsoftonline.com/11111111-2222-3333-4444-ABCDEF012345/oauth2/v2.0"
        )
    with pytest.raises(WrongValue, match="such as contoso"):
        oauth.tenant("https://portal.azure.com/")
    with pytest.raises(WrongValue, match="Entra shows both"):
        oauth.tenant("my tenant")


def test_a_day_is_written_in_one_way():
    """As a date, or as text."""
    assert oauth.expires("2027-06-30 ") == oauth.expires(datetime.date(2027, 6, 30)) == "2027-06-30"
    assert oauth.expires("") is None
    for typed in ("30.6.2027", "2027-02-30", "soon"):
        with pytest.raises(WrongValue, match="such as 2027-06-30"):
            oauth.expires(typed)


def test_a_secret_is_one_line_without_blanks_around_it():
    """As it comes from a clipboard."""
    assert oauth.client_secret(Secret(" a~b.c\r\n")) == Secret("a~b.c")
    assert oauth.client_secret(Secret(" ")) is oauth.client_secret(None) is None
    with pytest.raises(WrongValue, match="one line"):
        oauth.client_secret(Secret("a\nb"))


def test_scopes_have_single_spaces():
    """RFC 6749 §3.3."""
    assert oauth.scope("  a  https://b/.default ") == "a https://b/.default"
    assert oauth.scope("") is None
    with pytest.raises(WrongValue):
        oauth.scope('a "b"')
