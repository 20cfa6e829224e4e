"""How fast returned mail is read: by IMAP past mail that is foreign, and reports in a maildir.

.venv/bin/python -m benchmarks.returned [--full]

It needs root and the Debian package dovecot-imapd. The short form takes some seconds.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.delivery import returning
from flask_interaction_mail.outbox.returned import Outcome
from flask_interaction_mail.returned import maildir
from flask_interaction_mail.transport.imap.session import ImapSession
from tests.host import Host
from tests.reports import report
from tests.servers.certificates import pki
from tests.servers.imap import ImapServer, running_imap

_FOREIGN = """\
Return-Path: <eve{number}@elsewhere.example>
From: Eve <eve{number}@elsewhere.example>
To: crm@firm.example
Subject: Lunch number {number}?
Message-ID: <{number}@elsewhere.example>
In-Reply-To: <yesterday-{number}@elsewhere.example>
References: <first-{number}@elsewhere.example>
 <second-{number}@elsewhere.example>
 <yesterday-{number}@elsewhere.example>
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary=b

--b
Content-Type: text/plain; charset=utf-8

Today at noon?
--b
Content-Type: text/html; charset=utf-8

<p>Today at noon?</p>
--b--
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.returned")
    parser.add_argument("--full", action="store_true", help="50,000 messages and 10,000 reports")
    full = parser.parse_args().full
    with tempfile.TemporaryDirectory() as folder:
        _maildir(Path(folder), 10_000 if full else 1000)
        with running_imap() as server:
            _imap(Path(folder), server, 50_000 if full else 2000)


def _host(folder: Path, name: str, **changes: Any) -> Host:
    host = Host(f"sqlite:///{folder}/{name}.sqlite")
    host.configure(smtp_port=25, **changes)
    return host


def _imap(folder: Path, server: ImapServer, count: int) -> None:
    host = _host(
        folder,
        "imap",
        returns_server="127.0.0.1",
        returns_port=server.tls,
        returns_login=server.user,
        returns_password=server.password,
        returns_ca_certificate=pki().pem,
    )
    server.put(*(_FOREIGN.format(number=number).encode() for number in range(count)))
    fetched: list[int] = []
    real = ImapSession.content

    def counting(session: ImapSession, uid: int) -> bytes | None:
        fetched.append(uid)
        return real(session, uid)

    ImapSession.content = counting  # type: ignore[method-assign]
    try:
        with host.app.app_context():
            seen = _timed(f"IMAP: {count:,} foreign messages", lambda: returning.look(host.state))
            assert seen is not None
            assert seen[Outcome.FOREIGN] == count
            _timed("IMAP: the second look", lambda: returning.look(host.state))
    finally:
        ImapSession.content = real  # type: ignore[method-assign]
        host.close()
    print(f"IMAP: bodies fetched: {len(fetched)}")


def _maildir(folder: Path, count: int) -> None:
    host = _host(folder, "maildir")
    with host.app.app_context():
        sent = [send_notification(["bob"], "Hello", text="Hello") for _ in range(min(count, 500))]
        host.db.session.commit()
    path = folder / "Maildir"
    for name in ("new", "cur", "tmp"):
        (path / name).mkdir(parents=True)
    for number in range(count):
        about = sent[number % len(sent)]
        content = report(str(about.message_id), "bob@firm.example", number=number)
        (path / "new" / f"{number:06}.host").write_bytes(content)
    with host.app.app_context():
        _timed(f"maildir: {count:,} reports", lambda: _read(host, path), count)
    host.close()


def _read(host: Host, folder: Path) -> None:
    for found in maildir.messages(folder):
        assert isinstance(found, maildir.Found)
        outcome = operations.outcome_of_report(host.state, found.content)
        assert outcome is Outcome.NOTED
        maildir.put_away(folder, found.path)


def _timed(what: str, work: Callable[[], Any], count: int = 0) -> Any:
    """Do ``work``; print wall clock, processor time of this process, and its peak of memory."""
    before, wall, cpu = _peak(), time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rate = f", {60 * count / cpu:,.0f} a minute of processor time" if count else ""
    print(
        f"{what}: {wall:.2f} s, processor {cpu:.2f} s{rate}; memory grew by "
        f"{_peak() - before:.1f} MB to {_peak():.0f} MB",
        flush=True,
    )
    return result


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
