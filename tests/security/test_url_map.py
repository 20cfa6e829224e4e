"""Every route of the panel, with every method, for every visitor: who gets what (T3, T4, T5).

``FIM_LONG=1`` opens each page as each visitor who may, instead of those with all rights and with no
more than it needs, and looks at the headers of what each visitor gets, instead of those with all
rights and with none.
"""

from __future__ import annotations

import logging
import re
import socket
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup
from flask import Response, redirect
from flask_admin import Admin, AdminIndexView
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]
from werkzeug.test import TestResponse

from flask_interaction_mail import Right, clock, send_notification
from flask_interaction_mail.outbox import consents, tokens
from flask_interaction_mail.outbox.consents import Consent
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.storage.tables import REPORT
from flask_interaction_mail.transport.base import AccessToken
from flask_interaction_mail.values import Party
from tests import outbox_rows
from tests.canary import PASSWORD
from tests.host import ADA, Host
from tests.length import LONG
from tests.panel import (
    ACTIVITY,
    COVERAGE,
    EXPLAIN,
    HISTORY,
    HOME,
    OUTBOX,
    RETURNED,
    TEMPLATES,
    TEST,
    TYPED,
    OpenIndex,
    Panel,
    form_values,
)
from tests.proofs import proved
from tests.provider_events import verification_key

SECRET = "canary-in-the-text"
SEEN = re.compile(r"INSERT INTO \"interaction_mail_check\" .*'deed'.*'(read|exported)'")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
DETAILS = OUTBOX + "<uuid:id>/"
PREVIEW = TEMPLATES + "preview/<path:which>"
BULK = OUTBOX + "bulk"
FILE = DETAILS + "files/<int:number>"
REPORTS = DETAILS + "reports/<digest>.eml"
DIGEST = "0" * 64
END = HOME + "end/<any(paused, divert_to):switch>"
END_PAUSE = HOME + "end/paused"
HEALTH = "/admin/messaging/health"
EVENTS = "/admin/messaging/events/"
ALERT = "/admin/messaging/alert"
LOOK = "/admin/messaging/mailbox"
MAILBOX = (HOME + "connect", HOME + "connected", HOME + "disconnect")
TOKEN = {"Authorization": "Bearer of-the-monitor"}
STATIC = "/admin/messaging/{}static/<path:filename>"


@dataclass(frozen=True)
class Entry:
    """Who may do it, what is answered then, and whether something is changed by it."""

    needs: frozenset[str]
    status: int = 200
    changes: bool = False


def needing(*rights: str, **others: Any) -> Entry:
    return Entry(frozenset(rights), **others)


# The one place that says it: a route that is not here fails the first test.
ROUTES: dict[tuple[str, str], Entry] = {
    ("GET", HOME): needing("view"),
    ("POST", HOME): needing("view", "edit", status=303, changes=True),
    ("GET", TEST): needing("view", "test"),
    ("POST", TEST): needing("view", "test", changes=True),
    ("POST", ALERT): needing("view", "test"),
    ("POST", LOOK): needing("view", "test"),
    ("POST", HOME + "preset"): needing("view", "edit"),
    ("POST", HOME + "relays"): needing("view", "edit"),
    ("POST", END): needing("view", "edit", status=303, changes=True),
    ("POST", HOME + "connect"): needing("view", "edit", status=303, changes=True),
    ("GET", HOME + "connected"): needing("view", "edit", status=303),
    ("POST", HOME + "disconnect"): needing("view", "edit", status=303, changes=True),
    ("GET", OUTBOX): needing("outbox"),
    ("GET", OUTBOX + "export.csv"): needing("outbox"),
    ("GET", DETAILS): needing("outbox"),
    ("GET", DETAILS + "html"): needing("outbox", "body"),
    ("GET", DETAILS + "message.eml"): needing("outbox", "body"),
    ("GET", FILE): needing("outbox", "body"),
    ("GET", REPORTS): needing("outbox", "body"),
    ("GET", OUTBOX + "live"): needing("outbox"),
    ("GET", BULK): needing("outbox", "resend"),
    ("POST", BULK): needing("outbox", "resend", changes=True),
    ("POST", DETAILS + "resend"): needing("outbox", "resend", status=303, changes=True),
    ("POST", DETAILS + "cancel"): needing("outbox", "resend", status=303, changes=True),
    ("POST", DETAILS + "release"): needing("outbox", "resend", status=303, changes=True),
    ("GET", RETURNED): needing("outbox"),
    ("GET", RETURNED + "test"): needing("outbox", "test", status=303),
    ("POST", RETURNED + "test"): needing("outbox", "test"),
    ("GET", EXPLAIN): needing("explain"),
    ("POST", EXPLAIN): needing("explain", "view", "edit"),  # beside settings of the form
    ("GET", COVERAGE): needing("explain"),
    ("GET", COVERAGE + "moves.csv"): needing("explain"),
    ("GET", TEMPLATES): needing("view"),
    ("GET", PREVIEW): needing("view"),
    ("POST", TEMPLATES + "send"): needing("view", "test", status=303),
    ("GET", ACTIVITY): needing("activity"),
    ("GET", HISTORY): needing("history"),
    ("GET", HISTORY + "<int:revision>/"): needing("history"),
    ("POST", HISTORY + "restore"): needing("history", "edit", status=303, changes=True),
    # not for visitors, but for monitors with a token, which ``ask`` has
    ("GET", HEALTH): needing(),
    ("GET", HEALTH + "/"): needing(),
    # for mail providers, whose signature is missing here: tests/integration/test_provider_events.py
    ("POST", EVENTS + "amazon-ses"): needing(status=400),
    ("POST", EVENTS + "sendgrid"): needing(status=403),
    # style and script: for everybody
    ("GET", STATIC.format("")): needing(),
    ("GET", STATIC.format("outbox/")): needing(),
    ("GET", STATIC.format("returned/")): needing(),
    ("GET", STATIC.format("explain/")): needing(),
    ("POST", COVERAGE + "mended"): needing("explain", "edit", status=303),
    ("GET", STATIC.format("coverage/")): needing(),
    ("GET", STATIC.format("templates/")): needing(),
    ("GET", STATIC.format("activity/")): needing(),
    ("GET", STATIC.format("history/")): needing(),
    ("GET", STATIC.format("health/")): needing(),
    ("GET", STATIC.format("events/")): needing(),
}
PAGES = [route for route in ROUTES if ROUTES[route].needs]
POSTS = [route for route in PAGES if route[0] == "POST"]
VISITORS = {
    "without rights": frozenset[str](),
    **{f"with {right}": frozenset({right}) for right in Right},
    **{f"without {right}": frozenset(Right) - {right} for right in Right},
    "with all rights": frozenset(Right),
}


class LoginIndex(AdminIndexView):
    """An index view that asks for a login."""

    def is_accessible(self) -> bool:
        return False

    def inaccessible_callback(self, name: str, **kwargs: Any) -> Any:
        return redirect("/login")


@dataclass
class Site:
    """A host with a held message in its outbox, and a visitor whose rights a test sets."""

    panel: Panel
    database: Path
    granted: set[str]
    connects: list[Any] = field(default_factory=list)
    message: uuid.UUID = field(default_factory=uuid.uuid4)

    def url(self, rule: str) -> str:
        some = {"<uuid:id>": str(self.message), "<path:filename>": "panel.css", END: END_PAUSE}
        some |= {"<int:revision>": "1", "<int:number>": "0", "<path:which>": "merge_request"}
        some["<digest>"] = DIGEST
        for part, text in some.items():
            rule = rule.replace(part, text)
        return rule

    def connect(self) -> None:
        """Connect a mailbox."""
        state, now = self.panel.host.state, clock.now()
        self.panel.host.configure(
            sign_in="oauth_mailbox",
            oauth_authorization_url="http://127.0.0.1:9/authorize",
            oauth_token_url="http://127.0.0.1:9/token",
            oauth_client_id="crm",
            allow_unencrypted_auth=True,
        )
        consent = Consent(refresh_token=Secret(PASSWORD), account=None, by="Ada", at=now)
        with self.panel.host.app.app_context():
            relay = relay_of(state.settings.current().settings)
            name, token = consents.name_of(relay), AccessToken(Secret(PASSWORD), now)
            with state.database.writing() as found:
                if consents.look(found, state.settings.keyring, name) is None:
                    tokens.add(found, name, now)
                consents.connect(found, state.settings.keyring, name, consent, token, now)

    def grant(self, *rights: str) -> None:
        self.granted.clear()
        self.granted.update(rights)

    def filled(self, rule: str, panel: Panel | None = None) -> dict[str, str]:
        """What a visitor with all rights sends to ``rule``: valid in every respect."""
        self.grant(*Right)
        if rule == BULK:
            return self.job(panel or self.panel)
        posted = (HOME, TEST, ALERT, LOOK, EXPLAIN)
        of_form = rule in posted
        if rule in MAILBOX:
            return form_values((panel or self.panel).get(HOME))
        forms = dict.fromkeys(posted, HOME) | {HISTORY + "restore": HISTORY + "1/"}
        forms[TEMPLATES + "send"] = self.url(PREVIEW)
        forms[RETURNED + "test"] = RETURNED
        values = form_values((panel or self.panel).get(forms.get(rule, self.url(DETAILS))))
        return values | TYPED | {"smtp_server": "127.0.0.1"} if of_form else values

    def job(self, panel: Panel) -> dict[str, str]:
        """What the page carries that asks whether all messages are to be released."""
        chosen = form_values(panel.get(self.url(DETAILS))) | {"do": "release", "all": "1"}
        answer = panel.client.post(BULK, data=chosen)
        return form_values(BeautifulSoup(answer.text, "lxml"))

    def ask(self, method: str, rule: str, **data: str) -> TestResponse:
        """The answer to a request with ``data`` in its body, read to its end."""
        sent = data if method in ("POST", "PUT", "PATCH", "DELETE") else None
        return self.panel.client.open(
            self.url(rule),
            method=method,
            data=sent,
            headers=TOKEN if rule.startswith(HEALTH) else None,
            buffered=True,
        )

    def stored(self) -> str:
        """Everything in the database, but for what is kept of those who read and export."""
        with sqlite3.connect(self.database) as connection:
            lines = [line for line in connection.iterdump() if not SEEN.search(line)]
        connection.close()
        return "\n".join(lines)

    def prepare(self, rule: str = DETAILS) -> None:
        """Hold the message again, and be somebody else: ten tests a minute are allowed.

        What is to be sent again has failed instead.
        """
        status = "failed" if rule == DETAILS + "resend" else "held"
        held = {"status": status, "reason": "ambiguous", "due_at": None, "finished_at": None}
        with self.panel.host.app.app_context(), self.panel.host.state.database.writing() as found:
            outbox_rows.change(found, self.message, **held)
        if rule in MAILBOX:
            self.connect()
        self.panel.host.people.user = Party(f"Visitor {uuid.uuid4()}", "visitor")
        self.connects.clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    granted: set[str] = set()
    admin = Admin(name="CRM", index_view=OpenIndex())
    host = Host(
        f"sqlite:///{tmp_path}/crm.sqlite",
        admin=admin,
        access=lambda right: right in granted,
        MAIL_SUPPRESS_SEND=False,
        INTERACTION_MAIL_HEALTH_TOKEN="of-the-monitor",
        INTERACTION_MAIL_SNS_TOPICS=["arn:aws:sns:eu-west-1:123456789012:mail"],
        INTERACTION_MAIL_SENDGRID_KEYS=[verification_key()],
    )
    host.configure(returns_server="127.0.0.1", returns_login="crm", returns_password=PASSWORD)
    site = Site(Panel(host), tmp_path / "crm.sqlite", granted)
    with host.app.app_context():
        parts = {"text": SECRET, "html": f"<p>{SECRET}</p>"}
        attachment = ("a.txt", "text/plain", SECRET.encode())
        sent = send_notification(ADA, "Subject", **parts, attachments=[attachment])
        host.db.session.commit()
    site.message = sent.id
    came_back = {"kind": "report", "server": "", "notes": "[]", "content": SECRET.encode()}
    with host.app.app_context(), host.state.database.writing() as connection:
        row = {"message_id": sent.id, "digest": DIGEST, "received_at": clock.now(), **came_back}
        connection.execute(sa.insert(REPORT).values(row))

    def connect(_: socket.socket, address: object) -> None:
        site.connects.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", connect)
    yield site
    host.close()


@pytest.fixture(params=[False, True], ids=["own token", "CSRFProtect"])
def protected(request: pytest.FixtureRequest, site: Site) -> Site:
    """The same without and with the host's own protection."""
    if request.param:
        CSRFProtect(site.panel.host.app)
    return site


def test_r7_every_route_has_an_entry_in_the_table(site: Site) -> None:
    """A page that is added without a decision about its rights fails here (T4)."""
    app = site.panel.host.app
    ours = {
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.endpoint.startswith("interaction_mail")
        or app.view_functions[rule.endpoint].__module__.startswith("flask_interaction_mail")
    }
    assert ours == set(ROUTES)


def test_r7_each_page_opens_to_those_with_its_rights_alone(protected: Site) -> None:
    """Every route, method and set of rights; refused is refused before anything is done (T4).

    The host's CSRFProtect looks at nothing but a POST.
    """
    routes = POSTS if "csrf" in protected.panel.host.app.extensions else list(ROUTES)
    opened = admitted = refused = 0
    for method, rule in routes:
        needs = ROUTES[method, rule].needs
        may = [granted for granted in VISITORS.values() if needs <= granted]
        some = {needs, *(may if LONG else [frozenset(Right)])}
        for granted in some:
            _opens(protected, method, rule, granted)
        may_not = [granted for granted in VISITORS.values() if granted not in may]
        _refuses(protected, method, rule, may_not)
        opened += len(some)
        admitted += len(may)
        refused += len(may_not)
    proved("T4", "{} pages opened with the right to them", opened)
    proved("T4", "{} pages refused without it: 0 rows changed, 0 connections", refused)
    assert admitted + refused == len(VISITORS) * len(routes)
    assert opened >= 2 * len(routes)


def _opens(site: Site, method: str, rule: str, granted: frozenset[str]) -> None:
    site.prepare(rule)
    data = site.filled(rule) if method == "POST" else {}
    site.grant(*granted)
    before = site.stored()
    answer = site.ask(method, rule, **data)
    entry = ROUTES[method, rule]
    assert answer.status_code == entry.status, (method, rule, granted)
    assert (site.stored() != before) is entry.changes, (method, rule, granted)


def _refuses(site: Site, method: str, rule: str, visitors: list[frozenset[str]]) -> None:
    """What one of them sends is as good for the next: nothing has changed."""
    site.prepare(rule)
    data = site.filled(rule) if method == "POST" else {}
    before = site.stored()
    for granted in visitors:
        site.grant(*granted)
        answer = site.ask(method, rule, **data)
        assert answer.status_code == 403, (method, rule, granted)
        assert "firm.example" not in answer.text
    assert (site.stored(), site.connects) == (before, []), (method, rule)


@pytest.mark.parametrize("route", PAGES)
def test_r7_an_unprotected_admin_keeps_the_panel_closed(
    tmp_path: Path, route: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Flask-Admin's own index view lets everybody in, so the panel does not follow it."""
    host = Host(f"sqlite:///{tmp_path}/a.sqlite", admin=Admin(index_view=AdminIndexView()))
    url = Site(Panel(host), tmp_path, set()).url(route[1])
    assert host.app.test_client().open(url, method=route[0]).status_code == 403
    host.close()
    (record,) = [r for r in caplog.records if "access.unprotected" in r.message]
    assert record.levelno == logging.ERROR
    assert "is_accessible" in record.message


@pytest.mark.parametrize("access", [None, lambda _right: False], ids=["no access", "refusing"])
def test_r7_a_visitor_who_is_not_logged_in_gets_the_hosts_answer(
    tmp_path: Path, access: Any
) -> None:
    """The index view's own callback answers, here with its login; style and script are open."""
    host = Host(
        f"sqlite:///{tmp_path}/a.sqlite", admin=Admin(index_view=LoginIndex()), access=access
    )
    site = Site(Panel(host), tmp_path / "a.sqlite", set())
    before = site.stored()
    for method, rule in PAGES:
        answer = site.ask(method, rule)
        assert (answer.status_code, answer.location) == (302, "/login")
        assert answer.headers["Cache-Control"] == "no-store"
    assert site.stored() == before
    host.close()


def test_no_other_method_is_answered(site: Site) -> None:
    """405, whatever the rights; OPTIONS tells what there is, HEAD is a GET without its text."""
    site.grant(*Right)
    before, asked = site.stored(), 0
    for rule in {rule for _, rule in ROUTES}:
        known = {method for method, other in ROUTES if other == rule}
        for method in METHODS:
            if method in known:
                continue
            asked += 1
            answer = site.ask(method, rule)
            allowed = method == "OPTIONS" or (method == "HEAD" and "GET" in known)
            status = ROUTES["GET", rule].status if method == "HEAD" and allowed else 200
            assert answer.status_code == (status if allowed else 405), (method, rule)
            assert answer.data == b"" or not allowed
    assert (site.stored(), site.connects) == (before, [])
    proved("T3", "{} requests with other methods: nothing done", asked)


def test_a_get_changes_nothing(site: Site) -> None:
    """With all rights, and with what a POST would carry in its URL (T3)."""
    site.prepare()
    for _, rule in ROUTES:
        asked = site.filled(rule) | {"_method": "POST", "X-HTTP-Method-Override": "POST"}
        before = site.stored()
        for method in ("GET", "HEAD"):
            site.panel.client.open(site.url(rule), method=method, query_string=asked, buffered=True)
    assert (site.stored(), site.connects) == (before, [])


@pytest.mark.parametrize("route", POSTS)
def test_a_post_without_the_right_token_does_nothing(
    protected: Site, route: tuple[str, str]
) -> None:
    """Refused, no row changed, no connection, with and without the host's CSRFProtect (T3)."""
    site = protected
    site.prepare(route[1])
    stranger = site.filled(route[1], Panel(site.panel.host))["csrf_token"]
    data = site.filled(route[1])
    del data["csrf_token"]
    before = site.stored()
    for token in ({}, *({"csrf_token": text} for text in ("", "x" * 64, stranger))):
        answer = site.ask(*route, **data, **token)
        assert (site.stored(), site.connects) == (before, []), token
        assert answer.status_code in (303, 400), token
        if answer.status_code == 303:
            assert "out of date" in site.panel.get(answer.location).text
        proved("T3", "{} POSTs without the right token: 0 rows changed, 0 connections")


@pytest.mark.parametrize("route", POSTS)
def test_a_post_with_the_right_token_is_believed(protected: Site, route: tuple[str, str]) -> None:
    """One form works in hosts with and without CSRFProtect."""
    site = protected
    site.prepare(route[1])
    data = site.filled(route[1])
    before = site.stored()
    answer = site.ask(*route, **data)
    assert answer.status_code == ROUTES[route].status
    assert (site.stored() != before) is ROUTES[route].changes


def test_without_the_right_to_it_no_page_shows_a_text(site: Site) -> None:
    """Of a message that has been routed, of one that has not, and after each button (T4)."""
    shown = {True: 0, False: 0}
    for content in ({}, {"content": None}):
        with site.panel.host.app.app_context(), site.panel.host.state.database.writing() as found:
            outbox_rows.change(found, status="held", **content)
        for may_read in shown:
            for method, rule in PAGES:
                data = site.filled(rule) if method == "POST" else {}
                site.grant(*(set(Right) - (set() if may_read else {"body"})))
                answer = site.ask(method, rule, **data)
                if answer.location:
                    answer = site.panel.client.get(answer.location)
                shown[may_read] += SECRET in answer.text
    assert shown[False] == 0 < shown[True]


def test_every_answer_has_our_headers(site: Site) -> None:
    """Pages, files, refusals and errors: nobody keeps them, frames them, or guesses their type."""
    seen = set()
    for granted in VISITORS.values() if LONG else (frozenset[str](), frozenset(Right)):
        for message in (site.message, uuid.uuid4()):
            for method, rule in PAGES:
                site.grant(*granted)
                url = site.url(rule).replace(str(site.message), str(message))
                answer = site.panel.client.open(url, method=method, buffered=True)
                seen.add(answer.status_code)
                assert answer.headers["Cache-Control"] == "no-store", (method, rule)
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
                assert answer.headers["Referrer-Policy"] == "same-origin"
    assert seen == {200, 303, 400, 403, 404}


WEAK = {
    "Content-Security-Policy": "default-src * 'unsafe-inline'; frame-ancestors *",
    "X-Frame-Options": "ALLOWALL",
    "X-Content-Type-Options": "",
    "Referrer-Policy": "unsafe-url",
    "Cache-Control": "public, max-age=3600",
}
STRICT = {
    "Content-Security-Policy": "default-src 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}


@pytest.mark.parametrize("hosts", [WEAK, STRICT], ids=["weak", "strict"])
def test_what_a_host_says_of_every_answer_takes_none_of_our_guards_away(
    site: Site, hosts: dict[str, str]
) -> None:
    """Ours hold beside weak ones, and stricter ones of the host stay (T5)."""

    @site.panel.host.app.after_request
    def as_talisman(response: Response) -> Response:
        response.headers.update(hosts)
        return response

    for method, rule in PAGES:
        site.grant(*Right)
        answer = site.ask(method, rule)
        policies = answer.headers.getlist("Content-Security-Policy")
        assert policies[0] == hosts["Content-Security-Policy"]
        assert "frame-ancestors 'self'" in policies[1], (method, rule)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        for name, ours in (
            ("X-Frame-Options", "SAMEORIGIN"),
            ("Referrer-Policy", "same-origin"),
            ("Cache-Control", "no-store"),
        ):
            assert answer.headers.getlist(name) == [ours if hosts is WEAK else hosts[name]]
    text = site.ask("GET", DETAILS + "html").headers.getlist("Content-Security-Policy")
    assert "sandbox" in text[1]
    assert "default-src 'none'" in text[1]
    others = site.panel.client.get("/nowhere").headers
    assert others["Content-Security-Policy"] == hosts["Content-Security-Policy"]


def test_no_page_has_inline_script_or_style(site: Site) -> None:
    """A strict Content-Security-Policy of the host does not break our part of any page."""
    seen = 0
    for method, rule in PAGES:
        site.prepare()
        data = site.filled(rule) if method == "POST" else {}
        site.grant(*Right)
        answer = site.ask(method, rule, **data)
        if answer.location:
            answer = site.panel.client.get(answer.location)
        for part in BeautifulSoup(answer.text, "html.parser").select("main"):
            seen += 1
            assert part.select("script, style, [style]") == [], rule
            assert [n for tag in part.find_all(True) for n in tag.attrs if n[:2] == "on"] == []
    # All but files, the text of a message, a report, and what has changed in a list.
    assert seen == len(PAGES) - 7


def test_an_html_text_has_no_power(site: Site) -> None:
    """A frame without any permission, and a policy that loads and runs nothing by itself (T5)."""
    site.grant("view", "outbox", "body")
    frames = [site.panel.get(site.url(rule)).select("iframe") for rule in (DETAILS, PREVIEW)]
    assert [len(found) for found in frames] == [1, 2]
    for frame in (*frames[0], *frames[1]):
        assert frame.has_attr("sandbox")
        assert frame.get_attribute_list("sandbox") == []  # nothing is allowed
        within = BeautifulSoup(str(frame["srcdoc"]), "html.parser").find_all(True)
        assert within[0]["http-equiv"] == "Content-Security-Policy"
        assert str(within[0]["content"]).startswith("default-src 'none';")
        assert within[1]["target"] == "_blank"  # where the sandbox lets nothing open
    answer = site.ask("GET", DETAILS + "html")
    policy = [part.strip() for part in answer.headers["Content-Security-Policy"].split(";")]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy  # alone: no scripts, no forms, no popups, an origin of its own
    assert "form-action 'none'" in policy
    assert "base-uri 'none'" in policy
    assert [part for part in policy if part.startswith(("script", "img", "connect"))] == []
