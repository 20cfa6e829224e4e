"""Commands that other programs call, each as a process of its own: status and both streams."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flask_interaction_mail import send_notification
from tests import outbox_rows
from tests.catcher import Catcher
from tests.crash.commands import Commands
from tests.host import PASSWORD, Host
from tests.length import LONG
from tests.terminal import Said

ROOT = Path(__file__).parents[2]
EACH = 20 if LONG else 1


# The host's mail goes there.
pytestmark = pytest.mark.usefixtures("catcher")


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/host.sqlite"


def send(host: Host, **values: Any) -> str:
    """Queue a message, with ``values`` in its row; gives its id."""
    with host.app.app_context():
        queued = send_notification("bob", "Hello", text="Hello")
        host.db.session.commit()
        if values:
            outbox_rows.change(host.db.session.connection(), queued.id, **values)
            host.db.session.commit()
    return str(queued.id)


def test_a_worker_that_runs_once_ends_well_where_all_was_sent(
    terminal: Commands, host: Host, url: str
) -> None:
    """Twenty of them: status 0, how many were sent, and not a word of complaint."""
    for _ in range(20):
        send(host)
    said = terminal.run(url, *[("worker", "--once")] * 20)
    assert {(one.status, one.err) for one in said} == {(0, "")}
    assert sum(int(one.out.split()[0]) for one in said) == 20
    assert {row.status for row in host.rows()} == {"sent"}


def test_a_worker_that_runs_once_says_what_was_not_sent(
    terminal: Commands, host: Host, url: str, catcher: Catcher
) -> None:
    """A refused message, and a server that is away: status 1, and why."""
    catcher.refuse["bob@firm.example"] = "550 5.1.1 unknown"
    send(host)
    (refused,) = terminal.run(url, ("worker", "--once"))
    host.configure(smtp_port=1)
    send(host)
    away = terminal.run(url, ("worker", "--once"))  # alone: who finds it claimed has nothing to say
    away += terminal.run(url, *[("worker", "--once")] * (EACH - 1))
    assert (refused.status, refused.out) == (1, "0 sent, 1 not.\n")
    assert refused.err == "Error: not everything was taken by the server: see 'outbox list'.\n"
    for one in away:
        assert (one.status, one.out) == (1, "0 sent, 0 not.\n")
        assert one.err.splitlines()[-1].startswith("Error: delivery stopped: ")


def test_a_cold_start_ends_like_the_others(host: Host, url: str) -> None:
    """The command as a shell gives it, interpreter and all."""
    send(host)
    line = [sys.executable, "-m", "flask", "--app", "tests.crash.app", "interaction-mail"]
    done = subprocess.run(
        [*line, "worker", "--once"],
        cwd=ROOT,
        env={**os.environ, "DATABASE": url},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1 sent, 0 not.\n", b"")


# -- all the others: what is given, and what stands on standard output then ----------------

WELL = [
    (("settings", "show"), "smtp_server"),
    (("settings", "set", "--company-domain", "firm.example"), "Saved as revision "),
    (("settings", "history"), "revision"),
    (("settings", "restore", "1"), "Revision 1 is in force again"),
    (("test",), "recipient: "),
    (("explain", "--location", "Firm List"), "stewards@firm.example"),
    (("status",), "waiting:"),
    (("outbox", "list"), "bob@firm.example"),
    (("outbox", "purge"), "Removed 0 texts"),
    (("outbox", "erase", "--yes", "nobody@firm.example"), "Erased from 0 messages"),
    (("rotate-keys",), "Nothing to encrypt anew."),
    (("db", "check"), "as this version needs them"),
]
TOLD = ["settings show", "settings history", "test", "status", "outbox list", "doctor"]
TOLD += ["explain --location=Leavers"]
AGAINST = [
    (("settings", "set", "--smtp-port", "70000"), 1, "smtp_port"),
    (("settings", "set"), 2, "Nothing to change"),
    (("settings", "restore", "99"), 1, "99"),
    (("test", "--smtp-port", "1"), 1, "Error: "),
    (("explain", "--location", "Firm List", "--requester", "99"), 1, "'99'"),
    (("outbox", "show", "11111111-1111-1111-1111-111111111111"), 1, "There is no message"),
    (("outbox", "show", "rubbish"), 2, "no id of a message"),
    (("outbox", "cancel", "11111111-1111-1111-1111-111111111111"), 1, "does not wait"),
    (("db", "upgrade"), 1, "INTERACTION_MAIL_MIGRATIONS"),
    (("worker", "--processes", "0"), 2, "1<=x<=64"),
    (("worker", "--processes", "65"), 2, "1<=x<=64"),
    (("unheard-of",), 2, "No such command"),
]


def names(lines: Sequence[tuple[tuple[str, ...], Any]]) -> list[str]:
    return [" ".join(line[0]) for line in lines]


def well(said: Said) -> Said:
    assert (said.status, said.err) == (0, "")
    return said


@pytest.mark.parametrize(("line", "out"), WELL, ids=names(WELL))
def test_what_went_well_has_status_0_and_is_told_on_standard_output(
    terminal: Commands, host: Host, url: str, line: tuple[str, ...], out: str
) -> None:
    """And nothing stands on standard error; one after the other, as two saves at once conflict."""
    send(host)
    for _ in range(EACH):
        (said,) = terminal.run(url, line)
        assert out in well(said).out


@pytest.mark.parametrize("line", TOLD)
def test_what_is_told_to_programs_is_json(
    terminal: Commands, host: Host, url: str, line: str
) -> None:
    """All of standard output, whatever the status."""
    send(host)
    for said in terminal.run(url, *[(*line.split(), "--json")] * EACH):
        assert said.json
        assert said.status == 0 or line == "doctor"


@pytest.mark.parametrize(("line", "status", "err"), AGAINST, ids=[" ".join(a) for a, *_ in AGAINST])
def test_what_went_wrong_has_its_status_and_is_told_on_standard_error(
    terminal: Commands, host: Host, url: str, line: tuple[str, ...], status: int, err: str
) -> None:
    """In a sentence, without a traceback; 2 where the command was given wrongly."""
    for said in terminal.run(url, *[line] * EACH):
        assert said.status == status
        assert err in said.err
        assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("verb", "row", "out"),
    [
        ("show", {}, "bob@firm.example"),
        ("cancel", {}, "is cancelled."),
        ("release", {"status": "held", "reason": "ambiguous"}, "is released."),
        ("resend", {"status": "failed", "reason": "refused"}, "is sent again as "),
    ],
)
def test_what_is_done_with_a_message_is_told(
    terminal: Commands, host: Host, url: str, verb: str, row: dict[str, str], out: str
) -> None:
    """Each message by its id."""
    lines = [("outbox", verb, send(host, **row)) for _ in range(EACH)]
    for said in terminal.run(url, *lines):
        assert out in well(said).out


def test_a_password_comes_through_standard_input(terminal: Commands, host: Host, url: str) -> None:
    """And goes to no stream."""
    line = ("settings", "set", "--use-authentication", "--login", "crm")
    line += ("--encryption", "tls", "--password-stdin")
    for number in range(EACH):
        (said,) = terminal.run(url, line, typed=PASSWORD)
        assert well(said).out == f"Saved as revision {number + 2}.\n"


def test_the_tables_come_and_go_by_command(terminal: Commands, tmp_path: Path) -> None:
    """With migrations of our own; before them every other command says what is missing."""
    for number in range(EACH):
        url = f"sqlite:///{tmp_path}/{number}.sqlite"
        mode = {"INTERACTION_MAIL_MIGRATIONS": "own"}
        (before,) = terminal.run(url, ("status",), **mode)
        (up,) = terminal.run(url, ("db", "upgrade"), **mode)
        (down,) = terminal.run(url, ("db", "downgrade", "--yes", "base"), **mode)
        assert (before.status, "db upgrade" in before.err) == (1, True)
        assert well(up).out.startswith("The tables are at revision ")
        assert well(down).out == "The tables are gone.\n"
