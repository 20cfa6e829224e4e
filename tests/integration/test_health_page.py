"""``messaging/health``: for monitors with a token, in JSON and for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask_admin import Admin
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from flask_interaction_mail import SettingsError, Stage, TransportError, clock, send_notification
from flask_interaction_mail.config import parse
from flask_interaction_mail.outbox import breaker, probes
from flask_interaction_mail.outbox.conditions import AlertName
from flask_interaction_mail.settings.model import relay_of
from tests import outbox_rows
from tests.host import ADA, Host
from tests.panel import OpenIndex

URL = "/admin/messaging/health"
TOKEN = "token-of-the-monitor"
SAID = "550 5.7.1 <crm@firm.example> is listed"
# What Prometheus 3 sends.
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    url = f"sqlite:///{tmp_path}/a.sqlite"
    admin = Admin(index_view=OpenIndex())
    host = Host(url, admin=admin, INTERACTION_MAIL_HEALTH_TOKEN=TOKEN)
    host.configure()
    yield host
    host.close()


def ask(host: Host, token: str | None = TOKEN, url: str = URL, **headers: str) -> TestResponse:
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return host.app.test_client().get(url, headers=headers)


def break_server(host: Host) -> None:
    relay = relay_of(host.state.settings.current().settings)
    error = TransportError(SAID, stage=Stage.SENDER)
    with host.state.database.writing() as connection:
        breaker.trip(connection, relay, error, worker="w", now=clock.now())


def store(host: Host, **row: Any) -> None:
    with host.app.app_context():
        id = send_notification(ADA, "Subject", text="Text").id
        host.db.session.commit()
    with host.state.database.writing() as connection:
        outbox_rows.change(connection, id, **row)


def test_all_is_well(host: Host) -> None:
    """200, and all figures at zero; with and without a slash at the end, which monitors vary."""
    for url in (URL, f"{URL}/"):
        answer = ask(host, url=url)
        assert (answer.status_code, answer.mimetype) == (200, "application/json")
        assert answer.json == {
            "status": "ok",
            "configured": True,
            "paused": False,
            "alerts": [],
            "waiting": 0,
            "oldest_waiting_seconds": 0,
            "sent_last_hour": 0,
            "failed_last_hour": 0,
            "delivering_processes": 0,
            "certificate_expires": None,
            "without_relay": 0,
            "relays": {"default": "ok"},
        }


def test_an_alert_is_503(host: Host) -> None:
    """With its name, and nothing that a server said."""
    break_server(host)
    store(host, due_at=clock.now() - timedelta(minutes=16))
    store(host, status="failed", due_at=None, finished_at=clock.now())
    answer = ask(host)
    assert answer.status_code == 503
    told = answer.json
    assert told is not None
    assert [alert["name"] for alert in told["alerts"]] == ["server", "waiting", "nobody"]
    assert told["alerts"][0]["title"] == "The mail server is in trouble"
    assert (told["status"], told["waiting"], told["failed_last_hour"]) == ("alert", 1, 1)
    assert 16 * 60 <= told["oldest_waiting_seconds"] < 17 * 60
    for text in ("@", "listed", "firm.example", "Subject"):
        assert text not in answer.text


def test_prometheus_reads_it(host: Host) -> None:
    """By its own parser; 200 also in trouble, as it drops the figures of a 503."""
    break_server(host)
    relay = relay_of(host.state.settings.current().settings)
    ends = clock.now() + timedelta(days=30)
    with host.state.database.writing() as connection:
        every = timedelta(minutes=15)
        probes.passed(connection, relay, ends, every=every, worker="w", now=clock.now())
    asked = [ask(host, Accept=PROMETHEUS), ask(host, url=f"{URL}?format=prometheus")]
    for answer in asked:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        assert {family.type for family in families.values()} == {"gauge"}
        held = {
            sample.labels["name"]: sample.value
            for sample in families["interaction_mail_alert"].samples
        }
        assert held == {name: float(name is AlertName.SERVER) for name in AlertName}
        (sample,) = families["interaction_mail_certificate_expiry_timestamp_seconds"].samples
        assert sample.value == pytest.approx(clock.from_db(ends).timestamp())
        assert "@" not in answer.text


def test_each_metric_stands_in_the_documentation(host: Host) -> None:
    """And in the documentation stands none that there is not."""
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text("utf-8")
    text = ask(host, url=f"{URL}?format=prometheus").text
    for family in text_string_to_metric_families(text):
        assert f"`{family.name}" in page


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html", ""])
def test_others_get_json(host: Host, accept: str) -> None:
    assert ask(host, Accept=accept).mimetype == "application/json"


@pytest.mark.parametrize("token", [None, "", "x", TOKEN + "x", TOKEN[:-1], "\xe9"])
def test_without_the_token_nothing_is_told(host: Host, token: str | None) -> None:
    """401, before the database is asked."""
    asked: list[Any] = []
    with host.app.app_context():
        engine = host.db.engine
    sa.event.listen(engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    answer = ask(host, token)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert asked == []
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_token_is_no_password_of_basic(host: Host) -> None:
    """Nor a parameter, which would stand in logs."""
    client = host.app.test_client()
    assert client.get(URL, auth=("x", TOKEN)).status_code == 401
    assert client.get(f"{URL}?token={TOKEN}").status_code == 401


def test_without_a_token_in_the_configuration_there_is_no_page(tmp_path: Path) -> None:
    """404, whatever is sent."""
    host = Host(f"sqlite:///{tmp_path}/a.sqlite", admin=Admin(index_view=OpenIndex()))
    assert [ask(host, token).status_code for token in (None, "", "None", TOKEN)] == [404] * 4
    host.close()


def test_it_is_neither_in_the_menu_nor_a_tab(host: Host) -> None:
    """It is not for people, with the token or without."""
    for token in (None, TOKEN):
        for page in ("/admin/", "/admin/messaging/"):
            answer = ask(host, token, url=page)
            assert answer.status_code == 200
            assert URL not in answer.text


def test_a_database_that_is_broken_is_503(host: Host) -> None:
    """Nothing is known then, and nothing of the database is told."""
    with host.state.database.writing() as connection:
        connection.execute(sa.text("DROP TABLE interaction_mail_check"))
    for accept in ("*/*", "text/plain"):
        answer = ask(host, Accept=accept)
        assert (answer.status_code, answer.json) == (503, {"status": "unknown"})


@pytest.mark.parametrize("token", ["", "  ", "two words", "ümlaut", "a\nb", 5, "a=b", "a,b"])
def test_a_token_that_no_header_can_carry_is_refused(token: object) -> None:
    """At the start, and without showing it."""
    with pytest.raises(SettingsError, match="INTERACTION_MAIL_HEALTH_TOKEN") as caught:
        parse({"INTERACTION_MAIL_HEALTH_TOKEN": token})
    assert not str(token).strip() or str(token) not in str(caught.value)
    assert TOKEN not in repr(parse({"INTERACTION_MAIL_HEALTH_TOKEN": TOKEN}))


@pytest.mark.parametrize("key", ["ALERT_URL", "ALERT_SECRET"])
def test_a_wrong_key_of_the_webhook_is_named(key: str) -> None:
    """By its own name, not as an override."""
    with pytest.raises(SettingsError) as caught:
        parse({f"INTERACTION_MAIL_{key}": "ftp://x\n"})
    assert [*caught.value.errors] == [f"INTERACTION_MAIL_{key}"]
