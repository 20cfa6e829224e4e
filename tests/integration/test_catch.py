"""``flask interaction-mail catch``: mail on a page of this machine."""

from __future__ import annotations

import http.client
import os
import re
import signal
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flask_interaction_mail.catcher import Catcher, Inbox
from flask_interaction_mail.catcher.pages import inbox_application
from tests.host import Host, opened
from tests.terminal import run

ROOT = Path(__file__).parents[2]
HOST = """
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_interaction_mail import InteractionMail

app, db = Flask("host"), SQLAlchemy()
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
InteractionMail(app, db=db)
db.init_app(app)
"""
MAIL = (
    "Subject: <script>alert(1)</script>\r\nMIME-Version: 1.0\r\n"
    "Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n\r\n<b>bold</b>\r\n"
    "--x\r\nContent-Type: text/html\r\n\r\n<script>alert(2)</script>\r\n--x--\r\n"
)


def send(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port) as server:
        server.sendmail("a@firm.example", ["b@firm.example"], MAIL)


def page(port: int, path: str = "/inbox/", **headers: str) -> Any:
    """What a browser gets, with its text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.body = answer.read().decode()  # type: ignore[attr-defined]
    connection.close()
    return answer


@contextmanager
def catching(folder: Path, *options: str) -> Iterator[tuple[int, int]]:
    """The command, until SIGTERM ends it well; gives the ports of mail and page."""
    (folder / "host.py").write_text(HOST, "utf-8")
    command = ("-m", "flask", "--app", "host", "interaction-mail", "catch")
    options = ("--port", "0", "--page-port", "0", *options)
    with subprocess.Popen(
        [sys.executable, "-u", *command, *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        told = process.stdout.readline() + process.stdout.readline()
        mail, shown = re.findall(r"(?:port |127\.0\.0\.1:)(\d+)", told)
        try:
            yield int(mail), int(shown)
        finally:
            process.send_signal(signal.SIGTERM)
    assert process.returncode == 0


def test_what_is_sent_there_is_on_the_page(tmp_path: Path) -> None:
    """As text, and its HTML in a frame without any right; at the end nothing is left."""
    with catching(tmp_path) as (mail, shown):
        assert "Nothing has arrived yet" in page(shown).body
        send(mail)
        listed = page(shown)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in listed.body
        assert "<script" not in listed.body
        assert listed.headers["Content-Security-Policy"].startswith("default-src 'none'")
        (link,) = re.findall(r'href="(/inbox/\d+)"', listed.body)
        letter = page(shown, link)
        assert "&lt;b&gt;bold&lt;/b&gt;" in letter.body
        assert "alert(2)" not in letter.body
        frame = page(shown, f"{link}/html")
        assert "alert(2)" in frame.body
        assert re.search(r"sandbox(;|$)", frame.headers["Content-Security-Policy"])
        (style,) = re.findall(r'href="([^"]+\.css)"', listed.body)
        assert page(shown, style).status == 200
        assert page(shown, "/inbox/" + "0" * 20).status == 404
        assert [*tmp_path.glob("caught-mail-*/*.eml")]
    assert [*tmp_path.glob("caught-mail-*")] == []


def test_mail_is_kept_where_it_is_wanted(tmp_path: Path) -> None:
    with catching(tmp_path, "--folder", "mails") as (mail, _):
        send(mail)
    (letter,) = Inbox(tmp_path / "mails")
    assert letter.header("X-Envelope-To") == "b@firm.example"


def test_only_this_machine_may_look(tmp_path: Path) -> None:
    """A name of the internet that leads here gets nothing."""
    client = inbox_application(Inbox(tmp_path)).test_client()
    for path in ("/inbox/", "/inbox/catcher/catcher.css"):
        for name in ("localhost:8026", "127.0.0.1:8026"):
            with client.get(path, headers={"Host": name}) as found:
                assert found.status_code == 200
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 400
    assert client.post("/inbox/").status_code == 405


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        yield host


def test_a_port_that_is_taken_is_named(host: Host) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = run(host, "catch", "--port", str(taken.getsockname()[1]))
    assert said.status == 1
    assert "Cannot catch mail: " in said.err


def test_who_lacks_the_extra_is_told_which(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiosmtpd.smtp", None)
    assert "flask-interaction-mail[testing]" in run(host, "catch").err


def test_a_catcher_is_used_again(tmp_path: Path) -> None:
    """At the port that it was given."""
    catcher = Catcher(Inbox(tmp_path))
    for _ in range(2):
        with catcher:
            send(catcher.port)
    assert len(list(catcher.inbox)) == 2
