"""Drives ``large_host.py``, with its lines about mail or without them, and prints what it saw.

It has a process of its own, because Flask-Babel breaks the pages of hosts that do not set it up.

    python -m tests.drive_large_host with|without DATABASE FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import flask_migrate  # type: ignore[import-untyped]
import sqlalchemy as sa
from bs4 import BeautifulSoup
from flask import Flask

from tests.catcher import catching
from tests.host import SETTINGS
from tests.panel import HOME, form_values

SOURCE = Path(__file__).with_name("large_host.py")
MARK = "  # mail\n"
PASSWORD = "correct horse battery staple"
CONFIG = {
    "SECRET_KEY": "k" * 32,
    "INTERACTION_MAIL_DELIVERY": "worker",
    "PREFERRED_URL_SCHEME": "https",  # as Flask-Talisman wants it
    "SECURITY_EMAIL_VALIDATOR_ARGS": {"test_environment": True},
    "SECURITY_PASSWORD_SALT": "salt",
    "SECURITY_PASSWORD_HASH": "plaintext",  # the others take their time
    "SECURITY_PASSWORD_SCHEMES": ["plaintext"],
    "PROPAGATE_EXCEPTIONS": True,
}


def host(mail: bool) -> ModuleType:
    """The application as a module; without its lines about mail nothing knows of this package."""
    lines = SOURCE.read_text("utf-8").splitlines(keepends=True)
    module = ModuleType("crm")
    sys.modules["crm"] = module  # where SQLAlchemy and Flask look for it
    source = "".join(line for line in lines if mail or not line.endswith(MARK))
    exec(compile(source, str(SOURCE), "exec"), vars(module))  # noqa: S102 - our own
    return module


def migrated(app: Flask, crm: Any, folder: str) -> None:
    """Make the tables as a host does, by a revision that Alembic writes."""
    with app.app_context():
        flask_migrate.init(folder)
        template = Path(folder, "script.py.mako")  # Alembic does not know Flask-Security's types
        template.write_text("import flask_security\n" + template.read_text("utf-8"), "utf-8")
        flask_migrate.migrate(folder)
        flask_migrate.upgrade(folder)
        users = app.extensions["security"].datastore
        roles = {name: [users.create_role(name=name)] for name in ("admin", "steward")}
        for name in ("ada", "sue", "bob"):
            given = roles[{"ada": "admin", "sue": "steward"}[name]] if name != "bob" else []
            users.create_user(email=f"{name}@firm.test", password=PASSWORD, roles=given)
        crm.db.session.commit()
    app.test_cli_runner().invoke(args=["seed"], catch_exceptions=False)


class Browser:
    """Somebody who has logged in."""

    def __init__(self, app: Flask, name: str) -> None:
        self._client = app.test_client()
        self._client.environ_base["HTTP_REFERER"] = "https://localhost/"  # Flask-WTF asks for it
        self.submit("/login", email=f"{name}@firm.test", password=PASSWORD)

    def get(self, url: str, language: str = "en") -> Any:
        return self._client.get(url, headers={"Accept-Language": language})

    def submit(self, page: str, url: str = "", **typed: str) -> int:
        """Send what is typed to ``url``, with the token of the form on ``page``; the status."""
        form = form_values(BeautifulSoup(self.get(page).text, "lxml"))
        return int(self._client.post(url or page, data=form | typed).status_code)


def seen(app: Flask, crm: Any) -> dict[str, Any]:
    """What people of this application see; mail or none."""
    with app.app_context():
        pairs = crm.db.session.scalars(sa.select(crm.Contact.id).order_by(crm.Contact.id)).all()
        tables = sa.inspect(crm.db.engine).get_table_names()
    bob, ada = Browser(app, "bob"), Browser(app, "ada")
    one, other = pairs[:2]
    panel = ada.get(HOME, "de")
    scripts = BeautifulSoup(panel.text, "lxml").select("script")
    return {
        "contacts": "Grace Hopper" in bob.get("/contacts/").text,
        "csp": "'nonce-" in bob.get("/contacts/").headers["Content-Security-Policy"],
        "tables": any(name.startswith("interaction_mail") for name in tables),
        "merge": bob.submit("/duplicates/", f"/merge/{one}/{other}"),
        "share": bob.submit(f"/contacts/{one}", f"/contacts/{one}/share", to="sue@firm.test"),
        "panel": panel.status_code,
        "closed": bob.get(HOME).status_code,
        "nonces": bool(scripts) and all(tag.get("nonce") for tag in scripts),
        "german": "Speichern" in panel.text,
    }


def main(mail: bool, url: str, folder: str) -> None:
    crm: Any = host(mail)
    app = crm.create_app({**CONFIG, "SQLALCHEMY_DATABASE_URI": url})
    migrated(app, crm, folder)
    with catching() as catcher:
        if mail:
            from flask_interaction_mail import operations
            from flask_interaction_mail.delivery.factory import dispatcher_of

            state = app.extensions["interaction_mail"]
            with app.app_context():
                settings = SETTINGS | {"smtp_port": catcher.port}
                operations.save_settings(state, settings, base=None, changed_by="test")
        found = seen(app, crm)
        if mail:
            with app.app_context():
                dispatcher_of(state).drain()
        subjects = sorted(str(letter.message["Subject"]) for letter in catcher.mails)
        people = sorted({one for letter in catcher.mails for one in letter.recipients})
    with app.app_context():
        crm.db.engine.dispose()
    sys.stdout.write(json.dumps(found | {"subjects": subjects, "people": people}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1] == "with", *sys.argv[2:])
