"""Rspamd: says what a filter holds against a message. It asks nobody else for that."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .programs import free_port, program

_CONFIG = "/etc/rspamd/rspamd.conf"  # of Debian's package; a host's own changes are not read
_SECONDS = 120  # until it answers: one or two on a machine with other work
# What asks others, or keeps something elsewhere.
# fmt: off
_OFF = (
    "antivirus", "arc", "asn", "bimi", "clickhouse", "dkim", "dkim_signing", "dmarc", "elastic",
    "external_services", "fuzzy_check", "greylist", "history_redis", "milter_headers", "mx_check",
    "neural", "p0f", "ratelimit", "rbl", "replies", "reputation", "rspamd_update", "spf", "surbl",
    "url_redirector", "whitelist",
)
# fmt: on


class Rspamd(NamedTuple):
    """A running one."""

    port: int

    def symbols(self, content: bytes, sender: str, recipients: Sequence[str]) -> dict[str, float]:
        """What counts against a message that a machine of our own brings, each with its score."""
        asked = urllib.request.Request(f"http://127.0.0.1:{self.port}/checkv2", data=content)
        envelope = [("From", sender), ("IP", "127.0.0.1"), ("Helo", "mail.firm.example")]
        for name, value in (*envelope, ("Hostname", "mail.firm.example")):
            asked.add_header(name, value)
        asked.add_header("Rcpt", ",".join(recipients))
        with urllib.request.urlopen(asked, timeout=_SECONDS) as answer:  # noqa: S310 - an http URL, as above
            found = json.load(answer)["symbols"]
        return {name: one["score"] for name, one in found.items() if one["score"] > 0}


@contextlib.contextmanager
def rspamd(folder: Path) -> Iterator[Rspamd]:
    """Run Rspamd in ``folder``."""
    path = program("rspamd", package="rspamd")
    running = Rspamd(free_port())
    _configure(folder, running.port)
    folders = [("LOCAL_CONFDIR", "."), ("DBDIR", "db"), ("RUNDIR", "db"), ("LOGDIR", "db")]
    variables = [f"--var={name}={folder / below}" for name, below in folders]
    # Root's workers would be another user's, who cannot read the folder.
    as_root = ["--insecure", "--user=root", "--group=root"] if os.geteuid() == 0 else []
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [path, "--no-fork", *as_root, *variables, "-c", _CONFIG],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_for(running.port, process, folder / "log")
        yield running
    finally:
        process.terminate()
        process.wait(30)


def _configure(folder: Path, port: int) -> None:
    local = folder / "local.d"
    local.mkdir(parents=True)
    (folder / "db").mkdir()
    for module in _OFF:
        (local / f"{module}.conf").write_text("enabled = false;\n")
    files = {
        # All top domains would be compiled for ten seconds. At port 9 nobody answers.
        "options.inc": f'url_tld = "{folder}/domains";\ndisable_hyperscan = true;\n'
        'dns { nameserver = ["127.0.0.1:9"]; timeout = 0.05s; retransmits = 1; }\n'
        f'control_socket = "{folder}/db/control.sock mode=0600";\n',
        "worker-normal.inc": f'bind_socket = "127.0.0.1:{port}"; count = 1;\n',
        "worker-controller.inc": "count = 0; enabled = false;\n",
        "worker-proxy.inc": "count = 0; enabled = false;\n",
        "logging.inc": 'type = "console"; level = "warning";\n',
    }
    (folder / "domains").write_text("com\nexample\n")
    for name, text in files.items():
        (local / name).write_text(text)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
            return
        time.sleep(0.05)
    raise RuntimeError(f"Rspamd did not start: {log.read_text(errors='replace')[-2000:]}")
