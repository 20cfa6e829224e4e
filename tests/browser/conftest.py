"""A real browser, the example application served, and a place for pictures."""

from __future__ import annotations

import os
import random
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa
from flask_login import FlaskLoginClient
from jinja2 import StrictUndefined

from example_app import create_app
from example_app.extensions import db
from example_app.listening import serving
from example_app.models import User
from flask_interaction_mail import clock, operations
from flask_interaction_mail.catcher import Catcher, Inbox
from flask_interaction_mail.outbox import tally
from flask_interaction_mail.outbox.counts import HOUR, Counts, Names
from flask_interaction_mail.state import state_of
from flask_interaction_mail.storage.tables import CHECK
from flask_interaction_mail.values import Status
from tests import demo_data

WIDTHS = (1280, 360)
LONG = "a-domain-with-a-name-that-is-longer-than-anybody-would-like-to-type.example"
# Which the styles of Flask-Admin's swatches ask.
_FONTS = ("fonts.googleapis.com", "fonts.gstatic.com")
# The first one draws no windows of its own, so a page takes a third of the processor time.
PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")


@dataclass
class Site:
    """The example application at ``url``, with its mail server."""

    url: str
    catcher: Catcher
    app: Any

    def log_in(self, page: Any, login: str) -> None:
        """Be one of the demo's people; the page to log in with is a matter of the main path."""
        with self.app.app_context():
            user = db.session.scalars(db.select(User).filter_by(login=login)).one()
            session = FlaskLoginClient(self.app, user=user).get_cookie("session")
        page.context.clear_cookies()
        page.context.add_cookies([{"name": "session", "value": session.value, "url": self.url}])

    @property
    def panel(self) -> str:
        return self.url + "admin/messaging/"

    @property
    def outbox(self) -> str:
        return self.panel + "outbox/"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """Chromium, driven by Playwright; skipped where one of them is missing."""
    api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"there is no Chromium: apt-get install {PROGRAMS[0]}, or name it in CHROMIUM")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--no-proxy-server"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A fresh window of 1280 by 900.

    An error in a script of the page fails the test, and so does a request to another host.
    """
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900}, locale="en-GB", timezone_id="Europe/Berlin"
    )
    opened = context.new_page()
    opened.set_default_timeout(15_000)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: errors.extend(_elsewhere(request.url)))
    yield opened
    context.close()
    assert errors == []


def _elsewhere(url: str) -> list[str]:
    parts = urlsplit(url)
    asked = parts.hostname if parts.scheme.startswith("http") else None
    return [url] if asked not in (None, "127.0.0.1", *_FONTS) else []


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the demo's data, to be copied."""
    return demo_data.filled(tmp_path_factory.mktemp("seeded"))


@pytest.fixture
def site(seeded: Path, tmp_path: Path) -> Iterator[Site]:
    """The example application with the demo's data, nothing configured yet."""
    shutil.copy(seeded, tmp_path / "crm.sqlite")
    with Catcher(Inbox(tmp_path / "inbox")) as catcher:
        app = create_app(
            {
                "SECRET_KEY": "k" * 32,
                "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path}/crm.sqlite",
                "EXAMPLE_INBOX": str(tmp_path / "inbox"),
                "INTERACTION_MAIL_DELIVERY": "thread",
            }
        )
        app.jinja_env.undefined = StrictUndefined
        app.wsgi_app = at_once(app.wsgi_app)  # type: ignore[method-assign]
        with serving(app) as url:
            yield Site(url, catcher, app)
        app.extensions["interaction_mail"].delivery.stop()
        with app.app_context():
            db.session.remove()
            db.engine.dispose()


@pytest.fixture
def busy(site: Site) -> Site:
    """The example with a day's mail counted, and a trouble of its server."""
    chance, now = random.Random(1), clock.now()
    found = Counts(Names())
    for ago in range(0, 24 * 60, 7):
        at = now - timedelta(minutes=ago)
        for _ in range(chance.randrange(3, 12)):
            made_at = at - timedelta(seconds=chance.lognormvariate(0, 1))
            found.message(at, "request", Status.SENT, made_at=made_at)
            found.recipient(at, f"a@{chance.choice(['firm.example', LONG])}", Status.SENT)
        status = chance.choice([Status.DEFERRED, Status.FAILED, Status.HELD])
        found.message(at, "notification", status, made_at=at)
        found.recipient(at, "b@slow.example", status)
        found.refused(at, ["450 4.2.0 Greylisted, see ...", "550 5.1.1 ... unknown"], uuid.uuid4())
    server = {"smtp_server": "mail.firm.example", "company_domain": "firm.example"}
    people = {"default_to": "data-stewards", "default_from": "crm"}
    with site.app.app_context():
        operations.save_settings(state_of(), server | people, base=None, changed_by="")
    with site.app.app_context(), state_of().database.writing() as connection:
        tally._insert(connection, found.hours)
        values = {"id": uuid.uuid4(), "kind": "breaker", "at": now - HOUR, "by": "x"}
        steps = '{"stage": "connect", "why": "Nobody answers at mail.firm.example:25."}'
        row = values | {"fingerprint": "", "verdict": "closed", "steps": steps}
        connection.execute(sa.insert(CHECK).values(row))
    return site


def at_once(answer: Callable[..., Any]) -> Callable[..., list[bytes]]:
    """Answers in one piece: where a browser leaves in the middle, Werkzeug closes no file."""

    def whole(environ: Any, start: Any) -> list[bytes]:
        with closing(answer(environ, start)) as pieces:
            return [b"".join(pieces)]

    return whole


def fits_both_widths(page: Any) -> None:
    """Nothing has to be moved sideways, on a screen or on a phone; the page is wide again then."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        fits_the_width(page)
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def fits_the_width(page: Any) -> None:
    """Nothing has to be moved sideways to be read."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


# Frames have no scripts, so axe-core waits for them in vain.
_LOOK = """async () => {
  const found = await axe.run(".im", {resultTypes: ["violations"], iframes: false});
  return found.violations.flatMap(one => one.nodes.map(
    node => `${one.id}: ${node.html.slice(0, 120)} (${node.failureSummary.slice(0, 200)})`
  ));
}"""


def violations(page: Any) -> list[str]:
    """What axe-core finds inside our part of the page, which gets its script once."""
    if not page.evaluate("'axe' in window"):
        axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
        page.evaluate(axe.axe_script)
    found: list[str] = page.evaluate(_LOOK)
    return found
