"""The package with other versions of what it needs: ``make versions``, or ``nox`` with a session.

A session is an environment of its own: a Python, and the lowest, the latest or the coming versions
of the packages. A Python that this machine lacks is skipped and named. ``nox -s
"tests-3.12(latest)"`` runs one, ``nox -- tests/unit`` other tests.
"""

from __future__ import annotations

import configparser
import os
import re
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# What touches most of Flask, Flask-Admin, WTForms, SQLAlchemy and Flask-Mail.
SOME = (
    *("-n", "2"),
    "tests/integration/test_extension.py",
    "tests/integration/test_panel_form.py",
    "tests/integration/test_outbox_page.py",
    "tests/integration/test_flask_mail_messages.py",
    "tests/integration/test_sending.py",
    "tests/integration/test_models.py",
    "tests/integration/test_cli.py",
    # The check has run these, on one Python; they take most of the time.
    *(() if os.environ.get("CI") else ("tests/unit",)),
)
# What they and the fixtures import; not linters, browsers and brokers.
TOOLS = (
    "pytest",
    "pytest-xdist",
    "hypothesis",
    "beautifulsoup4",
    "lxml",
    "trustme",
    "prometheus-client",
    "psycopg[binary]",
    "PyMySQL",
    "requests",
    "Flask-WTF",
    "Babel",
    "grimp",
)

_REQUIREMENT = re.compile(r'([\w-]+)>=([\d.]+)(?:; python_version >= "([\d.]+)")?')

# Where pyenv keeps those that it has; its own commands find only the one that is chosen.
_PYENV = sorted(Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser().glob("versions/*/bin"))
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, _PYENV)])

nox.options.sessions = ["tests", "extras"]
nox.options.error_on_missing_interpreters = False
nox.options.default_venv_backend = "venv"


def _lines(section: str, option: str) -> list[str]:
    config = configparser.RawConfigParser()
    config.optionxform = str  # type: ignore[assignment,method-assign]  # keeps capitals
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    return [line.strip() for line in config[section][option].splitlines() if line.strip()]


def _lowest(lines: list[str], python: str) -> list[str]:
    """Each requirement at the version that it names, for this Python if it names one."""
    found = {}
    for line in lines:
        if one := _REQUIREMENT.fullmatch(line):
            name, version, since = one.groups()
            if since is None or _numbers(since) <= _numbers(python):
                found[name] = version
    return [f"{name}=={version}" for name, version in found.items()]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@nox.session(python=PYTHONS)
@nox.parametrize("versions", [nox.param(one, id=one) for one in ("lowest", "latest", "coming")])
def tests(session: nox.Session, versions: str) -> None:
    """Some tests, or those that are named, with these versions."""
    extras = ("migrations", "html", "ses", "testing", "demo")
    if versions == "lowest":
        wanted = [*_lines("options", "install_requires")]
        for extra in extras:
            wanted += _lines("options.extras_require", extra)
        session.install(*_lowest(wanted, str(session.python)), *TOOLS)
        session.install("--no-deps", "--editable", ".")
    else:
        early = ["--pre"] if versions == "coming" else []
        session.install(*early, "--upgrade", "--editable", f".[{','.join(extras)}]", *TOOLS)
    session.run("python", "-m", "pytest", "-q", *(session.posargs or SOME))


# What each is for must be importable with it alone.
EXTRAS = {
    "celery": "flask_interaction_mail.contrib.celery",
    "babel": "flask_babel, flask_interaction_mail.language",
    "migrations": "flask_interaction_mail.migrate, flask_interaction_mail.storage.migrations",
    "html": "css_inline, inscriptis, flask_interaction_mail.messages.plain_text",
    "ses": "botocore, flask_interaction_mail.transport.ses.transport",
    "testing": "flask_interaction_mail.testing, flask_interaction_mail.catcher",
}


@nox.session
@nox.parametrize("extra", [nox.param(one, id=one) for one in EXTRAS])
def extras(session: nox.Session, extra: str) -> None:
    """The package with this extra and no other."""
    session.install("--editable", f".[{extra}]")
    session.run("python", "-W", "error", "-c", f"import flask_interaction_mail, {EXTRAS[extra]}")


@nox.session
def types(session: nox.Session) -> None:
    """Whether every public name has a type that is known without guessing."""
    session.install("--editable", ".[test,types]")
    session.env["PYTHONPATH"] = str(ROOT)
    session.run("pyright", "--verifytypes", "flask_interaction_mail", "--ignoreexternal")
