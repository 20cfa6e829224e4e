"""The plugin for pytest, as it is installed: it is there, and it stays out of the way."""

from __future__ import annotations

import configparser
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = "import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for installed packages that has what an installation writes about the plugin."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", "utf-8")
    points = config["options.entry_points"]["pytest11"]
    about = tmp_path / "site" / "kit-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: kit\nVersion: 1\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[pytest11]{points}\n", "utf-8")
    files = ("pytest_interaction_mail.py", "flask_interaction_mail/__init__.py")
    (about / "RECORD").write_text("".join(f"{name},,\n" for name in files), "utf-8")
    return about.parent


def ran(site: Path, test: str, *, program: str = RUN) -> str:
    """What pytest prints about this ``test`` file."""
    (site.parent / "test_host.py").write_text(test, "utf-8")
    path = os.pathsep.join(map(str, (site, ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", program, "-q", "-W", "error", "-p", "no:cacheprovider"],
        cwd=site.parent,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_project_that_uses_nothing_of_it_loads_nothing_of_it(site: Path) -> None:
    """But the module with the fixtures, which imports pytest alone."""
    code = """
import sys

def test_modules():
    assert "pytest_interaction_mail" in sys.modules
    assert not {"flask", "sqlalchemy", "flask_interaction_mail", "aiosmtpd"} & {*sys.modules}
"""
    assert "1 passed" in ran(site, code)


def test_the_fixtures_need_nothing_but_an_application(site: Path) -> None:
    """Both in one test: what the server has refused is seen in the outbox."""
    code = """
import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_interaction_mail import InteractionMail, send_notification

@pytest.fixture
def app():
    app, db = Flask("host"), SQLAlchemy()
    app.config.update(
        SQLALCHEMY_DATABASE_URI="sqlite://",
        TESTING=True,
        INTERACTION_MAIL_OVERRIDES={
            "company_domain": "firm.example",
            "smtp_server": "mail.firm.example",
            "default_to": "desk",
            "default_from": "crm",
        },
    )
    InteractionMail(app, db=db)
    db.init_app(app)
    with app.app_context():
        db.create_all()
        yield app
        db.engine.dispose()

def test_both(app, outbox, mail_server):
    mail_server.refuse("ada@firm.example")
    with app.app_context():
        send_notification("ada", "Invoice", text="Hello")
    (message,) = outbox
    assert message.status == "failed"
    assert mail_server.messages == []
"""
    assert "1 passed" in ran(site, code)


def test_a_command_of_the_host_may_run_the_tests(site: Path) -> None:
    """Its process has imported the package before pytest: that is no warning."""
    code = "def test_nothing(): pass"
    assert "1 passed" in ran(site, code, program=f"import flask_interaction_mail; {RUN}")
