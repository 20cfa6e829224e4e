"""The History tab: who changed what, who did what with which message, and the way back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup

from flask_interaction_mail import cancel_notification, clock, operations, send_notification
from flask_interaction_mail.monitoring import history
from flask_interaction_mail.outbox import deeds
from flask_interaction_mail.outbox.deeds import What
from flask_interaction_mail.storage.tables import CHECK
from tests import outbox_rows
from tests.host import ADA, PASSWORD
from tests.panel import HISTORY, HOME, OUTBOX, Panel, form_values, opened_panel

RIGHTS = frozenset({"view", "edit", "history", "outbox", "resend", "body"})


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path, access=lambda right: right in RIGHTS) as panel:
        panel.host.people.user = ADA
        yield panel


def lines(panel: Panel, url: str = HISTORY) -> list[str]:
    """What the list says, newest first, without the times."""
    found = panel.get(url).select(".im-history > li")
    for line in found:
        line.time.extract()  # type: ignore[union-attr]
    return [" ".join(line.get_text(" ").split()) for line in found]


def a_message(panel: Panel, **values: Any) -> uuid.UUID:
    host = panel.host
    with host.app.app_context():
        sent = send_notification(ADA, "The subject", text="The text")
        host.db.session.commit()
        with host.state.database.writing() as connection:
            outbox_rows.change(connection, sent.id, **values)
    return sent.id


def press(panel: Panel, id: uuid.UUID, what: str) -> None:
    page = f"{OUTBOX}{id}/"
    answer = panel.client.post(page + what, data=panel.fields(page))
    assert answer.status_code == 303


def test_a_save_is_listed_with_what_changed_from_what_to_what(panel: Panel) -> None:
    """In words, newest first; a password only as changed."""
    panel.save()
    panel.save(
        smtp_server="other.firm.example",
        paused="y",
        use_authentication="y",
        login="crm",
        password=PASSWORD,
        password_confirm=PASSWORD,
    )
    second, first = lines(panel)
    assert "Ada Byron saved revision 2" in second
    assert "SMTP server : mail.firm.example → other.firm.example" in second
    assert "Pause sending : no → yes" in second
    assert "Password : changed" in second
    assert PASSWORD not in panel.get(HISTORY).text
    assert "SMTP server : – → mail.firm.example" in first


def test_what_somebody_does_with_a_message_is_listed(panel: Panel) -> None:
    """With its subject as a link, and who did it; a page that only reads it once an hour."""
    panel.save()
    held = {"status": "held", "reason": "ambiguous", "due_at": None}
    press(panel, a_message(panel, **held), "release")
    press(panel, a_message(panel), "cancel")
    id = a_message(panel, status="failed", reason="refused", due_at=None)
    press(panel, id, "resend")
    panel.client.get(f"{OUTBOX}export.csv?status=failed")
    for _ in range(3):
        panel.get(f"{OUTBOX}{id}/")
    panel.client.head(f"{OUTBOX}{a_message(panel)}/")
    found = [line.removeprefix("Ada Byron ") for line in lines(panel, HISTORY + "?which=messages")]
    assert [line for line in found if not line.startswith("read")] == [
        "exported the list of messages (of those with status=failed )",
        "sent again The subject",
        "cancelled The subject",
        "released The subject",
    ]
    assert found.count("read the text of The subject") == 3  # each message once
    assert len(found) == 7
    link = panel.get(HISTORY).select_one(f".im-history a[href$='{id}/']")
    assert link is not None


def test_the_hosts_own_code_leaves_no_deed(panel: Panel) -> None:
    """It is nobody's."""
    panel.save()
    id = a_message(panel)
    with panel.host.app.app_context():
        assert cancel_notification(id)
        panel.host.db.session.commit()
    assert lines(panel, HISTORY + "?which=messages") == []


@pytest.mark.parametrize(
    ("which", "count"), [("settings", 1), ("tests", 1), ("messages", 1), ("x", 3)]
)
def test_the_list_can_be_narrowed(panel: Panel, which: str, count: int) -> None:
    """To one kind; what makes no sense narrows nothing."""
    panel.save()
    with panel.host.state.database.writing() as connection:
        deeds.note_export(connection, "Ada", "", clock.now())
        connection.execute(
            sa.insert(CHECK).values(
                id=uuid.uuid4(),
                kind="test",
                at=clock.now(),
                by="Ada",
                fingerprint="",
                verdict="failed",
                steps="[]",
            )
        )
    assert len(lines(panel, f"{HISTORY}?which={which}")) == count


def test_pages_join_without_a_gap(panel: Panel) -> None:
    """Also where many things were done in one moment."""
    ids = [uuid.uuid4() for _ in range(70)]
    with panel.host.state.database.writing() as connection:
        deeds.note(connection, What.CANCELLED, "Ada", ids, clock.now())
    seen: list[Any] = []
    end = None
    for _ in range(3):
        page = history.page(panel.host.state, end=end)
        seen += [entry.event.message for entry in page.entries]  # type: ignore[union-attr]
        end = page.older
    assert end is None
    assert seen == ids[::-1]


def test_old_deeds_go_with_the_purge(panel: Panel) -> None:
    """At the age at which messages go."""
    with panel.host.state.database.writing() as connection:
        deeds.note_export(connection, "Ada", "", clock.now() - timedelta(days=4000))
        deeds.note_export(connection, "Ada", "", clock.now())
    with panel.host.app.app_context():
        operations.purge(panel.host.state)
    assert len(lines(panel)) == 1


def test_a_revision_can_be_restored_after_a_look(panel: Panel) -> None:
    """The page shows what would change, now and then."""
    panel.save()
    panel.save(smtp_server="other.firm.example")
    page = panel.get(HISTORY + "1/")
    cells = [cell.get_text(strip=True) for cell in page.select("tbody td")]
    assert cells == ["SMTP server", "other.firm.example", "mail.firm.example"]
    answer = panel.client.post(HISTORY + "restore", data=form_values(page))
    assert (answer.status_code, answer.location) == (303, HISTORY)
    assert panel.in_force().settings.smtp_server == "mail.firm.example"
    assert panel.in_force().revision == 3


def test_what_was_saved_meanwhile_is_not_overwritten_unseen(panel: Panel) -> None:
    """The page is shown again with what would change now."""
    panel.save()
    panel.save(smtp_server="other.firm.example")
    opened = form_values(panel.get(HISTORY + "1/"))
    panel.save(smtp_server="third.firm.example")
    answer = panel.client.post(HISTORY + "restore", data=opened, follow_redirects=True)
    assert "saved other settings meanwhile" in answer.text
    assert "third.firm.example" in answer.text
    assert panel.in_force().revision == 3


def test_a_revision_that_breaks_a_rule_is_refused_with_the_reason(panel: Panel) -> None:
    """Nothing is saved; the rule is named."""
    panel.save()
    with panel.host.state.database.writing() as connection:
        old = sa.text("UPDATE interaction_mail_settings SET fields = :fields WHERE revision = 1")
        connection.execute(old, {"fields": '{"smtp_server": "mail.firm.example"}'})
    panel.save()
    page = panel.get(HISTORY + "1/")
    answer = panel.client.post(HISTORY + "restore", data=form_values(page), follow_redirects=True)
    assert "Default From" in BeautifulSoup(answer.text, "lxml").select_one(".alert").text  # type: ignore[union-attr]
    assert panel.in_force().revision == 2


@pytest.mark.parametrize("revision", ["0", "7", "99999999999999999999"])
def test_a_revision_that_does_not_exist_is_not_found(panel: Panel, revision: str) -> None:
    """Whatever its number."""
    panel.save()
    assert panel.client.get(f"{HISTORY}{revision}/").status_code == 404


@pytest.mark.parametrize("revision", ["", "x", "-1", "99999999999"])
def test_what_is_no_revision_cannot_be_restored(panel: Panel, revision: str) -> None:
    """Not found, and nothing is saved."""
    panel.save()
    sent = form_values(panel.get(HISTORY + "1/")) | {"revision": revision}
    assert panel.client.post(HISTORY + "restore", data=sent).status_code == 404
    assert panel.in_force().revision == 1


def test_who_may_only_look_has_no_button(tmp_path: Path) -> None:
    """Nor links to messages without the right to the outbox."""
    granted = {"history", "view", "edit"}
    with opened_panel(tmp_path, access=lambda right: right in granted) as panel:
        panel.save()
        with panel.host.state.database.writing() as connection:
            deeds.note(connection, What.RELEASED, "Ada", [uuid.uuid4()], clock.now())
        granted -= {"edit"}
        assert not panel.get(HISTORY + "1/").select("main button")
        assert not panel.get(HISTORY).select(f".im-history a[href^='{OUTBOX}']")


def test_who_may_only_look_sees_of_a_webhook_its_host(tmp_path: Path) -> None:
    """Chat services have a key in the path of theirs; who may change it sees it whole."""
    granted = {"history", "view", "edit"}
    url = "https://chat.example/services/T0/key"
    with opened_panel(tmp_path, access=lambda right: right in granted) as panel:
        panel.save(alert_url=url, alert_secret=PASSWORD)
        panel.save(smtp_server="other.firm.example")
        assert url in str(panel.get())
        granted -= {"edit"}
        pages = [panel.get(address) for address in (HOME, HISTORY, HISTORY + "1/")]
        assert all("https://chat.example/…" in page.text for page in pages[:2])
        assert not [page for page in pages if "/key" in str(page)]


def test_a_database_that_cannot_be_written_does_not_keep_a_text_from_its_reader(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who read it is in the log then."""
    panel.save()
    id = a_message(panel)

    def away(*_: object) -> None:
        raise sa.exc.OperationalError("", {}, Exception("locked"))

    monkeypatch.setattr(deeds, "note_reading", away)
    assert "The text" in panel.get(f"{OUTBOX}{id}/").text
    assert "deed.unrecorded: Ada Byron" in caplog.text


def test_an_access_function_that_knows_no_history_is_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In each application; the page stays closed, and the log is not filled."""

    def access(right: str) -> bool:
        return {"view": True, "outbox": True}[str(right)]

    for name in ("first", "second"):
        caplog.clear()
        (tmp_path / name).mkdir()
        with opened_panel(tmp_path / name, access=access) as panel:
            for _ in range(3):
                panel.get(HOME)
            assert panel.client.get(HISTORY).status_code == 403
        assert caplog.text.count("access(history) raised") == 1
