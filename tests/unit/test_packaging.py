"""What is shipped: metadata, packages and data files, and what is not imported."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

import flask_interaction_mail

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "flask_interaction_mail"
MIGRATIONS = ROOT / "migrations"

REQUIRED = {
    "Flask": (3, 0),
    "Flask-Admin": (2, 0),
    "Flask-SQLAlchemy": (3, 1),
    "SQLAlchemy": (2, 0, 16),
    "SQLAlchemy on 3.13": (2, 0, 31),  # earlier ones cannot be imported there
    "SQLAlchemy on 3.14": (2, 0, 41),  # earlier ones fail at X | None in a model
    "Flask-Mail": (0, 10),
    "WTForms": (3, 1),
    "email-validator": (2, 3),
    "cryptography": (42,),
    "dnspython": (2, 6, 1),  # CVE-2023-29483: others could end a question with a forged answer
    "blinker": (1, 6, 2),
    "blinker on 3.14": (1, 8),  # earlier ones call what 3.16 removes
}
REQUIREMENT = re.compile(r'([\w-]+)>=([\d.]+)(?:; python_version >= "([\d.]+)")?')
OPTIONAL = (
    "celery",
    "flask_babel",
    "alembic",
    "css_inline",
    "inscriptis",
    "flask_login",
    "flask_migrate",
    "aiosmtpd",
)


@cache
def setup_cfg() -> configparser.RawConfigParser:
    config = configparser.RawConfigParser()
    config.optionxform = str
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return config


def words(section: str, option: str) -> list[str]:
    lines = setup_cfg()[section][option].splitlines()
    return [line.strip() for line in lines if line.strip()]


def test_requires_exactly_what_is_promised_and_no_upper_bound() -> None:
    """The required packages and their lowest versions are the promised ones."""
    found = {}
    for line in words("options", "install_requires"):
        name, version, python = REQUIREMENT.fullmatch(line).groups()
        key = f"{name} on {python}" if python else name
        found[key] = tuple(int(part) for part in version.split("."))
    assert found == REQUIRED
    assert setup_cfg()["options"]["python_requires"] == ">=3.11"


def test_installed_version_is_that_of_the_change_log() -> None:
    """setup.cfg, the installed metadata and the newest entry of CHANGES.md agree."""
    version = setup_cfg()["metadata"]["version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGES.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == version == metadata.version("flask-interaction-mail")


def test_every_package_is_shipped() -> None:
    """No folder with Python modules is forgotten in setup.cfg."""
    modules = [path for path in PACKAGE.rglob("*.py") if "templates" not in path.parts]
    folders = {path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in modules}
    assert set(words("options", "packages")) == folders | {"flask_interaction_mail.migrations"}


def test_every_pattern_of_data_files_matches_something() -> None:
    """What is promised as shipped exists."""
    places = {"flask_interaction_mail": PACKAGE, "flask_interaction_mail.migrations": MIGRATIONS}
    for package in places:
        for pattern in words("options.package_data", package):
            assert list(places[package].glob(pattern)), pattern


def test_every_extra_brings_something_that_is_imported() -> None:
    """An extra whose packages no module asks for is a promise without anything behind it."""
    source = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    source += "\n".join(path.read_text("utf-8") for path in MIGRATIONS.rglob("*.py"))
    for extra in words("options.extras_require", "all")[0].partition("[")[2].rstrip("]").split(","):
        for line in words("options.extras_require", extra):
            module = re.split("[>=<]", line)[0].lower().replace("-", "_")
            assert re.search(rf"^ *(from|import) {module}\b", source, re.MULTILINE), extra


def test_every_data_file_is_shipped() -> None:
    """Each template, picture, catalogue and migration matches a pattern of setup.cfg."""
    data = setup_cfg()["options.package_data"]
    for package, folder in (
        ("flask_interaction_mail", PACKAGE),
        ("flask_interaction_mail.migrations", ROOT / "migrations"),
    ):
        patterns = [line.strip() for line in data[package].splitlines() if line.strip()]
        matched = {path for pattern in patterns for path in folder.glob(pattern)}
        shipped = matched | set(folder.glob("*.py")) | set(PACKAGE.rglob("*.py"))
        files = {path for path in folder.rglob("*") if path.is_file() and not is_cache(path)}
        assert files <= shipped, sorted(files - shipped)


def is_cache(path: Path) -> bool:
    """Whether a tool left ``path`` behind: such folders are named with a dot or underscores."""
    folders = path.relative_to(ROOT).parts[:-1]
    return any(folder == "__pycache__" or folder.startswith(".") for folder in folders)


def test_optional_packages_are_not_needed() -> None:
    """Importing the package works where no optional package is installed."""
    code = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OPTIONAL!r}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import flask_interaction_mail
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)


def test_every_public_name_is_documented() -> None:
    """What can be imported from the package is on a page of the documentation."""
    pages = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs").glob("*.md"))
    missing = [name for name in flask_interaction_mail.__all__ if name not in pages]
    assert missing == []


def test_the_example_uses_the_public_interface_only() -> None:
    """The host that readers copy from imports from the package itself, not from its modules.

    Only the demo's past has to look after the server at times that it makes up.
    """
    public = ("flask_interaction_mail.catcher", "flask_interaction_mail.testing")
    private = [
        f"{path.name}:{node.lineno}"
        for path in (ROOT / "example_app").rglob("*.py")
        if path.name != "past.py"
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("flask_interaction_mail.")
        and node.module not in public
    ]
    assert private == []


MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_are(name: str) -> None:
    """Every module begins with a sentence that says what it owns."""
    assert ast.get_docstring(ast.parse((PACKAGE / name).read_text("utf-8")))
