"""The example application's rules that need neither a database nor a network."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from example_app.auth import own_path
from example_app.browser import forms_of
from example_app.duplicates import name_key, suggest
from flask_interaction_mail.catcher import Inbox


@dataclass(frozen=True)
class Thing:
    """Something with a name."""

    name: str


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Acme Ltd", "ACME Limited"),
        ("Acme, Ltd.", "acme"),
        ("Smith, Jane", "Jane Smith"),
        ("Café Müller", "Cafe Muller"),
        ("Borges & Partners LLP", "Borges and Partners"),
    ],
)
def test_spellings_of_one_name_have_one_key(one, other):
    """Case, accents, legal forms and the order of words do not tell two names apart."""
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Acme", "Acmes"), ("Ltd", "GmbH"), ("Smith 1", "Smith 2"), ("", "Ltd")]
)
def test_different_names_have_different_keys(one, other):
    """What differs in more than that is no duplicate, also if it is made of legal forms only."""
    assert name_key(one) != name_key(other)


def test_duplicates_are_suggested_in_pairs():
    """Three spellings make three pairs; a name that stands alone makes none."""
    things = [Thing("A Ltd"), Thing("B"), Thing("A"), Thing("a inc")]
    assert [(x.name, y.name) for x, y in suggest(things)] == [
        ("A Ltd", "A"),
        ("A Ltd", "a inc"),
        ("A", "a inc"),
    ]


@pytest.mark.parametrize(
    "target",
    [
        None, "", "merge", "https://evil.test/", "//evil.test", "/\\evil.test", "/\t/evil.test",
        "/\n/evil.test", "\\/evil.test", "/ /evil.test", "javascript:alert(1)", "/é",
    ],
)  # fmt: skip
def test_a_login_never_leads_to_another_site(target):
    """Only a plain path on this site is followed after a login."""
    assert own_path(target) is None


def test_a_login_leads_back_to_the_page_asked_for():
    """A path with a query is kept."""
    assert own_path("/admin/messaging/?a=1&b=%20") == "/admin/messaging/?a=1&b=%20"


def test_the_browser_sends_what_a_person_would_send():
    """Hidden values, chosen options, ticked boxes and texts go along; buttons do not."""
    (form,) = forms_of(
        """<form action="/x"><input type=hidden name=t value="a&amp;b"><input name=empty>
        <input type=checkbox name=off><input type=checkbox name=on value=y checked>
        <input type=radio name=r value=1><input type=radio name=r value=2 checked>
        <select name=s><option value=1>1</option><option value=2 selected>2</option></select>
        <select name=first><option value=1>1</option><option value=2>2</option></select>
        <textarea name=area>\nx &lt; y</textarea><input type=submit name=go value=1></form>"""
    )
    assert form.action == "/x"
    assert form.values == {
        "t": "a&b", "empty": "", "on": "y", "r": "2", "s": "2", "first": "1", "area": "x < y"
    }  # fmt: skip


def test_the_inbox_reads_broken_messages(tmp_path):
    """Unknown character sets, broken encoded words and missing headers never raise."""
    inbox = Inbox(tmp_path)
    key = inbox.store(
        b"Subject: =?nonsense?b?AAAA?= =?utf-8?b?!!?=\r\n"
        b'From: "=?utf-8?q?=C3=A9?=" <\xff@x>\r\nDate:\r\n'
        b"Content-Type: text/plain; charset=nonsense\r\n\r\n\xff text\r\n",
        sender="a@example.com",
        recipients=["b@example.com", "c@example.com"],
    )
    letter = inbox.get(key)
    assert letter is not None
    assert letter.header("Subject")
    assert letter.header("To") == ""
    assert "text" in letter.text
    assert letter.html == ""
    assert dict(letter.headers)["X-Envelope-To"] == "b@example.com, c@example.com"


def test_the_inbox_lists_the_newest_first(tmp_path):
    """Messages come newest first, and are found by Message-ID."""
    inbox = Inbox(tmp_path)
    for name in "abc":
        inbox.store(
            f"Message-ID: <{name}@x>\r\n\r\n".encode(), sender="s@example.com", recipients=[]
        )
    assert [letter.header("Message-ID") for letter in inbox] == ["<c@x>", "<b@x>", "<a@x>"]
    assert inbox.find("<b@x>") is not None
    assert inbox.find("<d@x>") is None


@pytest.mark.parametrize("key", ["", "../crm", "0" * 20, "1", "0" * 19 + "\n"])
def test_the_inbox_knows_only_its_own_keys(tmp_path, key):
    """A key that is none answers nothing, whatever path it spells."""
    assert Inbox(tmp_path).get(key) is None
