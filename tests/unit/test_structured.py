"""Structured header fields are folded at their own places, or refused with a reason."""

from __future__ import annotations

import email
import re
import time
from email.policy import default

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_interaction_mail.errors import HeaderError
from flask_interaction_mail.messages.headers import check_header, formatted
from tests.unit.test_message import check_wire, content, intent, parsed

LEAVE = "https://firm.example/leave?u=1"
LONG = f"<{LEAVE}&t={'x' * 60}>"


def field(name, value):
    """The lines of the field in a message."""
    data = content(intent(headers=((name, value),)))
    check_wire(data)
    (found,) = re.findall(rf"\r\n{name}: (.*?)\r\n(?! )", data.decode(), re.DOTALL)
    assert max(map(len, found.split("\r\n"))) <= 998
    return found


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("List-Unsubscribe", f"<{LEAVE}> ", f"<{LEAVE}>"),
        ("List-Unsubscribe", LEAVE, f"<{LEAVE}>"),
        ("List-Unsubscribe", "<https://x.org/?a=?utf-8?q?b?=>", "<https://x.org/?a=?utf-8?q?b?=>"),
        ("List-Unsubscribe", f"<mailto:a@x.org>,{LONG}", f"<mailto:a@x.org>,\r\n {LONG}"),
        ("List-Unsubscribe", f"<mailto:a@x.org>,\r\n\t{LONG}", f"<mailto:a@x.org>,\r\n {LONG}"),
        ("List-Unsubscribe", "<https://bücher.example/ä?q=ü&b=%20>",
         "<https://xn--bcher-kva.example/%C3%A4?q=%C3%BC&b=%20>"),
        ("List-Help", "<mailto:a@x.org> (ask, if you like)", "<mailto:a@x.org> (ask, if you like)"),
        ("List-Help", "(Ask,  first)  <mailto:a@x.org>", "(Ask, first) <mailto:a@x.org>"),
        ("List-Post", "NO", "NO"),
        ("List-Post", "NO (read only)", "NO (read only)"),
        ("List-Archive", "https://x.org/a_(b)", "<https://x.org/a_(b)>"),
        ("List-Archive", "https://x.org/a (all)", "<https://x.org/a> (all)"),
        ("Archived-At", "<https://x.org/1>", "<https://x.org/1>"),
        ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click", "List-Unsubscribe=One-Click"),
        ("List-Unsubscribe-Post", " List-Unsubscribe=One-Click ", "List-Unsubscribe=One-Click"),
        ("References", "<1@x.org><2@x.org>", "<1@x.org> <2@x.org>"),
        ("References", "<1@x.org>\r\n <2@x.org>", "<1@x.org> <2@x.org>"),
        ("References", "<1@x.org>\n\t<2@x.org>, <3@x.org> ", "<1@x.org> <2@x.org> <3@x.org>"),
        ("References", "<=?x?=@x.org>", "<=?x?=@x.org>"),
        ("In-Reply-To", "1@x.org", "<1@x.org>"),
        ("List-Id", "<news.firm.example>", "<news.firm.example>"),
        ("List-Id", "news.firm.example", "<news.firm.example>"),
        ("List-Id", '"Our, news" <news.firm.example>', '"Our, news" <news.firm.example>'),
        ("List-Id", "Neues für Sie <news.firm.example>",
         "=?utf-8?b?TmV1ZXMgZsO8ciBTaWU=?= <news.firm.example>"),
        ("Disposition-Notification-To", '"Ä, B" <a@x.org>,b@x.org ',
         "=?utf-8?b?w4QsIEI=?= <a@x.org>,\r\n b@x.org"),
        ("Precedence", "bulk ", "bulk"),
        ("X-Priority", "1\t(Highest)", None),
        ("X-SMTPAPI", '{"to": ["=?x?="]}', '{"to": ["=?x?="]}'),
        ("X-SMTPAPI", '{"to": "a   b"} ', '{"to": "a   b"}'),
        ("Keywords", "müde, tired", "=?utf-8?b?bcO8ZGU=?=,\r\n tired"),
    ],
)  # fmt: skip
def test_structured_values_are_folded_at_their_own_places(name, given, sent):
    """Never an encoded word where the grammar has none; brackets and blanks are put right."""
    if sent is None:
        with pytest.raises(HeaderError, match="control characters"):
            check_header(name, given)
        return
    check_header(name, given)
    assert field(name, given) == sent


def test_many_references_are_folded_between_them():
    """A long thread: no line beyond 78 characters, every id whole and in its order."""
    ids = [f"<{number}.{'x' * 30}@mail.firm.example>" for number in range(60)]
    found = field("References", "".join(ids))
    assert max(map(len, found.split("\r\n "))) <= 76
    assert found.split() == ids
    assert parsed(intent(headers=(("References", " ".join(ids)),)))["References"].split() == ids


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("List-Unsubscribe", "click here", "https:"),
        ("List-Unsubscribe", "<https://x.org/a b>", "write %20"),
        ("List-Unsubscribe", f"<{LEAVE}> {LEAVE}", "separated by commas"),
        ("List-Unsubscribe", "<https://x.org/" + "x" * 1000 + ">", "more than 990"),
        ("List-Unsubscribe", "<https://[x/ä>", "not a URL"),
        ("List-Unsubscribe", "<https://exampl\u0435.org/>", "is not a valid domain"),
        ("List-Unsubscribe", "https://x.org/?a=1,2", "comma between < and >"),
        ("List-Unsubscribe", " ", "no value"),
        ("List-Help", "<mailto:a@x.org> (ä)", "ASCII"),
        ("List-Unsubscribe-Post", "Ja, bitte: ä", "only ASCII"),
        ("References", "<ä@x.org>", "Message-IDs like"),
        ("References", "see <1@x.org>", "Message-IDs like"),
        ("References", "", "Message-IDs like"),
        ("In-Reply-To", "your mail", "Message-IDs like"),
        ("List-Id", "our news", "an id like"),
        ("Errors-To", "desk", "not a full address"),
        ("Errors-To", "dä@x.org", "only some servers"),
        ("Errors-To", "a@x.org b@x.org", "several addresses"),
        ("Errors-To", '"Ada <a@x.org>', "no partner"),
        ("Errors-To", ",", "no value"),
        ("Precedence", "", "no value"),
        ("Keywords", ", ,", "no value"),
        ("X-SMTPAPI", '{"a": "ä"}', "only ASCII"),
    ],
)
def test_what_does_not_fit_is_refused_at_the_call_with_a_reason(name, value, why):
    """Nobody finds out from a mail program."""
    with pytest.raises(HeaderError, match=re.escape(why)) as caught:
        check_header(name, value)
    assert str(caught.value).startswith(f"The header {name} cannot be ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Errors-To", '"\\' * 20_000),
        ("Errors-To", "a,  " * 20_000),
        ("List-Unsubscribe", "(a  " * 20_000),
        ("List-Id", "a  " * 20_000),
        ("References", "<a  " * 20_000),
    ],
)
def test_a_long_value_is_refused_at_once(name, value):
    """Its length costs no more than in proportion: not the better part of a minute."""
    began = time.process_time()
    with pytest.raises(HeaderError):
        check_header(name, value)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("value", ["a\r\nb", "a\r\n", "a\r\n \r\n b", "a\n\r\n b", "a\r b"])
def test_only_a_fold_is_unfolded(value):
    """A line break that ends the field, or an empty line, is refused as before."""
    for name in ("X-Own", "References", "List-Unsubscribe"):
        with pytest.raises(HeaderError):
            check_header(name, value)


def test_other_folded_values_are_unfolded_too():
    """A field copied from another message, in which it was folded, is one line again."""
    assert check_header("X-Own", "a\r\n b\n\tc") == "a b c"
    assert parsed(intent(headers=(("X-Own", "a\r\n b"),)))["X-Own"] == "a b"


NAMES = ["List-Unsubscribe", "References", "List-Id", "Errors-To", "Precedence", "Keywords"]


@given(st.sampled_from(NAMES), st.text() | st.text('<>@,:a. ("=?)ä', max_size=80))
def test_any_value_is_sent_by_the_book_or_refused(name, value):
    """No input ends in another exception, and no encoded word stands outside a phrase."""
    try:
        line = check_header(name, value)
    except HeaderError:
        return
    shaped = formatted(name, line)
    check_wire(content(intent(headers=((name, line),))))
    if name not in ("List-Id", "Errors-To", "Keywords"):
        assert "=?utf-8?b?" not in shaped
    assert email.message_from_string(f"{name}: {shaped}\r\n\r\n", policy=default)[name] is not None
