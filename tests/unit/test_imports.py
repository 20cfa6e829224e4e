"""Who imports whom, and what a process does not load before it needs it, without a clock."""

from __future__ import annotations

import json
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]

HOST = """
import json, sys
from flask import Flask
from flask_admin import Admin
from flask_sqlalchemy import SQLAlchemy

app, db, admin = Flask("host"), SQLAlchemy(), Admin()
app.config.update(
    SECRET_KEY="k", SQLALCHEMY_DATABASE_URI="sqlite://", INTERACTION_MAIL_DELIVERY="worker"
)
db.init_app(app)
admin.init_app(app)
with app.app_context():
    db.engine.connect().close()
before = set(sys.modules)
import flask_interaction_mail
from flask_interaction_mail import *

flask_interaction_mail.InteractionMail(app, db=db, admin=admin)
"""
WITHOUT_PANEL = (
    HOST.replace("from flask_admin import Admin\n", "")
    .replace("Admin()", "None")
    .replace("admin.init_app(app)\n", "")
)
# For whom each of them is: whoever stores or opens a password, names an address, uses another
# database, opens a page of the panel, gives a command, or delivers.
LATE = (
    "alembic",
    "celery",
    "cryptography",
    "css_inline",
    "dns",
    "email_validator",
    "idna",
    "inscriptis",
    "sqlalchemy.dialects.mysql",
    "sqlalchemy.dialects.postgresql",
    "flask_interaction_mail.admin.explained",
    "flask_interaction_mail.admin.export",
    "flask_interaction_mail.admin.message_view",
    "flask_interaction_mail.admin.test_page",
    "flask_interaction_mail.catcher",
    "flask_interaction_mail.cli.catch",
    "flask_interaction_mail.cli.status",
    "flask_interaction_mail.cli.supervisor",
    "flask_interaction_mail.cli.worker",
    "flask_interaction_mail.cli.doctor",
    "flask_interaction_mail.cli.domain",
    "flask_interaction_mail.cli.fields",
    "flask_interaction_mail.cli.outbox",
    "flask_interaction_mail.cli.preview",
    "flask_interaction_mail.cli.settings",
    "flask_interaction_mail.cli.tables",
    "flask_interaction_mail.cli.test",
    "flask_interaction_mail.contrib",
    "flask_interaction_mail.delivery.agents",
    "flask_interaction_mail.delivery.digests",
    "flask_interaction_mail.delivery.dispatcher",
    "flask_interaction_mail.delivery.factory",
    "flask_interaction_mail.delivery.modes",
    "flask_interaction_mail.delivery.notices",
    "flask_interaction_mail.delivery.telling",
    "flask_interaction_mail.delivery.wakeup",
    "flask_interaction_mail.delivery.watch",
    "flask_interaction_mail.diagnosis",
    "flask_interaction_mail.domains",
    "flask_interaction_mail.flask_mail.bridge",
    "flask_interaction_mail.messages.plain_text",
    "flask_interaction_mail.messages.samples",
    "flask_interaction_mail.models",
    "flask_interaction_mail.monitoring",
    "flask_interaction_mail.outbox.alerts",
    "flask_interaction_mail.outbox.breaker",
    "flask_interaction_mail.outbox.claim",
    "flask_interaction_mail.outbox.digests",
    "flask_interaction_mail.outbox.filters",
    "flask_interaction_mail.outbox.probes",
    "flask_interaction_mail.outbox.queries",
    "flask_interaction_mail.outbox.rate_limit",
    "flask_interaction_mail.outbox.resends",
    "flask_interaction_mail.outbox.retention",
    "flask_interaction_mail.outbox.vitals",
    "flask_interaction_mail.storage.migrations",
    "flask_interaction_mail.transport.registry",
    "flask_interaction_mail.transport.smtp",
    "flask_interaction_mail.transport.webhook",
)
WORKER = """
with app.app_context():
    db.create_all()
done = app.test_cli_runner().invoke(args=["interaction-mail", "worker", "--once"])
assert "not configured" in done.output, done.output
"""
IDLE_WORKER = """
from datetime import datetime
from flask_interaction_mail.storage.tables import REVISION

stored = {
    "company_domain": "firm.example",
    "smtp_server": "mail.firm.example",
    "encryption": "none",
    "default_from": "crm",
    "default_to": "desk",
}
with app.app_context():
    db.create_all()
    row = dict(revision=1, created_at=datetime.now(), created_by="x", fields=json.dumps(stored))
    db.session.execute(REVISION.insert(), row)
    db.session.commit()
done = app.test_cli_runner().invoke(args=["interaction-mail", "worker", "--once"])
assert done.output == "0 sent, 0 not.\\n", done.output
"""


def loaded(*steps: str, host: str = HOST) -> set[str]:
    """The modules that ``steps`` load beyond those of a ``host`` without the extension."""
    code = "".join([host, *steps, "print(json.dumps([*set(sys.modules) - before]))"])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def too_early(modules: set[str], late: tuple[str, ...] = LATE) -> list[str]:
    return sorted(
        name for name in modules if any(name == one or name.startswith(f"{one}.") for one in late)
    )


def test_a_host_starts_without_what_it_may_never_need():
    """Importing every public name and ``init_app`` load nothing that only some processes use."""
    assert too_early(loaded()) == []


def test_a_host_without_a_panel_loads_no_flask_admin():
    """Nor the forms that come with it: not at the start, for a request, or for a command."""
    steps = WORKER + "app.test_client().get('/nothing')\n"
    assert too_early(loaded(steps, host=WITHOUT_PANEL), ("flask_admin", "wtforms")) == []
    assert "flask_interaction_mail.admin.panel_view" in loaded()


def test_a_request_that_sends_nothing_brings_no_dispatcher():
    """A process that leaves delivery to a worker serves requests without knowing the wire."""
    modules = loaded("app.test_client().get('/nothing')\n")
    assert "flask_interaction_mail.delivery.modes" in modules
    hands_over = ("flask_interaction_mail.delivery.modes", "flask_interaction_mail.delivery.wakeup")
    assert too_early(modules, tuple(name for name in LATE if name not in hands_over)) == []


def test_a_process_that_only_stores_tells_no_alerts(tmp_path):
    """What it stores is delivered and watched over by others: no probe, no webhook, no socket."""
    steps = """
with app.app_context():
    db.create_all()
    send_notification("ada@firm.example", "Subject", text="Text", kind="request")
    db.session.commit()
    outbox = flask_interaction_mail.extension.tables.MESSAGE
    assert db.session.execute(outbox.select()).all()
"""
    watching = ("delivery.watch", "delivery.telling", "delivery.factory", "monitoring")
    wire = ("transport.webhook", "transport.smtp", "transport.registry", "outbox.vitals")
    late = tuple(f"flask_interaction_mail.{name}" for name in (*watching, *wire))
    mail = 'MAIL_SERVER="mail.example", MAIL_DEFAULT_SENDER="crm@firm.example", SECRET_KEY='
    # A database in memory would be delivered from by the process itself.
    host = HOST.replace("SECRET_KEY=", mail).replace("sqlite://", f"sqlite:///{tmp_path}/a.sqlite")
    assert too_early(loaded(steps, host=host), late) == []


def test_a_worker_loads_neither_diagnosis_nor_what_others_do():
    """Delivery without a password needs no cryptography, and checks no address anew."""
    modules = loaded(WORKER)
    assert "flask_interaction_mail.transport.smtp.transport" in modules
    others = (
        "cli.doctor",
        "cli.outbox",
        "cli.settings",
        "cli.status",
        "cli.test",
        "monitoring",
        "diagnosis",
    )
    foreign = ("alembic", "cryptography", "email_validator", "sqlalchemy.dialects.postgresql")
    late = (*foreign, *(f"flask_interaction_mail.{one}" for one in others))
    assert too_early(modules, late) == []


def test_a_worker_without_work_has_not_what_messages_need():
    """It checks no address before an outcome, makes no digest before one is due, tells no alert."""
    modules = loaded(IDLE_WORKER)
    assert "flask_interaction_mail.delivery.agents" in modules
    ours = ("delivery.watch", "messages.digest_content", "transport.webhook")
    late = ("email_validator", "html.parser", *(f"flask_interaction_mail.{one}" for one in ours))
    assert too_early(modules, late) == []


def test_every_command_is_found_where_it_is_looked_for():
    """The commands that are listed are those that their modules add, no more and no fewer."""
    steps = """
from flask_interaction_mail.cli.output import main

for name in main.list_commands(None):
    assert main.get_command(None, name) is not None, name
assert sorted(main.commands) == main.list_commands(None)
assert main.get_command(None, "nonsense") is None
"""
    assert "flask_interaction_mail.cli.test" in loaded(steps)


def test_no_module_imports_itself_by_way_of_others():
    """Imports inside functions count, and those for annotations alone."""
    graph = grimp.build_graph("flask_interaction_mail", cache_dir=None)
    imports = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    assert imports["flask_interaction_mail.extension"] > {
        "flask_interaction_mail.delivery.dispatcher",  # for annotations
        "flask_interaction_mail.delivery.factory",  # in a function
    }
    TopologicalSorter(imports).prepare()  # raises where there is a circle, and names it
