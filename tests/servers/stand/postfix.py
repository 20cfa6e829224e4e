"""Postfix, as it is installed, with a configuration of its own in a folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.servers.postfix import OF_ITS_OWN, SERVICES
from tests.servers.programs import found, free_port

from .running import Running, Unavailable, process, shelf

_MAIN = (
    OF_ITS_OWN
    + """\
myhostname = postfix.test
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{shelf}
smtpd_recipient_restrictions = check_recipient_access regexp:{root}/refused
"""
)
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
smtp unix - - n - - smtp
"""


@contextlib.contextmanager
def postfix(folder: Path) -> Iterator[Running]:
    """Postfix with its defaults, which relays to the shelf."""
    if found("postfix") is None:
        raise Unavailable("Postfix is missing (Debian: apt install postfix)")
    if os.geteuid() != 0:
        raise Unavailable("Postfix can be started by root only")
    port = free_port()
    root = folder / "postfix"
    with shelf(folder, refusing=False) as (shelf_port, stored):
        _configure(root, port, shelf_port)
        environment = {"MAIL_CONFIG": str(root)}
        command = [f"{_value(root, 'daemon_directory')}/master", "-c", root, "-d"]
        with process(command, port, folder / "log", environment=environment):
            version = _value(root, "mail_version")
            yield Running(port, version, stored, returned=folder / "returned")


def _configure(root: Path, port: int, shelf_port: int) -> None:
    for name in ("queue", "data"):
        (root / name).mkdir(parents=True)
    root.chmod(0o755)
    shutil.chown(root / "data", "postfix")
    (root / "main.cf").write_text(_MAIN.format(root=root, shelf=shelf_port))
    (root / "master.cf").write_text(_MASTER.format(port=port) + SERVICES)
    (root / "refused").write_text("/^nobody/ 550 5.1.1 no such mailbox\n")
    subprocess.run([found("postfix") or "", "-c", root, "check"], check=True, capture_output=True)


def _value(root: Path, name: str) -> str:
    told = subprocess.run(
        [found("postconf") or "", "-c", root, "-h", name],
        check=True,
        capture_output=True,
        text=True,
    )
    return told.stdout.strip()
