"""What is shipped, and a reader with it: a release, the README's application, the tutorial.

All share one environment: the one that the tutorial makes.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.cookiejar import CookieJar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from bs4 import BeautifulSoup

from tests.distribution import ROOT, clean, cloned, ran
from tests.documentation import shown
from tests.servers.programs import free_port

TUTORIAL = (ROOT / "docs/tutorial.md").read_text("utf-8")
PASSWORD = "a password of the reader"
PORTS = ("5000", "8025", "8026")  # in the tutorial; here others, as somebody may use these


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, as the tutorial wants it beside the reader's folder."""
    folder = tmp_path_factory.mktemp("reader") / "flask-interaction-mail"
    folder.mkdir()
    return cloned(folder)


@pytest.fixture(scope="module")
def dist(clone: Path) -> Path:
    """The folder with what ``make release`` builds, without its last step."""
    before = ran(["git", "log", "--decorate", "--all"], clone)
    said = released(clone, "--dry-run")
    assert "no commit or tag was made" in said
    assert ran(["git", "status", "--porcelain"], clone) == ""
    assert ran(["git", "log", "--decorate", "--all"], clone) == before
    return clone / "dist"


def released(clone: Path, *options: str) -> str:
    identity = {
        f"GIT_{who}_{what}": "ann@firm.example"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    return ran([sys.executable, ".ci/release.py", *options], clone, **identity)


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    (built,) = dist.glob("*.whl")
    return built


@pytest.fixture
def catcher() -> Iterator[Catcher]:
    """An SMTP server that keeps what it gets."""
    catcher = Catcher()
    controller = Controller(catcher, hostname="127.0.0.1", port=free_port())
    controller.start()
    catcher.port = controller.port
    yield catcher
    controller.stop()


# -- distributions --------------------------------------------------------------------------

EVERYTHING = (
    "py.typed",
    "static/interaction_mail/panel.css",
    "templates/interaction_mail/admin/outbox.html",
    "templates/interaction_mail/mail/merge_request.txt",
    "translations/de/LC_MESSAGES/interaction_mail.mo",
    "migrations/env.py",
    "migrations/script.py.mako",
)


def test_a_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    """Templates, styles, catalogues, migrations and the licence; no tests, no benchmarks."""
    names = {*zipfile.ZipFile(wheel).namelist()}
    assert {f"flask_interaction_mail/{name}" for name in EVERYTHING} <= names
    assert any(re.search(r"/migrations/versions/\w+\.py$", name) for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    tops = {name.partition("/")[0] for name in names}
    tops = {top for top in tops if not top.endswith(".dist-info")}
    # The plugin for pytest stands beside the package, so that pytest need not import that.
    assert tops == {"flask_interaction_mail", "pytest_interaction_mail.py"}


def test_a_source_distribution_has_what_the_repository_has(clone: Path, dist: Path) -> None:
    """So that somebody who has no repository can run the tests and read the pages."""
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    kept = {*ran(["git", "ls-files"], clone).splitlines()}
    assert {name for name in kept - names if not name.startswith("findings/")} == {".gitignore"}
    extra = {name for name in names - kept if "." in name and ".egg-info" not in name}
    assert extra == {".ci"}


def test_a_release_says_how_to_verify_it(dist: Path) -> None:
    """SHA256SUMS is right; that the wheel is the same when built again, the release has checked."""
    lines = (dist / "SHA256SUMS").read_text().splitlines()
    found = {path.name: path for path in dist.iterdir() if path.name != "SHA256SUMS"}
    assert len(lines) == len(found) == 2
    for line in lines:
        digest, name = line.split()
        assert hashlib.sha256(found[name].read_bytes()).hexdigest() == digest


def test_the_page_of_an_index_has_no_link_that_leads_nowhere(wheel: Path) -> None:
    """Words and the names of files stand there instead of links within the repository."""
    (name,) = [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("/METADATA")]
    description = zipfile.ZipFile(wheel).read(name).decode().partition("\n\n")[2]
    assert description.startswith("# Flask-Interaction-Mail")
    assert re.findall(r"\]\((?!https?://)[^)]*\)", description) == []
    assert "(`docs/quickstart.md`)" in description


def test_a_release_that_cannot_be_made_leaves_nothing(clone: Path, dist: Path) -> None:
    """It says why: a change that is not committed, a version that is none."""
    before = ran(["git", "log", "--decorate", "--all"], clone)
    with pytest.raises(AssertionError, match="is no version"):
        released(clone, "next")
    (clone / "LICENSE").write_text("Changed.")
    with pytest.raises(AssertionError, match="commit your changes first"):
        released(clone)
    ran(["git", "checkout", "--quiet", "LICENSE"], clone)
    assert ran(["git", "log", "--decorate", "--all"], clone) == before


@pytest.mark.long
def test_a_release_is_a_commit_a_tag_and_a_date(clone: Path, dist: Path) -> None:
    """Made in the repository once all is right; a second one of the same version is refused."""
    repository = clone.parent / "repository"
    ran(["git", "clone", "--quiet", clone, repository], clone)
    version = re.search(r"^version = (.*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE)[1]
    released(repository)
    assert ran(["git", "tag", "--points-at", "HEAD"], repository) == f"v{version}\n"
    newest = re.search(r"^## (.*)$", (repository / "CHANGES.md").read_text("utf-8"), re.MULTILINE)
    assert re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", newest[1])
    with pytest.raises(AssertionError, match="is released"):
        released(repository)
    assert (repository / "dist/SHA256SUMS").exists()


# -- the tutorial ---------------------------------------------------------------------------


class Terminal:
    """A shell of the reader, who types one line after the other."""

    def __init__(self, folder: Path, log: Path, **environ: str) -> None:
        self._log = log
        with log.open("w") as screen:
            self._shell = subprocess.Popen(
                ["bash"],
                cwd=folder,
                env=clean() | environ,
                stdin=subprocess.PIPE,
                stdout=screen,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the window with all that runs in it."""
        os.killpg(self._shell.pid, signal.SIGTERM)
        with self._shell:  # waits
            self._shell.stdin.close()

    def type(self, block: str) -> None:
        """Type what follows each ``$``, each line once the one before has succeeded."""
        for number, line in enumerate(commands(block)):
            self._start(f'{line}\necho "line {number}: $?"')
            wait_until(lambda end=f"\nline {number}: ": end in self.said(), 900)
            assert f"\nline {number}: 0\n" in self.said(), self.said()

    def leave_running(self, block: str) -> None:
        """The same, but for the last line, which does not end."""
        *before, last = commands(block)
        self.type("".join(f"$ {line}\n" for line in before))
        self._start(last)

    def _start(self, line: str) -> None:
        self._shell.stdin.write(f"echo\n{line}\n")
        self._shell.stdin.flush()

    def said(self) -> str:
        return self._log.read_text("utf-8")


def commands(block: str) -> list[str]:
    """The lines to type, without what they answer."""
    return re.findall(r"^\$ (.*)$", block, re.MULTILINE)


@pytest.fixture(scope="module")
def tutorial(clone: Path) -> Iterator[SimpleNamespace]:
    """The tutorial, done up to its fourth step: installed, written, started."""
    ports = {port: str(free_port()) for port in PORTS}
    chosen = {
        "FLASK_RUN_PORT": ports["5000"],
        "FLASK_INTERACTION_MAIL_CATCH_PORT": ports["8025"],
        "FLASK_INTERACTION_MAIL_CATCH_PAGE_PORT": ports["8026"],
    }
    begun, folder, home = time.monotonic(), clone.parent / "crm", clone.parent
    with ExitStack() as windows:
        first = windows.enter_context(Terminal(home, home / "first.log", **chosen))
        first.type(block("console", "mkdir crm"))
        for name, part in (("people", "class People"), ("app", "def create_app")):
            assert f"Save this as `{name}.py`:" in TUTORIAL
            (folder / f"{name}.py").write_text(block("python", part), "utf-8")
        first.leave_running(block("console", "flask run"))
        wait_until(lambda: answers(int(ports["5000"])), 30, first.said)
        second = windows.enter_context(Terminal(folder, home / "second.log", **chosen))
        second.leave_running(block("console", "interaction-mail catch"))
        wait_until(lambda: "until Ctrl-C" in second.said(), 30, second.said)
        yield SimpleNamespace(begun=begun, ports=ports, folder=folder, second=second)


def test_the_tutorial_leads_to_a_delivered_request(tutorial: SimpleNamespace) -> None:
    """In five minutes at most, by what the page says to type, to fill in and to press."""
    ports, answer = tutorial.ports, block("console", "interaction-mail catch")
    for line in answer.splitlines()[2:]:
        assert with_ports(line, ports) in tutorial.second.said()
    visitor = Visitor(f"http://127.0.0.1:{ports['5000']}")
    inbox = Visitor(f"http://127.0.0.1:{ports['8026']}")
    visitor.post("/login", user="ada", password="tutorial")
    page = visitor.get(visitor.get("/").find("a", string="Messaging")["href"])
    form = form_of(page) | fields_of(page, ports)
    visitor.post("/admin/messaging/test", **form)
    wait_until(lambda: "crm@example.com" in inbox.get("/inbox/").get_text(), 15)
    visitor.post("/admin/messaging/", **form)

    visitor.post("/login", user="ben", password="tutorial")
    pressed = visitor.get("/").find("button", string="Merge them").find_parent("form")
    (said,) = re.findall(r"^> (.*)$", TUTORIAL, re.MULTILINE)
    assert visitor.post(pressed["action"]).get_text() == said
    wait_until(lambda: "stewards@example.com" in inbox.get("/inbox/").get_text(), 15)
    taken = time.monotonic() - tutorial.begun
    logging.getLogger(__name__).warning("the tutorial took %.0f s", taken)
    assert taken < 300 * busy()

    visitor.post("/login", user="ada", password="tutorial")
    outbox = visitor.get("/admin/messaging/outbox/").get_text()
    assert "stewards@example.com" in outbox
    assert "Sent" in outbox


def busy() -> float:
    """By how much longer things take here than on a machine that does nothing else."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def fields_of(page: BeautifulSoup, ports: dict[str, str]) -> dict[str, str]:
    """What the table of the tutorial says to fill in, by the names of the form's fields."""
    found = {}
    for label, value in re.findall(r"^\| ([^|]*) \| ([`*].*[`*]) \|$", TUTORIAL, re.MULTILINE):
        text = with_ports(value.strip("`*"), ports)
        named = page.find("label", string=lambda one, label=label: one and one.strip() == label)
        assert named is not None, label
        field = page.find(id=named["for"])
        if field.name == "select":
            (text,) = [one["value"] for one in field("option") if one.get_text().startswith(text)]
        found[field["name"]] = text
    assert len(found) == 6
    return found


def with_ports(text: str, ports: dict[str, str]) -> str:
    for port, used in ports.items():
        text = text.replace(port, used)
    return text


def block(language: str, containing: str) -> str:
    """The code block of the tutorial that has ``containing`` in it."""
    return shown("docs/tutorial.md", containing, language)


def test_the_tutorial_has_no_block_that_is_not_tried() -> None:
    """A new one has to be typed above."""
    assert len(re.findall(r"^```\w+$", TUTORIAL, re.MULTILINE)) == 5


# -- the README -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def programs(tutorial: SimpleNamespace, wheel: Path) -> Path:
    """The folder of the programs, with the package from the wheel."""
    python = tutorial.folder / "venv/bin/python"
    again = ("install", "--quiet", "--no-deps", "--force-reinstall", "--no-compile")
    ran([python, "-m", "pip", *again, wheel], tutorial.folder)
    return python.parent


@pytest.fixture
def site(programs: Path, tmp_path: Path) -> Iterator[str]:
    """The README's application, served by ``flask run`` from the folder where it was written."""
    (tmp_path / "app.py").write_text(shown("README.md", "APP_SECRET_KEY"), "utf-8")
    port = free_port()
    environ = clean() | {"APP_SECRET_KEY": "a key", "APP_PASSWORD": PASSWORD}
    log = (tmp_path / "log").open("w")
    command = [programs / "flask", "run", "--port", str(port)]
    process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=log, stderr=log)
    try:
        wait_until(lambda: answers(port) or process.poll() is not None, 30)
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(40)
        log.close()


class Catcher:
    """Keeps each message with its envelope recipients."""

    port = 0

    def __init__(self) -> None:
        self.caught: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, server: object, session: object, envelope: object) -> str:
        content = message_from_bytes(envelope.content, policy=policy.default)
        self.caught.append((envelope.rcpt_tos, content))
        return "250 OK"


class Visitor:
    """A browser without JavaScript."""

    def __init__(self, site: str) -> None:
        self._site = site
        cookies = urllib.request.HTTPCookieProcessor(CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def get(self, path: str) -> BeautifulSoup:
        return self._open(path, None)

    def post(self, path: str, **fields: str) -> BeautifulSoup:
        return self._open(path, urllib.parse.urlencode(fields).encode())

    def log_in(self, user: str) -> None:
        self.post("/login", user=user, password=PASSWORD)

    def _open(self, path: str, data: bytes | None) -> BeautifulSoup:
        try:
            with self._opener.open(self._site + path, data, timeout=30) as response:
                return BeautifulSoup(response.read(), "lxml")
        except urllib.error.HTTPError as error:
            with error:
                return BeautifulSoup(error.read(), "lxml")


def test_application_of_the_readme_works(site: str, catcher: Catcher) -> None:
    """Its reader sets up mail in the panel, tries a merge, and the request is delivered."""
    visitor = Visitor(site)
    visitor.log_in("ada")
    form = form_of(visitor.get("/admin/messaging/"))
    form |= {
        "company_domain": "example.com",
        "smtp_server": "localhost",
        "smtp_port": str(catcher.port),
        "encryption": "none",
        "default_to": "crm",
        "default_from": "crm",
    }
    visitor.post("/admin/messaging/test", **form)
    wait_until(lambda: catcher.caught, 15)
    recipients, _ = catcher.caught.pop()
    assert recipients == ["crm@example.com"]
    visitor.post("/admin/messaging/", **form)

    visitor.log_in("ben")
    assert "stewards@example.com" in visitor.post("/merge").get_text()
    wait_until(lambda: catcher.caught, 15)
    recipients, message = catcher.caught.pop()
    assert recipients == ["stewards@example.com"]
    assert message["From"] == "Ben Okafor <ben@example.com>"
    assert message["Sender"] == "crm@example.com"


def test_panel_of_the_readme_is_closed_to_others(site: str) -> None:
    """Somebody who is not the administrator is sent to the login page."""
    visitor = Visitor(site)
    visitor.log_in("ben")
    page = visitor.get("/admin/messaging/")
    assert page.find("input", {"name": "smtp_server"}) is None
    assert page.find("input", {"name": "password", "type": "password"}) is not None


def form_of(page: BeautifulSoup) -> dict[str, str]:
    """What a browser would send for the settings form as it is."""
    field = page.find(attrs={"name": "smtp_server"})
    assert field is not None, page.get_text()
    values: dict[str, str] = {}
    for control in field.find_parent("form").find_all(["input", "select", "textarea"]):
        if control.get("name") and control.get("type") not in ("submit", "checkbox", "radio"):
            values[control["name"]] = value_of(control)
        elif control.has_attr("checked"):
            values[control["name"]] = control.get("value", "on")
    return values


def value_of(control: object) -> str:
    if control.name == "select":
        chosen = control.find("option", selected=True) or control.find("option")
        return chosen["value"]
    return control.get("value") or control.get_text().strip("\r\n")


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_until(condition: Any, seconds: float, said: Any = lambda: "") -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s {said()}"
        time.sleep(0.05)
