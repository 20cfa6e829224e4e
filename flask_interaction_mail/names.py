"""Names of people and places: one legible line, without what can deceive or is never seen."""

from __future__ import annotations

import re
import unicodedata

NAME_LIMIT = 255  # characters of a display name
_LOOKED_AT = 4 * NAME_LIMIT  # characters, some of which show nothing
_LINE_LIMIT = 500  # characters of a text in one line

_PLAIN = re.compile(r"[A-Za-z0-9.,'&()-]+(?: [A-Za-z0-9.,'&()-]+)*")
_AT_SIGNS = str.maketrans(dict.fromkeys("@\uff20\ufe6b", " "))
# Zero-width non-joiner and joiner, and what parts the last vowel of a Mongolian word.
_JOINERS = "\u200c\u200d\u180e"
_JOINING = 8  # characters before a joiner that tell whether it joins
# Bidi_Control of Unicode: what is behind one of them may be shown before it.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Letters and marks that show nothing: fillers of Hangul, the grapheme joiner, a blank Braille cell.
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_VIRAMA = 9  # combining class of the signs that tie two letters into one


def display_name(name: str) -> str:
    """``name`` as it may stand beside an address (T13).

    Nothing in it can pass for an address, end the line or turn the direction of the text: it is
    ``legible``, ``@`` and the marks of encoded words (RFC 2047) become blanks, and it is cut at
    255 characters.
    """
    if _PLAIN.fullmatch(name):
        return name[:NAME_LIMIT].rstrip()  # nearly every name there is
    visible = legible(name[:_LOOKED_AT].translate(_AT_SIGNS))
    visible = re.sub(r"=\?|\?=", " ", visible)
    return cut(" ".join(visible.split()), NAME_LIMIT)


def legible(text: str) -> str:
    """``text`` in one line of what can be seen, in the form NFC.

    Controls, separators and what turns the direction of the text become blanks, and blanks are
    collapsed. Other invisible characters go, but for joiners where they join letters or pictures:
    without them many Persian, Sinhala and Malayalam names are misspelt.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    shown = unicodedata.normalize("NFC", "".join(map(_shown, text)))
    if any(one in shown for one in _JOINERS):
        kept = (one for at, one in enumerate(shown) if one not in _JOINERS or _joins(shown, at))
        shown = unicodedata.normalize("NFC", "".join(kept))
    return " ".join(shown.split())


def one_line(text: str) -> str:
    """``text`` in one legible line, cut at 500 characters."""
    return cut(legible(text[: 2 * _LINE_LIMIT]), _LINE_LIMIT)


def cut(text: str, limit: int) -> str:
    """At most ``limit`` characters of a legible ``text``, which stays legible."""
    return text if len(text) <= limit else text[:limit].rstrip(f" {_JOINERS}")


def _shown(character: str) -> str:
    if character in _JOINERS:
        return character
    if character in _FILLERS:
        return ""
    if unicodedata.category(character) == "Cf":
        return " " if character in _TURNING else ""
    return " " if unicodedata.category(character)[0] in "CZ" else character


def _joins(text: str, at: int) -> bool:
    """Whether the joiner ``text[at]`` changes how the letters beside it are written.

    It does beside a virama, and between the letters of a cursive alphabet (RFC 5892 A.1, A.2,
    and the few uses that host names do without: before a virama, at the end of a word). Between
    two pictures it makes one of them.
    """
    before, after = text[max(0, at - _JOINING) : at], text[at + 1 : at + 2]
    if not before:
        return False
    if text[at] == "\u180e":
        return _is_mongolian(before[-1]) and _is_mongolian(after)
    if _ties(before[-1]) or (_ties(after) and before[-1].isalpha()):
        return True
    if text[at] == "\u200d":
        return _cursive(before) or (_is_picture(before) and _is_picture(after))
    return _cursive(before) and _cursive(after)


def _ties(character: str) -> bool:
    return character != "" and unicodedata.combining(character) == _VIRAMA


def _cursive(text: str) -> bool:
    """Whether ``text`` ends in an Arabic or Syriac letter, vowel signs aside."""
    last = text.rstrip("\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0670")[-1:]
    return last.isalpha() and unicodedata.bidirectional(last) == "AL"


def _is_mongolian(character: str) -> bool:
    return unicodedata.name(character[-1:] or " ").startswith("MONGOLIAN LETTER")


def _is_picture(text: str) -> bool:
    """Whether ``text`` ends in a picture (UTS 51), its variant and colour of skin aside."""
    last = text.rstrip("\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")[-1:]
    return last != "" and unicodedata.category(last) == "So"
