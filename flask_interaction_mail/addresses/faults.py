"""Explain what is wrong with an address or domain to the person who typed or pasted it.

Looks for common mistakes: a name beside the address, two addresses, a space, an invisible
character from a copied text. Each text says what is there and what to write instead.
"""

from __future__ import annotations

import re
import unicodedata

from ..language import mark

WRITE_IT = mark("Write it like name@firm.example, or only the part before the @.")
# C0, DEL, C1 (with U+0085), the two separators, and surrogates, which no encoding can carry.
FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

_WITH_NAME = re.compile(r"(?P<name>[^<>]*[^<>\s])\s*<(?P<address>[^<>]*)>")
_USUAL = re.compile(r"[\w.+'-]+@[\w-]+(?:\.[\w-]+)*|[\w.+'-]+")
_FRAMES = {"<": ">", '"': '"', "'": "'", "(": ")", "[": "]", "„": "“", "“": "”", "«": "»"}
_PREFIX = re.compile(r"(mailto|smtp|e-?mail): ?(?=\S)", re.IGNORECASE)
_SHOWN = 20  # characters before the fault that are quoted
_LOOKS_ALIKE = "\uff20\ufe6b"  # signs that people take for an @


def fault_in(text: str) -> str:
    """Sentences for the first common mistake in an address; "" if there is none."""
    return next((fault for check in _CHECKS if (fault := check(text))), "")


def fault_in_domain(text: str) -> str:
    """A sentence for the first common mistake in a domain, without advice; "" if there is none."""
    if "/" in text:
        return mark("It is the address of a web page.")
    if "@" in text.strip("@"):
        return mark("It is a whole address, or several.")
    if re.search(r"[,;]", text):
        return mark("There are several domains in it.")
    if hidden := _hidden(text):
        return mark("There is an invisible character (%(code)s) %(place)s.", **hidden)
    if blank := re.search(r"\s", text):
        return mark("There is a space %(place)s.", place=_place(text, blank.start()))
    if ".." in text or text.startswith("."):
        return mark("A word is missing before or after a dot.")
    return ""


def _control(text: str) -> str:
    if found := FORBIDDEN.search(text):
        return mark(
            "It has a line break or another control character %(place)s. Remove it.",
            place=_place(text, found.start()),
        )
    return ""


def _name(text: str) -> str:
    found = _WITH_NAME.fullmatch(text)
    if found is None or "@" in found["name"]:
        return ""
    return mark("A name stands before the address. %(advice)s", advice=_alone(found["address"]))


def _frame(text: str) -> str:
    if len(text) > 2 and _FRAMES.get(text[0]) == text[-1]:
        signs = {"first": text[0], "last": text[-1]}
        alone = _alone(text[1:-1])
        return mark("%(first)s and %(last)s stand around it. %(advice)s", advice=alone, **signs)
    return ""


def _prefix(text: str) -> str:
    if found := _PREFIX.match(text):
        prefix, alone = found[0].strip(), _alone(text[found.end() :])
        return mark("%(prefix)s stands before the address. %(advice)s", prefix=prefix, advice=alone)
    if "://" in text:
        return mark("It is the address of a web page. %(advice)s", advice=WRITE_IT)
    return ""


def _several(text: str) -> str:
    parts = [part for part in re.split(r"[\s,;]+", text) if "@" in part.strip("@")]
    if len(parts) > 1:
        return mark("There are several addresses in it. Only one belongs here.")
    found = re.search("[,;]", text)
    if found is None:
        return ""
    place = _place(text, found.start())
    if found[0] == ",":
        return mark("There is a comma %(place)s. Only one address belongs here.", place=place)
    return mark("There is a semicolon %(place)s. Only one address belongs here.", place=place)


def _invisible(text: str) -> str:
    if hidden := _hidden(text):
        return mark(
            "There is an invisible character (%(code)s) %(place)s. "
            "Delete it, or type the address instead of pasting it.",
            **hidden,
        )
    return ""


def _hidden(text: str) -> dict[str, str]:
    """The first invisible character of ``text`` and its place; {} if there is none."""
    for at, character in enumerate(text):
        if unicodedata.category(character) == "Cf":
            return {"code": _code(character), "place": _place(text, at)}
    return {}


def _blank(text: str) -> str:
    found = re.search(r"\s", text)
    if found is None:
        return ""
    if "@" not in text:
        advice = WRITE_IT
        return mark("It has a space but no @, so it looks like a name. %(advice)s", advice=advice)
    code, place = _code(found[0]), _place(text, found.start())
    if found[0] == " ":
        return mark("There is a space %(place)s. An address has none.", place=place)
    return mark(
        "There is a space (%(code)s) %(place)s. An address has none.", code=code, place=place
    )


def _at_sign(text: str) -> str:
    if any(sign in text for sign in _LOOKS_ALIKE):
        return mark("Its @ is not the ordinary one. %(advice)s", advice=WRITE_IT)
    return ""


def _dot(text: str) -> str:
    if "@" in text and text.endswith("."):
        return mark("It ends in a dot. %(advice)s", advice=_alone(text.rstrip(".")))
    return ""


def _ip(text: str) -> str:
    if re.search(r"@(?:\[.*\]|[\d.]*\d)$", text):
        return mark(
            "There is an IP address after the @. A domain belongs there, like firm.example."
        )
    return ""


# A line break comes first, and two addresses before mistakes in one of them.
_CHECKS = (_control, _name, _frame, _prefix, _several, _invisible, _blank, _at_sign, _dot, _ip)


def _alone(address: str) -> str:
    address = address.strip()
    if _USUAL.fullmatch(address) and len(address) <= 254:
        return mark("Write %(address)s alone.", address=address)
    return mark("Write the address alone, like name@firm.example.")


def _place(text: str, at: int) -> str:
    before = repr(text[max(0, at - _SHOWN) : at])
    return mark("after %(before)s", before=before) if at else mark("at its beginning")


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"
