"""What each setting may be, whoever wrote it."""

from __future__ import annotations

import datetime
import traceback

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from flask_interaction_mail.errors import SettingsError
from flask_interaction_mail.settings.fields import clean, clean_all, from_json, to_json
from flask_interaction_mail.settings.relay import Encryption
from flask_interaction_mail.settings.rules import suggested_port
from flask_interaction_mail.settings.secret import Secret

CANARY = "kanarie-Zq7-Ω"


def ca(name: str = "Test CA") -> tuple[str, str]:
    """A self-signed certificate and its private key, both as PEM text."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1000)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM).decode(), private.decode()


def error_of(name: str, raw: object) -> str:
    """The text with which ``raw`` is refused for the field ``name``."""
    with pytest.raises(SettingsError) as caught:
        clean(name, raw)
    assert set(caught.value.errors) == {name}
    return caught.value.errors[name]


class TestServer:
    @pytest.mark.parametrize(
        ("raw", "server"),
        [
            ("mail.firm.example", "mail.firm.example"),
            (" Mail.Firm.Example. ", "mail.firm.example"),
            ("interfacemail", "interfacemail"),
            ("smtp_relay", "smtp_relay"),
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("2001:DB8:0:0::25", "2001:db8::25"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("", None),
            (None, None),
        ],
    )
    def test_r15_name_label_and_addresses(self, raw, server):
        """Names, single labels, IPv4 and IPv6 are servers; internationalised ones A-labels."""
        assert clean("smtp_server", raw) == server

    @pytest.mark.parametrize(
        "raw",
        [
            "smtp://mail.firm.example",
            "mail.firm.example/path",
            "user@firm.example",
            "mail firm.example",
            "mail.firm.example\nx",
            "mail..firm.example",
            "-mail.firm.example",
            "mail.firm.example-",
            "[::1",
            "::g",
            "fe80::1%eth0",
            "256.1.1.1",
            "127.1",
            "0177.0.0.1",
            "2130706433",
            "0x7f000001",
            "127.0.0.0x1",
            "a" * 64 + ".example",
            ".".join(["a" * 60] * 5),
            "mail.firm.example\0",
            "ⓔxample.org",
        ],
    )
    def test_r15_others_are_refused(self, raw):
        """What is no server is refused, with an example of what is right."""
        assert "such as" in (text := error_of("smtp_server", raw)) or "like 192" in text

    def test_an_invisible_character_in_a_server_is_named(self):
        """Inside it is refused by its number; at the ends it is cleaned off."""
        assert "invisible character, U+200B" in error_of("smtp_server", "mail\u200b.firm.example")
        assert clean("smtp_server", "mail.firm.example\u200b") == "mail.firm.example"

    @pytest.mark.parametrize("raw", ["mail.firm.example:587", "10.0.0.1:587", "[::1]:587"])
    def test_r15_a_port_belongs_into_its_own_field(self, raw):
        """A port behind the name is refused, and the text says where it goes."""
        assert "put 587 into the port field" in error_of("smtp_server", raw)


class TestPort:
    @pytest.mark.parametrize(
        ("raw", "port"),
        [
            *(("", 25), (None, 25), ("  ", 25), ("\u200b", 25)),
            *(("25", 25), (" 587 ", 587), ("\u00a0587\u200b", 587), (1, 1), (65535, 65535)),
        ],
    )
    def test_r16_integers_and_nothing(self, raw, port):
        """1 to 65535, as number or digits; nothing is 25."""
        assert clean("smtp_port", raw) == port

    @pytest.mark.parametrize(
        "raw",
        [
            0,
            -1,
            65536,
            "65536",
            "0",
            "-25",
            "25.0",
            "2 5",
            "abc",
            True,
            False,
            25.0,
            1e2,
            "²",
            "٢٥",
            [],
        ],
    )
    def test_r16_others_are_refused(self, raw):
        """No other number, no float, no boolean, no digits of other scripts."""
        assert "from 1 to 65535" in error_of("smtp_port", raw)

    def test_suggested_ports(self):
        """Each encryption has its usual port."""
        assert [suggested_port(one) for one in ("none", "starttls", "tls")] == [25, 587, 465]


class TestText:
    @pytest.mark.parametrize("raw", ["@corp.com", " corp.com ", "corp.com.", "CORP.com"])
    def test_r8_domain_is_cleaned(self, raw):
        """At signs, blanks, dots and case around a domain do not matter."""
        assert clean("company_domain", raw) == "corp.com"

    def test_r8_no_domain_is_an_error(self):
        """What is no domain is an error at its field."""
        assert "a b" in error_of("company_domain", "a b")

    @pytest.mark.parametrize("name", ["default_to", "default_from", "divert_to"])
    def test_r13_short_and_full_addresses(self, name):
        """All three addresses take both forms, also in internal domains."""
        assert clean(name, " stewards ") == "stewards"
        assert clean(name, "a@Firm.example") == "a@firm.example"
        assert clean(name, "a@corp.local") == "a@corp.local"
        assert clean(name, "a@interfacemail") == "a@interfacemail"
        assert clean(name, "") is None
        assert "a@@b" in error_of(name, "a@@b")
        error_of(name, "a@firm.example, b@firm.example")
        assert "a@b c" in error_of(name, "a@b c")

    @pytest.mark.parametrize(
        "raw",
        [
            "one.example, @two.example one.example",
            ["one.example", "two.example"],
            "one.example\r\ntwo.example;",
            "one.example\u00a0\u200b\n\u200b, two.example\ufeff",
        ],
    )
    def test_own_domains_from_text_or_sequence(self, raw):
        """Separated by commas, blanks or line ends; each once."""
        assert clean("own_domains", raw) == ("one.example", "two.example")

    def test_own_domains_wrong(self):
        """The text names the one that is wrong; nothing is no domains."""
        assert "'a..b'" in error_of("own_domains", "one.example, a..b")
        assert clean("own_domains", "") == clean("own_domains", None) == ()
        error_of("own_domains", [1])
        error_of("own_domains", {"a": 1})

    @pytest.mark.parametrize("name", ["login", "sender_name", "default_from_name"])
    def test_no_control_characters(self, name):
        """Names stand in headers and commands: one line, no controls, a bounded length."""
        assert clean(name, "  Ada  ") == "Ada"
        assert clean(name, " ") is None
        for char in "\r\n\0\x1b\x85\u2028\u2029":
            error_of(name, f"a{char}b")
        assert "300" in error_of(name, "a" * 300)

    @pytest.mark.parametrize(
        ("raw", "helo"),
        [
            ("Host.Firm.example", "host.firm.example"),
            ("192.0.2.1", "[192.0.2.1]"),
            ("[192.0.2.1]", "[192.0.2.1]"),
            ("[IPv6:2001:DB8::1]", "[IPv6:2001:db8::1]"),
            ("", None),
        ],
    )
    def test_helo_name(self, raw, helo):
        """A host name, or an address literal as RFC 5321 §4.1.3 writes it."""
        assert clean("helo_name", raw) == helo

    @pytest.mark.parametrize(
        "raw", ["a b", "my_host.example", "[x]", "a\r\nMAIL FROM:<x@y>", "1.2.3"]
    )
    def test_helo_name_wrong(self, raw):
        """Nothing else gets into EHLO."""
        error_of("helo_name", raw)

    def test_ca_certificate(self):
        """PEM certificates, one or several, with any line ends; nothing else."""
        (one, key), (two, _) = ca(), ca("Another CA")
        both = one + two
        assert clean("ca_certificate", both.replace("\n", "\r\n")) == both.strip()
        assert clean("ca_certificate", " \n") is None
        assert "BEGIN CERTIFICATE" in error_of("ca_certificate", "hello")
        assert "BEGIN CERTIFICATE" in error_of("ca_certificate", one[:200])
        assert "BEGIN CERTIFICATE" in error_of("ca_certificate", "é")
        text = error_of("ca_certificate", one + key)
        assert "private key" in text
        assert key[40:80] not in text


class TestWords:
    @pytest.mark.parametrize("raw", ["y", "on", "True", "1", " yes ", True, 1])
    def test_yes(self, raw):
        """What forms, environments and programs write for yes."""
        assert clean("use_authentication", raw) is True

    @pytest.mark.parametrize("raw", ["", "n", "off", "false", "0", None, False, 0])
    def test_no(self, raw):
        """What they write for no."""
        assert clean("paused", raw) is False

    @pytest.mark.parametrize("raw", ["maybe", 2, 1.0, [], "ja"])
    def test_neither(self, raw):
        """Anything else is an error."""
        assert "yes or no" in error_of("allow_unencrypted_auth", raw)

    def test_enums(self):
        """One of the words, in any case."""
        assert clean("encryption", " TLS ") is Encryption.TLS
        assert clean("encryption", "none") is Encryption.NONE
        assert "starttls, tls, none" in error_of("encryption", "ssl")
        error_of("encryption", "")
        error_of("from_policy", None)
        error_of("on_ambiguous", 1)

    def test_unknown_name(self):
        """A name that is none gets the list of those that are."""
        assert "smtp_server" in error_of("smtp_sever", "x")


class TestPassword:
    @pytest.mark.parametrize("raw", ["x", " leading and trailing ", "tab\t", CANARY, "🔑"])
    def test_it_is_kept_as_typed(self, raw):
        """Nothing is stripped from a password."""
        assert clean("password", raw) == Secret(raw)
        assert clean("password", Secret(raw)) == Secret(raw)

    def test_blank_is_none(self):
        """An empty field is no password."""
        assert clean("password", "") is None
        assert clean("password", None) is None

    @pytest.mark.parametrize("char", ["\0", "\r", "\n", "\ud800"])
    def test_no_line_breaks(self, char):
        """What no server could get is refused, and not shown."""
        assert CANARY not in error_of("password", CANARY + char)

    @pytest.mark.parametrize("raw", [12345678, 1e5, True])
    def test_a_number_from_the_environment(self, raw):
        """A number is refused with how to write it, and without saying it."""
        text = error_of("password", raw)
        assert "both kinds of quotes" in text
        assert str(raw) not in text

    def test_no_error_shows_it_even_with_local_variables(self):
        """A traceback with local variables holds no password."""
        raw = {"password": CANARY + "\n", "smtp_port": "x", "smtp_server": "a b"}
        for attempt in (lambda: clean_all(raw), lambda: clean("password", CANARY + "\n")):
            with pytest.raises(SettingsError) as caught:
                attempt()
            summary = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
            ours = [
                frame
                for one in (summary, summary.__cause__)
                for frame in (one.stack if one else ())
                if "flask_interaction_mail" in frame.filename
            ]
            assert ours
            assert CANARY not in str([frame.locals for frame in ours])
            assert CANARY not in str(caught.value)


class TestOverrideTypes:
    @pytest.mark.parametrize("name", ["smtp_server", "login", "company_domain", "default_to"])
    def test_r23_a_number_says_how_to_quote_it(self, name):
        """What from_prefixed_env made of digits is refused with the right spelling."""
        assert "'\"12345\"'" in error_of(name, 12345)

    def test_r23_a_boolean_says_how_to_quote_it(self):
        """A name that reads like a JSON word can be quoted too."""
        assert "'\"true\"'" in error_of("login", True)

    def test_r23_a_list_is_no_text(self):
        """Structures are refused by the name of their type."""
        assert "list" in error_of("smtp_server", ["a"])
        assert "dict" in error_of("password", {})


class TestCleanAll:
    def test_all_errors_at_once(self):
        """Every wrong field is named, not only the first."""
        with pytest.raises(SettingsError) as caught:
            clean_all({"smtp_port": "x", "encryption": "x", "login": "fine", "nonsense": 1})
        assert set(caught.value.errors) == {"smtp_port", "encryption", "nonsense"}

    def test_what_is_clean_stays(self):
        """Cleaning twice changes nothing, through JSON neither."""
        pem, _ = ca()
        once = clean_all(
            {
                "company_domain": "@Bücher.example",
                "smtp_server": "[2001:db8::1]",
                "smtp_port": "",
                "encryption": "none",
                "use_authentication": "on",
                "login": " ada ",
                "password": CANARY,
                "default_to": "Stewards",
                "default_from": "CRM@Firm.example",
                "own_domains": "a.example b.example",
                "ca_certificate": pem,
                "helo_name": "192.0.2.1",
                "sender_name": " The  Firm ",
                "default_from_name": " Acme  Support ",
                "divert_to": "me@corp.local",
            }
        )
        assert clean_all(once) == once
        stored, lost = from_json(to_json(once))
        assert stored == {name: value for name, value in once.items() if name != "password"}
        assert lost == []
        assert CANARY not in to_json(once)


class TestStoredText:
    def test_damaged_values_count_as_unset(self):
        """A row that was edited by hand takes only what can be read."""
        text = (
            '{"smtp_port": "x", "encryption": "rot13", "paused": 1, "own_domains": [1],'
            ' "login": 3, "smtp_server": "mail", "future": true, "password": "x"}'
        )
        values, lost = from_json(text)
        assert values == {"smtp_server": "mail"}
        assert {"smtp_port", "encryption", "paused", "own_domains", "login", "future"} <= set(lost)

    @pytest.mark.parametrize("text", ["", "[]", "null", "{"])
    def test_no_object_at_all(self, text):
        """Rubbish is no settings, and no exception."""
        assert from_json(text)[0] == {}
