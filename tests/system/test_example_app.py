"""The example application with a real SQLite database and a real SMTP server.

``FIM_LONG=1`` runs the demo again with the data kept, and from new.
"""

from __future__ import annotations

import os
import re
import shutil
import smtplib
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from example_app import create_app, secret_key
from example_app.extensions import db
from example_app.models import Contact, Folder, User
from example_app.seed import PASSWORD, seed
from flask_interaction_mail.catcher import Catcher, Inbox
from tests import demo_data
from tests.length import LONG

ROOT = Path(__file__).parents[2]
CONFIGURED = {
    "company_domain": "example.com",
    "smtp_server": "127.0.0.1",
    "encryption": "none",
    "default_to": "mailadmin",
    "default_from": "crm",
}
# Flask-Admin hands its choices to WTForms 3.3 in the old way.
flask_admin_warns = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)


@pytest.fixture
def catcher(tmp_path):
    """A running SMTP server that delivers into a folder."""
    with Catcher(Inbox(tmp_path / "inbox")) as running:
        yield running


@pytest.fixture(scope="session")
def filled(tmp_path_factory):
    """A database file with the demo's data: hashing the passwords once is enough."""
    return demo_data.filled(tmp_path_factory.mktemp("filled"))


@pytest.fixture
def make_app(tmp_path, filled):
    """A function that makes an application with data and the given messaging settings."""
    made = []
    shutil.copy(filled, tmp_path)

    def make(**overrides):
        app = create_app(
            {
                "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'crm.sqlite'}",
                "SECRET_KEY": "the tests' own key",
                "EXAMPLE_INBOX": str(tmp_path / "inbox"),
                "INTERACTION_MAIL_DELIVERY": "sync",
                "INTERACTION_MAIL_OVERRIDES": overrides,
            }
        )
        made.append(app)
        return app

    yield make
    for app in made:
        with app.app_context():
            db.engine.dispose()


@pytest.fixture
def app(make_app, catcher):
    """An application that delivers to the catcher."""
    return make_app(**CONFIGURED, smtp_port=catcher.port)


def token(page):
    """The CSRF token on a page."""
    return re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)[1]


def logged_in(app, login):
    """A browser in which that user is logged in."""
    client = app.test_client()
    page = client.get("/login")
    form = {"login": login, "password": PASSWORD, "csrf_token": token(page)}
    assert client.post("/login", data=form).status_code == 302
    return client


def ids(app, *names):
    """The numbers of the contacts with these names."""
    with app.app_context():
        return [db.session.scalar(db.select(Contact.id).filter_by(name=name)) for name in names]


def merge(app, login, keep, remove, **fields):
    """Let a user press Merge on the merge page."""
    first, second = ids(app, keep, remove)
    client = logged_in(app, login)
    url = f"/merge/{first}/{second}"
    form = {"csrf_token": token(client.get(url)), "survivor": str(first)}
    return client.post(url, data=form | fields)


def test_r25_a_denied_merge_asks_the_group_with_the_right(app, catcher):
    """Who lacks the right gets a 403 page that says whom the request was sent to."""
    answer = merge(app, "emroberts", "Acme Ltd", "ACME Limited", reason="Two invoices")
    assert answer.status_code == 403
    assert "Your request was sent to" in answer.text
    assert "datastewards@example.com" in answer.text
    (letter,) = catcher.inbox
    assert letter.header("To") == "Data Stewards <datastewards@example.com>"
    assert letter.header("From") == "Emma Roberts <emroberts@example.com>"
    assert letter.header("X-Envelope-From") == "crm@example.com"
    for words in ("Acme Ltd", "ACME Limited", "Emma Roberts", "Two invoices", "/contacts/"):
        assert words in letter.text


def test_r31_a_group_without_address_leaves_it_to_the_default_to(app, catcher):
    """The Librarians have no address, so the default To gets the request."""
    answer = merge(app, "emroberts", "Smith, Jane", "Jane Smith")
    assert answer.status_code == 403
    assert "mailadmin@example.com" in answer.text
    (letter,) = catcher.inbox
    assert letter.header("X-Envelope-To") == "mailadmin@example.com"


def test_r28_two_folders_ask_both_in_one_message(app, catcher):
    """Contacts in two folders: those who may merge in either are asked together."""
    merge(app, "emroberts", "Northwind GmbH", "Northwind")
    (letter,) = catcher.inbox
    recipients = set(letter.header("X-Envelope-To").split(", "))
    assert recipients == {"datastewards@example.com", "mailadmin@example.com"}


def test_a_folder_without_group_asks_its_owner(app, catcher):
    """Nobody was given the right in Events, so its owner is asked."""
    merge(app, "emroberts", "Café Müller", "Cafe Muller")
    (letter,) = catcher.inbox
    assert letter.header("X-Envelope-To") == "nadia.orsini@example.org"


def test_r4_a_denial_stays_a_denial_while_mail_is_not_set_up(make_app, catcher):
    """Without settings the page is the same 403, and promises nothing."""
    answer = merge(make_app(), "emroberts", "Acme Ltd", "ACME Limited")
    assert answer.status_code == 403
    assert "could not be sent yet" in answer.text
    assert not list(catcher.inbox)


def test_a_denied_merge_changes_nothing(app):
    """Both contacts are still there."""
    merge(app, "emroberts", "Acme Ltd", "ACME Limited")
    assert None not in ids(app, "Acme Ltd", "ACME Limited")


@pytest.mark.parametrize("login", ["amoreau", "olindt", "dstewart"])
def test_who_has_the_right_merges(app, login):
    """An administrator, the owner and a member of the group: the survivor gets what it lacked."""
    assert merge(app, login, "Acme Ltd", "ACME Limited").status_code == 302
    survivor, other = ids(app, "Acme Ltd", "ACME Limited")
    assert other is None
    with app.app_context():
        contact = db.session.get(Contact, survivor)
        assert (contact.email, contact.phone) == ("info@acme.example", "+44 20 7946 0001")


def test_a_merge_tells_the_owner_of_the_folder(app, catcher):
    """Somebody else's merge in one's folder is announced, with a link to the survivor only."""
    merge(app, "dstewart", "Acme Ltd", "ACME Limited")
    (letter,) = catcher.inbox
    assert letter.header("X-Envelope-To") == "olindt@example.com"
    survivor = ids(app, "Acme Ltd")[0]
    assert set(re.findall(r"/contacts/(\d+)", letter.text)) == {str(survivor)}


def test_the_owner_is_not_told_of_what_the_owner_did(app, catcher):
    """The actor gets no message about the own merge."""
    merge(app, "olindt", "Acme Ltd", "ACME Limited")
    assert not list(catcher.inbox)


@pytest.mark.parametrize("survivor", ["", "999", "x"])
def test_a_merge_needs_a_survivor(app, survivor):
    """Without a choice of one of the two, nothing is merged."""
    answer = merge(app, "olindt", "Acme Ltd", "ACME Limited", survivor=survivor)
    assert answer.status_code == 400
    assert None not in ids(app, "Acme Ltd", "ACME Limited")


def test_a_merge_needs_a_csrf_token(app):
    """A form from another site merges nothing."""
    first, second = ids(app, "Acme Ltd", "ACME Limited")
    answer = logged_in(app, "olindt").post(f"/merge/{first}/{second}", data={"survivor": first})
    assert answer.status_code == 400
    assert None not in ids(app, "Acme Ltd", "ACME Limited")


def test_the_api_emits_the_signal(app, catcher):
    """A program is told 403, and the request is sent all the same."""
    keep, remove = ids(app, "Acme Ltd", "ACME Limited")
    client = logged_in(app, "emroberts")
    headers = {"X-CSRFToken": token(client.get("/"))}
    body = {"keep": keep, "remove": remove}
    assert client.post("/api/merge", json=body, headers=headers).status_code == 403
    (letter,) = catcher.inbox
    assert letter.header("X-Envelope-To") == "datastewards@example.com"


def test_the_api_merges(app):
    """With the right, the same call merges."""
    keep, remove = ids(app, "Acme Ltd", "ACME Limited")
    client = logged_in(app, "dstewart")
    headers = {"X-CSRFToken": token(client.get("/"))}
    answer = client.post("/api/merge", json={"keep": keep, "remove": remove}, headers=headers)
    assert answer.json == {"id": keep, "name": "Acme Ltd"}
    assert ids(app, "ACME Limited") == [None]


@pytest.mark.parametrize("body", [[], {}, {"keep": "1", "remove": 2}, {"keep": 1, "remove": 1}])
def test_the_api_refuses_rubbish(app, body):
    """A wrong body is the client's error."""
    client = logged_in(app, "dstewart")
    headers = {"X-CSRFToken": token(client.get("/"))}
    assert client.post("/api/merge", json=body, headers=headers).status_code == 400


def test_flask_mail_takes_the_same_way(app, catcher):
    """A message sent with Flask-Mail's own object arrives through the panel's settings."""
    client = logged_in(app, "emroberts")
    (number,) = ids(app, "Acme Ltd")
    page = client.get(f"/contacts/{number}")
    answer = client.post(
        f"/contacts/{number}/mail", data={"csrf_token": token(page)}, follow_redirects=True
    )
    assert "on its way to you" in answer.text
    (letter,) = catcher.inbox
    assert letter.header("X-Envelope-To") == "emroberts@example.com"
    assert letter.header("Subject") == "Contact: Acme Ltd"


@pytest.mark.parametrize(
    ("login", "words"), [("guest", "no e-mail address"), ("tweber", "not sent")]
)
def test_a_mail_that_cannot_be_sent_says_so(make_app, login, words):
    """A user without address, and a site without mail settings, get a sentence, no error page."""
    client = logged_in(make_app(), login)
    page = client.get("/contacts/1")
    answer = client.post(
        "/contacts/1/mail", data={"csrf_token": token(page)}, follow_redirects=True
    )
    assert answer.status_code == 200
    assert words in answer.text


@pytest.mark.parametrize(
    "url", ["/admin/", "/admin/admin_users/", "/admin/messaging/", "/admin/messaging/outbox/"]
)
def test_r7_the_admin_area_is_for_administrators(app, url):
    """A visitor is asked to log in and comes back; a professional is refused; Alice gets in."""
    answer = app.test_client().get(url)
    assert answer.status_code == 302
    assert answer.location.startswith("/login?next=/admin/")
    assert logged_in(app, "emroberts").get(url).status_code == 403
    assert logged_in(app, "amoreau").get(url).status_code == 200


@flask_admin_warns
def test_the_admin_area_shows_no_password(app):
    """Neither the list nor the form of users contains a hash."""
    client = logged_in(app, "amoreau")
    for url in ("/admin/admin_users/", "/admin/admin_users/edit/?id=1"):
        page = client.get(url)
        assert page.status_code == 200
        assert "scrypt:" not in page.text
        assert "password_hash" not in page.text


@flask_admin_warns
def test_an_administrator_sets_a_password(app):
    """The new password works, and an empty field leaves it."""
    client = logged_in(app, "amoreau")
    url = "/admin/admin_users/edit/?id=8"
    form = {"csrf_token": token(client.get(url)), "login": "guest", "name": "Gus"}
    form["role"] = "PROFESSIONAL"
    assert client.post(url, data=form | {"new_password": "other"}).status_code == 302
    assert client.post(url, data=form).status_code == 302
    with app.app_context():
        assert db.session.get(User, 8).has_password("other")


def test_the_admin_area_needs_a_csrf_token(app):
    """Deleting a row without a token does nothing."""
    client = logged_in(app, "amoreau")
    assert client.post("/admin/admin_contacts/delete/", data={"id": "1"}).status_code == 400
    assert ids(app, "Acme Ltd") == [1]


def test_a_wrong_password_is_refused(app):
    """A wrong password and an unknown login get the same answer."""
    client = app.test_client()
    form = {"csrf_token": token(client.get("/login")), "password": "wrong"}
    answers = [client.post("/login", data=form | {"login": who}) for who in ("amoreau", "nobody")]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert all("Login or password is wrong" in answer.text for answer in answers)


def test_a_log_out_ends_the_session(app):
    """After it the list of contacts asks to log in."""
    client = logged_in(app, "emroberts")
    client.post("/logout", data={"csrf_token": token(client.get("/"))})
    assert client.get("/").status_code == 302


def test_the_inbox_page_shows_hostile_mail_harmlessly(app, catcher):
    """Markup in headers and text is shown as text; HTML stays in a frame without any right."""
    with smtplib.SMTP(catcher.host, catcher.port) as smtp:
        smtp.sendmail(
            "a@example.com",
            ["b@example.com"],
            "Subject: <script>alert(1)</script>\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n\r\n<b>bold</b>\r\n"
            "--x\r\nContent-Type: text/html\r\n\r\n<script>alert(2)</script>\r\n--x--\r\n",
        )
    (letter,) = catcher.inbox
    client = logged_in(app, "emroberts")
    for url in ("/inbox/", f"/inbox/{letter.key}"):
        page = client.get(url).text
        assert "<script" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "alert(2)" not in page
    frame = client.get(f"/inbox/{letter.key}/html")
    assert "alert(2)" in frame.text
    policy = frame.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert re.search(r"sandbox(;|$)", policy)


def test_the_inbox_page_needs_a_login_and_a_demo(app):
    """Visitors see no mail; an application that is no demo has no inbox page."""
    assert app.test_client().get("/inbox/").status_code == 302
    client = logged_in(app, "emroberts")
    assert client.get("/inbox/").status_code == 200
    assert client.get("/inbox/" + "0" * 20).status_code == 404
    assert "inbox" not in create_app({"SECRET_KEY": "x"}).blueprints


@pytest.mark.parametrize("url", ["/login", "/", "/contacts/1", "/merge/1/2", "/inbox/"])
def test_own_pages_work_under_a_strict_policy(app, url):
    """No inline script or style, nothing from other sites, and the header forbids both."""
    page = logged_in(app, "emroberts").get(url)
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in page.headers["Content-Security-Policy"]
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|https?://", page.text)


def test_pages_that_do_not_exist(app):
    """Unknown contacts, and a contact with itself, are not found."""
    client = logged_in(app, "emroberts")
    for url in ("/contacts/999", "/merge/1/1", "/merge/1/999"):
        assert client.get(url).status_code == 404


def test_a_foreign_host_name_is_refused(app):
    """A forged Host header cannot get into the links of a mail."""
    assert app.test_client().get("/login", headers={"Host": "evil.test"}).status_code == 400


def test_who_is_named_exactly_is_found_first(app):
    """However many others have the text in their name or address, so that a choice leads on."""
    directory = app.extensions["interaction_mail"].people
    with app.app_context():
        for number in range(900, 930):
            user = User(id=number, login=f"x{number}", name=f"Room 931 {number}", email="a931")
            db.session.add(user)
        last = User(id=931, login="last", name="Last", email="room")
        db.session.add(last)
        db.session.flush()
        for typed in ("931", "room"):
            assert directory.find_parties(typed)[0].name == "Last"
        assert len(directory.find_parties("931")) == 20


def test_seeding_twice_changes_nothing(app):
    """The data is added once."""
    with app.app_context():
        before = db.session.scalar(db.select(db.func.count(Folder.id)))
        seed()
        assert db.session.scalar(db.select(db.func.count(Folder.id))) == before


def test_the_command_fills_a_new_database(tmp_path):
    """``flask init-db`` creates the extension's tables too."""
    url = f"sqlite:///{tmp_path / 'new.sqlite'}"
    app = create_app({"SECRET_KEY": "x", "SQLALCHEMY_DATABASE_URI": url})
    assert app.test_cli_runner().invoke(args=["init-db"]).exit_code == 0
    with app.app_context():
        assert "interaction_mail_message" in db.inspect(db.engine).get_table_names()
        assert db.session.scalar(db.select(db.func.count(User.id)))
        db.session.remove()
        db.engine.dispose()


def test_the_database_comes_from_the_environment(monkeypatch):
    """EXAMPLE_DATABASE_URL names any database."""
    monkeypatch.setenv("EXAMPLE_DATABASE_URL", "sqlite:////tmp/elsewhere.sqlite")
    app = create_app({"SECRET_KEY": "x"})
    assert app.config["SQLALCHEMY_DATABASE_URI"] == "sqlite:////tmp/elsewhere.sqlite"


def test_the_secret_key_is_made_once_and_readable_by_its_owner(tmp_path):
    """The second call answers the same key; nobody else may read the file."""
    key = secret_key(tmp_path / "new")
    assert key == secret_key(tmp_path / "new")
    assert len(key) == 64
    assert stat.S_IMODE((tmp_path / "new" / "secret_key").stat().st_mode) == 0o600


def test_the_catcher_ends_while_a_client_is_connected(tmp_path):
    """Leaving the block closes the server, whoever still talks to it."""
    with Catcher(Inbox(tmp_path)) as catcher:
        smtp = smtplib.SMTP(catcher.host, catcher.port)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((catcher.host, catcher.port), 5)
    smtp.close()


def run_demo(folder, *arguments, **environment):
    """Run the demo as a person does, in an empty folder."""
    clean = {name: value for name, value in os.environ.items() if "EXAMPLE_" not in name}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "example_app.demo", "--no-serve", *arguments],
        cwd=folder,
        env=clean | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_demo_delivers_a_request(tmp_path):
    """From an empty folder to a printed message; in the long form with data there, too.

    The week before is there, too, once.
    """
    for arguments in ((), *([("--keep",), ()] if LONG else [])):
        done = run_demo(tmp_path, *arguments)
        assert done.returncode == 0, done.stderr
        assert "Your request was sent to Data Stewards (datastewards@example.com)." in done.stdout
        assert "X-Envelope-From: crm@example.com" in done.stdout
        assert "ACME Limited" in done.stdout
        assert done.stderr == ""
        subjects = [letter.header("Subject") for letter in Inbox(tmp_path / ".demo" / "inbox")]
        assert subjects.count("Please merge: Acme Ltd and ACME Limited") == 1
        assert subjects.count("Your import has finished") == 1


def test_the_demo_fails_when_nothing_is_delivered(tmp_path):
    """Exit status 1 and the reason."""
    overrides = {"FLASK_INTERACTION_MAIL_OVERRIDES": '{"smtp_port": 1}'}
    done = run_demo(tmp_path, **overrides)
    assert done.returncode == 1
    assert "The demo failed: " in done.stderr


def test_the_demo_fails_on_a_port_in_use(tmp_path):
    """A port asked for and taken is an error that says so."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_demo(tmp_path, "--port", str(taken.getsockname()[1]))
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
