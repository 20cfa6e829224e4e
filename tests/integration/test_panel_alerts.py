"""A test alert from the panel: with the form's values, saving nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from flask_interaction_mail import Alert, Party, messaging_alert
from tests.canary import PASSWORD
from tests.panel import HOME, Panel, opened_panel
from tests.servers.receiver import Receiver, receiving

ALERT = HOME + "alert"


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path) as opened:
        yield opened


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def verdict(text: str) -> str:
    """The headline of the result."""
    found = BeautifulSoup(text, "lxml").select_one("#im-result [role=alert] h3")
    assert found is not None, text
    return found.text


def test_the_webhook_in_the_form_is_told(panel: Panel, receiver: Receiver) -> None:
    """With what was typed beside it, which is neither saved nor shown."""
    form = typed(panel, receiver)
    before = panel.in_force()
    answer = panel.post(ALERT, **form)
    assert (answer.status_code, verdict(answer.text)) == (
        200,
        "The webhook has taken the test alert",
    )
    assert receiver.told() == [("test", "test")]
    assert PASSWORD not in answer.text
    assert panel.in_force() == before


def typed(panel: Panel, receiver: Receiver) -> dict[str, str]:
    assert panel.save().status_code == 303
    return {"alert_url": receiver.url, "alert_secret": PASSWORD}


def test_the_stored_secret_signs_for_its_own_url_alone(panel: Panel, receiver: Receiver) -> None:
    """A blank field keeps it; another receiver hears nothing before a secret is typed for it."""
    assert panel.save(**typed(panel, receiver)).status_code == 303
    assert panel.post(ALERT).status_code == 200
    with receiving() as other:
        refused = panel.post(ALERT, alert_url=other.url)
        assert refused.status_code == 400
        assert "Enter the secret" in refused.text
    assert (len(receiver.hooks), other.hooks) == (1, [])


def test_a_webhook_that_refuses_is_shown_with_its_field(panel: Panel, receiver: Receiver) -> None:
    """What it answered, what that means, and where to look."""
    receiver.statuses.append(503)
    answer = panel.post(ALERT, **typed(panel, receiver))
    assert verdict(answer.text) == "The webhook was not told"
    page = BeautifulSoup(answer.text, "lxml")
    assert "answered 503 instead of 2xx" in page.text
    assert [field["data-im-field"] for field in page.select("[data-im-field]")] == ["alert_url"]


def test_without_a_webhook_the_log_and_the_signal_have_it(
    panel: Panel, caplog: pytest.LogCaptureFixture
) -> None:
    """And the page says that nobody else has."""
    heard: list[Alert] = []

    def receive(_: object, alert: Alert) -> None:
        heard.append(alert)

    assert panel.save().status_code == 303
    with messaging_alert.connected_to(receive):
        answer = panel.post(ALERT)
    assert verdict(answer.text) == "The test alert is in the log only"
    assert [alert.state for alert in heard] == ["test"]
    (record,) = [found for found in caplog.records if "alert.test" in found.getMessage()]
    assert record.levelno == logging.WARNING


def test_who_asked_is_named_without_an_address(panel: Panel, receiver: Receiver) -> None:
    """A name may hold one, and more than one line."""
    panel.host.people.user = Party("Ada\n<ada@firm.example>", "ada")
    panel.post(ALERT, **typed(panel, receiver))
    text = receiver.hooks[0].json["text"]
    assert "asked for by Ada" in text
    assert "@" not in text
    assert text.isprintable()


def test_eleven_test_alerts_in_a_minute_are_too_many(panel: Panel, receiver: Receiver) -> None:
    """They count with the other tests, so that nobody can search a network with them."""
    data = panel.fields() | typed(panel, receiver) | {"smtp_server": "mail.firm.example"}
    data |= {"company_domain": "firm.example", "default_to": "desk", "default_from": "crm"}
    answers = [panel.client.post(ALERT, data=data) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429]
    assert len(receiver.hooks) == 10


def test_who_may_not_test_gets_no_button(tmp_path: Path) -> None:
    """It is there for the right that its page asks for."""
    granted = {"view", "edit", "test"}
    with opened_panel(tmp_path, access=lambda right: right in granted) as panel:
        assert len(panel.get().select(f"button[formaction='{ALERT}']")) == 1
        granted.remove("test")
        assert panel.get().select("[data-im-other-test]") == []
