"""The README's application, built from an installed wheel in an empty folder, and used."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from bs4 import BeautifulSoup

from tests.servers.programs import free_port

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PASSWORD = "a password of the reader"
FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "pytest_interaction_mail.py")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution, built as a release would be."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files behind, and takes up those of earlier ones
    source.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, source)
    for name in ("flask_interaction_mail", "migrations"):
        shutil.copytree(ROOT / name, source / name)
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", folder, source)
    (built,) = folder.glob("*.whl")
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


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs that installing the wheel brings, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder)
    pip(sys.executable, "--python", folder / "bin/python", "install", "--no-compile", wheel)
    return folder / "bin"


@pytest.fixture
def site(programs: Path, tmp_path: Path) -> Iterator[str]:
    """The README's application, served by ``flask run`` from the folder where it was written."""
    (tmp_path / "app.py").write_text(readme_block("python", "APP_SECRET_KEY"), "utf-8")
    port = free_port()
    environ = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
    environ |= {"APP_SECRET_KEY": "a key", "APP_PASSWORD": PASSWORD}
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


def test_wheel_has_what_is_not_python(wheel: Path) -> None:
    """Templates, the marker of typing and the migrations are in the wheel, tests are not."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "flask_interaction_mail/py.typed" in names
    assert "flask_interaction_mail/migrations/env.py" in names
    assert any(re.search(r"/migrations/versions/\w+\.py$", name) for name in names)
    assert any(name.endswith("/mail/merge_request.txt") for name in names)
    tops = {name.partition("/")[0] for name in names}
    tops = {top for top in tops if not top.endswith(".dist-info")}
    # The plugin for pytest stands beside the package, so that pytest need not import that.
    assert tops == {"flask_interaction_mail", "pytest_interaction_mail.py"}


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


def readme_block(language: str, containing: str) -> str:
    """The code block of the README that has ``containing`` in it."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if containing in block]
    return block


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


def pip(python: str | Path, *arguments: str | Path) -> None:
    """Run pip, and show what it said when it fails."""
    command = [python, "-m", "pip", "--quiet", "--no-input", *arguments]
    # Else a PYTHONPATH makes pip believe that everything is there already.
    environ = {name: value for name, value in os.environ.items() if "PYTHON" not in name}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
    assert done.returncode == 0, done.stderr


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def wait_until(condition: object, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)
