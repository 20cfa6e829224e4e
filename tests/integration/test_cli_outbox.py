"""The command line: messages, delivery, and what the outbox forgets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask_mail import Mail, Message

from flask_interaction_mail import Party, clock, request_merge, send_notification
from flask_interaction_mail.outbox import server_limits
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.storage.tables import TABLES
from tests import outbox_rows
from tests.catcher import Catcher, catching
from tests.host import ADA, Host, a_merge, opened
from tests.proofs import proved
from tests.terminal import done, run

ROOT = Path(__file__).parents[2]
CANARY = "canary.x7@elsewhere.example"
pytestmark = pytest.mark.usefixtures("catcher")  # which gets the mail of each host


def send(host: Host, to: Any = "bob", subject: str = "Hello", **others: Any) -> str:
    """Queue a message; gives its id."""
    with host.app.app_context():
        queued = send_notification(to, subject, **({"text": "Hello Bob"} | others))
        host.db.session.commit()
        return str(queued.id)


def test_show_lists_an_attempt_that_was_accepted_for_everybody(
    host: Host, catcher: Catcher
) -> None:
    """It stands in the delivery row, and has the keys of any other; the message has no new ones."""
    accepted = send(host)
    host.dispatcher().drain()
    catcher.refuse = {"bob@firm.example": "550 5.1.1 no such user"}
    refused = send(host)
    host.dispatcher().drain()
    with host.app.app_context():
        one, other = (
            json.loads(done(host, "outbox", "show", id, "--json").out) for id in (accepted, refused)
        )
        text = done(host, "outbox", "show", accepted).out
    (attempt,), (apart,) = one["attempts"], other["attempts"]
    assert attempt.keys() == apart.keys()
    assert one.keys() == other.keys()
    assert (attempt["result"], attempt["stage"], attempt["number"]) == ("accepted", "content", 1)
    assert attempt["verdicts"] == {"bob@firm.example": attempt["reply"]}
    assert (attempt["server"], attempt["worker"]) == (apart["server"], apart["worker"])
    assert attempt["reply"] in text
    assert "fence" not in one


def set_row(host: Host, id: str, **values: Any) -> None:
    """Change a message behind everybody's back."""
    with host.app.app_context(), host.db.engine.begin() as connection:
        outbox_rows.change(connection, uuid.UUID(id), **values)


def test_list_shows_messages_newest_first(any_host: Host):
    """Each message with id, status, recipients and subject; by status, and for programs."""
    first, second = send(any_host, subject="One"), send(any_host, subject="Two\u202e")
    done(any_host, "outbox", "cancel", first)

    shown = done(any_host, "outbox", "list").out.splitlines()
    listed = done(any_host, "outbox", "list", "--json").json
    queued = done(any_host, "outbox", "list", "--status", "queued", "--json").json

    assert [line.split()[0] for line in shown] == ["id", second, first]
    assert "\u202e" not in "".join(shown)
    assert [one["id"] for one in listed] == [second, first]
    assert listed[1] | {"created_at": ""} == {
        "id": first,
        "created_at": "",
        "kind": "notification",
        "status": "cancelled",
        "reason": "withdrawn",
        "relay": None,
        "subject": "One",
        "priority": "normal",
        "metadata": {},
        "recipients": ["bob@firm.example"],
    }
    assert [one["id"] for one in queued] == [second]
    assert len(done(any_host, "outbox", "list", "--limit", "1").out.splitlines()) == 2


def test_show_tells_route_recipients_and_attempts(host: Host, catcher: Catcher):
    """One message with its way, each recipient's status and reply, and every attempt."""
    catcher.refuse["eve@firm.example"] = "550 5.1.1 nobody here"
    id = send(host, ["bob", "eve"])
    run(host, "worker", "--once")

    shown = done(host, "outbox", "show", id).out
    told = done(host, "outbox", "show", id, "--json").json

    assert "550 5.1.1 nobody here" in shown
    assert "It is addressed to bob@firm.example." in shown
    assert {one["address"]: one["status"] for one in told["recipients"]} == {
        "bob@firm.example": "sent",
        "eve@firm.example": "failed",
    }
    assert len(told["attempts"]) == 1
    assert "Hello Bob" not in shown + str(told)  # a body may hold a password-reset link
    assert run(host, "outbox", "show", str(uuid.uuid4())).status == 1


def test_cancel_release_and_resend(host: Host, catcher: Catcher):
    """What can be done is done, what cannot is told at the end with exit status 1."""
    one, other = send(host), send(host)
    set_row(host, one, status="held", reason="ambiguous")

    released = run(host, "outbox", "release", one, other)
    done(host, "outbox", "cancel", other)
    again = run(host, "outbox", "cancel", other, str(uuid.uuid4()))
    resent = done(host, "outbox", "resend", other)
    done(host, "worker", "--once")

    assert (released.status, again.status) == (1, 1)
    assert f"{one} is released." in released.out
    assert f"{other} is not held" in released.err
    assert again.err.count("does not wait any more") == 2
    assert f"{other} is sent again as " in resent.out
    assert len(catcher.mails) == 2


def test_r04_resend_sends_what_failed_for_want_of_settings(tmp_path: Path, catcher: Catcher):
    """A request that failed unconfigured is routed and sent anew once e-mail is set up."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        with host.app.app_context():
            request_merge(a_merge(requester=ADA))
        (failed,) = done(host, "outbox", "list", "--json").json
        early = run(host, "outbox", "resend", failed["id"])
        host.configure(smtp_port=catcher.port)
        done(host, "outbox", "resend", failed["id"])
        done(host, "worker", "--once")

    assert (failed["status"], failed["reason"]) == ("failed", "not_configured")
    assert early.status == 1
    assert catcher.mails[0].recipients == ["stewards@firm.example"]


def test_resend_of_what_is_not_there(host: Host):
    """An unknown id, or one whose text is purged, is told in a sentence."""
    unknown = run(host, "outbox", "resend", str(uuid.uuid4()))
    id = send(host)
    set_row(host, id, intent="{}", status="sent")
    purged = run(host, "outbox", "resend", id)

    assert (unknown.status, purged.status) == (1, 1)
    assert "There is no message" in unknown.err
    assert f"{id} cannot be sent again" in purged.err


def test_status_counts_what_waits(any_host: Host):
    """The figures for a monitoring program: counts, the oldest, and what holds mail up."""
    id = send(any_host)
    send(any_host)
    set_row(any_host, id, created_at=clock.now() - timedelta(hours=1))

    told = done(any_host, "status", "--json").json

    assert told["messages"]["queued"] == told["waiting"] == 2
    assert told["oldest_waiting_seconds"] in range(3600, 3660)
    assert (told["configured"], told["paused"], told["server_trouble"]) == (True, False, None)


def test_status_tells_what_was_learned_of_the_server(host: Host):
    """How many recipients and connections it takes, once one more was too many."""
    assert done(host, "status", "--json").json["server_takes"] == {
        "recipients": None,
        "connections": None,
    }
    with host.state.database.writing() as connection:
        for limit, most in ((server_limits.RECIPIENTS, 50), (server_limits.CONNECTIONS, 3)):
            server_limits.learn(
                connection,
                relay_of(host.state.settings.current().settings),
                limit,
                most,
                worker="w",
                now=clock.now(),
            )

    told = done(host, "status", "--json").json["server_takes"]
    said = done(host, "status").out

    assert told == {"recipients": 50, "connections": 3}
    assert "50 recipients in a message, 3 connections at once" in said


def test_what_waits_for_its_time_is_not_the_oldest_that_waits(any_host: Host):
    """A message that was scheduled a week ago is no alarm; one that is late is."""
    id = send(any_host)
    week = timedelta(days=7)
    set_row(any_host, id, created_at=clock.now() - week, due_at=clock.now() + week)

    assert done(any_host, "status", "--json").json["oldest_waiting_seconds"] is None

    set_row(any_host, id, created_at=clock.now() - week, due_at=clock.now() - week)
    late = done(any_host, "status", "--json").json["oldest_waiting_seconds"]
    assert late >= week.total_seconds()


def test_r22_the_worker_uses_the_shared_settings(any_host: Host, catcher: Catcher):
    """worker --once delivers what is due with the settings in force."""
    for _ in range(5):
        send(any_host)

    said = done(any_host, "worker", "--once", "--connections", "2")

    assert said.out == "5 sent, 0 not.\n"
    assert len(catcher.mails) == 5
    assert done(any_host, "worker", "--once").out == "0 sent, 0 not.\n"


def test_r21_one_set_of_credentials_for_all_mail(tmp_path: Path):
    """Whoever is behind a message, the worker logs in as the one login of the settings."""
    with (
        catching(login=("crm", "secret-9")) as catcher,
        opened(f"sqlite:///{tmp_path}/host.sqlite") as host,
    ):
        host.configure(
            smtp_port=catcher.port,
            use_authentication=True,
            login="crm",
            password="secret-9",
            allow_unencrypted_auth=True,
        )
        send(host)
        host.people.user = Party("Bob", "bob", id=2)
        send(host)
        with host.app.app_context():
            Mail().send(Message("Reset", ["carol@firm.example"], "…"))
        done(host, "worker", "--once", "--connections", "1")

    assert len(catcher.mails) == 3
    assert set(catcher.logins) == {"crm"}


def test_r42_flask_mail_from_a_job_comes_from_default_from(host: Host, catcher: Catcher):
    """Without a user and without a sender the default From stands, never the current user."""
    with host.app.app_context():
        Mail().send(Message("Reset", ["carol@firm.example"], "…"))
        Mail().send(Message("Hi", ["carol@firm.example"], "…", sender="x@foreign.example"))
    done(host, "worker", "--once", "--connections", "1")

    headers = [(one.message["From"], one.message["Reply-To"]) for one in catcher.mails]
    assert headers == [("crm@firm.example", None), ("crm@firm.example", "x@foreign.example")]


def test_worker_once_fails_where_something_did_not_leave(host: Host, catcher: Catcher):
    """A refusal, a pause and a server in trouble give exit status 1 and the reason."""
    catcher.refuse["bob@firm.example"] = "550 5.1.1 nobody here"
    send(host)
    refused = run(host, "worker", "--once")
    done(host, "settings", "set", "--paused")
    paused = run(host, "worker", "--once")
    done(host, "settings", "set", "--no-paused", "--smtp-port", "1")
    send(host)
    run(host, "worker", "--once")
    broken = run(host, "worker", "--once")

    assert refused.out == "0 sent, 1 not.\n"
    assert [one.status for one in (refused, paused, broken)] == [1, 1, 1]
    assert "paused" in paused.err
    assert "delivery stopped" in broken.err
    assert done(host, "status", "--json").json["server_trouble"]
    assert "[wrong] server: in trouble since" in run(host, "doctor").out


def test_doctor_notices_that_nobody_delivers(host: Host):
    """Messages that are due for long say that no worker runs."""
    id = send(host)
    set_row(host, id, due_at=clock.now() - timedelta(minutes=6))

    said = run(host, "doctor")

    assert said.status == 1
    assert "Is 'flask interaction-mail worker' running?" in said.out


PROGRAM = """
import os
from tests.host import Host

app = Host(os.environ["DATABASE"]).app
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_process_ends_politely(host: Host, catcher: Catcher, tmp_path: Path, number):
    """A real worker delivers what another process queues, and ends with status 0 on a signal."""
    (tmp_path / "worker_host.py").write_text(PROGRAM, encoding="utf-8")
    url = host.app.config["SQLALCHEMY_DATABASE_URI"]
    command = [sys.executable, "-m", "flask", "--app", "worker_host", "interaction-mail", "worker"]
    environment = {**os.environ, "DATABASE": url, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"Delivering. Stop with Ctrl-C or SIGTERM.\n"
            send(host)
            catcher.wait_for(1, 20)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, errors) == (0, b"")
    assert [row.status for row in host.rows()] == ["sent"]


def test_purge_removes_what_is_old(any_host: Host, catcher: Catcher):
    """Texts go after seven days, messages after ninety, held and waiting ones stay."""
    fresh, old, ancient, held = (send(any_host, subject=name) for name in "abcd")
    done(any_host, "worker", "--once")
    done(any_host, "test")
    now = clock.now()
    for id, days in ((old, 8), (ancient, 91), (held, 200)):
        then = now - timedelta(days=days)
        set_row(any_host, id, created_at=then, finished_at=then)
    set_row(any_host, held, status="held")

    said = done(any_host, "outbox", "purge")

    assert said.out == "Removed 1 texts, 1 messages, 0 tests.\n"
    rows = {str(row.id): row for row in any_host.rows()}
    assert set(rows) == {fresh, old, held}
    assert (rows[old].content, rows[old].intent, rows[old].subject) == (None, "{}", "b")
    assert rows[fresh].content is not None
    assert rows[held].content is not None
    assert done(any_host, "outbox", "purge").out == "Removed 0 texts, 0 messages, 0 tests.\n"
    assert "b" in done(any_host, "outbox", "show", old).out


def _dump(host: Host) -> str:
    with host.app.app_context(), host.db.engine.connect() as connection:
        return "".join(
            str([tuple(row) for row in connection.execute(sa.select(table))]) for table in TABLES
        )


def test_erase_removes_an_address_everywhere(any_host: Host, catcher: Catcher):
    """After erase nothing of the address is left, and what waited is cancelled (T18)."""
    catcher.refuse[CANARY] = f"550 5.1.1 <{CANARY}> unknown"
    canary = Party("Canary", CANARY, id=CANARY)
    other = send(any_host, "bob")
    mixed = send(any_host, ["bob", canary])
    run(any_host, "worker", "--once")
    any_host.people.user = canary
    waiting = send(any_host, [CANARY.upper()], subject=f"For {CANARY}", key=f"k-{CANARY}")
    run(any_host, "test", "--default-to", CANARY)
    assert CANARY in _dump(any_host)

    said = done(any_host, "outbox", "erase", CANARY, "--yes")

    assert said.out.startswith("Erased from 2 messages and 1 tests.")
    assert "canary.x7" not in _dump(any_host).lower()
    rows = {str(row.id): row for row in any_host.rows()}
    assert (rows[mixed].status, rows[waiting].status) == ("failed", "cancelled")
    assert rows[other].content is not None
    assert "bob@firm.example" in any_host.recipients()


def test_erase_leaves_longer_addresses_alone(any_host: Host):
    """Somebody else gets their mail; an address behind a line end, or in a key, is found."""
    longer = [send(any_host, to) for to in (f"x{CANARY}", f"{CANARY}x")]
    named = [
        send(any_host, "bob", text=f"Write to\n{CANARY}"),
        send(any_host, "bob", text=f"https://x.example/?to=%3C{CANARY}%3E"),
        send(any_host, "bob", key=f"welcome{CANARY}"),
        both := send(any_host, [CANARY, f"x{CANARY}"]),
    ]

    said = done(any_host, "outbox", "erase", CANARY, "--yes").out

    assert said.startswith("Erased from 4 messages")
    people = done(any_host, "outbox", "show", both, "--json").json["recipients"]
    assert [one["address"] for one in people] == ["erased", f"x{CANARY}"]
    rows = {str(row.id): row for row in any_host.rows()}
    assert {rows[one].status for one in named} == {"cancelled"}
    assert {rows[one].status for one in longer} == {"queued"}


def test_erase_finds_what_only_the_server_named(any_host: Host, catcher: Catcher):
    """An address in a reply to another recipient, or one that mail was diverted to, goes too."""
    catcher.refuse["bob@firm.example"] = f"551 5.7.1 try <{CANARY}>"
    send(any_host)
    run(any_host, "worker", "--once")
    done(any_host, "settings", "set", "--divert-to", "tester@firm.example")
    diverted = send(any_host, "carol")
    done(any_host, "worker", "--once")
    assert CANARY in _dump(any_host)

    named = done(any_host, "outbox", "erase", CANARY, "--yes")
    done(any_host, "settings", "set", "--unset", "divert_to")
    run(any_host, "outbox", "erase", "tester@firm.example", "--yes")

    assert named.out.startswith("Erased from 1 messages")
    assert "canary.x7" not in _dump(any_host)
    shown = done(any_host, "outbox", "show", diverted, "--json").json
    assert shown["attempts"][0]["diverted_to"] is None


def test_erase_leaves_nothing_in_the_file(host: Host, tmp_path: Path):
    """On SQLite the address is gone from the file as well, after the VACUUM that is advised."""
    send(host, CANARY)
    said = done(host, "outbox", "erase", CANARY, "--yes")
    with host.app.app_context(), host.db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM")
    host.close()

    assert "VACUUM" in said.out
    files = list(tmp_path.glob("host.sqlite*"))
    assert files
    assert all(CANARY.encode() not in file.read_bytes() for file in files)
    proved("T18", "an erased address: 0 hits in {} file of SQLite after VACUUM", len(files))


def test_erase_says_where_an_address_stays(host: Host):
    """What is being sent, and what stands in the settings, is not erased and is told."""
    id = send(host, CANARY)
    set_row(host, id, status="sending")
    sending = run(host, "outbox", "erase", CANARY, "--yes")
    in_settings = run(host, "outbox", "erase", "crm@firm.example", "--yes")
    short = run(host, "outbox", "erase", "crm", "--yes")
    unsure = run(host, "outbox", "erase", CANARY, typed="n\n")

    assert "being sent at this moment" in sending.err
    assert [one.status for one in (sending, short, unsure)] == [1, 1, 1]
    assert "whole address" in short.err
    assert in_settings.status == 0  # the settings hold only the short form


def test_erase_says_that_the_settings_keep_an_address(host: Host):
    """Settings and their history are not rewritten, so the command does not claim success."""
    done(host, "settings", "set", "--divert-to", CANARY)

    said = run(host, "outbox", "erase", CANARY, "--yes")

    assert said.status == 1
    assert "stands in the settings" in said.err
