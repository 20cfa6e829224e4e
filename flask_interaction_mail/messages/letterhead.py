"""What stands around the text of each message: header, footer, colour and logo. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from ..settings import cleaners
from ..settings.model import MessagingSettings
from ..text import one_line

_COLOUR: Final = "#1f5fae"
_LIGHT, _DARK = "#ffffff", "#000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterhead:
    """The names that ``letterhead.html`` and ``letterhead.txt`` use.

    ``ink`` is black or white, whichever is easier to read on ``colour``.
    """

    header: str = ""
    footer: str = ""
    colour: str = _COLOUR
    ink: str = _LIGHT
    logo: str | None = None


PLAIN: Final = Letterhead()


def letterhead_of(settings: MessagingSettings, organisation: str) -> Letterhead:
    """The letterhead of ``settings``; ``organisation`` is the header if they name none."""
    return _letterhead(
        settings.header_text or settings.sender_name or organisation,
        settings.footer_text or "",
        settings.colour,
        settings.logo_url,
    )


@lru_cache(maxsize=16)
def _letterhead(header: str, footer: str, colour: str | None, logo: str | None) -> Letterhead:
    own = _clean(cleaners.colour, colour) or _COLOUR
    return Letterhead(
        header=one_line(header),
        footer=one_line(footer),
        colour=own,
        ink=_ink(own),
        logo=_clean(cleaners.picture, logo),
    )


def _clean(cleaner: Callable[[object], str | None], value: str | None) -> str | None:
    """``value`` if it is what the cleaner lets pass, however it has come into the settings."""
    try:
        return cleaner(value)
    except ValueError:
        return None


def _ink(colour: str) -> str:
    """Black or white, by the higher contrast (WCAG 2.2, relative luminance)."""
    red, green, blue = (_linear(int(colour[at : at + 2], 16) / 255) for at in (1, 3, 5))
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return _LIGHT if 1.05 / (luminance + 0.05) >= (luminance + 0.05) / 0.05 else _DARK


def _linear(share: float) -> float:
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
