"""Commands of Flask as processes of their own, quickly: forked from one that has imported all.

Such a process has the exit status, the streams and the end of any other: only its start differs,
in which the interpreter spends a second on imports.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import forking
from tests.forking import Forker
from tests.terminal import Said

_ROOT = Path(__file__).parents[2]
_SIDE_BY_SIDE = 4


@dataclass(frozen=True, slots=True)
class Commands:
    """Gives commands; what they say passes through files in ``folder``."""

    forker: Forker
    folder: Path

    def run(self, url: str, *lines: Sequence[str], typed: str = "", **config: Any) -> list[Said]:
        """Give each of ``lines`` to ``flask interaction-mail``, some of them side by side."""
        environment = {"DATABASE": url, "OPTIONS": json.dumps(config)}
        given = [["--app", "tests.crash.app", "interaction-mail", *line] for line in lines]
        return self.flask(*given, at=_ROOT, typed=typed, **environment)

    def flask(
        self, *lines: Sequence[str], at: Path, typed: str = "", **environment: str
    ) -> list[Said]:
        """Give each of ``lines`` to ``flask`` in the folder ``at``."""
        files = [str(self.folder / f"{number}") for number in range(len(lines))]
        orders = [
            {"line": [*line], "at": str(at), "files": file, "environment": environment}
            for line, file in zip(lines, files, strict=True)
        ]
        for file in files:
            Path(f"{file}.in").write_text(typed, "utf-8")
        statuses = self.forker.ask(orders)
        return [_said(status, file) for status, file in zip(statuses, files, strict=True)]


def _said(status: int, file: str) -> Said:
    out, err = (Path(f"{file}.{stream}").read_text("utf-8") for stream in ("out", "err"))
    return Said(status, out, err)


@contextmanager
def commands(folder: Path, *imports: str) -> Iterator[Commands]:
    """The process that others are forked from, for as long as this lasts.

    ``imports`` are modules that their application needs besides ours.
    """
    folder.mkdir(exist_ok=True)
    with forking.forker(__name__, *imports) as forker:
        yield Commands(forker, folder)


def serve() -> None:
    """Fork a process for each order, answer with their statuses; in such a process: obey."""
    import flask.cli

    import flask_interaction_mail.cli.output as cli
    import tests.crash.app  # noqa: F401 - as the rest: for those that are forked

    for name in sys.argv[1:]:
        importlib.import_module(name)
    for name in cli.main.list_commands(None):  # type: ignore[arg-type]
        cli.main.get_command(None, name)  # type: ignore[arg-type]
    for orders in forking.orders():
        statuses: dict[int, int] = {}
        pids: list[int] = []
        for order in orders:
            if len(pids) - len(statuses) >= _SIDE_BY_SIDE:
                _reap(statuses)
            if (pid := os.fork()) == 0:
                _become(order)
                flask.cli.main()
            pids.append(pid)
        while len(statuses) < len(pids):
            _reap(statuses)
        forking.answer([statuses[pid] for pid in pids])


def _reap(statuses: dict[int, int]) -> None:
    pid, status = os.wait()
    statuses[pid] = os.waitstatus_to_exitcode(status)


def _become(order: dict[str, Any]) -> None:
    """Take the order's folder, streams, environment and arguments."""
    os.chdir(order["at"])
    os.environ |= order["environment"]
    sys.argv = ["flask", *order["line"]]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, (suffix, how) in enumerate((("in", os.O_RDONLY), ("out", flags), ("err", flags))):
        os.dup2(os.open(f"{order['files']}.{suffix}", how), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - what was read ahead is not for it


if __name__ == "__main__":
    serve()
