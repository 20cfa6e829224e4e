"""The demo: ``python -m example_app.demo`` goes from an empty folder to a delivered request.

It makes a database with people, duplicates and a week of mail, starts an SMTP server that keeps
what it gets, sets up e-mail in the Messaging panel as an administrator would, tries a merge as
somebody who may not, waits for the request to arrive, prints it, and then serves the site.

Nothing leaves the machine: both servers listen on the loopback interface only.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask

from flask_interaction_mail.catcher import Catcher, Inbox

from . import create_app, secret_key, week
from .extensions import db
from .listening import serving
from .seed import PASSWORD, USERS, seed
from .story import Delivered, StoryError, deliver_a_request

PREFERRED_PORT = 5000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo and return the exit status: 0 only if the request was delivered."""
    options = _parser().parse_args(arguments)
    # `kill` ends the demo as cleanly as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # no line for each page
    folder = Path(".demo").absolute()
    try:
        folder.mkdir(exist_ok=True)
        # A database elsewhere keeps its outbox, so what was delivered from it is kept as well.
        if not options.keep and "EXAMPLE_DATABASE_URL" not in os.environ:
            _clear(folder)
        _play(folder, options)
    except StoryError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo has ended.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m example_app.demo", description=__doc__)
    parser.add_argument("--no-serve", action="store_true", help="stop after the printed message")
    parser.add_argument("--keep", action="store_true", help="go on with the last run's data")
    parser.add_argument("--port", type=int, help=f"of the site (default: {PREFERRED_PORT} if free)")
    return parser


def _clear(folder: Path) -> None:
    shutil.rmtree(folder / "inbox", ignore_errors=True)
    for old in (*folder.glob("crm.sqlite*"), folder / "secret_key"):
        old.unlink(missing_ok=True)


def _play(folder: Path, options: argparse.Namespace) -> None:
    inbox = Inbox(folder / "inbox")
    with (
        Catcher(inbox) as catcher,
        _application(folder) as app,
        serving(app, _ports(options)) as url,
    ):
        _print_start(app, catcher, url)
        week.refuse_as_usual(catcher)
        _have_a_past(folder, url, catcher)
        _print_delivery(deliver_a_request(app, url, catcher))
        if not options.no_serve:
            _print_site(url)
            threading.Event().wait()  # until Ctrl-C


def _ports(options: argparse.Namespace) -> tuple[int, ...]:
    """The ports to try, 0 meaning any free one."""
    if options.port is not None:
        return (options.port,)
    return (0,) if options.no_serve else (PREFERRED_PORT, 0)


@contextmanager
def _application(folder: Path) -> Iterator[Flask]:
    """Make the application with a database of its own and data in it."""
    app = create_app(_configuration(folder) | {"INTERACTION_MAIL_DELIVERY": "thread"})
    with app.app_context():
        db.create_all()
        seed()
    try:
        yield app
    finally:
        # By itself it would end with the process; here the mail server goes first.
        app.extensions["interaction_mail"].delivery.stop()
        with app.app_context():
            db.engine.dispose()


def _configuration(folder: Path) -> dict[str, Any]:
    url = os.environ.get("EXAMPLE_DATABASE_URL") or f"sqlite:///{folder / 'crm.sqlite'}"
    return {
        "SQLALCHEMY_DATABASE_URI": url,
        "SECRET_KEY": secret_key(folder),
        "EXAMPLE_INBOX": str(folder / "inbox"),
    }


def _have_a_past(folder: Path, url: str, catcher: Catcher) -> None:
    """Fill a new database with the week before; one that was in use stays as it is."""
    own = {"INTERACTION_MAIL_DELIVERY": "sync", "INTERACTION_MAIL_OVERRIDES": {}}
    app = create_app(_configuration(folder) | own)
    if not week.has_mail(app):
        week.play(app, url, catcher)
    with app.app_context():
        db.engine.dispose()


def _print_start(app: Flask, catcher: Catcher, url: str) -> None:
    with app.app_context():
        database = db.engine.url.render_as_string(hide_password=True)
    print(f"Database:    {database}")
    print(f"SMTP server: {catcher.host}:{catcher.port}, delivers to {catcher.inbox.folder}")
    print(f"Site:        {url}")


def _print_delivery(delivered: Delivered) -> None:
    print(f"\n{delivered.denied}\n")
    print("Why these recipients and this sender:")
    for step in delivered.route:
        print(f"  - {step}")
    print("\nThe message as it was delivered:\n")
    for name, value in delivered.letter.headers:
        print(f"  {name}: {value}")
    print()
    for line in delivered.letter.text.splitlines():
        print(f"  {line}".rstrip())
    if delivered.letter.html:
        print("\n  (There is an HTML part too; the inbox page shows it.)")


def _print_site(url: str) -> None:
    print(f"\nThe site runs at {url} until you press Ctrl-C. Log in there as")
    for login, name, _email, role, desktop in USERS:
        client = ", desktop client" if desktop else ""
        print(f"  {login:<10} {name} ({role.value.replace('_', ' ')}{client})")
    print(f"with the password {PASSWORD}")
    print(f"Delivered mail: {url}inbox/   Messaging panel (as amoreau): {url}admin/messaging/")


if __name__ == "__main__":
    sys.exit(main())
