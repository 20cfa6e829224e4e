"""Who may open which page of the panel, and which POST is believed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask, abort, redirect
from flask_admin import Admin, AdminIndexView
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]

from flask_interaction_mail import InteractionMail, operations
from tests.host import PASSWORD, Host
from tests.panel import (
    HOME,
    OUTBOX,
    RETURNED,
    TEMPLATES,
    TYPED,
    OpenIndex,
    Panel,
    form_values,
    opened_panel,
)

SOME = f"{OUTBOX}{uuid.uuid4()}/"


class Granted:
    """An access function whose rights a test sets."""

    def __init__(self, *rights: str) -> None:
        self.rights = set(rights)

    def __call__(self, right: str) -> bool:
        return right in self.rights


class LoginIndex(AdminIndexView):
    """An index view that asks for a login."""

    def is_accessible(self) -> bool:
        return False

    def inaccessible_callback(self, name: str, **kwargs: Any) -> Any:
        return redirect("/login")


@pytest.fixture
def host_of(tmp_path: Path) -> Iterator[Any]:
    hosts: list[Host] = []

    def make(index: AdminIndexView | None = None, **options: Any) -> Panel:
        admin = Admin(name="CRM", index_view=index or OpenIndex())
        hosts.append(Host(f"sqlite:///{tmp_path}/{len(hosts)}.sqlite", admin=admin, **options))
        return Panel(hosts[-1])

    yield make
    for host in hosts:
        host.close()


def test_somebody_who_is_logged_in_without_the_right_is_not_sent_in_circles(host_of: Any) -> None:
    """Where the index view is open to a visitor, a missing right is a plain 403."""
    assert host_of(access=Granted("outbox")).client.get(HOME).status_code == 403
    assert host_of(LoginIndex(), access=Granted()).client.get(HOME).status_code == 302


def test_host_mode_leaves_the_decision_to_the_host(host_of: Any) -> None:
    """INTERACTION_MAIL_ACCESS = 'host' opens the pages, except bodies."""
    panel = host_of(AdminIndexView(), INTERACTION_MAIL_ACCESS="host")
    panel.get(HOME)
    assert panel.client.get(SOME + "html").status_code == 403


def test_bodies_are_never_inherited_from_a_login(host_of: Any) -> None:
    """Without an explicit access function nobody sees a body (T4)."""
    assert host_of().client.get(SOME + "html").status_code == 403


def test_an_access_function_that_raises_refuses(
    host_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken function closes the pages and leaves the rest of the admin alone."""

    def broken(right: str) -> bool:
        raise RuntimeError("directory is down")

    panel = host_of(access=broken)
    assert panel.client.get(HOME).status_code == 403
    assert panel.client.get("/admin/").status_code == 200
    assert "access.failed" in caplog.text


@pytest.mark.parametrize(
    ("granted", "leads_to"),
    [(Granted("view", "outbox"), [HOME]), (Granted("outbox"), [OUTBOX]), (Granted("test"), [])],
    ids=["settings", "outbox", "none"],
)
def test_the_menu_has_one_entry_to_the_first_page_that_may_be_opened(
    host_of: Any, granted: Granted, leads_to: list[str]
) -> None:
    """And none without a right to any page."""
    menu = host_of(access=granted).get("/admin/")
    entries = menu.select("nav .dropdown-menu a")
    assert [(entry.text.strip(), entry["href"]) for entry in entries] == [
        ("Messaging", url) for url in leads_to
    ]


def test_a_page_has_tabs_for_the_pages_that_may_be_opened(host_of: Any) -> None:
    """The present one is marked, also for the ear."""
    page = host_of(access=Granted("view", "outbox")).get(OUTBOX)
    tabs = page.select(".im-tabs a")
    assert [(tab.text.strip(), tab["href"], tab.get("aria-current")) for tab in tabs] == [
        ("Settings", HOME, None),
        ("Outbox", OUTBOX, "page"),
        ("Returned mail", RETURNED, None),
        ("Templates", TEMPLATES, None),
    ]
    assert page.title.text.startswith("Outbox - Messaging")  # type: ignore[union-attr]
    alone = host_of(access=Granted("outbox")).get(OUTBOX)
    assert [tab.text.strip() for tab in alone.select(".im-tabs a")] == ["Outbox", "Returned mail"]


def test_without_the_right_to_edit_there_is_no_save(host_of: Any) -> None:
    """Who may only look sees the settings without buttons."""
    page = host_of(access=Granted("view")).get()
    assert page.find("button", string="Save") is None
    assert page.find("button", string="Test Settings") is None
    assert page.find("iframe") is None


def test_the_hosts_own_name_for_the_token_is_used(host_of: Any) -> None:
    """A host may have renamed Flask-WTF's field."""
    panel = host_of(WTF_CSRF_FIELD_NAME="anti_forgery")
    CSRFProtect(panel.host.app)
    assert "anti_forgery" in panel.fields()
    assert panel.save().status_code == 303


@pytest.mark.parametrize("protected", [False, True], ids=["own token", "CSRFProtect"])
def test_a_session_that_has_ended_is_said_in_the_panel_and_keeps_what_was_typed(
    host_of: Any, protected: bool
) -> None:
    """Never a bare "Bad Request"; the password is not shown again; a second Save succeeds."""
    panel = host_of()
    if protected:
        CSRFProtect(panel.host.app)
    values = panel.fields() | TYPED | {"default_to": "typed-desk", "password": PASSWORD}
    panel.client = panel.host.app.test_client()
    response = panel.client.post(HOME, data=values)
    page = BeautifulSoup(response.text, "lxml")
    assert response.status_code == 400
    assert "Your session has ended" in page.select_one(".im-alert-bad").text  # type: ignore[union-attr]
    assert PASSWORD not in response.text
    again = form_values(page)
    assert again["default_to"] == "typed-desk"
    assert panel.client.post(HOME, data=again).status_code == 303
    assert panel.in_force().settings.default_to == "typed-desk"


def test_what_another_site_typed_is_not_put_into_the_form(host_of: Any) -> None:
    """Nobody should save what a stranger has filled in."""
    panel = host_of()
    values = panel.fields() | TYPED | {"smtp_server": "evil.example"}
    for client in (panel.host.app.test_client(), panel.client):
        data = values | {"csrf_token": "x"}
        response = client.post(HOME, data=data, headers={"Sec-Fetch-Site": "cross-site"})
        assert response.status_code == 400
        assert "Your session has ended" in response.text
        assert "evil.example" not in response.text


def test_a_login_that_has_ended_keeps_what_was_typed_until_the_next_one(host_of: Any) -> None:
    """The page shows that alone, nothing of the settings, and saves it once somebody is back."""
    index = LoginIndex()
    index.is_accessible = lambda: inside[0]  # type: ignore[method-assign]
    inside = [True]
    panel = host_of(index)
    panel.host.configure(smtp_server="in-force.example")
    typed = {"default_to": "typed-desk", "smtp_server": "typed.example", "password": PASSWORD}
    values = panel.fields() | typed
    inside[0] = False
    response = panel.client.post(HOME, data=values)
    page = BeautifulSoup(response.text, "lxml")
    assert response.status_code == 403
    assert "Your session has ended" in page.text
    assert "typed-desk" in page.text
    assert "in-force.example" not in response.text
    assert PASSWORD not in response.text
    assert panel.client.post(HOME).location == "/login"
    foreign = panel.client.post(HOME, data=values, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.location == "/login"
    inside[0] = True
    assert panel.client.post(HOME, data=form_values(page)).status_code == 303
    assert panel.in_force().settings.smtp_server == "typed.example"


@pytest.mark.parametrize("url", ["/", "/back/office"])
def test_the_admin_may_live_at_any_url(tmp_path: Path, url: str) -> None:
    """At the root and below a path of several parts, also behind a prefix."""
    admin = Admin(name="CRM", url=url, index_view=OpenIndex(url=url))
    host = Host(f"sqlite:///{tmp_path}/a.sqlite", admin=admin)
    client = host.app.test_client()
    base = url.rstrip("/")
    page = client.get(base + "/messaging/", base_url="https://crm.example/prefix")
    assert f'action="/prefix{base}/messaging/"' in page.text
    assert client.get(base + "/messaging/static/panel.css", buffered=True).status_code == 200
    host.close()


def test_one_global_admin_serves_two_applications(tmp_path: Path) -> None:
    """create_app() called twice: each panel shows its own application's settings."""
    db, admin = SQLAlchemy(), Admin(name="CRM", index_view=OpenIndex())
    messaging = InteractionMail(db=db, admin=admin)

    def create_app(name: str, *, panel_first: bool) -> Flask:
        app = Flask(name)
        app.config.update(
            SECRET_KEY="k" * 32,
            SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/{name}.sqlite",
            INTERACTION_MAIL_DELIVERY="worker",
        )
        db.init_app(app)
        for extension in (messaging, admin) if panel_first else (admin, messaging):
            extension.init_app(app)
        with app.app_context():
            db.create_all()
            operations.save_settings(
                app.extensions["interaction_mail"],
                {
                    "smtp_server": f"{name}.example",
                    "default_to": "a@x.example",
                    "default_from": "b@x.example",
                },
                base=None,
                changed_by="test",
            )
        return app

    apps = [create_app("one", panel_first=True), create_app("two", panel_first=False)]
    for app in apps:
        assert f"{app.name}.example" in app.test_client().get(HOME).text
    assert len([view for view in admin._views if view.endpoint == "interaction_mail"]) == 1
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def test_an_application_of_the_same_admin_without_the_extension_has_no_panel() -> None:
    """The views are there, the menu does not show them, and they answer 404."""
    admin = Admin(name="CRM", index_view=OpenIndex())
    from flask_interaction_mail.admin import add_views

    add_views(admin, Flask("with"))
    app = Flask("bare")
    admin.init_app(app)
    assert app.test_client().get(HOME).status_code == 404
    assert "Messaging" not in app.test_client().get("/admin/").text


def test_a_callback_that_aborts_is_obeyed(host_of: Any) -> None:
    """An index view that answers 401 keeps doing so."""

    class Aborts(LoginIndex):
        def inaccessible_callback(self, name: str, **kwargs: Any) -> Any:
            abort(401)

    assert host_of(Aborts()).client.get(HOME).status_code == 401


def test_opened_panel_is_open(tmp_path: Path) -> None:
    """An index view that overrides is_accessible and says yes opens the pages."""
    with opened_panel(tmp_path) as panel:
        panel.get(HOME)
        panel.get(OUTBOX)
