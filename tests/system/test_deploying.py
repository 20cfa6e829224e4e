"""The units and the file for containers: they are well formed, and their commands run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from tests.catcher import Catcher
from tests.documentation import shown
from tests.host import opened
from tests.servers.programs import free_port
from tests.servers.scripted import until

ROOT = Path(__file__).parents[2]
PAGE = "docs/deploying.md"
BIN = Path(sys.executable).parent
UNITS = {name: shown(PAGE, f"system/{name}", "ini") for name in ("crm-mail.service", "crm.service")}
SERVICES: dict[str, Any] = yaml.safe_load(shown(PAGE, "services:", "yaml"))["services"]


def words(name: str) -> list[str]:
    """The command of a unit or of a container."""
    if name in SERVICES:
        return list(SERVICES[name]["command"])
    found = re.search(r"^ExecStart=/srv/crm/venv/bin/(.*)$", UNITS[name], re.MULTILINE)
    assert found is not None
    return found[1].split()


@pytest.mark.allowed_skip("a machine without systemd")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_finds_nothing_wrong_with_a_unit(name: str, tmp_path: Path) -> None:
    """With the programs of this machine in place of those of /srv/crm."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("there is no systemd-analyze")
    path = tmp_path / name
    path.write_text(UNITS[name].replace("/srv/crm/venv/bin", str(BIN)))
    done = subprocess.run(
        [program, "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_one_process_serves_and_another_delivers(catcher: Catcher, tmp_path: Path) -> None:
    """By the commands of the page; each ends with status 0 on SIGTERM, in its time."""
    url, port = f"sqlite:///{tmp_path}/host.sqlite", free_port()
    with opened(url) as host:
        host.configure(smtp_port=catcher.port)
    environ = {name: value for name, value in os.environ.items() if "COV" not in name}
    environ |= {"DATABASE": url, "PYTHONPATH": str(ROOT), "FLASK_APP": "tests.servers.web"}
    environ["OPTIONS"] = '{"INTERACTION_MAIL_DELIVERY": "worker"}'
    running = []
    try:
        assert words("mail") == words("crm-mail.service")
        for name in ("web", "mail"):
            program, *arguments = words(name)
            line = " ".join(arguments).replace("crm.wsgi", "tests.servers.web")
            line = re.sub(r"[\d.]+:8000", f"127.0.0.1:{port}", line).replace("--workers 2", "")
            command = [sys.executable, "-m", program, *line.split()]
            running.append(subprocess.Popen(command, cwd=ROOT, env=environ))
        assert until(lambda: _get(port, "/send?n=3") == "sent", 60)
        catcher.wait_for(3, 60)
        for process in running:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(40) for process in running] == [0, 0]
    finally:
        for process in running:
            process.kill()
            process.wait()


def _get(port: int, path: str) -> str:

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return str(answer.read(), "utf-8")
    except (urllib.error.URLError, ConnectionError):
        return ""
