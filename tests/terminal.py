"""The command line as tests use it: what was said, and with which exit status."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.host import Host


@dataclass(frozen=True, slots=True)
class Said:
    """The end of a command."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run(host: Host, *arguments: str, typed: str | None = None) -> Said:
    """Give the command ``flask interaction-mail arguments``; nothing may end in a traceback."""
    runner = host.app.test_cli_runner()
    result = runner.invoke(args=["interaction-mail", *arguments], input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Said(result.exit_code, result.stdout, result.stderr)


def done(host: Host, *arguments: str, typed: str | None = None) -> Said:
    """The same for a command that has to succeed."""
    said = run(host, *arguments, typed=typed)
    assert said.status == 0, said.err
    return said
