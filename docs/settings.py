"""Writes the table in ``settings.md`` from the settings of the package.

python docs/settings.py     write the page
"""

from __future__ import annotations

import enum
from pathlib import Path

from flask_interaction_mail.settings.model import SETTINGS
from flask_interaction_mail.settings.setting import Setting

PAGE = Path(__file__).resolve().parent / "settings.md"
HEAD = "| name | default | may be |\n|---|---|---|\n"


def page() -> str:
    """The text of ``settings.md``, with one line of the table for each setting."""
    before, _, after = PAGE.read_text("utf-8").partition(HEAD)
    rows = "\n".join(_row(name, setting) for name, setting in SETTINGS.items())
    return before + HEAD + rows + after[after.index("\n\n") :]


def _row(name: str, setting: Setting) -> str:
    return f"| `{name}` | {setting.unset or _shown(setting.default)} | {_allowed(setting)} |"


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, enum.StrEnum):
        return f"`{default}`"
    return "–" if default is None else str(default)


def _allowed(setting: Setting) -> str:
    *words, last = [f"`{word}`" for word in setting.choices] or [""]
    parts = (
        "yes or no" if setting.kind is bool else "",
        f"{', '.join(words)} or {last}" if words else "",
        setting.allowed,
        "required to save" if setting.required else "",
    )
    return "; ".join(filter(None, parts))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
