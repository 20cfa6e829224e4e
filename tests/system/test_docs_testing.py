"""docs/testing.md: its tests pass, and each fails where what it shows is not so."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from pathlib import Path

import pytest

from tests.crash.site import processes

ROOT = Path(__file__).parents[2]
OPTIONS = ("-rA", "--tb=short", "-p", "no:cacheprovider", "-p", "pytest_interaction_mail")
PAGE = (ROOT / "docs/testing.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n# ([^\n]*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CRM = """
from datetime import UTC, datetime, timedelta
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

def remind(name, **when):
    if works:
        send_notification(name, "Reminder", text="Hello", **when)

def create_app():
    app = Flask("crm")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///{folder}/crm.sqlite"
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
            files = [(f"{{name}}.pdf", "application/pdf", b"%PDF")]
            send_notification("bob", f"Invoice {{name}}", text="Hello", attachments=files)
        (db.session.rollback if works and name == "wrong" else db.session.commit)()
        return name

    @app.post("/reset/<name>")
    def reset(name):
        if works:
            link = "https://crm.example.com/reset/1"
            mail.send(Message("Reset", recipients=[f"{{name}}@example.com"], body=link))
        return name

    @app.post("/remind/<name>")
    def reminder(name):
        remind(name, send_at=datetime.now(UTC) + timedelta(days=7))
        db.session.commit()
        return name

    return app
"""


# Files that need a configuration, or a conftest.py, of their own; the others share one.
APART = {"test_sent.py": "memory", "test_in_a_transaction.py": "transaction"}
CALL = re.compile(r"^( +)(?:client\.post|remind)\(.*$", re.MULTILINE)


def outcomes(folder: Path, *, works: bool, called: bool) -> dict[str, str]:
    """What became of each test of the page, if the application works and is called, or not."""
    files = {name: text if called else CALL.sub(r"\1pass", text) for name, text in BLOCKS}
    configs = [files.pop(name) for name in [*files] if name.startswith("in create_app")]
    conftest, wrapping = (files.pop(name) for name in [*files] if name.startswith("conftest.py"))
    apart = {APART[name]: {name: files.pop(name)} for name in APART}
    made = {
        "usual": (files, conftest, configs[0]),
        "memory": (apart["memory"], conftest, "".join(configs)),
        "transaction": (apart["transaction"], wrapping, configs[0]),
    }
    told: dict[str, str] = {}
    for name, (tests, fixtures, config) in made.items():
        told |= _outcomes(folder / name, {**tests, "conftest.py": fixtures}, config, works=works)
    return told


def _outcomes(folder: Path, files: dict[str, str], config: str, *, works: bool) -> dict[str, str]:
    folder.mkdir()
    made = CRM.format(works=works, folder=folder, config=textwrap.indent(config, " " * 4))
    for name, text in {**files, "crm.py": made}.items():
        (folder / name).write_text(text, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    process = processes().Process(target=_run, args=(folder,))
    process.start()
    process.join()
    process.close()
    said = (folder / "said").read_text("utf-8")
    found = re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)", said, re.MULTILINE)
    assert found, said
    return {name: outcome for outcome, name in found}


def _run(folder: Path) -> None:
    """Be a process that runs pytest in ``folder``; what it says is in the file ``said``."""
    with (folder / "said").open("w") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    # The page needs no other plugins, and loading those of ours takes as long as its tests.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    status = pytest.main([*OPTIONS])
    sys.stdout.flush()
    os._exit(status)


@pytest.mark.parametrize(
    ("works", "called", "outcome"),
    [(True, True, "PASSED"), (False, True, "FAILED"), (True, False, "FAILED")],
)
def test_every_test_of_the_page_tells_whether_the_application_sends(
    tmp_path: Path, works: bool, called: bool, outcome: str
) -> None:
    """All pass with one that sends, and all fail if its views do not, or are not called."""
    told = outcomes(tmp_path, works=works, called=called)
    named = re.findall(r"^def (test_\w+)", PAGE, re.MULTILINE)
    assert len(named) >= 4
    assert told == dict.fromkeys(named, outcome)


def test_every_block_of_the_page_is_run() -> None:
    """None is without the name of the file that it belongs into."""
    assert len(BLOCKS) == PAGE.count("```python")
