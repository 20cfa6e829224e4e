"""docs/testing.md: its tests pass, and each fails where what it shows is not so."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.servers.programs import free_port

PAGE = (Path(__file__).parents[2] / "docs/testing.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n# ([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CRM = """
from flask import Flask, abort
from flask_mail import Mail, Message
from flask_sqlalchemy import SQLAlchemy
from flask_interaction_mail import (
    Contact, Directory, InteractionMail, Merge, Party, merge_denied, send_notification
)

db = SQLAlchemy()
mail = Mail()
works = {works}

class People(Directory):
    def merge_recipients(self, location):
        return [Party("Data Stewards", "stewards")]

messaging = InteractionMail(db=db, directory=People())

def create_app():
    app = Flask("crm")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///{folder}/crm.sqlite"
    app.config["INTERACTION_MAIL_DELIVERY"] = "sync"
    app.config["SECRET_KEY"] = "k" * 32
{config}
    db.init_app(app)
    mail.init_app(app)
    messaging.init_app(app)

    @app.post("/merge/<int:one>/<int:other>")
    def merge(one, other):
        contacts = Contact(one, "Acme", location="x"), Contact(other, "ACME", location="x")
        if works:
            merge_denied.send(app, merge=Merge(contacts))
        abort(403)

    @app.post("/invoice/<name>")
    def invoice(name):
        if works or name == "wrong":
            send_notification("bob", f"Invoice {{name}}", text="Hello")
        (db.session.rollback if works and name == "wrong" else db.session.commit)()
        return name

    @app.post("/reset/<name>")
    def reset(name):
        if works:
            mail.send(Message("Reset", recipients=[f"{{name}}@example.com"], body="Hello"))
        return name

    return app
"""


IN_MEMORY = "test_sent.py"  # what needs a configuration of its own


def outcomes(folder: Path, *, works: bool) -> dict[str, str]:
    """What became of each test of the page, with an application that works or does not."""
    port = str(free_port())
    files = {name: text.replace("8025", port) for name, text in BLOCKS}
    usual, in_memory = [name for name in files if name.startswith("in create_app")]
    config, memory = files.pop(usual), files.pop(in_memory)
    kept = {name: files[name] for name in ("conftest.py", IN_MEMORY)}
    del files[IN_MEMORY]
    return {
        **_outcomes(folder / "usual", files, config, works=works),
        **_outcomes(folder / "memory", kept, config + memory, works=works),
    }


def _outcomes(folder: Path, files: dict[str, str], config: str, *, works: bool) -> dict[str, str]:
    folder.mkdir()
    made = CRM.format(works=works, folder=folder, config=textwrap.indent(config, " " * 4))
    for name, text in {**files, "crm.py": made}.items():
        (folder / name).write_text(text, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "--tb=short", "-p", "no:cacheprovider"],
        cwd=folder,
        # The page needs no plugins, and loading ours takes as long as its tests.
        env={**os.environ, "PYTHONPATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return {name: outcome for outcome, name in found}


@pytest.mark.parametrize(("works", "outcome"), [(True, "PASSED"), (False, "FAILED")])
def test_every_test_of_the_page_tells_whether_the_application_sends(
    tmp_path: Path, works: bool, outcome: str
) -> None:
    """All pass with one that sends, and all fail with one whose views do not."""
    told = outcomes(tmp_path, works=works)
    named = re.findall(r"^def (test_\w+)", PAGE, re.MULTILINE)
    assert len(named) >= 4
    assert told == dict.fromkeys(named, outcome)


def test_every_block_of_the_page_is_run() -> None:
    """None is without the name of the file that it belongs into."""
    assert len(BLOCKS) == PAGE.count("```python")
