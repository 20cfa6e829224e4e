"""Texts that hosts and mail give: made plain, storable in any database, legible in one line."""

from __future__ import annotations

import re
import unicodedata
from types import NoneType

NAME_LIMIT = 255  # characters of a display name
_EXAMINED = 4 * NAME_LIMIT  # characters of a longer name that are read, as some show nothing
_LINE_LIMIT = 500  # characters of a text in one line
_FIELD_LIMIT = 10_000  # characters of a header field in which Message-IDs are looked for
_MESSAGE_ID = re.compile(r"<[^<>\s]{1,250}>")

_RESOLVED = frozenset({str, int, NoneType})  # the usual types, which need no closer look
# No encoding carries half a surrogate pair, and PostgreSQL stores no NUL.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_PLAIN = re.compile(r"[A-Za-z0-9.,'&()-]+(?: [A-Za-z0-9.,'&()-]+)*")
_AT_SIGNS = str.maketrans(dict.fromkeys("@\uff20\ufe6b", " "))
# Browsers read "\\" as "/" and complete what is missing, so only the usual form is a link.
_LINK = re.compile(r"https?://(?:\w[^\s\\<>\"]*|\[[\da-f:.]+\][^\s\\<>\"]*)", re.IGNORECASE)
# Zero-width non-joiner and joiner, and the separator before the last vowel of a Mongolian word.
_JOINERS = "\u200c\u200d\u180e"
_CONTEXT = 8  # characters before a joiner that decide whether it joins
# Bidi_Control of Unicode: text after one of them may be shown before it.
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Letters and marks that show nothing: fillers of Hangul, the grapheme joiner, a blank Braille cell.
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_VIRAMA = 9  # combining class of the signs that tie two letters into one


def resolved(given: object) -> object:
    """``given`` as a plain ``str`` if it is any kind of text, otherwise unchanged.

    A lazy translation, a proxy and a subclass of ``str`` count as text. They are resolved now,
    because the context that they need is gone when the message is stored or sent.
    """
    if type(given) in _RESOLVED:
        return given
    if issubclass(type(given), str):
        return str.__str__(given)
    if not isinstance(given, type) and hasattr(given, "casefold"):
        return str.__str__(str(given))
    return given


def storable(text: str) -> str:
    """``text`` with U+FFFD for each character that some database cannot store."""
    return _UNSTORABLE.sub("\ufffd", text)


def display_name(name: str) -> str:
    """``name`` as it may stand beside an address (T13), at most 255 characters.

    Nothing in it can pass for an address, end the line or turn the direction of the text: it is
    ``legible``, and ``@`` and the marks of encoded words (RFC 2047) become blanks.
    """
    if _PLAIN.fullmatch(name):
        return name[:NAME_LIMIT].rstrip()  # nearly every name
    visible = legible(name[:_EXAMINED].translate(_AT_SIGNS))
    visible = re.sub(r"=\?|\?=", " ", visible)
    return cut(" ".join(visible.split()), NAME_LIMIT)


def one_line(text: str) -> str:
    """``text`` in one legible line of at most 500 characters."""
    return cut(legible(text[: 2 * _LINE_LIMIT]), _LINE_LIMIT)


def legible(text: str) -> str:
    """The visible characters of ``text`` in one line, in the form NFC.

    Controls, separators and characters that turn the direction of the text become blanks, and
    blanks are collapsed. Other invisible characters are removed. Joiners stay where they join
    letters or pictures, since many Persian, Sinhala and Malayalam names are misspelt without.
    """
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    shown = unicodedata.normalize("NFC", "".join(map(_shown, text)))
    if any(joiner in shown for joiner in _JOINERS):
        kept = (
            character
            for at, character in enumerate(shown)
            if character not in _JOINERS or _joins(shown, at)
        )
        shown = unicodedata.normalize("NFC", "".join(kept))
    return " ".join(shown.split())


def link(url: str | None) -> str | None:
    """``url`` if every mail program takes it for a link to a page, else None."""
    whole = (url or "").strip(" ")
    return whole if _LINK.fullmatch(whole) and whole.isprintable() else None


def counted(number: int, most: int) -> str:
    """``number`` as it is shown; "99+" if it is above a ``most`` of 99, as no more are counted."""
    return f"{most:,}+" if number > most else f"{number:,}"


def message_ids(text: str) -> list[str]:
    """The Message-IDs in a header field, with their angle brackets."""
    return _MESSAGE_ID.findall(text[:_FIELD_LIMIT])


def answered(in_reply_to: str, references: str) -> tuple[str, ...]:
    """The Message-IDs of what a message answers, the next one first (RFC 5322 §3.6.4).

    In ``references`` the one that is answered stands last, behind those before it in the thread.
    """
    thread = message_ids(references[-_FIELD_LIMIT:])
    return tuple(dict.fromkeys([*message_ids(in_reply_to), *reversed(thread)]))


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

    It does beside a virama and between the letters of a cursive alphabet (RFC 5892 A.1, A.2),
    and in two cases that host names exclude: before a virama, and at the end of a word. Between
    two pictures it makes one of them.
    """
    before, after = text[max(0, at - _CONTEXT) : at], text[at + 1 : at + 2]
    if not before:
        return False
    if text[at] == "\u180e":
        return _is_mongolian(before[-1]) and _is_mongolian(after)
    if _ties(before[-1]) or (_ties(after) and before[-1].isalpha()):
        return True
    if text[at] == "\u200d":
        return _is_cursive(before) or (_is_picture(before) and _is_picture(after))
    return _is_cursive(before) and _is_cursive(after)


def _ties(character: str) -> bool:
    return character != "" and unicodedata.combining(character) == _VIRAMA


def _is_cursive(text: str) -> bool:
    """Whether ``text`` ends in an Arabic or Syriac letter, ignoring vowel signs."""
    last = text.rstrip("\u064b\u064c\u064d\u064e\u064f\u0650\u0651\u0652\u0670")[-1:]
    return last.isalpha() and unicodedata.bidirectional(last) == "AL"


def _is_mongolian(character: str) -> bool:
    return unicodedata.name(character[-1:] or " ").startswith("MONGOLIAN LETTER")


def _is_picture(text: str) -> bool:
    """Whether ``text`` ends in a picture (UTS 51), ignoring its variant and skin colour."""
    last = text.rstrip("\ufe0f\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")[-1:]
    return last != "" and unicodedata.category(last) == "So"
