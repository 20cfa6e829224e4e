"""What is wrong with a text that is no address or domain, for the person who typed or pasted it.

Looks for what people do: a name beside the address, two addresses, a blank, a character that
came along with a copy. Each sentence says what is there and what belongs.
"""

from __future__ import annotations

import re
import unicodedata

_FORBIDDEN = "[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
_WITH_NAME = re.compile(r"(?P<name>[^<>]*[^<>\s])\s*<(?P<address>[^<>]*)>")
_USUAL = re.compile(r"[\w.+'-]+@[\w-]+(?:\.[\w-]+)*|[\w.+'-]+")
_FRAMES = {"<": ">", '"': '"', "'": "'", "(": ")", "[": "]", "„": "“", "“": "”", "«": "»"}
_PREFIX = re.compile(r"(mailto|smtp|e-?mail): ?(?=\S)", re.IGNORECASE)
_SHOWN = 20  # characters before the fault that are quoted
_RIGHT = "Write it like name@firm.example, or only the part before the @."
_LOOKS_ALIKE = "\uff20\ufe6b"  # signs that people take for an @


def fault_in(text: str) -> str:
    """What is there and what belongs, in sentences; "" if it is nothing that people often do."""
    return next((found for look in _LOOKS if (found := look(text))), "")


def fault_in_domain(text: str) -> str:
    """The same for a text that is no domain; what belongs there is left to say."""
    if "/" in text:
        return "It is the address of a web page."
    if "@" in text.strip("@"):
        return "It is a whole address, or more than one."
    if re.search(r"[,;]", text):
        return "There is more than one in it."
    if hidden := _hidden(text):
        return f"There is an invisible character {hidden}."
    if blank := re.search(r"\s", text):
        return f"There is a blank {_place(text, blank.start())}."
    if ".." in text or text.startswith("."):
        return "A dot stands where a word is missing."
    return ""


def _control(text: str) -> str:
    if found := re.search(_FORBIDDEN, text):
        return (
            f"It has a line break or another control character {_place(text, found.start())}. "
            "Take it out."
        )
    return ""


def _name(text: str) -> str:
    found = _WITH_NAME.fullmatch(text)
    if found is None or "@" in found["name"]:
        return ""
    return f"A name stands before the address. {_alone(found['address'])}"


def _frame(text: str) -> str:
    if len(text) > 2 and _FRAMES.get(text[0]) == text[-1]:
        return f"{text[0]} and {text[-1]} stand around it. {_alone(text[1:-1])}"
    return ""


def _prefix(text: str) -> str:
    if found := _PREFIX.match(text):
        return f"{found[0].strip()} stands before the address. {_alone(text[found.end() :])}"
    if "://" in text:
        return f"It is the address of a web page. {_RIGHT}"
    return ""


def _several(text: str) -> str:
    parts = [part for part in re.split(r"[\s,;]+", text) if "@" in part.strip("@")]
    if len(parts) > 1:
        return f"There are {len(parts)} addresses in it. Only one belongs here."
    if found := re.search("[,;]", text):
        sign = "comma" if found[0] == "," else "semicolon"
        return f"There is a {sign} {_place(text, found.start())}. Only one address belongs here."
    return ""


def _invisible(text: str) -> str:
    if hidden := _hidden(text):
        return (
            f"There is an invisible character {hidden}. "
            "Delete it, or type the address instead of pasting it."
        )
    return ""


def _hidden(text: str) -> str:
    """Which character of ``text`` is invisible, and where; "" if none is."""
    for at, character in enumerate(text):
        if unicodedata.category(character) == "Cf":
            return f"(U+{ord(character):04X}) {_place(text, at)}"
    return ""


def _blank(text: str) -> str:
    found = re.search(r"\s", text)
    if found is None:
        return ""
    if "@" not in text:
        return f"It has a blank and no @, so it is rather a name. {_RIGHT}"
    code = "" if found[0] == " " else f" (U+{ord(found[0]):04X})"
    return f"There is a blank{code} {_place(text, found.start())}. An address has none."


def _at_sign(text: str) -> str:
    if any(sign in text for sign in _LOOKS_ALIKE):
        return f"Its @ is not the ordinary one. {_RIGHT}"
    return ""


def _dot(text: str) -> str:
    if "@" in text and text.endswith("."):
        return f"It ends in a dot. {_alone(text.rstrip('.'))}"
    return ""


def _ip(text: str) -> str:
    if re.search(r"@(?:\[.*\]|[\d.]*\d)$", text):
        return "An IP address stands after the @. A domain belongs there, like firm.example."
    return ""


# Two addresses before what else may be wrong with one of them; a line break before all.
_LOOKS = (_control, _name, _frame, _prefix, _several, _invisible, _blank, _at_sign, _dot, _ip)


def _alone(address: str) -> str:
    address = address.strip()
    if _USUAL.fullmatch(address) and len(address) <= 254:
        return f"Write {address} alone."
    return "Write the address alone, like name@firm.example."


def _place(text: str, at: int) -> str:
    return f"after {text[max(0, at - _SHOWN) : at]!r}" if at else "at its beginning"
