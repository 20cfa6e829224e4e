"""What the pages of the documentation show in Python or a shell does what they say."""

from __future__ import annotations

import re
import shlex
import sys
import textwrap
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from bs4 import BeautifulSoup
from flask import Flask, url_for
from flask_admin import Admin
from flask_admin.menu import MenuLink
from flask_login import LoginManager
from flask_migrate import Migrate  # type: ignore[import-untyped]
from flask_sqlalchemy import SQLAlchemy
from jinja2 import DictLoader

from flask_interaction_mail import (
    Contact,
    InteractionMail,
    Merge,
    Party,
    merge_denied,
    operations,
    request_merge,
    send_each,
    send_notification,
)
from flask_interaction_mail import cancel_notification as cancel
from tests.catcher import Catcher, Mail
from tests.documentation import shown
from tests.host import ADA, SETTINGS, Host, People, a_merge, opened
from tests.panel import OpenIndex
from tests.terminal import done

BOB = Party("Bob Stone", "bob")
pytestmark = pytest.mark.usefixtures("catcher")  # which gets the mail of each host


def ran(host: Host, block: str, **names: Any) -> dict[str, Any]:
    """Run ``block`` in the host, and commit; gives what it has named."""
    names = {"db": host.db, "send_notification": send_notification, **names}
    with host.app.app_context():
        exec(block, names)  # noqa: S102 - our own documentation
        host.db.session.commit()
    return names


def delivered(host: Host, catcher: Catcher) -> list[Mail]:
    """What the server has got when all that waited was tried."""
    host.dispatcher().drain()
    return catcher.mails


def test_the_lines_at_the_top_of_the_readme_send_a_message(tmp_path: Path) -> None:
    """With a host's own database, admin and directory."""
    app, db = Flask("crm"), SQLAlchemy()
    app.config["SQLALCHEMY_DATABASE_URI"] = f"sqlite:///{tmp_path}/host.sqlite"
    app.config["SECRET_KEY"] = "k" * 32
    app.config["INTERACTION_MAIL_DELIVERY"] = "worker"
    db.init_app(app)
    admin = Admin(app)
    names: dict[str, Any] = {"app": app, "db": db, "admin": admin, "MyDirectory": People}
    exec(shown("README.md", "beside your db and admin"), names)  # noqa: S102
    names["create_app"]()
    with app.app_context():
        db.create_all()
        state = app.extensions["interaction_mail"]
        operations.save_settings(state, SETTINGS, base=None, changed_by="test")
        names["some_view"]()
        db.session.commit()
        (subject,) = db.session.scalars(db.text("SELECT subject FROM interaction_mail_message"))
    assert subject == "Hello"
    assert "/admin/messaging/" in {str(rule) for rule in app.url_map.iter_rules()}


def test_the_readme_tries_it_without_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is set up anywhere else, and the message is printed."""
    db = SQLAlchemy()
    app = Flask("readme")
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    app.config["INTERACTION_MAIL_DELIVERY"] = "sync"
    exec(shown("README.md", '"console"'), {"app": app})  # noqa: S102
    db.init_app(app)
    InteractionMail(app, db=db)
    with app.app_context():
        db.create_all()
    with app.app_context():
        send_notification("stewards", "Hello", text="A first message")
        db.session.commit()
    assert "crm@example.com to stewards@example.com" in capsys.readouterr().err


def test_a_receiver_hears_of_what_has_failed(
    host: Host, catcher: Catcher, caplog: pytest.LogCaptureFixture
) -> None:
    """With its id and reason."""
    catcher.refuse["bob@firm.example"] = "550 5.1.1 unknown"
    kept = ran(host, shown("docs/api.md", "notification_failed.connect"))
    ran(host, "send_notification('bob', 'Hello', text='Hello')")
    delivered(host, catcher)
    (row,) = host.rows()
    assert f"mail {row.id} failed: refused" in caplog.text
    del kept


def test_callers_of_flask_mail_go_through_the_outbox(host: Host, catcher: Catcher) -> None:
    """Whether its object was given the application or not."""
    ran(host, shown("docs/flask-mail.md", "mail.send"))
    (mail,) = delivered(host, catcher)
    assert mail.recipients == ["ada@example.com"]
    assert mail.message["Subject"] == "Your password"


def test_a_message_is_stored_with_the_hosts_own_rows(host: Host) -> None:
    """Both, or none of them."""
    block = shown("docs/transactions.md", "order.confirmed")
    for ending, count in (("rollback", 0), ("commit", 1)):
        order = host.Thing(name="order")
        order.owner = BOB
        given = block.replace("order.confirmed = True", "db.session.add(order)")
        ran(host, given.replace("session.commit", f"session.{ending}"), order=order)
        assert [row.subject for row in host.rows()] == ["Confirmed"] * count
        with host.app.app_context():
            assert host.db.session.query(host.Thing).count() == count


def test_a_key_makes_one_message_of_two_calls(host: Host) -> None:
    """However often it is sent."""
    names = {"user": BOB, "text": "Pay.", "invoice": SimpleNamespace(id=7)}
    for _ in range(2):
        ran(host, shown("docs/transactions.md", "key="), **names)
    (row,) = host.rows()
    assert row.subject == "Your invoice"


def test_a_template_of_the_host_makes_a_message(host: Host, catcher: Catcher) -> None:
    """By the names of its files and the values of its context."""
    files = re.findall(r"import_done\S+", shown("docs/templates.md", "import_done", "text"))
    assert len(files) == 3
    host.app.jinja_loader = DictLoader(
        {f"interaction_mail/mail/{name}": "{{ count }} came" for name in files}
    )
    ran(host, shown("docs/templates.md", "import_done"), user=BOB)
    (mail,) = delivered(host, catcher)
    assert mail.message["Subject"] == "412 came"
    parts = [part.get_content_type() for part in mail.message.walk()]
    assert parts == ["multipart/alternative", "text/plain", "text/html"]


def test_what_a_message_brings_along_arrives_as_what_it_is(host: Host, catcher: Catcher) -> None:
    """Pictures beside the HTML, a calendar as an alternative, files and messages attached."""
    names = {"logo": b"\x89PNG", "agenda": b"%PDF-1.7", "user": BOB}
    names |= {"original": b"Subject: Before\r\n\r\nHello\r\n"}
    names |= {"invitation": "BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"}
    ran(host, shown("docs/templates.md", "alternatives="), **names)
    (mail,) = delivered(host, catcher)
    types = {part.get_filename() or "": part.get_content_type() for part in mail.message.walk()}
    assert types["logo.png"] == "image/png"
    assert types["agenda.pdf"] == "application/pdf"
    assert types["original.eml"] == "message/rfc822"
    all_types = [part.get_content_type() for part in mail.message.walk()]
    assert {"multipart/alternative", "multipart/related", "text/calendar"} < {*all_types}


def test_a_merge_is_asked_for_and_a_user_told(host: Host, catcher: Catcher) -> None:
    """As the quickstart does it."""
    names: dict[str, Any] = {"Party": Party, "url_of": lambda one: f"https://crm.example/{one.id}"}
    for number, name in enumerate(("first", "second"), 1):
        folder = SimpleNamespace(name="Firm List")
        names[name] = SimpleNamespace(id=number, name=f"Acme {number}", folder=folder)
    ran(host, shown("docs/quickstart.md", "import Contact, Merge"), **names)
    ran(host, shown("docs/quickstart.md", "Your import has finished"), **names)
    asked, told = sorted(delivered(host, catcher), key=lambda mail: mail.recipients, reverse=True)
    assert asked.recipients == ["stewards@firm.example"]
    assert "They are the same person." in str(asked.message)
    assert told.recipients == ["ada@firm.example"]
    assert told.message["Subject"] == "Your import has finished"


ACCOUNTS = """
from types import SimpleNamespace
from flask_login import current_user
from flask_interaction_mail import Party
class User:
    def as_party(self):
        return Party("Ada Moreau", "ada")
class Group(User):
    def as_party(self):
        return Party("Data Stewards", "stewards", kind="group")
def all_users():
    return [User()]
def all_groups():
    return [Group()]
"""


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The package that the quickstart makes, with people of its own; gives its ``create_app``."""
    folder = tmp_path / "quick_crm"
    folder.mkdir()
    people = ACCOUNTS + shown("docs/quickstart.md", "class MyDirectory")
    for name, text in {
        "__init__": shown("docs/quickstart.md", "def create_app"),
        "admin": shown("docs/quickstart.md", "class ProtectedIndex"),
        "people": people,
    }.items():
        (folder / f"{name}.py").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("FLASK_SECRET_KEY", "k" * 32)
    monkeypatch.setenv("FLASK_SQLALCHEMY_DATABASE_URI", f"sqlite:///{tmp_path}/quick.sqlite")
    monkeypatch.setenv("FLASK_INTERACTION_MAIL_DELIVERY", "worker")
    names: dict[str, Any] = {}
    exec("from quick_crm import create_app, db, messaging", names)  # noqa: S102
    return SimpleNamespace(**names)


@pytest.mark.parametrize(("administrator", "status"), [(True, 200), (False, 302)])
def test_the_quickstart_has_a_panel_for_administrators(
    quick: Any, administrator: bool, status: int
) -> None:
    """And for nobody else, who is led to the login page."""
    app = quick.create_app()
    user = SimpleNamespace(
        is_authenticated=True,
        is_active=True,
        is_administrator=administrator,
        as_party=lambda: ADA,
    )
    LoginManager(app).request_loader(lambda _: user)
    app.add_url_rule("/login", "auth.login", lambda: "log in")
    with app.app_context():
        quick.db.create_all()
    assert app.test_client().get("/admin/messaging/").status_code == status


def test_the_shown_command_saves_settings(host: Host) -> None:
    """Those that it names."""
    shell = shown("docs/cli.md", "settings set", "console").replace("\\\n", " ")
    line = shlex.split(shell.splitlines()[0])[1:]
    assert line[:2] == ["flask", "interaction-mail"]
    done(host, *line[2:])
    settings = host.state.settings.current().settings
    assert (settings.smtp_server, settings.smtp_port) == ("mail.example.com", 587)
    assert (settings.encryption, settings.default_to) == ("starttls", "data-stewards")


def test_variables_of_the_environment_override_settings(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login of digits stays a text, where it is quoted as shown."""
    for name in ("smtp_server", "login"):
        for line in shown("docs/settings.md", f"__{name}=", "console").splitlines():
            name, value = shlex.split(line)[2].split("=", 1)
            monkeypatch.setenv(name, value)
    host.app.config.from_prefixed_env()
    with opened(
        host.app.config["SQLALCHEMY_DATABASE_URI"],
        INTERACTION_MAIL_OVERRIDES=host.app.config["INTERACTION_MAIL_OVERRIDES"],
    ) as again:
        settings = again.state.settings.current().settings
    assert (settings.smtp_server, settings.smtp_port) == ("mail.example.com", 587)
    assert settings.login == "12345"


@pytest.mark.parametrize(
    ("staff", "administrator", "granted"),
    [
        (True, True, {"view", "edit", "test", "outbox", "body", "resend", "purge"}),
        (True, False, {"view", "outbox"}),
        (False, False, set()),
    ],
)
def test_the_shown_function_answers_for_each_right(
    tmp_path: Path, staff: bool, administrator: bool, granted: set[str]
) -> None:
    """Staff may look, administrators may do everything, others nothing."""
    user = SimpleNamespace(is_authenticated=True, is_staff=staff, is_administrator=administrator)
    names: dict[str, Any] = {"InteractionMail": InteractionMail, "MyDirectory": People}
    names |= {"db": SQLAlchemy(), "admin": Admin(), "current_user": user}
    exec(shown("docs/quickstart.md", "def access"), names)  # noqa: S102
    rights = {"view", "edit", "test", "outbox", "body", "resend", "purge"}
    assert {right for right in rights if names["access"](right)} == granted


def test_retention_is_set_as_shown(tmp_path: Path) -> None:
    """Texts then stay as long as the log, in days."""
    names: dict[str, Any] = {}
    exec(shown("docs/scale.md", "_LOG_RETENTION"), names)  # noqa: S102
    values = {name: value for name, value in names.items() if name.isupper()}
    with opened(f"sqlite:///{tmp_path}/host.sqlite", **values) as host:
        config = host.state.config
        assert config.body_retention.days == config.log_retention.days == 30


def test_each_site_has_an_outbox_of_its_own(tmp_path: Path) -> None:
    """Made by one factory, and chosen by the tenant."""
    db = SQLAlchemy()
    names: dict[str, Any] = {"__name__": __name__, "Flask": Flask, "db": db}
    names["send_notification"] = send_notification
    names["messaging"] = InteractionMail(db=db, directory=People())
    names["DATABASES"] = {one: f"sqlite:///{tmp_path}/{one}.sqlite" for one in ("east", "west")}
    names |= {"tenant": "acme", "shard_of": {"acme": "west"}.get}
    block = shown("docs/scale.md", "def create_app(shard)")
    making, sending = block.split("\nwith ")
    exec(making, names)  # noqa: S102
    for app in names["apps"].values():
        with app.app_context():
            db.create_all()
            operations.save_settings(
                app.extensions["interaction_mail"], SETTINGS, base=None, changed_by="test"
            )
    exec(f"with {sending}".replace("(...)", "('bob', 'Hello', text='Hello')"), names)  # noqa: S102
    count = db.text("SELECT count(*) FROM interaction_mail_message")
    found = {}
    for site, app in names["apps"].items():
        with app.app_context():
            found[site] = db.session.scalar(count)
    assert found == {"east": 0, "west": 1}


def test_a_hosts_catalogue_says_single_texts_otherwise(tmp_path: Path) -> None:
    """The catalogue of the page about languages, compiled, in the folder that the page names."""
    path = tmp_path / "translations" / "de" / "LC_MESSAGES" / "interaction_mail.mo"
    path.parent.mkdir(parents=True)
    written = read_po(BytesIO(shown("docs/languages.md", "Dubletten?", "po").encode()), locale="de")
    with path.open("wb") as file:
        write_mo(file, written)
    folder = str(tmp_path / "translations")
    reader = Party("Heike Huber", "heike", locale="de")
    with opened(f"sqlite:///{tmp_path}/host.sqlite", INTERACTION_MAIL_TRANSLATIONS=folder) as host:
        host.configure()
        host.people.mergers["Firm List"] = (reader,)
        with host.app.app_context():
            asked = request_merge(a_merge(requester=ADA))
    assert asked is not None
    assert asked.subject == "Dubletten? Acme Ltd und ACME Limited"


def test_a_hosts_template_has_texts_in_the_readers_language(tmp_path: Path) -> None:
    """Values are escaped, and a text without translation is said as it stands."""
    html = shown("docs/languages.md", "Dear %(name)s", "html+jinja")
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure()
        templates = {"done.subject.txt": "Done", "done.html": html}
        host.app.jinja_loader = DictLoader(
            {f"interaction_mail/mail/{name}": text for name, text in templates.items()}
        )
        with host.app.app_context():
            user = Party("<Ada>", "ada", locale="de")
            told = {"user": user, "count": 1234}
            send_notification(user, template="done", context=told)
        (row,) = host.rows()
    assert b"Dear &lt;Ada&gt;," in row.content
    assert b"1.234 contacts came in." in row.content


def test_a_mailing_goes_to_each_customer_once(host: Host, catcher: Catcher) -> None:
    """As shown; called again it sends nothing, and the URL of each is in the header."""
    block = shown("docs/many-people.md", "news-2026-12")
    customers = [Party("Ada", "ada", id=1), Party("Bob", "bob", id=2), Party("Quiet", None, id=3)]
    given = {
        "customers": lambda: iter(customers),
        "leave_url": lambda customer: f"https://crm.firm.example/leave/{customer.id}",
    }
    assert ran(host, block, **given)["sent"].queued == 2
    again = ran(host, block, **given)["sent"]
    assert (again.known, again.queued) == (2, 0)
    mails = delivered(host, catcher)
    assert sorted(str(mail.message["List-Unsubscribe"]) for mail in mails) == [
        "<https://crm.firm.example/leave/1>",
        "<https://crm.firm.example/leave/2>",
    ]


def test_messages_are_found_as_shown(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """By metadata, and by what became of them."""
    ran(host, shown("docs/many-people.md", "4711"), customer=Party("Ada", "ada@example.com"))
    with host.app.app_context():
        names = ran(
            host,
            shown("docs/many-people.md", "messaging.outbox.query"),
            messaging=host.messaging,
        )
        assert "week" in names
        assert host.messaging.outbox.count(metadata={"tenant": "north"}) == 1


# -- How do I …? ----------------------------------------------------------------------------

HOWTO = "docs/howto.md"


def test_copies_go_to_all_and_a_blind_one_is_seen_by_nobody(host: Host, catcher: Catcher) -> None:
    """Three fields for recipients, and one for answers."""
    ran(host, shown(HOWTO, "bcc="))
    (mail,) = delivered(host, catcher)
    names = ("ada", "legal", "ben", "archive")
    assert sorted(mail.recipients) == sorted(f"{name}@example.com" for name in names)
    assert mail.message["Cc"] == "legal@example.com, Ben Okafor <ben@example.com>"
    assert mail.message["Reply-To"] == "contracts@example.com"
    assert "archive" not in str(mail.message)


def test_a_link_is_complete_outside_a_request(tmp_path: Path, catcher: Catcher) -> None:
    """With the name of the site in the configuration, by HTTPS."""
    values: dict[str, Any] = {}
    app = SimpleNamespace(config=values)
    exec(shown(HOWTO, '"SERVER_NAME"'), {"app": app})  # noqa: S102
    with opened(f"sqlite:///{tmp_path}/host.sqlite", **values) as host:
        host.configure(smtp_port=catcher.port)
        host.app.add_url_rule("/contacts/<int:number>", "contact", str)
        ran(host, shown(HOWTO, "_external=True"), app=host.app, url_for=url_for)
        (mail,) = delivered(host, catcher)
    assert "https://crm.example.com/contacts/7" in str(mail.message)


def test_what_was_to_leave_later_is_called_back(host: Host, catcher: Catcher) -> None:
    """By the key; it has waited until then, and does not leave."""
    names = {"datetime": datetime, "timedelta": timedelta, "UTC": UTC}
    ran(host, shown(HOWTO, "send_at="), **names)
    assert delivered(host, catcher) == []
    (row,) = host.rows()
    assert row.status == "queued"
    ran(host, shown(HOWTO, 'cancel_notification(key="trial-7")'), cancel_notification=cancel)
    (row,) = host.rows()
    assert row.status == "cancelled"


def test_the_menu_is_renamed_and_has_an_entry_of_the_host(tmp_path: Path) -> None:
    """As Flask-Admin does it; the panel is where the Admin is."""
    admin = Admin(name="CRM", url="/office", index_view=OpenIndex(url="/office"))
    with opened(f"sqlite:///{tmp_path}/host.sqlite", admin=admin) as host:
        names = {"admin": admin, "MenuLink": MenuLink}
        exec(shown(HOWTO, "get_category_menu_item"), names)  # noqa: S102
        page = BeautifulSoup(host.app.test_client().get("/office/messaging/").text, "lxml")
    links = {link.get_text(" ", strip=True): link.get("href") for link in page.select("nav a")}
    assert "System" in links
    assert links["E-mail"] == "/office/messaging/"


# -- Celery, migrations, mailings, letterhead ----------------------------------------------


def test_the_factory_of_the_page_about_celery_delivers(tmp_path: Path, catcher: Catcher) -> None:
    """Its tasks are known, beat has a plan, and a commit sends, here without a broker."""
    db = SQLAlchemy()
    names: dict[str, Any] = {"__name__": __name__, "Flask": Flask, "db": db}
    names["messaging"] = InteractionMail(db=db, directory=People())
    block = shown_within("docs/celery.md", "def celery_init_app")
    eager = f"""app.config["CELERY"]["task_always_eager"] = True
    app.config.update(SECRET_KEY="k" * 32, SQLALCHEMY_DATABASE_URI="sqlite:///{tmp_path}/c.sqlite")
    db.init_app(app)"""
    exec(block.replace("db.init_app(app)", eager, 1), names)  # noqa: S102
    module = ModuleType("crm")
    module.create_app = names["create_app"]  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "crm", module)
        exec(shown_within("docs/celery.md", "flask_app ="), names)  # noqa: S102
    celery, app = names["app"], names["flask_app"]
    assert "flask_interaction_mail.deliver" in celery.tasks
    assert len(celery.conf.beat_schedule) == 3
    with app.app_context():
        db.create_all()
        settings = SETTINGS | {"smtp_port": catcher.port}
        state = app.extensions["interaction_mail"]
        operations.save_settings(state, settings, base=None, changed_by="test")
    with app.app_context():
        send_notification("bob", "Hello", text="Hello")
        db.session.commit()
    with app.app_context():
        db.engine.dispose()
    assert [mail.message["Subject"] for mail in catcher.mails] == ["Hello"]


def shown_within(page: str, containing: str) -> str:
    """A block that stands within a list."""
    text = (Path(__file__).parents[2] / page).read_text("utf-8")
    blocks = re.findall(r"^   ```python\n(.*?)^   ```$", text, re.MULTILINE | re.DOTALL)
    (block,) = [textwrap.dedent(block) for block in blocks if containing in block]
    return str(block)


def test_the_hosts_migrations_leave_the_tables_alone(host: Host) -> None:
    """With the function of the page, which knows ours by their names."""
    names = ran(host, shown("docs/migrations.md", "not_ours"), Migrate=Migrate, app=host.app)
    assert not names["not_ours"]("interaction_mail_message", "table", {})
    assert names["not_ours"]("customer", "table", {})


def test_each_person_of_a_mailing_has_a_text_of_their_own(host: Host, catcher: Catcher) -> None:
    """By a template, with what the function says of each."""
    host.app.jinja_loader = DictLoader(
        {
            "interaction_mail/mail/points.subject.txt": "Points",
            "interaction_mail/mail/points.txt": "{{ party.name }} has {{ points }}",
        }
    )
    customers = [Party("Ada", "ada", id=1), Party("Bob", "bob", id=2)]
    given = {
        "send_each": send_each,
        "customers": lambda: customers,
        "points_of": lambda one: one.id,
    }
    ran(host, shown("docs/many-people.md", "points_of"), **given)
    texts = sorted(mail.message.get_content().strip() for mail in delivered(host, catcher))
    assert texts == ["Ada has 1", "Bob has 2"]


def test_a_request_compares_the_fields_of_both_contacts(host: Host, catcher: Catcher) -> None:
    """With a button for the page where they are merged."""
    names = {"app": host.app, "merge_denied": merge_denied, "Merge": Merge, "Contact": Contact}
    ran(host, shown("docs/templates.md", "They have the same telephone number."), **names)
    (mail,) = delivered(host, catcher)
    html = mail.message.get_body(("html",)).get_content()
    assert "Arlington" in html
    assert "https://crm.example.com/merge?a=17&amp;b=42" in html


def test_a_template_of_the_host_has_the_letterhead(host: Host, catcher: Catcher) -> None:
    """Its text stands within it, and its button is one."""
    html = shown("docs/templates.md", "See them", "html+jinja")
    host.app.jinja_loader = DictLoader(
        {
            "interaction_mail/mail/came.subject.txt": "Came",
            "interaction_mail/mail/came.html": html,
        }
    )
    context = {"count": 412, "url": "https://crm.example.com/new"}
    names = {"context": context}
    ran(host, "send_notification('bob', template='came', context=context)", **names)
    (mail,) = delivered(host, catcher)
    page = BeautifulSoup(mail.message.get_body(("html",)).get_content(), "lxml")
    assert "412 contacts came in." in page.get_text()
    assert page.find("a", string=re.compile("See them"))["href"] == context["url"]  # type: ignore[index]
