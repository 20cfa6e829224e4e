"""Several workers by one command: they share the work, are replaced, and end together."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flask_interaction_mail.outbox.presence import heard_of
from tests.crash.noted_app import BROKEN, notes
from tests.crash.site import Site
from tests.crash.stock import on
from tests.host import opened
from tests.length import LONG
from tests.servers.scripted import Peer, until
from tests.terminal import Said, done

ROOT = Path(__file__).parents[2]
PATIENCE = 120  # s for what has to happen on a busy machine
OPTIONS = ["--app", "tests.crash.noted_app", "interaction-mail", "worker"]
WORKER = [sys.executable, "-m", "flask", *OPTIONS]
LEASE = {"INTERACTION_MAIL_LEASE": 2}  # s


@dataclass(frozen=True)
class Command:
    """A command that runs."""

    process: subprocess.Popen[str]
    log: Path  # its standard error

    @property
    def err(self) -> str:
        return self.log.read_text("utf-8")

    def delivers(self) -> None:
        """Wait until it says so."""
        assert self.process.stdout is not None
        assert "Delivering with" in self.process.stdout.readline(), self.err

    def logs(self, text: str, times: int = 1) -> None:
        """Wait until it has logged ``text`` so many times."""
        assert until(lambda: self.err.count(text) >= times, PATIENCE), self.err

    def end(self) -> Said:
        """Its end; its output ends with the last process that can write there."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        return Said(self.process.returncode, out, self.err)


@contextmanager
def running(
    site: Site, folder: Path, line: list[str], *, options: Any = None, **environment: str
) -> Iterator[Command]:
    """``line``, as a process and the leader of a group, on the database of ``site``."""
    environment |= {
        "DATABASE": site.url,
        "NOTED": str(folder),
        "OPTIONS": json.dumps(options or {}),
    }
    environment.setdefault("PYTHONPATH", str(ROOT))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            line,
            cwd=folder,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )
    try:
        yield Command(process, folder / "log")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)


def at_work(site: Site) -> set[int]:
    """The processes that have signed that they deliver."""
    with site.store.reading() as connection:
        return {int(one.who.rpartition(":")[2]) for one in heard_of(connection) if one.here}


def workers(site: Site, command: Command, count: int) -> set[int]:
    """So many of them, as soon as they have signed."""
    assert until(lambda: len(at_work(site)) >= count, PATIENCE), command.err
    return at_work(site)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def slowly(site: Site, seconds: float = 0.02) -> None:
    """The server thinks about each message."""

    def answer(peer: Peer) -> None:
        time.sleep(seconds)
        site.acknowledge(peer)

    site.server.answers["DOT"] = answer


def ended_well(command: Command) -> None:
    said = command.end()
    assert (said.status, said.out, said.err) == (0, "", "")


@on("sqlite-wal", at_length=("postgresql",))
def test_three_processes_deliver_a_backlog_once(site: Site, tmp_path: Path) -> None:
    """``status`` lists each of them; the one above them has no connection to anything."""
    site.put(300)
    slowly(site)
    with running(site, tmp_path, [*WORKER, "--processes", "3"]) as command:
        command.delivers()
        pids = workers(site, command, 3)
        with opened(site.url) as host:
            listed = done(host, "status", "--json").json["at_work"]
        assert [one["how"] for one in listed] == ["worker"] * 3
        assert len(pids) == 3
        assert command.process.pid not in pids
        assert not connections(command.process.pid)
        site.until_sent(PATIENCE)
        command.process.send_signal(signal.SIGTERM)
        ended_well(command)
    found = site.account("three processes")
    assert (found.lost, found.unexpected, found.duplicated) == (0, 0, 0)
    assert at_work(site) == set()


def connections(pid: int) -> list[str]:
    """Sockets and database files that a process has open; none where the system does not tell."""
    names = []
    for file in Path(f"/proc/{pid}/fd").glob("*"):
        with suppress(FileNotFoundError):
            names.append(str(file.readlink()))
    return [name for name in names if "socket:" in name or ".sqlite" in name]


@on("sqlite-wal", at_length=("postgresql",))
def test_a_killed_process_is_replaced_and_nothing_is_lost(site: Site, tmp_path: Path) -> None:
    """What it had claimed is delivered by others, the one that takes its place among them."""
    site.put(200)
    slowly(site)
    line = [*WORKER, "--processes", "2", "--connections", "1"]
    with running(site, tmp_path, line, options=LEASE) as command:
        command.delivers()
        before = workers(site, command, 2)
        victim = min(before)
        kill(victim)
        command.logs(f"(pid {victim}) was ended by SIGKILL; starting it again in 1 s")
        workers(site, command, 3)  # the sign of the dead one stays for two minutes
        site.until_sent(PATIENCE)
        command.process.send_signal(signal.SIGTERM)
        said = command.end()
    assert (said.status, said.err.count("\n")) == (0, 1)
    assert len(notes(tmp_path)) == 4
    found = site.account("one of two processes killed")
    assert (found.lost, found.unexpected) == (0, 0)
    assert found.worst <= 2  # one more copy of what it was sending


SIGNALS = {
    "SIGTERM to the supervisor": (os.kill, signal.SIGTERM),  # of a container's manager
    "SIGINT to all": (os.killpg, signal.SIGINT),  # of a terminal
}
MORE_SIGNALS = {  # in the long form
    "SIGTERM to all": (os.killpg, signal.SIGTERM),
    "SIGINT to the supervisor": (os.kill, signal.SIGINT),
}
TOLD = SIGNALS | MORE_SIGNALS if LONG else SIGNALS


@on("sqlite-wal")
@pytest.mark.parametrize(("whom", "number"), TOLD.values(), ids=TOLD)
def test_a_signal_ends_all_of_them_with_what_is_in_flight(
    site: Site, tmp_path: Path, whom: Any, number: int
) -> None:
    """Ctrl-C and service managers tell each of them; a second signal changes nothing."""
    site.put(400)
    slowly(site, 0.1)
    with running(site, tmp_path, [*WORKER, "--processes", "2"]) as command:
        command.delivers()
        workers(site, command, 2)
        site.until(lambda: len(site.server.messages) > 4)
        whom(command.process.pid, number)
        with suppress(ProcessLookupError):
            whom(command.process.pid, number)
        ended_well(command)
    assert set(site.store.statuses()) == {"sent", "queued"}
    assert site.store.statuses()["sent"] == len(site.server.messages)
    assert at_work(site) == set()


@on("sqlite-wal")
@pytest.mark.parametrize("number", [signal.SIGINT, *([signal.SIGTERM] if LONG else [])])
def test_a_signal_ends_processes_that_are_still_starting(
    site: Site, tmp_path: Path, number: int
) -> None:
    """Without a word of complaint."""
    with running(site, tmp_path, [*WORKER, "--processes", "2"]) as command:
        command.delivers()
        os.killpg(command.process.pid, number)
        ended_well(command)


@on("sqlite-wal")
def test_without_its_supervisor_a_process_stops(site: Site, tmp_path: Path) -> None:
    """As on SIGTERM: nothing stays claimed, and no sign says that anybody delivers."""
    site.put(400)
    slowly(site, 0.1)
    with running(site, tmp_path, [*WORKER, "--processes", "2"]) as command:
        command.delivers()
        workers(site, command, 2)
        site.until(lambda: len(site.server.messages) > 4)
        kill(command.process.pid)
        said = command.end()
    assert (said.status, said.out, said.err) == (-signal.SIGKILL, "", "")
    assert set(site.store.statuses()) == {"sent", "queued"}
    assert at_work(site) == set()


@on("sqlite-wal")
def test_a_process_that_cannot_start_is_tried_less_and_less(site: Site, tmp_path: Path) -> None:
    """And the command can be stopped meanwhile; its status says that not all was well."""
    with running(site, tmp_path, [*WORKER, "--processes", "2"]) as command:
        command.delivers()
        pids = workers(site, command, 2)
        (tmp_path / BROKEN).touch()
        for pid in pids:
            kill(pid)
        for seconds in (1, 2, 4):
            command.logs(f"again in {seconds} s", 2)
        command.process.send_signal(signal.SIGTERM)
        said = command.end()
    for number in (1, 2):
        own = [line for line in said.err.splitlines() if f"worker.ended: process {number} " in line]
        delays = [int(line.split()[-2]) for line in own]
        assert delays[:3] == [1, 2, 4]
    assert len(notes(tmp_path)) <= 3 + said.err.count("worker.ended: ")  # no start without a wait
    assert "a configuration that does not work" in said.err
    assert said.status == 1
    last = said.err.splitlines()[-1]
    assert re.fullmatch(
        r"Error: process 1 \(pid \d+\) ended with status \d; "
        r"process 2 \(pid \d+\) ended with status \d\.",
        last,
    )


WITH = """
import flask.cli
from flask_interaction_mail.cli import supervisor
supervisor.{name} = {value}
flask.cli.main()
"""


def with_(name: str, value: float) -> list[str]:
    """The command, with another value in the module of its supervisor."""
    return [sys.executable, "-c", WITH.format(name=name, value=value), *OPTIONS]


@on("sqlite-wal")
def test_a_process_that_had_ended_before_the_stop_is_named(site: Site, tmp_path: Path) -> None:
    """However it ended: there were fewer processes than the command should have."""
    line = [*with_("_SHORTEST", 30.0), "--processes", "2"]
    with running(site, tmp_path, line) as command:
        command.delivers()
        gone = min(workers(site, command, 2))
        os.kill(gone, signal.SIGTERM)
        command.logs(f"(pid {gone}) ended with status 0; starting it again in 30 s")
        command.process.send_signal(signal.SIGTERM)
        said = command.end()
    last = said.err.splitlines()[-1]
    assert said.status == 1
    assert re.fullmatch(rf"Error: process \d \(pid {gone}\) ended with status 0\.", last)


@on("sqlite-wal")
def test_nobody_has_to_read_what_the_command_says(site: Site, tmp_path: Path) -> None:
    """As where its output is cut off by ``head -1``."""
    with running(site, tmp_path, [*WORKER, "--processes", "2"]) as command:
        command.delivers()
        workers(site, command, 2)
        assert command.process.stdout is not None
        command.process.stdout.close()
        command.process.send_signal(signal.SIGTERM)
        assert command.process.wait(PATIENCE) == 0
    assert command.err == ""
    assert at_work(site) == set()


@on("sqlite-wal")
def test_a_process_that_does_not_end_is_killed(site: Site, tmp_path: Path) -> None:
    """And that is said; the others have ended as they should."""
    line = [*with_("_PATIENCE", 10.0), "--processes", "2"]  # s, for the other one
    with running(site, tmp_path, line) as command:
        command.delivers()
        frozen = min(workers(site, command, 2))
        os.kill(frozen, signal.SIGSTOP)
        command.process.send_signal(signal.SIGTERM)
        said = command.end()
    assert (said.status, said.out) == (1, "")
    assert re.fullmatch(
        rf"Error: process \d \(pid {frozen}\) did not end within 10 seconds and was killed\.\n",
        said.err,
    )


# -- once --------------------------------------------------------------------------------

SENT = re.compile(r"Process (\d): (\d+) sent, 0 not\.")


def sent_by(said: Said) -> dict[str, int]:
    """How many messages each process says that it has sent."""
    assert (said.status, said.err) == (0, ""), said
    found = [SENT.fullmatch(line) for line in said.out.splitlines()]
    return {one[1]: int(one[2]) for one in found if one is not None}


@on("sqlite-wal", at_length=("postgresql",))
def test_two_processes_deliver_what_is_due_and_end(site: Site, tmp_path: Path) -> None:
    """Each says in a line of its own what it has sent."""
    site.put(100)
    with running(site, tmp_path, [*WORKER, "--once", "--processes", "2"]) as command:
        sent = sent_by(command.end())
    assert set(sent) == {"1", "2"}
    assert sum(sent.values()) == 100
    found = site.account("two processes, once")
    assert (found.lost, found.duplicated) == (0, 0)


@on("sqlite-wal")
def test_a_process_that_delivers_once_and_fails_is_named(site: Site, tmp_path: Path) -> None:
    """It is not started again."""
    site.server.answers["RCPT"] = b"550 5.1.1 unknown\r\n"
    site.put(1)
    with running(site, tmp_path, [*WORKER, "--once", "--processes", "2"]) as command:
        said = command.end()
    assert len(notes(tmp_path)) == 3
    assert said.status == 1
    (number,) = re.findall(r"Process (\d): 0 sent, 1 not\.\n", said.out)
    first, last = said.err.splitlines()
    assert first.startswith(f"Process {number}: Error: not everything was taken by the server")
    assert re.fullmatch(rf"Error: process {number} \(pid \d+\) ended with status 1\.", last)


@on("sqlite-wal")
def test_a_signal_ends_processes_that_deliver_once(site: Site, tmp_path: Path) -> None:
    """With a status that says that messages are left."""
    site.put(400)
    slowly(site, 0.1)
    with running(site, tmp_path, [*WORKER, "--once", "--processes", "2"]) as command:
        site.until(lambda: len(site.server.messages) > 4)
        os.killpg(command.process.pid, signal.SIGINT)
        said = command.end()
    assert said.status == 1
    assert "stopped by a signal before everything was delivered." in said.err
    assert "Traceback" not in said.err
    assert set(site.store.statuses()) == {"sent", "queued"}


# -- how the command can be given --------------------------------------------------------

SCRIPT = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("--count", default="2")
count = parser.parse_args().count
from flask.cli import FlaskGroup
from tests.crash.noted_app import create_app
command = FlaskGroup(create_app=create_app)
command.main(args=["interaction-mail", "worker", "--once", "--processes", count])
"""
TWO = ["--processes", "2"]
CONSOLE = str(Path(sys.executable).with_name("flask"))
WAYS = {
    "module": [*WORKER, "--once", *TWO],
    "console script": [CONSOLE, *OPTIONS, "--once", *TWO],
    "joined": [*WORKER, "--processes=2", "--once"],
    "first": [*WORKER, *TWO, "--connections", "1", "--once"],
    "between": [*WORKER, "--once", *TWO, "--connections", "1"],
    "of Python": [sys.executable, "-X", "utf8", "-W", "error", *WORKER[1:], "--once", *TWO],
    "code": [sys.executable, "-c", "import flask.cli; flask.cli.main()", *OPTIONS, "--once", *TWO],
    "script": [sys.executable, "deliver.py"],
    "script with options": [sys.executable, "deliver.py", "--count", "2"],
    "end of options": [*WORKER, "--once", *TWO, "--"],
    "environment": [CONSOLE, "interaction-mail", "worker", "--once"],
}
QUICK = ("of Python", "script with options", "environment")  # `make torture`: all
VARIABLES = {
    "FLASK_APP": "tests.crash.noted_app",
    "FLASK_INTERACTION_MAIL_WORKER_PROCESSES": "2",
}


@on("sqlite-wal")
@pytest.mark.parametrize("way", WAYS if LONG else QUICK)
def test_the_command_can_be_given_in_any_way(site: Site, tmp_path: Path, way: str) -> None:
    """Its processes get the options of the command, and those of Python."""
    (tmp_path / "deliver.py").write_text(SCRIPT, "utf-8")
    site.put(10)
    more = VARIABLES if way == "environment" else {}
    with running(site, tmp_path, WAYS[way], **more) as command:
        sent = sent_by(command.end())
    assert set(sent) == {"1", "2"}
    assert sum(sent.values()) == 10
    supervisor, *others = notes(tmp_path)
    wanted = (supervisor["x"] | {"interaction_mail_supervised": True}, supervisor["w"])
    assert [(one["x"], one["w"]) for one in others] == [wanted] * 2
    assert supervisor["pid"] == command.process.pid
    assert (supervisor["w"] == ["error"]) is (way == "of Python")
