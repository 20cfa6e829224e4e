"""The way back: what a server could not pass on comes back as its report, and finds its message.

The server takes some messages, and the shelf behind it refuses a recipient of each. What the server
then writes to the sender lies in a maildir. One report goes to ``bounces read`` by standard input,
as from an alias or a sieve script. Then all but the last lie in a mailbox of Dovecot, for
``--imap``, and at the end all of them in the maildir, for ``--maildir``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask_interaction_mail import get_notification, send_notification
from flask_interaction_mail.values import Notification
from tests.host import Host
from tests.servers.certificates import pki
from tests.servers.imap import running_imap

from .drain import drain
from .known import PARTLY, UNTOLD
from .letters import DOMAIN, GONE
from .running import ROOT, Running

_PATIENCE = 120.0  # seconds until the last report is there
_GOOD = "reader"
_LETTERS = {
    "to one": (f"{GONE}-1",),
    PARTLY: (f"{GONE}-2", f"{_GOOD}-2"),
    "to two who are gone": (f"{GONE}-3", f"{GONE}-4"),
}
_COMMAND = (sys.executable, "-m", "flask", "--app", "tests.servers.stand.application")
_READ = (*_COMMAND, "interaction-mail", "bounces", "read", "--json")


@dataclass(frozen=True)
class Verdict:
    """What the outbox says of one recipient at the end, and why."""

    letter: str
    address: str
    status: str
    reason: str
    told: bool = True  # by its server, if the recipient is gone

    @property
    def right(self) -> bool:
        """Who is gone has bounced with the reason, and nobody else has."""
        if self.address.startswith(GONE) and self.told:
            return self.status == "bounced" and "no such mailbox" in self.reason
        return self.status == "sent"


@dataclass(frozen=True)
class WayBack:
    """What came back: how many reports, what each way in made of them, and the verdicts."""

    reports: int
    by_input: str  # what became of the first, read from standard input
    by_imap: dict[str, int]  # of all but the last
    by_maildir: dict[str, int]
    verdicts: tuple[Verdict, ...]

    @property
    def right(self) -> bool:
        """Whether each report has found its message and its recipient, once."""
        new = (self.by_input == "noted", _found(self.by_imap), _found(self.by_maildir))
        wanted = (
            True,
            _found({"noted": self.reports - 2, "known": 1}),
            {"noted": 1, "known": self.reports - 1},
        )
        return self.reports > 1 and new == wanted and all(one.right for one in self.verdicts)


def _found(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


def way_back(server: str, running: Running, maildir: Path, folder: Path) -> WayBack:
    """Send the letters by ``server``, which is ``running``, and take in what comes back."""
    url = f"sqlite:///{folder}/returned.sqlite"
    with closing(Host(url)) as host:
        host.configure(smtp_port=running.port, **running.settings)
        with host.app.app_context():
            sent = {
                letter: send_notification(
                    [f"{name}@{DOMAIN}" for name in names], letter, text="Hello.\n"
                ).id
                for letter, names in _LETTERS.items()
            }
            host.db.session.commit()
    drain(url, folder)
    found = _come(maildir)
    by_input, by_imap, by_maildir = "", {}, {}
    if found:
        contents = [path.read_bytes() for path in found]
        by_input = str(_read(url, content=contents[0])["outcome"])
        by_imap = _by_imap(url, contents[:-1])
        by_maildir = _read(url, "--maildir", str(maildir))
    with closing(Host(url)) as host, host.app.app_context():
        verdicts = [
            verdict
            for letter, id in sent.items()
            for verdict in _verdicts(server, letter, get_notification(id))
        ]
    return WayBack(len(found), by_input, by_imap, by_maildir, tuple(verdicts))


def _by_imap(url: str, contents: list[bytes]) -> dict[str, Any]:
    """What becomes of ``contents`` in a mailbox that is read by IMAP."""
    with running_imap() as server:
        server.put(*contents)
        with closing(Host(url)) as host:
            host.configure(
                returns_server="127.0.0.1",
                returns_port=server.tls,
                returns_login=server.user,
                returns_password=server.password,
                returns_ca_certificate=pki().pem,
            )
        return _read(url, "--imap")


def _verdicts(server: str, letter: str, sent: Notification | None) -> list[Verdict]:
    if sent is None:
        raise LookupError(letter)
    told = letter not in UNTOLD.get(server, ())
    return [
        Verdict(letter, one.address.partition("@")[0], str(one.status), one.report or "", told)
        for one in sent.recipients
    ]


def _come(maildir: Path) -> list[Path]:
    """The reports, once each recipient who is gone is in one and no more come."""
    gone = [name for names in _LETTERS.values() for name in names if name.startswith(GONE)]
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        found = sorted((maildir / "new").iterdir())
        texts = b"".join(path.read_bytes() for path in found)
        if all(name.encode() in texts for name in gone):
            time.sleep(2)
            return sorted((maildir / "new").iterdir())
        time.sleep(0.2)
    return sorted((maildir / "new").iterdir())


def _read(url: str, *arguments: str, content: bytes = b"") -> dict[str, Any]:
    told = subprocess.run(
        [*_READ, *arguments],
        cwd=ROOT,
        env={**os.environ, "STAND_DATABASE": url},
        input=content,
        capture_output=True,
        check=False,
    )
    answer: dict[str, Any] = json.loads(told.stdout or b"{}")
    return answer
