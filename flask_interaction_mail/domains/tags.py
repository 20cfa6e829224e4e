"""The tag lists of DKIM and DMARC records (RFC 6376 §3.2)."""

from __future__ import annotations

import re

_BLANKS = " \t\r\n"
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def tags_of(text: str) -> dict[str, str] | None:
    """The tags of ``text`` in their order, by lower-case name; None if one stands there twice.

    What is no tag is left out, as RFC 9989 §4.8 wants it.
    """
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, equals, value = (piece.strip(_BLANKS) for piece in part.partition("="))
        if not equals or not _TAG.fullmatch(name):
            continue
        if (name := name.lower()) in tags:
            return None
        tags[name] = value
    return tags
