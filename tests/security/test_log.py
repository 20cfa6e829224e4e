"""What is written down when somebody tries what he may not, or when encryption fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]

from flask_interaction_mail import Party, send_notification
from tests.host import Host
from tests.panel import HOME, OUTBOX, TEST, TYPED, Panel, opened_panel
from tests.servers.certificates import other_pki
from tests.servers.scripted import scripted
from tests.terminal import run


@pytest.fixture
def rights() -> set[str]:
    return {"view", "edit", "test", "outbox"}


@pytest.fixture
def panel(tmp_path: Path, rights: set[str]) -> Iterator[Panel]:
    with opened_panel(tmp_path, access=lambda right: right in rights) as opened:
        opened.host.people.user = Party("Eve\r\nERROR forged", "eve", id=7)
        yield opened


def said(caplog: pytest.LogCaptureFixture, event: str) -> str:
    """The only record of that event, a warning."""
    (record,) = [one for one in caplog.records if one.getMessage().startswith(f"{event}:")]
    assert record.levelno == logging.WARNING
    return record.getMessage()


@pytest.mark.parametrize(
    ("taken", "method", "url", "right"),
    [
        ({"view"}, "GET", HOME, "view"),
        ({"edit"}, "POST", HOME, "edit"),
        ({"test"}, "POST", TEST, "test"),
        ({"outbox"}, "GET", OUTBOX, "outbox"),
    ],
)
def test_who_is_turned_away_is_written_down(
    panel: Panel, rights: set[str], caplog: Any, taken: set[str], method: str, url: str, right: str
) -> None:
    """Who, from which page, and for want of which right; in one line, once."""
    rights -= taken
    assert panel.client.open(url, method=method).status_code == 403
    text = said(caplog, "access.refused")
    assert "Eve ERROR forged" in text
    assert f"{right!r}" in text
    assert url in text


def test_who_may_open_a_page_is_not_written_down(panel: Panel, caplog: Any) -> None:
    """Neither pages nor the menu, which asks for every right, are attempts."""
    panel.get()
    assert "access.refused" not in caplog.text


@pytest.mark.parametrize("protected", [False, True], ids=["own token", "CSRFProtect"])
def test_a_wrong_token_is_written_down(panel: Panel, caplog: Any, protected: bool) -> None:
    """Somebody's browser was perhaps made to send it, whoever's token it is."""
    if protected:
        CSRFProtect(panel.host.app)
    assert panel.post(HOME, **TYPED, csrf_token="wrong").status_code == 400
    assert "'/admin/messaging/'" in said(caplog, "access.token")


def test_a_test_too_many_is_written_down(panel: Panel, caplog: Any) -> None:
    """Who tests in a loop looks for something."""
    with scripted() as server:
        typed = {**TYPED, "smtp_server": "127.0.0.1", "smtp_port": str(server.port)}
        for _ in range(11):
            panel.post(TEST, **typed, encryption="none")
    assert "Eve" in said(caplog, "test.too_many")


def test_encryption_that_fails_is_written_down(host: Host, caplog: Any) -> None:
    """One warning with the step and the reason, for as long as the trouble lasts."""
    with scripted({"EHLO": b"250-x\r\n250 STARTTLS\r\n"}, tls=other_pki().server()) as server:
        host.configure(smtp_port=server.port, encryption="starttls")
        with host.app.app_context():
            send_notification("ada", "Hello", text="Hello")
            host.db.session.commit()
        run(host, "worker", "--once")
    text = said(caplog, "server.trouble")
    assert "encryption" in text
    assert "certificate" in text
