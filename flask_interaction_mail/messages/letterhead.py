"""What stands around the text of each message: header, footer and colour. Pure."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from ..settings import cleaners
from ..settings.model import MessagingSettings
from ..text import one_line

_COLOUR: Final = "#1f5fae"
_LIGHT, _DARK = "#ffffff", "#000000"


class Letterhead(NamedTuple):
    """The names that ``letterhead.html`` and ``letterhead.txt`` use.

    ``ink`` is black or white, whichever is easier to read on ``colour``.
    """

    header: str = ""
    footer: str = ""
    colour: str = _COLOUR
    ink: str = _LIGHT


PLAIN: Final = Letterhead()


def letterhead_of(settings: MessagingSettings, organisation: str) -> Letterhead:
    """The letterhead of ``settings``; ``organisation`` is the header if they name none."""
    return _letterhead(
        settings.mail_header or settings.sender_name or organisation,
        settings.mail_footer or "",
        settings.mail_colour,
    )


@lru_cache(maxsize=16)
def _letterhead(header: str, footer: str, colour: str | None) -> Letterhead:
    own = _clean(colour) or _COLOUR
    return Letterhead(header=one_line(header), footer=one_line(footer), colour=own, ink=_ink(own))


def _clean(colour: str | None) -> str | None:
    """``colour`` if it is one, however it has come into the settings."""
    try:
        return cleaners.colour(colour)
    except ValueError:
        return None


def _ink(colour: str) -> str:
    """Black or white, by the higher contrast (WCAG 2.2, relative luminance)."""
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return _LIGHT if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 else _DARK


def _linear(share: float) -> float:
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
