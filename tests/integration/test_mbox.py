"""Returned mail in a file of mbox: each message is read, and the file stays as it is."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from flask_interaction_mail import send_notification
from flask_interaction_mail.errors import InteractionMailError
from flask_interaction_mail.returned import mbox
from flask_interaction_mail.returned.reading import LIMIT
from tests.host import Host
from tests.reports import automatic_reply, report
from tests.terminal import done, run

FROM = b"From MAILER-DAEMON Thu Jan  1 00:00:00 2026\n"
FOREIGN = b"Subject: Lunch?\n\nToday?\nFrom noon on.\n"


def written(path: Path, *messages: bytes) -> Path:
    path.write_bytes(b"".join(FROM + message + b"\n" for message in messages))
    return path


def test_what_is_in_it_is_noted_and_stays(host: Host, tmp_path: Path) -> None:
    """A second time everything is known already; both locks are gone."""
    with host.app.app_context():
        id = str(send_notification(["bob"], "Hello", text="Hello").message_id)
        host.db.session.commit()
    reply = automatic_reply(id)
    file = written(tmp_path / "mbox", report(id, "bob@firm.example"), FOREIGN, reply, b"\0")
    before = file.read_bytes()
    first = done(host, "bounces", "read", "--mbox", str(file), "--json").json
    assert first == {"noted": 1, "known": 0, "replies": 1, "foreign": 2, "unreadable": 0}
    assert done(host, "bounces", "read", "--mbox", str(file), "--json").json["known"] == 1
    assert file.read_bytes() == before
    assert not (tmp_path / "mbox.lock").exists()


def test_it_is_cut_at_the_right_lines(tmp_path: Path) -> None:
    """Behind a blank line alone, with any line ends; of a large message 256 KiB."""
    file = written(tmp_path / "mbox", FOREIGN, b"A: b\n\n" + b"x" * 3 * LIMIT, b"")
    small, large, empty = mbox.messages(file)
    assert small == FOREIGN + b"\n"
    assert len(large) == LIMIT
    assert empty == b"\n"
    (tmp_path / "empty").touch()
    assert list(mbox.messages(tmp_path / "empty")) == []


def test_what_is_none_is_said(host: Host, tmp_path: Path) -> None:
    """Neither another file nor a folder, nor one that is missing."""
    (tmp_path / "letter").write_text("Dear Sir\n")
    for name in ("letter", "", "missing"):
        said = run(host, "bounces", "read", "--mbox", str(tmp_path / name))
        assert (said.status, "Traceback" in said.err) == (1, False)


@pytest.mark.parametrize("how", ["fcntl", "dot"])
def test_who_writes_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """For a while; a process of its own holds the lock, as locks of one process are shared."""
    file, dot = written(tmp_path / "mbox", FOREIGN), tmp_path / "mbox.lock"
    ready, go = os.pipe()
    child = os.fork() if how == "fcntl" else None
    if child == 0:
        with file.open("r+b") as locked:
            fcntl.lockf(locked, fcntl.LOCK_EX)
            os.write(go, b".")
            threading.Event().wait(60)
        os._exit(0)
    if child is None:
        dot.touch()
    else:
        os.read(ready, 1)
    monkeypatch.setattr(mbox, "_PATIENCE", 0.5)
    with pytest.raises(InteractionMailError, match="locked"):
        list(mbox.messages(file))
    if child is None:
        assert dot.exists()  # somebody else's
        dot.unlink()
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert len(list(mbox.messages(file))) == 1
