"""A room for a Debian package: the machine's system with the package laid over it.

The room is an overlay in memory that only its own processes see: the package is installed there
as its distribution ships it, with its users and absolute paths, and ends with them. The system
below is read and never changed. Ports are those of the machine.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.servers.programs import found

from .running import Unavailable, process

_PATIENCE = 240.0  # seconds for the installation
# $1: the folder, seen as /stand inside. $2: the packages. What is in "files" replaces theirs.
_ENTER = """\
set -e
mkdir "$1/room"
mount -t tmpfs room "$1/room"
cd "$1/room"
mkdir up work root
mount -t overlay overlay -o lowerdir=/,upperdir=up,workdir=work root
mount -t proc proc root/proc
mount --rbind /dev root/dev
mount -t tmpfs run root/run
mkdir root/stand
mount --bind "$1" root/stand
printf '#!/bin/sh\\nexit 101\\n' >root/usr/sbin/policy-rc.d
chmod 755 root/usr/sbin/policy-rc.d
chroot root apt-get install -y -qq --no-install-recommends $2
chroot root dpkg-query -W -f '${Version}' "${2%% *}" >"$1/version"
cp -r root/stand/files/. root/
exec chroot root sh -e /stand/start
"""


@contextlib.contextmanager
def room(
    folder: Path, packages: str, files: Mapping[str, str], start: str, port: int
) -> Iterator[str]:
    """Install ``packages`` and run the shell commands ``start``; gives the first one's version.

    ``files`` are put at their absolute paths before. The last command stays in the foreground.
    """
    if os.geteuid() != 0 or found("apt-get") is None or found("unshare") is None:
        raise Unavailable("Debian's packages can be laid over the system by root on Debian only")
    for name, text in files.items():
        path = folder / "files" / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "files").mkdir(exist_ok=True)
    (folder / "start").write_text(start, encoding="utf-8")
    # With a table of processes of its own: whatever was started there ends with its first one.
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "room"]
    environment = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    with process(
        [*command, folder, packages],
        port,
        folder / "log",
        environment=environment,
        seconds=_PATIENCE,
    ):
        yield _upstream((folder / "version").read_text(encoding="utf-8"))


def _upstream(version: str) -> str:
    """``1:2.3.19.1+dfsg1-2.1+deb12u7`` as 2.3.19.1."""
    return version.rpartition(":")[2].partition("-")[0].partition("+")[0]
