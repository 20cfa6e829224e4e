"""A host that was written, migrated and filled with version 0.1 runs unchanged.

``tests/kept_host`` is its code, its templates, its migration and its SQLite database, all made
with commit 254cbf4. Only the moments in its database are moved to today.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.catcher import Catcher, catching
from tests.crash.commands import Commands

_KEPT = Path(__file__).parents[1] / "kept_host"
_MOMENT = re.compile(r"(?<=')\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}(?=')")
_FILLED_AT = datetime(2026, 11, 28, 13, 20)  # noqa: DTZ001 - as the database has it, in UTC


@dataclass(frozen=True)
class KeptHost:
    """The host in a folder of its own, after the update that CHANGES.md asks for."""

    folder: Path
    terminal: Commands

    @property
    def database(self) -> Path:
        return self.folder / "host.sqlite"

    def run(self, *command: str) -> str:
        """What a command of the host writes; it has to succeed."""
        line, url = ("--app", "app", *command), f"sqlite:///{self.database}"
        (said,) = self.terminal.flask(line, at=self.folder, HOST_DATABASE=url)
        assert said.status == 0, said.out + said.err
        return said.out

    def start(self, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """The same as a process that Python starts, which may fail."""
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "app", *command],
            cwd=self.folder,
            env={**os.environ, "HOST_DATABASE": f"sqlite:///{self.database}", **environ},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def rows(self, statement: str) -> list[Any]:
        with closing(sqlite3.connect(self.database, isolation_level=None)) as database:
            return database.execute(statement).fetchall()

    def statuses(self) -> Counter[str]:
        listed = self.run("interaction-mail", "outbox", "list", "--limit", "100", "--json")
        return Counter(row["status"] for row in json.loads(listed))


def _today() -> str:
    passed = datetime.now(UTC).replace(tzinfo=None) - _FILLED_AT
    text = (_KEPT / "stored.sql").read_text("utf-8")
    return _MOMENT.sub(lambda found: _moved(found[0], passed), text)


def _moved(moment: str, by: timedelta) -> str:
    return (datetime.fromisoformat(moment) + by).isoformat(" ", "microseconds")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, terminal: Commands) -> KeptHost:
    host = KeptHost(tmp_path_factory.mktemp("kept") / "host", terminal)
    shutil.copytree(_KEPT, host.folder)
    with closing(sqlite3.connect(host.database)) as database:
        database.executescript(_today())
    host.run("db", "init")
    shutil.copytree(_KEPT / "versions", host.folder / "migrations/versions", dirs_exist_ok=True)
    host.run("db", "migrate", "-m", "Update")
    done = host.start("db", "upgrade")
    assert done.returncode == 0, done.stdout + done.stderr
    return host


@pytest.fixture
def ada(kept: KeptHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """Ada, logged in to the host in this process."""
    monkeypatch.setenv("HOST_DATABASE", f"sqlite:///{kept.database}")
    spec = importlib.util.spec_from_file_location("kept_app", kept.folder / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = module.create_app()
    client = app.test_client()
    client.post("/login/ada")
    yield client
    with app.app_context():
        module.db.engine.dispose()


def test_its_migrations_know_what_is_new(kept: KeptHost) -> None:
    """One revision of its own adds it, and there is nothing left to do."""
    assert "No new upgrade operations" in kept.run("db", "check")


def test_its_settings_are_in_force_and_its_password_can_be_read(kept: KeptHost) -> None:
    """The keys that encrypt it are derived as they were."""
    shown = json.loads(kept.run("interaction-mail", "settings", "show", "--json"))
    values = {name: setting["value"] for name, setting in shown["settings"].items()}
    assert values["company_domain"] == "crm.example"
    assert values["login"] == "crm"
    assert values["default_to"] == "postmaster"
    kept.run("interaction-mail", "rotate-keys")


def test_its_code_its_pages_and_its_signals_work(kept: KeptHost, ada: FlaskClient) -> None:
    """A key and a merge still stand for the notifications that they made then."""
    before = kept.rows("SELECT count(*) FROM interaction_mail_message")
    known = kept.rows("SELECT id FROM interaction_mail_message WHERE key = 'thing-lamp'")
    ada.post("/request")
    ada.post("/login/ben")
    assert ada.post("/merge").status_code == 403
    assert kept.rows("SELECT count(*) FROM interaction_mail_message") == before
    ada.post("/login/ada")
    assert ada.get("/stored").json[0] == ["Please merge: Grace Hopper and Hopper, Grace", "sent"]
    lamp = f"outbox/{uuid.UUID(known[0][0])}/"
    for page in ("", "outbox/", lamp, f"{lamp}html", "outbox/export.csv"):
        assert ada.get(f"/admin/messaging/{page}").status_code == 200, page
    answered = ada.post("/thing/bench").json
    assert answered["status"] == "queued"
    assert ada.post(f"/cancel/{answered['id']}").json is True
    ada.post("/merged")
    ada.post("/flask-mail")
    told = ada.application.config["TOLD"]
    assert "notification-queued: New: bench" in told
    assert "notification-cancelled: New: bench" in told
    assert "notification-queued: From Flask-Mail" in told


def test_what_waited_is_delivered(kept: KeptHost) -> None:
    """Queued, deferred and held ones; the one for 2030 waits."""
    waiting = {"queued", "deferred", "held"}
    assert waiting <= kept.statuses().keys()
    held = kept.rows("SELECT id FROM interaction_mail_delivery WHERE status = 'held'")
    kept.run("interaction-mail", "outbox", "release", *(id for (id,) in held))
    kept.rows("UPDATE interaction_mail_delivery SET due_at = created_at WHERE status = 'deferred'")
    with catching() as catcher:
        _work(kept, catcher)
        told = [mail.message["Subject"] for mail in catcher.mails]
        texts = [mail.message.get_body(("plain",)) for mail in catcher.mails]
        again = [mail.recipients for mail in catcher.mails if "lamp" in mail.message["Subject"]]
    assert {"New: lamp", "New: desk", "New: sofa", "busy 10", "busy 11"} <= set(told)
    assert any(text is not None and "done: 7 rows" in text.get_content() for text in texts)
    assert again == [["dora@crm.example"]]  # the others have it, or were refused
    assert kept.rows(
        "SELECT subject FROM interaction_mail_message JOIN interaction_mail_delivery USING (id)"
        " WHERE status = 'queued'"
    ) == [("later",)]


def _work(kept: KeptHost, catcher: Catcher) -> None:
    where = {"smtp_port": str(catcher.port), "use_authentication": "false"}
    prefix = "FLASK_INTERACTION_MAIL_OVERRIDES__"
    environ = {prefix + name: value for name, value in where.items()}
    kept.start("interaction-mail", "worker", "--once", **environ)  # two were refused then
