"""INTERACTION_MAIL_TRANSPORT: mail that stays in the memory of the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_interaction_mail import (
    InteractionMail,
    SettingsError,
    TransportError,
    get_notification,
    send_notification,
)
from flask_interaction_mail.config import TransportKind
from flask_interaction_mail.outbox import breaker
from flask_interaction_mail.outcome import Stage
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.transport.memory import MemoryTransport
from tests.host import PASSWORD, Host, opened
from tests.panel import HOME, OUTBOX, TEST, opened_panel
from tests.servers.scripted import scripted, until
from tests.terminal import done, run

LOGIN = {"use_authentication": True, "login": "crm", "password": PASSWORD}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with opened(
        f"sqlite:///{tmp_path}/host.sqlite",
        TESTING=True,
        INTERACTION_MAIL_TRANSPORT="memory",
        INTERACTION_MAIL_DELIVERY="sync",
    ) as host:
        host.configure(smtp_server="mail.firm.example", encryption="starttls", **LOGIN)
        yield host


def sent(host: Host, to: str = "ada", **others: Any) -> Any:
    """What became of a message, after its context has delivered it."""
    with host.app.app_context():
        id = send_notification(to, "Invoice", text="Hello", **others).id
        host.db.session.commit()
    with host.app.app_context():
        return get_notification(id)


def memory_of(host: Host) -> MemoryTransport:
    return host.messaging.memory(host.app)


def test_a_test_reads_what_was_sent(host: Host) -> None:
    """Although it is TESTING; parsed, and in its envelope with Bcc."""
    told = sent(host, bcc="eve")
    (message,), (envelope,) = memory_of(host).messages, memory_of(host).delivered
    assert told.status == "sent"
    assert (message["Subject"], message["To"]) == ("Invoice", "ada@firm.example")
    assert message.get_content() == "Hello\r\n"
    assert sorted(envelope.recipients) == ["ada@firm.example", "eve@firm.example"]
    with host.app.app_context():
        assert host.messaging.memory() is memory_of(host)


@pytest.mark.parametrize(
    ("reply", "status"), [("550 5.1.1 Nobody here", "failed"), ("450 4.2.1 Later", "deferred")]
)
def test_it_can_be_made_to_refuse(host: Host, reply: str, status: str) -> None:
    """The reply is what a server's would be; cleared, it takes everything again."""
    memory_of(host).refuse("ada@firm.example", reply)
    told = sent(host)
    assert (told.status, told.recipients[0].reply) == (status, reply)
    assert memory_of(host).messages == []
    memory_of(host).clear()
    assert sent(host).status == "sent"
    assert len(memory_of(host).messages) == 1


def test_a_suppressed_application_keeps_nothing(host: Host) -> None:
    """MAIL_SUPPRESS_SEND says no more than it did."""
    host.app.config["MAIL_SUPPRESS_SEND"] = True
    assert sent(host).status == "suppressed"
    assert memory_of(host).tried == []


def test_the_delivery_thread_delivers_to_it_too(tmp_path: Path) -> None:
    """Whichever way of delivery; several connections at once are one memory."""
    with opened(
        f"sqlite:///{tmp_path}/host.sqlite",
        INTERACTION_MAIL_TRANSPORT="memory",
        INTERACTION_MAIL_DELIVERY="thread",
    ) as host:
        host.configure()
        with host.app.app_context():
            for number in range(50):
                send_notification("ada", f"Invoice {number}", text="Hello")
            host.db.session.commit()
        assert until(lambda: len(memory_of(host).delivered) == 50)
        subjects = {message["Subject"] for message in memory_of(host).messages}
        assert subjects == {f"Invoice {number}" for number in range(50)}


def test_nothing_is_in_memory_where_a_server_is_used(tmp_path: Path) -> None:
    """The error says which key to set."""
    with (
        opened(f"sqlite:///{tmp_path}/host.sqlite") as host,
        pytest.raises(RuntimeError, match="INTERACTION_MAIL_TRANSPORT"),
    ):
        memory_of(host)


def test_two_applications_have_a_memory_each(host: Host, tmp_path: Path) -> None:
    """As they have an outbox each."""
    with opened(f"sqlite:///{tmp_path}/other.sqlite", INTERACTION_MAIL_TRANSPORT="memory") as other:
        sent(host)
        assert memory_of(other).delivered == []


def test_an_unknown_transport_is_an_error_that_lists_what_there_is() -> None:
    """At init_app, before the application is touched."""
    app = Flask("crm")
    app.config.update(INTERACTION_MAIL_TRANSPORT="memroy", SQLALCHEMY_DATABASE_URI="sqlite://")
    with pytest.raises(SettingsError, match="a function that opens a transport, not 'memroy'"):
        InteractionMail(app, db=Host("sqlite://").db)
    assert "interaction_mail" not in app.extensions


def test_status_and_doctor_say_that_nothing_leaves(host: Host) -> None:
    """For people, and for programs."""
    assert done(host, "status", "--json").json["transport"] == "memory"
    assert "mail stays in the memory of the process" in done(host, "status").out
    looks = {one["topic"]: one for one in run(host, "doctor", "--json").json}
    assert looks["restraints"]["health"] == "note"
    assert "INTERACTION_MAIL_TRANSPORT" in looks["restraints"]["text"]
    assert looks["server"]["text"].startswith("none is asked")


def test_status_names_the_usual_transport_too(tmp_path: Path) -> None:
    """And warns of nothing."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        assert done(host, "status", "--json").json["transport"] == "smtp"
        assert "memory" not in done(host, "status").out


def test_a_worker_says_that_nothing_leaves(host: Host) -> None:
    """What it delivers is gone with it."""
    assert "stays in the memory" in done(host, "worker", "--once").out


def test_a_test_on_the_command_line_claims_no_success(host: Host) -> None:
    """Its message is in memory with the others, and nothing is known about the settings."""
    told = run(host, "test", "--json")
    assert told.status == 1
    assert (told.json["verdict"], told.json["code"]) == ("suppressed", "stays_here")
    assert [step["code"] for step in told.json["steps"]] == ["kept_here"] * 2
    assert told.json["notes"] == []
    (message,) = memory_of(host).messages
    assert message["Subject"] == "Test message"
    assert done(host, "status", "--json").json["last_test"] == "none has passed"


def test_a_test_shows_what_was_refused(host: Host) -> None:
    """At its step; of a server it claims nothing all the same."""
    memory_of(host).refuse("merge-desk@firm.example", "550 5.1.1 Nobody here")
    told = run(host, "test", "--json").json
    assert told["verdict"] == "suppressed"
    assert [step["state"] for step in told["steps"]] == ["failed", "ok"]
    assert told["steps"][0]["reply"] == "550 5.1.1 Nobody here"


def test_a_test_of_incomplete_settings_fails_as_ever(tmp_path: Path) -> None:
    """That is known without a server."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite", INTERACTION_MAIL_TRANSPORT="memory") as host:
        told = run(host, "test", "--json").json
        assert (told["verdict"], told["code"]) == ("failed", "incomplete")
        assert memory_of(host).tried == []


def test_the_panel_says_so_on_every_page_and_at_a_test(tmp_path: Path) -> None:
    """And asks no server, whatever is typed."""
    with (
        opened_panel(tmp_path, INTERACTION_MAIL_TRANSPORT="memory") as panel,
        scripted() as server,
    ):
        for url in (HOME, OUTBOX):
            assert "No mail leaves" in panel.get(url).text
        typed = {"smtp_server": "127.0.0.1", "smtp_port": str(server.port), "encryption": "none"}
        addresses = {"company_domain": "firm.example", "default_to": "desk", "default_from": "crm"}
        told = panel.post(TEST, **typed, **addresses).text
        assert "Not sent: mail stays here" in told
        assert 'data-im-verdict="suppressed"' in told
        assert "127.0.0.1" not in told
        assert server.connections == 0
        assert len(memory_of(panel.host).messages) == 1


def test_its_trouble_is_not_that_of_the_server(host: Host) -> None:
    """Another process that sends to the server goes on meanwhile."""
    with host.app.app_context():
        settings = host.state.settings.current().settings
    memory_of(host).answer_with(TransportError("The server is away.", stage=Stage.CONNECT))
    assert sent(host).status == "queued"
    with host.app.app_context(), host.state.database.reading() as connection:
        assert breaker.read(connection, relay_of(settings, TransportKind.MEMORY)) is not None
        assert breaker.read(connection, relay_of(settings)) is None
