"""The servers that npm brings: smtp-server, Haraka, maildev."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.servers.programs import found, free_port

from .running import NODE, Running, Unavailable, process, shelf
from .stored import Stored, stored

_HERE = Path(__file__).parent / "npm"
_HARAKA = {
    "smtp.ini": "listen=127.0.0.1:{port}\n",
    "plugins": "keep\n",
    "me": "haraka.test\n",
    "host_list": "firm.example\n",
}


@contextlib.contextmanager
def smtp_server(folder: Path) -> Iterator[Running]:
    """Nodemailer's smtp-server, with its defaults."""
    node, port = _node("smtp-server"), free_port()
    kept = _folder(folder / "kept")
    command = [node, _HERE / "smtp-server.js", str(port), kept]
    with process(command, port, folder / "log", environment={"NODE_PATH": str(_modules())}):
        yield Running(port, _version("smtp-server"), lambda: _read(kept))


@contextlib.contextmanager
def haraka(folder: Path) -> Iterator[Running]:
    """Haraka with its defaults, and one plugin that refuses, keeps, and passes on."""
    node, port = _node("Haraka", least=20), free_port()
    config, kept = folder / "config", _folder(folder / "kept")
    shutil.copytree(_modules() / "Haraka" / "config", config)
    for name, text in _HARAKA.items():
        (config / name).write_text(text.format(port=port))
    shutil.copy(_HERE / "keep.js", _folder(folder / "plugins"))
    command = [node, _modules() / "Haraka" / "bin" / "haraka", "-c", folder]
    with shelf(folder, refusing=False) as (shelf_port, _):
        environment = {"STAND_KEEP": str(kept), "STAND_SHELF": str(shelf_port)}
        with process(command, port, folder / "log", environment=environment):
            returned = folder / "returned"
            yield Running(port, _version("Haraka"), lambda: _read(kept), returned=returned)


@contextlib.contextmanager
def maildev(folder: Path) -> Iterator[Running]:
    """maildev with its defaults: it takes mail for everybody."""
    node, port, web = _node("maildev"), free_port(), free_port()
    command = [node, _modules() / "maildev" / "bin" / "maildev", "--ip", "127.0.0.1"]
    command += ["--web-ip", "127.0.0.1", "--smtp", str(port), "--web", str(web)]
    command += ["--mail-directory", _folder(folder / "kept"), "--silent"]
    with process(command, port, folder / "log"):
        yield Running(
            port, _version("maildev"), lambda: _shown(web, folder / "kept"), refusing=False
        )


def _node(package: str, *, least: int = 18) -> str:
    """The path of Node.js, which is at least of this version and has ``package``."""
    node = found("node")
    if node is None:
        raise Unavailable("Node.js is missing (Debian: apt install nodejs npm)")
    told = subprocess.run([node, "--version"], check=True, capture_output=True, text=True).stdout
    if int(told.lstrip("v").partition(".")[0]) < least:
        raise Unavailable(f"it needs Node.js {least}, and here is {told.strip()}")
    if not (_modules() / package).exists():
        raise Unavailable(f"{package} is missing: `make node-servers` fetches it from npm")
    return node


def _modules() -> Path:
    return NODE / "node_modules"


def _version(package: str) -> str:
    described = json.loads((_modules() / package / "package.json").read_text(encoding="utf-8"))
    return str(described["version"])


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


def _read(kept: Path) -> list[Stored]:
    """The messages of pairs of files, the content and its recipients."""
    return [
        stored(one.with_suffix(".eml").read_bytes(), json.loads(one.read_text(encoding="utf-8")))
        for one in kept.glob("*.json")
    ]


def _shown(web: int, kept: Path) -> list[Stored]:
    """What maildev's interface lists, with the contents from its folder."""
    with urllib.request.urlopen(f"http://127.0.0.1:{web}/email", timeout=60) as answer:
        listed: list[dict[str, Any]] = json.load(answer)
    found = []
    for one in listed:
        content = (kept / f"{one['id']}.eml").read_bytes()
        found.append(stored(content, [to["address"] for to in one["envelope"]["to"]]))
    return found
