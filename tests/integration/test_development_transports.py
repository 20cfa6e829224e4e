"""INTERACTION_MAIL_TRANSPORT: mail that a developer sees on the terminal, or finds as files."""

from __future__ import annotations

import email
import io
import stat
from email.policy import default
from pathlib import Path
from typing import Any

import pytest

from flask_interaction_mail import Status, get_notification, send_notification
from tests.host import Host, opened
from tests.panel import HOME, opened_panel
from tests.terminal import done, run


def hosting(folder: Path, transport: str) -> Any:
    return opened(
        f"sqlite:///{folder}/host.sqlite",
        INTERACTION_MAIL_TRANSPORT=transport,
        INTERACTION_MAIL_DELIVERY="sync",
        TESTING=True,
    )


def sent(host: Host, to: str = "ada", text: str = "Hello", **others: Any) -> Any:
    """What became of a message, after its context has delivered it."""
    host.configure(smtp_server="mail.firm.example")
    with host.app.app_context():
        id = send_notification(to, "Invoice", text=text, **others).id
        host.db.session.commit()
    with host.app.app_context():
        return get_notification(id)


def looked_at(host: Host, topic: str) -> dict[str, str]:
    """What ``doctor`` says of one thing."""
    (found,) = (one for one in run(host, "doctor", "--json").json if one["topic"] == topic)
    return dict(found)


def test_the_console_shows_a_message_as_people_read_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its envelope with Bcc, its header, the names of its files, and the text decoded."""
    files = [("rechnung.pdf", "application/pdf", b"%PDF-1.7")]
    with hosting(tmp_path, "console") as host:
        told = sent(host, text="Grüße an alle\n  und mehr", bcc="eve", attachments=files)
    assert (told.status, told.recipients[0].reply) == ("sent", "250 2.0.0 printed")
    shown = capsys.readouterr().err
    assert "Envelope: crm@firm.example to ada@firm.example, eve@firm.example\n" in shown
    assert "\nSubject: Invoice\n" in shown
    assert "\nAttached: rechnung.pdf (application/pdf, 8 B)\n" in shown
    assert "\n\nGrüße an alle\n  und mehr\n---" in shown


def test_what_is_shown_cannot_move_the_cursor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor turn the direction of a line."""
    with hosting(tmp_path, "console") as host:
        sent(host, text="one\x1b[2Jtwo\u202ethree\x9bfour")
    assert "one [2Jtwo three four\n" in capsys.readouterr().err


def test_a_terminal_without_the_letters_gets_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container without a locale."""
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stderr", io.TextIOWrapper(raw, encoding="ascii"))
    with hosting(tmp_path, "console") as host:
        assert sent(host, text="Grüße").status == "sent"
    assert rb"Gr\xfc\xdfe" in raw.getvalue()


def test_mail_is_not_lost_with_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits, as with a server that is away."""
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    with hosting(tmp_path, "console") as host:
        assert sent(host).status in (Status.QUEUED, Status.DEFERRED)


def test_each_message_is_a_file(tmp_path: Path) -> None:
    """Complete, with its envelope before the header, for nobody else to read."""
    folder = tmp_path / "var" / "mail"
    with hosting(tmp_path, f"files:{folder}") as host:
        told = sent(host, text="Grüße", bcc="eve")
        sent(host, to="bob")
    first, second = sorted(folder.iterdir())
    assert told.recipients[0].reply == f"250 2.0.0 written to {first.name}"
    assert first.suffix == ".eml"
    message = email.message_from_bytes(first.read_bytes(), policy=default)
    assert message["X-Envelope-From"] == "crm@firm.example"
    assert message["X-Envelope-To"] == "ada@firm.example, eve@firm.example"
    assert message["Subject"] == "Invoice"
    assert message.get_content() == "Grüße\r\n"
    assert message["Bcc"] is None
    assert b"bob@firm.example" in second.read_bytes()
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_mail_waits_for_a_folder_that_can_be_written(tmp_path: Path) -> None:
    """What stands in its way is not the folder."""
    (tmp_path / "mail").write_text("a file")
    with hosting(tmp_path, f"files:{tmp_path}/mail") as host:
        assert sent(host).status in (Status.QUEUED, Status.DEFERRED)


@pytest.mark.parametrize("place", ["mail", "mail/of/today"])
def test_doctor_names_a_folder_that_takes_no_file(tmp_path: Path, place: str) -> None:
    """Before any mail waits for it; a folder that is missing and can be made is fine."""
    with hosting(tmp_path, f"files:{tmp_path}/{place}") as host:
        host.configure()
        assert looked_at(host, "server")["health"] == "ok"
        assert not (tmp_path / "mail").exists()  # it only looks
        (tmp_path / "mail").write_text("a file")
        told = looked_at(host, "server")
        assert told["health"] == "wrong"
        assert f"no file can be written into {tmp_path}/{place}," in told["text"]


@pytest.mark.parametrize(
    ("transport", "said"),
    [("console", "mail is printed by the process that delivers"), ("files", "mail is written")],
)
def test_everything_says_that_nothing_leaves(tmp_path: Path, transport: str, said: str) -> None:
    """Commands, and the pages of the panel."""
    value = f"files:{tmp_path}/mail" if transport == "files" else transport
    with hosting(tmp_path, value) as host:
        host.configure()
        assert done(host, "status", "--json").json["transport"] == transport
        assert f"{transport}: {said}" in done(host, "status").out
        assert said in done(host, "worker", "--once").out.replace("Mail", "mail")
        assert said in looked_at(host, "restraints")["text"]
        told = run(host, "test", "--json").json
        assert (told["verdict"], told["code"]) == ("suppressed", "stays_here")
    (tmp_path / "panel").mkdir()
    with opened_panel(tmp_path / "panel", INTERACTION_MAIL_TRANSPORT=value) as panel:
        assert "No mail leaves" in panel.get(HOME).text
