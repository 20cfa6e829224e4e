"""A real Dovecot of its own that serves a mailbox by IMAP, to a password and to access tokens.

It needs root and the Debian package dovecot-imapd; directories and ports are its own.
"""

from __future__ import annotations

import contextlib
import imaplib
import os
import pwd
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from tests.canary import PASSWORD

from .certificates import pki
from .dovecot import USER, configure, running
from .programs import free_port, program

ALL = "IMAP4rev1 SASL-IR LITERAL+ ID UIDPLUS MOVE ENABLE"
_CONFIGURATION = """\
protocols = imap
ssl = yes
ssl_cert = <{root}/server.pem
ssl_key = <{root}/server.key
auth_mechanisms = {mechanisms}
auth_failure_delay = 0
imap_capability = {capability}
mail_fsync = never
passdb {{
  driver = passwd-file
  mechanisms = plain
  args = {root}/users
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls}
    ssl = yes
  }}
}}
service anvil {{
  client_limit = 300
  # Else every login of this machine waits for up to 15 s after one that was refused.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
"""


@dataclass
class ImapServer:
    """A running server; what is in its folders is seen from outside."""

    root: Path
    user: str = USER
    password: str = PASSWORD
    port: int = field(default_factory=free_port)
    tls: int = field(default_factory=free_port)

    def put(self, *contents: bytes, folder: str = "") -> None:
        """Deliver messages to the folder, as a mail server does."""
        new = self._folder(folder) / "new"
        for content in contents:
            path = new / f"{uuid.uuid4().hex}.host"
            path.write_bytes(content)
            self._own(path)

    def emptied(self) -> None:
        """Begin anew, as if the mailbox had been made again: its UIDVALIDITY changes."""
        shutil.rmtree(self.root / "mail")
        self.made()

    def made(self) -> None:
        """Make the mailbox."""
        for name in ("", "cur", "new", "tmp"):
            path = self.root / "mail" / name
            path.mkdir(parents=True, exist_ok=True)
            self._own(path)

    def count(self, folder: str = "INBOX") -> int:
        """How many messages the folder has."""
        with self.looking() as client:
            said, told = client.select(f'"{folder}"', readonly=True)
            return int(told[0] or b"0") if said == "OK" else 0

    def flags(self) -> list[bytes]:
        """The line of each message in the inbox with its flags."""
        with self.looking() as client:
            client.select(readonly=True)
            return [one for one in client.fetch("1:*", "(FLAGS)")[1] if isinstance(one, bytes)]

    @contextlib.contextmanager
    def looking(self) -> Iterator[imaplib.IMAP4]:
        """A client of somebody else."""
        with imaplib.IMAP4("127.0.0.1", self.port, timeout=20) as client:
            client.login(self.user, self.password)
            yield client

    def log(self) -> str:
        path = self.root / "dovecot.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _folder(self, name: str) -> Path:
        return self.root / "mail" / (f".{name}" if name else "")

    def _own(self, path: Path) -> None:
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


@contextlib.contextmanager
def running_imap(
    *, capability: str = ALL, mechanisms: str = "plain xoauth2 oauthbearer"
) -> Iterator[ImapServer]:
    """Run it until the block ends; skips the test where that is not possible."""
    dovecot = program("dovecot", package="dovecot-imapd")
    if os.geteuid() != 0 or not Path("/usr/lib/dovecot/imap").exists():
        pytest.skip("Dovecot needs root and the Debian package dovecot-imapd")
    root = Path(tempfile.mkdtemp(prefix="interaction-mail-imap-"))
    try:
        server = ImapServer(root)
        _configure(server, capability=capability, mechanisms=mechanisms)
        with running(dovecot, root, server.port):
            yield server
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _configure(server: ImapServer, **values: str) -> None:
    root = server.root
    configure(root, _CONFIGURATION, port=server.port, tls=server.tls, **values)
    server.made()
    (root / "users").write_text(f"{USER}:{{PLAIN}}{server.password}\n", "utf-8")
    certificate: trustme.LeafCert = pki().ca.issue_cert("127.0.0.1", "localhost")
    (root / "server.pem").write_bytes(
        b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
    )
    (root / "server.key").write_bytes(certificate.private_key_pem.bytes())
