"""Where a value on the page comes from, where that was not the page itself."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from ..settings.layers import InForce
from ..settings.model import SETTINGS, Origin
from .texts import gettext

_KEY: Final = "INTERACTION_MAIL_OVERRIDES"


def notes(present: InForce, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For each setting from outside the panel a sentence that names where it was set."""
    return {
        name: text
        for name, origin in present.origins.items()
        if (text := _note(name, origin, environ))
    }


def _note(name: str, origin: Origin, environ: Mapping[str, str]) -> str:
    if origin is Origin.OVERRIDE:
        text = "Set by this deployment, in %(place)s; it cannot be changed here."
        return gettext(text, place=_override(name, environ))
    if origin is Origin.CONFIG:
        text = "Taken from %(key)s in the application's configuration; Save stores it here."
        return gettext(text, key=SETTINGS[name].mail_key)
    return ""


def _override(name: str, environ: Mapping[str, str]) -> str:
    variable = f"FLASK_{_KEY}__{name}"  # Flask's from_prefixed_env, if the host calls that
    return f"the variable {variable}" if variable in environ else f"{_KEY}, key “{name}”"
