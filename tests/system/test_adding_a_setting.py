"""The recipe for a setting in CONTRIBUTING.md is enough: one entry, and it is everywhere."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from bs4 import BeautifulSoup
from flask import Config

from flask_interaction_mail.errors import SettingsError
from tests.documentation import shown
from tests.panel import error_at, opened_panel
from tests.terminal import done, run

ROOT = Path(__file__).parents[2]
MODULE = "tests.system.test_adding_a_setting"
NAME = "answers_to"
NEXT = "    from_policy: FromPolicy = setting(\n"  # the entry before which the new one stands


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the package that has the entry of the recipe."""
    folder = tmp_path / "copy"
    package = folder / "flask_interaction_mail"
    shutil.copytree(
        ROOT / "flask_interaction_mail", package, ignore=shutil.ignore_patterns("__pycache__")
    )
    model = package / "settings" / "model.py"
    before, marker, after = model.read_text("utf-8").partition(NEXT)
    assert marker
    entry = shown("CONTRIBUTING.md", f"{NAME}: ")
    model.write_text(before + entry + marker + after, "utf-8")
    return folder


def test_one_entry_adds_a_setting_everywhere(copy: Path, tmp_path: Path) -> None:
    """It is on the page, and in commands, history, overrides and reference."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"from {MODULE} import everywhere; everywhere()"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": f"{copy}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr


def everywhere() -> None:
    """Look at all places, in a process that imports the copy."""
    places = (on_the_page, on_the_command_line, in_the_history, as_an_override, in_the_reference)
    for look in places:
        with TemporaryDirectory(dir=".") as folder:
            look(Path(folder).resolve())


def on_the_page(folder: Path) -> None:
    """Its field has section, label and help, saves a value and refuses a wrong one."""
    with opened_panel(folder) as panel:
        section = panel.get().select_one(f"section:has(#im-{NAME})")
        assert section is not None
        assert "Addresses" in section.text
        assert "Answers go to" in section.select_one(f"label[for=im-{NAME}]").text
        assert "come from no user" in section.select_one(f"#im-{NAME}-help").text
        assert panel.save(answers_to=" desk ").status_code == 303
        assert panel.in_force().settings.answers_to == "desk"
        assert panel.get().select_one(f"#im-{NAME}")["value"] == "desk"
        refused = panel.save(answers_to="a@@b")
        assert refused.status_code == 400
        assert "a@@b" in error_at(BeautifulSoup(refused.text, "lxml"), NAME)


def on_the_command_line(folder: Path) -> None:
    """``settings set`` has an option for it, ``settings show`` a line, by the same rules."""
    with opened_panel(folder) as panel:
        panel.host.configure()
        assert "answers to messages" in done(panel.host, "settings", "set", "--help").out
        done(panel.host, "settings", "set", "--answers-to", "desk")
        (line,) = [
            line for line in done(panel.host, "settings", "show").out.splitlines() if NAME in line
        ]
        assert line.split() == [NAME, "desk", "stored"]
        assert f"{NAME}: 'a@@b'" in run(panel.host, "settings", "set", "--answers-to", "a@@b").err
        done(panel.host, "settings", "set", "--unset", NAME)
        assert panel.in_force().settings.answers_to is None


def in_the_history(folder: Path) -> None:
    """A revision names it where it was changed, and brings it back."""
    with opened_panel(folder) as panel:
        panel.host.configure(answers_to="desk")
        panel.host.configure(answers_to="")
        (newest, first) = done(panel.host, "settings", "history", "--json").json
        assert newest["changed"] == [NAME]
        assert NAME in first["changed"]
        done(panel.host, "settings", "restore", "1")
        assert panel.in_force().settings.answers_to == "desk"


def as_an_override(folder: Path) -> None:
    """``INTERACTION_MAIL_OVERRIDES`` sets it, also from the environment; the page shows that."""
    os.environ["FLASK_INTERACTION_MAIL_OVERRIDES__ANSWERS_TO"] = "desk"
    config = Config(folder)
    config.from_prefixed_env()
    with opened_panel(folder, **config) as panel:
        assert panel.in_force().settings.answers_to == "desk"
        field = panel.get().select_one(f"#im-{NAME}")
        assert field.has_attr("readonly")
        assert field["value"] == "desk"
    with pytest.raises(SettingsError, match=NAME):
        opened_panel(folder, INTERACTION_MAIL_OVERRIDES={NAME: "a@@b"}).__enter__()


def in_the_reference(_: Path) -> None:
    """``make settings`` writes its line."""
    page = runpy.run_path(str(ROOT / "docs" / "settings.py"))["page"]()
    assert f"| `{NAME}` | – | a full or short address |" in page
