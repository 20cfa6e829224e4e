"""Names of people and places in sentences and bodies: what joins letters stays."""

from __future__ import annotations

import time
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from flask_interaction_mail.messages.route import step
from flask_interaction_mail.text import cut, display_name, legible, one_line

LETTERS = "a؛äاینزකදන്്්\u064e\u0301ᠠᠡ👩🏽❤\ufe0f"
JOINERS = "\u200c\u200d\u180e"
INVISIBLE = JOINERS + "\u00ad\u200b\u200e\u202e\u2060\ufeff\u3164\u034f @=?"
texts = st.text() | st.text(LETTERS + INVISIBLE, max_size=300)


def test_sentences_and_bodies_spell_names_as_the_host_does():
    """The route and the text of a merge request show the names of contacts in one line."""
    name = "نازی\u200cآباد"
    assert one_line(f" {name}\r\n\u202e") == name
    assert str(step("named", who=name)) == f"It is addressed to {name}."
    assert one_line("ක්\u200dෂ\u00ad\u200b") == "ක්\u200dෂ"
    assert one_line("a@b =?x?=") == "a@b =?x?="
    assert one_line("x" * 600) == "x" * 500


@given(texts)
def test_what_is_legible_is_seen_and_stays_as_it_is(text):
    """Joiners apart, nothing in it is invisible; none stands alone or beside a Latin letter."""
    shown = legible(text)
    assert legible(shown) == shown == unicodedata.normalize("NFC", shown)
    assert not [c for c in shown.replace(" ", "") if unicodedata.category(c)[0] in "CZ"
                and c not in JOINERS]  # fmt: skip
    assert display_name(display_name(text)) == display_name(text)
    for at, character in enumerate(shown):
        if character in JOINERS:
            around = shown[max(0, at - 1) : at + 2].replace(character, "", 1)
            assert around
            assert not around.isascii()


@given(texts, st.integers(1, 40))
def test_what_is_cut_is_still_legible(text, limit):
    """A cut leaves no joiner without its letter."""
    shown = cut(legible(text), limit)
    assert len(shown) <= limit
    assert legible(shown) == shown


def test_a_long_name_is_read_at_once():
    """A name is a visitor's to choose: its length costs no more than in proportion."""
    began = time.process_time()
    display_name("ا\u200c" * 1_000_000)
    display_name("ا" + "\u200d" * 1_000_000)
    assert time.process_time() - began < 1
