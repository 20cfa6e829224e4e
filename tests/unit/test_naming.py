"""Whether a report names an address, in whatever encoding it stands there."""

from __future__ import annotations

import base64
import quopri
import time

import pytest

from flask_interaction_mail.returned.naming import names
from flask_interaction_mail.returned.reading import LIMIT
from tests.reports import PLACES, naming

ADA = "ada@firm.example"


@pytest.mark.parametrize("place", PLACES)
def test_an_address_is_found_wherever_it_stands(place: str) -> None:
    """And nobody else's is."""
    report = naming("<1@app.example>", ADA, place)
    assert place == "as it stands" or ADA.encode() not in report
    assert names(report, ADA)
    assert not names(report, "eve@firm.example")


@pytest.mark.parametrize(
    ("address", "spelled"),
    [
        ("ada+crm@firm.example", "rfc822;ada+2Bcrm@firm.example"),
        ("ada=crm@firm.example", "rfc822;ada+3Dcrm@firm.example"),
        ("ada@firm.example", "rfc822;ada+40firm.example"),
        ("jörg@firm.example", "utf-8;j\\x{F6}rg@firm.example"),
        ("jörg@firm.example", "utf-8;jörg@firm.example"),
        ("jörg@firm.example", "utf-8;JÖRG@FIRM.EXAMPLE"),
        ("jörg@firm.example", "utf-8;jo\u0308rg@firm.example"),
        ("ada@xn--bcher-kva.example", "utf-8;ada@bücher.example"),
        ("ada@xn--bcher-kva.example", "utf-8;ada@b\\x{FC}cher.example"),
        ("ada+2Bcrm@firm.example", "rfc822;ada+2Bcrm@firm.example"),
    ],
)
@pytest.mark.parametrize("encoding", ["8bit", "base64", "quoted-printable"])
def test_forms_that_servers_write_are_read(address: str, spelled: str, encoding: str) -> None:
    """xtext (RFC 3461), and what RFC 6533 has for other letters, also within an encoding."""
    coded = {"8bit": bytes, "base64": base64.encodebytes, "quoted-printable": quopri.encodestring}
    fields = coded[encoding](f"Final-Recipient: {spelled}\nAction: failed\n".encode())
    report = (
        b"Content-Type: message/global-delivery-status\n"
        + f"Content-Transfer-Encoding: {encoding}\n\n".encode()
        + fields
    )
    assert names(report, address)
    assert not names(report, "x" + address)


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
@pytest.mark.parametrize("coding", ["q", "b"])
def test_words_of_a_header_are_read_together(charset: str, coding: str) -> None:
    """An address that is divided between two of them (RFC 2047)."""

    def word(text: str) -> bytes:
        data = text.encode(charset)
        coded = base64.b64encode(data) if coding == "b" else quopri.encodestring(data, header=True)
        return b"=?%s?%s?%s?=" % (charset.encode(), coding.encode(), coded.replace(b"@", b"=40"))

    content = b"Subject: " + word("To jörg") + b"\n " + word("@firm.example!") + b"\n\n"
    assert names(content, "jörg@firm.example")


def test_a_text_in_latin_letters_beside_one_in_utf_8() -> None:
    """Each is read as what it is."""
    first, second = "anna.ö@firm.example", "anna.ü@firm.example"
    content = first.encode() + b"\n" + second.encode("latin-1")
    assert names(content, first)
    assert names(content, second)


@pytest.mark.parametrize("rest", range(8))
def test_a_part_that_was_cut_off_is_read_as_far_as_it_goes(rest: int) -> None:
    """Of a long message only the beginning is kept, wherever that ends."""
    returned = f"To: {ADA}\nSubject: x\n\n".encode() + b"x" * LIMIT
    head = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
    assert names((head + base64.encodebytes(returned))[: LIMIT - rest], ADA)


HOSTILE = {
    "words": b"Subject: " + b"=?a?q?x" * 40_000,
    "ends of words": b"Subject: " + b"?= \n" * 60_000,
    "half a word": b"=?utf-8?b?" + b"a" * LIMIT,
    "blanks": b"?=" + b" " * LIMIT,
    "escapes": b"\\x{" * 80_000,
    "parts": b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(3000)
    ),
    "messages": b"Content-Type: message/rfc822\n\n" * 9000,
    "letters": b"Content-Type: text/plain; charset=punycode\n\n\xff-" + b"a" * LIMIT,
    "accents": b"a" + "\u0301\u0327".encode() * 60_000,
    "nothing": b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n\xff=\n",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_address_is_looked_for_in_linear_time(name: str) -> None:
    """It is only not found there, and never raises."""
    began = time.process_time()
    assert not names(HOSTILE[name], ADA)
    assert time.process_time() - began < 10


def test_messages_within_messages_end_somewhere() -> None:
    """Each in base64: 20 of them are opened, and what is in the last is looked through."""
    content = f"To: {ADA}\n\n".encode()
    for depth in range(30):
        assert names(content, ADA) is (depth <= 21)
        head = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
        content = head + base64.encodebytes(content)
