"""The command line: settings, trial runs, and what it says of the state of things."""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import click
import pytest
import sqlalchemy as sa
from flask_admin import Admin
from flask_mail import Mail

from flask_interaction_mail import clock, operations, send_notification, settings_changed
from flask_interaction_mail.cli.output import main
from flask_interaction_mail.cli.worker import until_signalled
from flask_interaction_mail.delivery.dispatcher import Dispatcher
from flask_interaction_mail.settings.model import SETTINGS
from flask_interaction_mail.storage import migrations
from flask_interaction_mail.storage.tables import CHECK, REVISION
from tests.catcher import Catcher
from tests.databases import DIALECTS, fresh_database
from tests.host import NAMELESS, PASSWORD, STEWARDS, Host, opened
from tests.panel import opened_panel
from tests.servers.certificates import chain, pki
from tests.servers.scripted import by_login, scripted
from tests.terminal import done, run

COMPLETE = ("--smtp-server", "mail.firm.example", "--default-to", "desk@firm.example")
COMPLETE += ("--default-from", "crm@firm.example")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        yield host


def test_r14_what_the_command_line_saves_is_in_force(host: Host):
    """settings set stores a revision that every process reads."""
    said = done(host, "settings", "set", *COMPLETE, "--smtp-port", "587")

    assert said.out == "Saved as revision 1.\n"
    with host.app.app_context():
        now = host.state.settings.current()
    assert (now.settings.smtp_server, now.settings.smtp_port) == ("mail.firm.example", 587)
    assert "command line" in done(host, "settings", "history").out


def test_r22_the_command_line_shows_what_others_saved(host: Host):
    """settings show gives value and origin of every setting, also for programs."""
    host.configure()

    shown = done(host, "settings", "show")
    as_json = done(host, "settings", "show", "--json").json

    for name in SETTINGS:
        assert name in shown.out
    assert as_json["settings"]["company_domain"] == {"value": "firm.example", "origin": "stored"}
    assert as_json["settings"]["smtp_port"] == {"value": 25, "origin": "default"}
    assert as_json["configured"] is True
    assert as_json["problems"] == {}


def test_r23_an_overridden_setting_is_shown_and_cannot_be_set(tmp_path: Path):
    """The override wins, is shown with its origin, and saving under it is an error."""
    overrides = {"smtp_server": "override.firm.example"}
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with opened(url, INTERACTION_MAIL_OVERRIDES=overrides) as host:
        refused = run(host, "settings", "set", *COMPLETE)
        done(host, "settings", "set", *COMPLETE[2:])
        shown = done(host, "settings", "show", "--json").json["settings"]["smtp_server"]

    assert refused.status == 1
    assert "smtp_server: is overridden" in refused.err
    assert shown == {"value": "override.firm.example", "origin": "override"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--smtp-port", "70000"), "smtp_port"),
        (("--default-to", "not an address"), "default_to"),
        (("--unset", "default_from"), "default_from"),
        (("--company-domain", "no domain"), "company_domain"),
        (("--use-authentication",), "login"),
        (("--ca-certificate", "@missing.pem"), "missing.pem cannot be read"),
        (("--ca-certificate", "rubbish"), "ca_certificate"),
    ],
)
def test_what_the_panel_refuses_is_refused_here(host: Host, arguments, named: str):
    """The rules are the panel's; nothing is saved, the setting is named on standard error."""
    done(host, "settings", "set", *COMPLETE)

    said = run(host, "settings", "set", *arguments)

    assert (said.status, said.out) == (1, "")
    assert named in said.err
    assert "Traceback" not in said.err
    assert len(done(host, "settings", "history", "--json").json) == 1


def test_r44_a_first_save_needs_server_default_to_and_default_from(host: Host):
    """What is missing is told all at once."""
    said = run(host, "settings", "set", "--company-domain", "firm.example")

    assert said.status == 1
    for name in ("smtp_server", "default_to", "default_from"):
        assert name in said.err


def test_settings_set_without_a_setting_is_a_usage_error(host: Host):
    """Asking for nothing is an error, and so is to set and unset the same."""
    assert run(host, "settings", "set").status == 2
    assert run(host, "settings", "set", "--login", "x", "--unset", "login").status == 2
    assert run(host, "settings", "set", "--password-prompt", "--password-stdin").status == 2


def test_booleans_and_unset_change_what_is_stored(host: Host):
    """--no-… and --unset take back what was set."""
    done(host, "settings", "set", *COMPLETE, "--paused", "--divert-to", "t@firm.example")
    done(host, "settings", "set", "--no-paused", "--unset", "divert_to", "--unset", "encryption")

    shown = done(host, "settings", "show", "--json").json["settings"]
    assert (shown["paused"]["value"], shown["divert_to"]["value"]) == (False, None)
    assert shown["encryption"]["value"] == "starttls"


def _login(*others: str) -> tuple[str, ...]:
    return (*COMPLETE, "--use-authentication", "--login", "crm", *others)


def test_r20_the_password_is_asked_for_twice_and_never_echoed(host: Host):
    """A prompt takes the password and its confirmation; two different ones save nothing."""
    wrong = run(host, "settings", "set", *_login("--password-prompt"), typed="one\ntwo\n")
    right = done(
        host,
        "settings",
        "set",
        *_login("--password-prompt"),
        typed=f"{PASSWORD}\n{PASSWORD}\n",
    )
    shown = done(host, "settings", "show", "--json")

    assert wrong.status == 1
    assert "Saved as revision 1." in right.out
    assert PASSWORD not in right.out + right.err + shown.out
    assert shown.json["password"] == "usable"
    assert shown.json["settings"]["password"] == {"value": None, "origin": "stored"}


def test_the_password_from_standard_input(host: Host):
    """A script pipes the password in; without one the command says so."""
    empty = run(host, "settings", "set", *_login("--password-stdin"), typed="")
    done(host, "settings", "set", *_login("--password-stdin"), typed=f"{PASSWORD}\r\n")

    assert "standard input is empty" in empty.err
    with host.app.app_context():
        password = host.state.settings.current().settings.password
    assert password is not None
    assert password.reveal() == PASSWORD


def test_no_option_takes_a_password(host: Host):
    """A password as an argument, which others could see, is not possible."""
    assert run(host, "settings", "set", "--password", PASSWORD).status == 2


def test_another_server_needs_the_password_again(host: Host):
    """A stored password is not taken along to another server (T1)."""
    done(host, "settings", "set", *_login("--password-stdin"), typed=PASSWORD)

    said = run(host, "settings", "set", "--smtp-server", "other.firm.example")

    assert said.status == 1
    assert said.err.startswith("Error: password: Password needed for this server")


def test_history_and_restore(host: Host):
    """An old revision becomes the newest; the host hears of it, and of the save before."""
    heard = []

    def hear(app: object, *, changed_by: str, **_: object) -> None:
        heard.append(changed_by)

    with settings_changed.connected_to(hear, host.app):
        done(host, "settings", "set", *COMPLETE)
        done(host, "settings", "set", "--smtp-server", "second.firm.example")
        said = done(host, "settings", "restore", "1")

    assert said.out == "Revision 1 is in force again, as revision 3.\n"
    history = done(host, "settings", "history", "--json").json
    assert [one["changed"] for one in history][:2] == [["smtp_server"], ["smtp_server"]]
    assert [one["revision"] for one in history] == [3, 2, 1]
    assert len(heard) == 3
    assert run(host, "settings", "restore", "9").status == 1


def test_rotate_keys(tmp_path: Path):
    """Passwords go under the newest key; a lost key is an error that says what to do."""
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with opened(url, SECRET_KEY="old" * 12) as host:
        done(host, "settings", "set", *_login("--password-stdin"), typed=PASSWORD)
    with opened(url, SECRET_KEY="new" * 12, SECRET_KEY_FALLBACKS=["old" * 12]) as host:
        assert done(host, "rotate-keys").out == "1 stored password(s) encrypted anew.\n"
        assert done(host, "rotate-keys").out == "Nothing to encrypt anew.\n"
    with opened(url, SECRET_KEY="new" * 12) as host:
        assert done(host, "settings", "show", "--json").json["password"] == "usable"
    with opened(url, SECRET_KEY="none" * 9) as host:
        said = run(host, "rotate-keys")
        assert said.status == 1
        assert "SECRET_KEY_FALLBACKS" in said.err


def _here(catcher: Catcher) -> tuple[str, ...]:
    return ("--smtp-server", "127.0.0.1", "--smtp-port", str(catcher.port), "--encryption", "none")


def test_r47_test_tries_options_and_saves_nothing(host: Host, catcher: Catcher):
    """The test message leaves with the values of the options, which are not stored."""
    said = done(host, "test", *COMPLETE[2:], *_here(catcher))

    assert catcher.mails[0].sender == "crm@firm.example"
    assert catcher.mails[0].recipients == ["desk@firm.example", "crm@firm.example"]
    assert "recipient: desk@firm.example:" in said.out
    assert done(host, "settings", "show", "--json").json["revision"] == 0


def test_test_uses_the_stored_settings_and_is_remembered(host: Host, catcher: Catcher):
    """Without options the settings in force are tried, and status tells of it."""
    host.configure(smtp_port=catcher.port)
    assert done(host, "status", "--json").json["last_test"] == "none has passed"

    found = done(host, "test", "--json").json

    assert (found["verdict"], len(catcher.mails)) == ("passed", 1)
    assert done(host, "status", "--json").json["last_test"].startswith("passed, ")


def test_r54_a_test_that_does_not_pass_has_exit_status_1(host: Host, catcher: Catcher):
    """No connection, a refused recipient, and suppressed sending are no success."""
    host.configure(smtp_port=1)
    unreachable = run(host, "test")
    catcher.refuse["crm@firm.example"] = "550 5.1.1 unknown"
    partly = run(host, "test", "--json", *_here(catcher))
    host.app.config["MAIL_SUPPRESS_SEND"] = True
    suppressed = run(host, "test", "--json")

    assert unreachable.status == partly.status == suppressed.status == 1
    assert "SMTP settings are probably wrong" in unreachable.out
    assert partly.json["verdict"] == "partial"
    assert suppressed.json["verdict"] == "suppressed"


def test_explain_tells_the_way_of_a_request(host: Host):
    """The route and the sender are told with their reasons, and nothing is stored."""
    host.configure()
    host.people.mergers["Leavers"] = [NAMELESS]

    said = done(host, "explain", "--location", "Firm List", "--requester", "1")
    both = done(host, "explain", "--location", "Firm List", "--location", "Leavers", "--json").json

    assert f"{STEWARDS.name} (stewards@firm.example) has the right" in said.out
    assert "From:             Ada Byron <ada@firm.example>" in said.out
    assert both["to"] == ["Data Stewards <stewards@firm.example>", "merge-desk@firm.example"]
    assert both["from"] == both["envelope_sender"] == "crm@firm.example"
    assert host.rows() == []


def test_explain_says_what_is_wrong(host: Host):
    """Unconfigured e-mail and an unknown requester end with exit status 1."""
    unconfigured = run(host, "explain", "--location", "Firm List")
    host.configure()
    unknown = run(host, "explain", "--location", "Firm List", "--requester", "99")

    assert (unconfigured.status, unknown.status) == (1, 1)
    assert "not configured" in unconfigured.err
    assert "'99'" in unknown.err


def test_doctor_finds_nothing_where_all_is_well(host: Host):
    """A host that is set up rightly gets exit status 0."""
    host.configure()
    done(host, "worker", "--once")

    looks = done(host, "doctor", "--json").json

    assert {look["health"] for look in looks} <= {"ok", "note"}
    assert "settings: complete, revision 1" in done(host, "doctor").out


def test_a_ca_certificate_that_cannot_be_read_is_told_everywhere(host: Host):
    """However it got into the database: no message is to blame, and every command says so."""
    answers = {"EHLO": b"250-scripted.test\r\n250 STARTTLS\r\n"}
    with scripted(answers, tls=pki().server()) as server:
        host.configure(encryption="starttls", smtp_server="127.0.0.1", smtp_port=server.port)
        with host.app.app_context():
            with host.state.database.writing() as connection:
                fields = connection.scalar(sa.select(REVISION.c.fields))
                edited = json.loads(fields or "") | {"ca_certificate": "-----BEGIN é"}
                connection.execute(sa.update(REVISION).values(fields=json.dumps(edited)))
            send_notification("ada@firm.example", "Hello", text="Hello")
            host.db.session.commit()
        tested = run(host, "test")
        assert run(host, "worker", "--once").status == 1
        looks = {one["topic"]: one for one in run(host, "doctor", "--json").json}
        status = done(host, "status", "--json").json
        assert not {"AUTH", "MAIL"} & set(server.commands())
    assert "The CA certificate cannot be read" in tested.out
    assert looks["settings"]["health"] == "wrong"
    assert "CA certificate cannot be read" in looks["settings"]["text"]
    assert "CA certificate" in status["server_trouble"]
    assert (status["messages"]["queued"], status["messages"]["held"]) == (1, 0)


def test_doctor_names_a_ca_certificate_that_has_ended(host: Host):
    """Which of them, and when: all that it vouches for is refused."""
    made = chain(ended="root")
    pem = f"{made.intermediate}{made.root}"
    host.configure(encryption="starttls", ca_certificate=pem)
    looks = {one["topic"]: one for one in run(host, "doctor", "--json").json}
    assert looks["settings"]["health"] == "note"
    assert "CN=The root CA (" in looks["settings"]["text"]
    assert "intermediate" not in looks["settings"]["text"]


def test_a_ca_certificate_from_a_file_may_have_comments_in_any_encoding(host, tmp_path):
    """What Windows and old tools write beside it."""
    commented = f"# Zertifizierungsstelle Müller\r\n{pki().pem}"
    for encoding in ("latin-1", "utf-8-sig", "utf-16"):
        (tmp_path / "ca.pem").write_bytes(commented.encode(encoding))
        done(host, "settings", "set", *COMPLETE, "--ca-certificate", f"@{tmp_path}/ca.pem")
        with host.app.app_context():
            stored = host.state.settings.current().settings.ca_certificate
        assert stored == pki().pem.strip()


def test_doctor_names_what_the_host_does_not_allow_the_pages(tmp_path: Path) -> None:
    """A Content-Security-Policy without 'self'; one that refuses frames is all right."""
    policies = ["frame-ancestors 'none'"]
    with opened_panel(tmp_path) as panel:
        app = panel.host.app

        @app.after_request
        def as_talisman(response: Any) -> Any:
            response.headers["Content-Security-Policy"] = policies[-1]
            return response

        def seen() -> str:
            looks = run(panel.host, "doctor", "--json").json
            return next(str(look["text"]) for look in looks if look["topic"] == "headers")

        assert "they need no frame" in seen()
        policies.append("default-src 'none'; style-src https://cdn.example; script-src 'self'")
        assert "connect-src (the result of Test Settings opens in a tab of its own)" in seen()
        assert "style-src" in seen()
        assert "script-src" not in seen()
        assert "form-action" not in seen()


def logins(server) -> list[str]:
    """The mechanisms that were tried since the last look."""
    found = [line.split()[1].decode() for line in server.lines if line.startswith(b"AUTH ")]
    server.lines.clear()
    return found


def test_delivery_logs_in_as_the_test_did(host: Host):
    """By LOGIN, where PLAIN gets a 535; kept for good, for these settings and no other login."""
    with scripted(by_login("crm", PASSWORD, b"535 no PLAIN\r\n")) as server:
        host.configure(
            smtp_server="127.0.0.1",
            smtp_port=server.port,
            encryption="none",
            use_authentication=True,
            allow_unencrypted_auth=True,
            login="crm",
            password=PASSWORD,
        )
        with host.app.app_context():
            send_notification("ada@firm.example", "Hello", text="Hello")
            host.db.session.commit()
        assert run(host, "worker", "--once").status == 1
        assert logins(server) == ["PLAIN"]
        done(host, "test")
        assert logins(server) == ["PLAIN", "LOGIN"]
        done(host, "worker", "--once")  # at once: the test has closed the breaker
        assert logins(server) == ["LOGIN"]
        done(host, "settings", "set", "--default-to", "others@firm.example")
        with host.app.app_context():
            with host.state.database.writing() as connection:
                connection.execute(sa.update(CHECK).values(at=clock.now() - timedelta(days=900)))
            operations.purge(host.state)
            send_notification("ada@firm.example", "Hello", text="Hello")
            host.db.session.commit()
        done(host, "worker", "--once")
        assert logins(server) == ["LOGIN"]


def test_doctor_names_messages_that_a_migration_left_behind(host: Host):
    """Nobody would deliver them, and no list shows them."""
    host.configure()
    with host.app.app_context():
        send_notification("bob", "Hello", text="x")
        host.db.session.commit()
    wrong = "1 of the oldest messages have no row in interaction_mail_delivery"
    assert wrong not in run(host, "doctor").out
    with host.app.app_context(), host.db.engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM interaction_mail_delivery"))
    told = run(host, "doctor")
    assert told.status == 1
    assert wrong in told.out


def test_doctor_names_what_is_wrong(tmp_path: Path):
    """An open admin, a lost key, a Mail object after ours and missing settings are found."""
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with opened(url) as host:
        done(host, "settings", "set", *_login("--password-stdin"), typed=PASSWORD)
    with opened(url, admin=Admin(name="CRM"), SECRET_KEY="lost" * 9) as host:
        Mail(host.app)
        said = run(host, "doctor", "--json")

    looks = {look["topic"]: look for look in said.json}
    assert said.status == 1
    assert (looks["access"]["health"], looks["password"]["health"]) == ("wrong", "wrong")
    assert looks["flask-mail"]["health"] == "note"
    assert "access" in said.err


@pytest.mark.parametrize("security", [True, False])
def test_doctor_says_that_flask_mailman_sends_past_the_panel(host: Host, security: bool) -> None:
    """Flask-Security prefers it where it is initialised."""
    assert _mailman(host)["health"] == "ok"
    host.app.extensions["mailman"] = object()
    if security:
        host.app.extensions["security"] = object()
    seen = _mailman(host)
    assert seen["health"] == "note"
    assert "past the panel" in seen["text"]
    assert ("Flask-Security and whoever else" in seen["text"]) == security


def test_a_key_that_nobody_reads_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """In the log of the start and by doctor, with the key that was meant; its value is not."""
    keys = {"INTERACTION_MAIL_DELIVRY": "worker-x7", "INTERACTION_MAIL_": 1}
    with opened(f"sqlite:///{tmp_path}/host.sqlite", **keys, INTERACTION_MAIL_RATE=7) as host:
        seen = _looked_at(host, "configuration")
    told = "INTERACTION_MAIL_DELIVRY is not a key of this extension; is INTERACTION_MAIL_DELIVERY"
    for place in (caplog.text, seen["text"]):
        assert f"{told} meant?" in place
        assert "INTERACTION_MAIL_ is not a key of this extension" in place
        assert "INTERACTION_MAIL_RATE" not in place
        assert "x7" not in place
    assert seen["health"] == "note"


def _mailman(host: Host) -> dict[str, str]:
    return _looked_at(host, "flask-mailman")


def _looked_at(host: Host, topic: str) -> dict[str, str]:
    return next(one for one in run(host, "doctor", "--json").json if one["topic"] == topic)


def test_missing_tables_are_told_in_a_sentence(host: Host):
    """Every command that needs the tables says how to make them."""
    with host.app.app_context():
        host.db.drop_all()

    for command in (("settings", "show"), ("status",), ("outbox", "list"), ("worker", "--once")):
        said = run(host, *command)
        assert (said.status, "flask db upgrade" in said.err) == (1, True), command
    looked = run(host, "doctor")
    assert "[wrong] tables: missing: interaction_mail_" in looked.out
    assert run(host, "db", "check").status == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_doctor_compares_columns_without_alembic(
    dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A column that is not there is named, with what makes it."""
    monkeypatch.setitem(sys.modules, "alembic", None)
    with fresh_database(dialect, tmp_path) as url, opened(url) as host:
        host.configure()
        said = {look["topic"]: look for look in run(host, "doctor", "--json").json}
        assert said["tables"]["health"] == "ok"
        assert "Alembic" in said["tables"]["text"]
        with host.app.app_context(), host.db.engine.begin() as connection:
            connection.execute(
                sa.text("ALTER TABLE interaction_mail_delivery DROP COLUMN lost_leases")
            )
        said = {look["topic"]: look for look in run(host, "doctor", "--json").json}
        assert said["tables"]["health"] == "wrong"
        assert "interaction_mail_delivery.lost_leases is missing" in said["tables"]["text"]
        assert "flask db upgrade" in said["tables"]["text"]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_doctor_tries_to_write(dialect: str, tmp_path: Path):
    """A database that is only read from looks right until somebody sends."""
    with fresh_database(dialect, tmp_path) as url:
        with opened(url) as host:
            host.configure()
            said = {look["topic"]: look for look in run(host, "doctor", "--json").json}
            assert said["writing"] == {"topic": "writing", "health": "ok", "text": "possible"}
            with host.app.app_context(), host.state.database.reading() as connection:
                count = (
                    sa.select(sa.func.count()).select_from(CHECK).where(CHECK.c.kind == "doctor")
                )
                assert connection.scalar(count) == 0
        read_only: dict[str, Any] = {
            "sqlite": {"creator": partial(_read_only_file, url)},
            "postgresql": {"connect_args": {"options": "-c default_transaction_read_only=on"}},
            "mariadb": {"connect_args": {"init_command": "SET SESSION TRANSACTION READ ONLY"}},
        }
        with opened(url, SQLALCHEMY_ENGINE_OPTIONS=read_only[dialect]) as host:
            said = {look["topic"]: look for look in run(host, "doctor", "--json").json}
        assert said["tables"]["health"] == "ok"
        assert said["writing"]["health"] == "wrong"
        assert re.search("read.?only", said["writing"]["text"], re.IGNORECASE)


def _read_only_file(url: str) -> sqlite3.Connection:
    path = f"file:{sa.make_url(url).database}?mode=ro"
    return sqlite3.connect(path, uri=True, check_same_thread=False)


def test_a_database_that_does_not_answer_is_told_in_a_sentence(tmp_path: Path):
    """No traceback where the database is away."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure()
    (tmp_path / "host.sqlite").unlink()
    (tmp_path / "host.sqlite").mkdir()

    said = run(host, "status")

    assert said.status == 1
    assert said.err.startswith("Error: The database does not answer")


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mariadb"])
def test_db_commands_look_after_the_tables(dialect: str, tmp_path: Path):
    """With migrations of our own: upgrade, check, downgrade, and a host's metadata without us."""
    with (
        fresh_database(dialect, tmp_path) as url,
        opened(url, INTERACTION_MAIL_MIGRATIONS="own") as host,
    ):
        assert "interaction_mail_message" not in host.db.metadata.tables
        assert run(host, "db", "check").status == 1
        newest = f"The tables are at revision {migrations.newest()}.\n"
        assert done(host, "db", "upgrade").out == newest
        done(host, "db", "check")
        host.configure()
        assert run(host, "db", "downgrade", typed="n\n").status == 1
        done(host, "db", "check")
        assert "at revision 0011" in done(host, "db", "downgrade", "--yes").out
        assert done(host, "db", "downgrade", "base", "--yes").out == "The tables are gone.\n"
        with host.app.app_context():
            names = sa.inspect(host.db.engine).get_table_names()
    assert set(names) == {"thing", migrations.VERSION_TABLE}


def test_db_upgrade_is_refused_where_the_hosts_migrations_do_it(host: Host):
    """The default: the host's own Alembic looks after the tables."""
    assert "INTERACTION_MAIL_MIGRATIONS" in run(host, "db", "upgrade").err
    assert run(host, "db", "downgrade", "--yes").status == 1
    done(host, "db", "check")


def test_a_signal_stops_the_worker_in_the_middle_of_whatever_it_does() -> None:
    """Also where the very thread that it interrupts holds the lock of what is to be set."""
    with until_signalled() as (stop, wake):
        with stop._cond, wake._cond:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
        assert stop.wait(5)
        assert wake.wait(5)


def test_a_worker_is_not_stopped_by_looking_through_what_its_start_has_made(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which stays for as long as it runs."""
    frozen: list[int] = []
    monkeypatch.setattr(Dispatcher, "run", lambda *_: frozen.append(gc.get_freeze_count()))
    try:
        done(host, "worker")
    finally:
        gc.unfreeze()
    assert frozen[0] > 100_000


# -- for programs ----------------------------------------------------------------------


def test_each_command_that_ends_by_itself_can_write_json() -> None:
    """A worker and the catcher run until they are stopped."""
    without = [name for name, command in commands(main) if not takes_json(command)]
    assert without == ["catch", "worker"]


def commands(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, *above, name)
        else:
            yield " ".join((*above, name)), command


def takes_json(command: click.Command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def test_what_changes_settings_tells_a_program_the_revision(tmp_path: Path) -> None:
    """Each save is a revision; what did nothing says so with its exit status alone."""
    with (
        fresh_database("sqlite", tmp_path) as url,
        opened(url, INTERACTION_MAIL_MIGRATIONS="own") as host,
    ):

        def told(*arguments: str) -> Any:
            return done(host, *arguments, "--json").json

        assert told("db", "upgrade") == {"revision": migrations.newest()}
        assert told("db", "check") == {"differences": []}
        host.configure()
        assert told("settings", "set", "--paused") == {"revision": 2}
        server = ("--smtp-server", "second.firm.example")
        assert told("relays", "add", "second", *server) == {"revision": 3}
        assert told("relays", "edit", "second", "--smtp-port", "587") == {"revision": 4}
        assert told("relays", "move", "second", "1") == {"revision": 5}
        assert told("relays", "remove", "second") == {"revision": 6}
        assert told("settings", "restore", "1") == {"revision": 7}
        assert told("rotate-keys") == {"encrypted": 0}
        assert told("activity", "rebuild") == {"counted": 0}
        refused = run(host, "settings", "set", "--smtp-port", "x", "--json")
        assert (refused.status, refused.out) == (1, "")
        assert told("db", "downgrade", "base", "--yes") == {"revision": None}
        differs = run(host, "db", "check", "--json")
        assert differs.status == 1
        assert differs.json["differences"]
