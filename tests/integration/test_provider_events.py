"""Providers post what became of messages: signed, to a URL that nobody logs in to."""

from __future__ import annotations

import io
import ipaddress
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import request
from flask_admin import Admin
from flask_wtf import CSRFProtect  # type: ignore[import-untyped]
from werkzeug.test import EnvironBuilder, TestResponse, run_wsgi_app

from flask_interaction_mail import (
    Notification,
    clock,
    get_notification,
    notification_bounced,
    send_notification,
)
from flask_interaction_mail.outbox import retention, returned
from flask_interaction_mail.returned.events import LIMIT
from flask_interaction_mail.storage.tables import REPORT
from tests.catcher import Catcher
from tests.databases import DIALECTS, fresh_database
from tests.host import Host
from tests.panel import OUTBOX, OpenIndex, Panel
from tests.provider_events import SENDGRID_ID, SES_ID, sendgrid, ses, signed, verification_key
from tests.servers import sns
from tests.servers.sns import CERTIFICATE, TOPIC, Sns, certificate, notice

AMAZON, SENDGRID = "/admin/messaging/events/amazon-ses", "/admin/messaging/events/sendgrid"
BOB, EVE = "bob@firm.example", "eve@firm.example"


def made(url: str, **config: Any) -> Host:
    config = {
        "INTERACTION_MAIL_SNS_TOPICS": [TOPIC],
        "INTERACTION_MAIL_SENDGRID_KEYS": [verification_key()],
        **config,
    }
    return Host(url, admin=Admin(index_view=OpenIndex()), **config)


@pytest.fixture
def host(tmp_path: Path, catcher: Catcher) -> Iterator[Host]:
    host = made(f"sqlite:///{tmp_path}/a.sqlite")
    host.configure(smtp_port=catcher.port)
    yield host
    host.close()


@pytest.fixture(params=DIALECTS)
def any_host(request: pytest.FixtureRequest, tmp_path: Path, catcher: Catcher) -> Iterator[Host]:
    with fresh_database(request.param, tmp_path) as url:
        host = made(url)
        host.configure(smtp_port=catcher.port)
        yield host
        host.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sns]:
    with sns.sns(monkeypatch) as server:
        yield server


def sent(host: Host, catcher: Catcher, taken: str = f"250 Ok {SES_ID}") -> Notification:
    """A message to two, which a provider has taken and named."""
    catcher.taken = taken
    with host.app.app_context():
        notification = send_notification(["bob", "eve"], "Hello", text="Hello")
        host.db.session.commit()
    host.dispatcher().drain()
    return notification


def post(host: Host, told: object, url: str = AMAZON) -> TestResponse:
    """As SNS does: JSON, said to be plain text."""
    body = told if isinstance(told, bytes) else json.dumps(told).encode()
    return host.app.test_client().post(url, data=body, content_type="text/plain; charset=UTF-8")


def post_signed(host: Host, *told: dict[str, Any], **how: Any) -> TestResponse:
    body, headers = signed(*told, **how)
    return host.app.test_client().post(SENDGRID, data=body, headers=headers)


def statuses(host: Host, notification: Notification) -> dict[str, str]:
    with host.app.app_context():
        found = get_notification(notification.id)
    assert found is not None
    return {one.address: str(one.status) for one in found.recipients}


def stored(host: Host) -> list[Any]:
    with host.app.app_context(), host.state.database.reading() as connection:
        return list(connection.execute(sa.select(REPORT)))


# -- Amazon SES ------------------------------------------------------------------------


def test_an_event_of_ses_marks_its_recipient(any_host: Host, catcher: Catcher, server: Sns) -> None:
    """By the name that SES gave in its reply; the certificate is asked for once."""
    notification, heard = sent(any_host, catcher), list[Any]()

    def hear(_: object, notification: Notification) -> None:
        heard.append(notification.id)

    bounce = ses("Bounce", EVE, status="5.1.1", diagnosticCode="smtp; 550 5.1.1 no such user")
    with notification_bounced.connected_to(hear, any_host.app):
        for told in (ses("Delivery", BOB), bounce, bounce, ses("Delivery", EVE)):
            assert post(any_host, notice(told)).status_code == 200
    assert statuses(any_host, notification) == {BOB: "delivered", EVE: "bounced"}
    assert heard == [notification.id]
    assert len(stored(any_host)) == 3
    assert server.asked == [CERTIFICATE.removeprefix(f"https://{sns.HOST}")]


def test_the_answer_counts(host: Host, catcher: Catcher, server: Sns) -> None:
    """Noted, known, and about no message of ours, which is no reason to post it again."""
    sent(host, catcher)
    told = ses("Bounce", BOB)
    assert post(host, notice(told)).json == {"noted": 1}
    assert post(host, notice(told, version="1")).json == {"known": 1}
    told["mail"]["messageId"] = told["mail"]["commonHeaders"]["messageId"] = SES_ID[::-1]
    assert post(host, notice(told)).json == {"unknown": 1}
    assert post(host, notice(ses("Open", BOB))).json == {}
    assert post(host, notice("Successfully validated SNS topic")).json == {}


def test_a_complaint_is_shown_and_changes_nothing(
    host: Host, catcher: Catcher, server: Sns
) -> None:
    notification = sent(host, catcher)
    assert post(host, notice(ses("Complaint", BOB))).json == {"noted": 1}
    assert statuses(host, notification) == {BOB: "sent", EVE: "sent"}
    page = Panel(host).get(f"{OUTBOX}{notification.id}/")
    assert "complaint: abuse" in page.get_text()


def test_the_host_that_protects_forms_lets_it_through(
    host: Host, catcher: Catcher, server: Sns
) -> None:
    """With CSRFProtect, which knows no token of SNS; an own login of the host is another matter."""
    CSRFProtect(host.app)
    sent(host, catcher)
    assert post(host, notice(ses("Bounce", BOB))).json == {"noted": 1}
    assert post_signed(host, sendgrid("open", BOB)).status_code == 200


def test_a_host_that_reads_each_request_does_no_harm(
    host: Host, catcher: Catcher, server: Sns
) -> None:
    """As one that logs bodies."""

    @host.app.before_request
    def read() -> None:
        request.get_data()

    sent(host, catcher)
    assert post(host, notice(ses("Bounce", BOB))).json == {"noted": 1}


@pytest.mark.parametrize(
    ("told", "status"),
    [
        (notice(ses("Bounce", BOB), key="another"), 403),
        (notice(ses("Bounce", BOB)) | {"Message": "{}"}, 403),
        (notice(ses("Bounce", BOB), TopicArn=TOPIC + "2"), 403),
        (notice(ses("Bounce", BOB), Timestamp="2026-01-01T00:00:00.000Z"), 403),
        (notice({}, SigningCertURL=CERTIFICATE.replace(sns.HOST, "evil.example")), 403),
        (ses("Bounce", BOB), 400),  # "raw message delivery", which nobody signs
        (b"to=bob&csrf_token=x", 400),
        (b"[" * 500_000, 400),
        (b" " * (LIMIT + 1), 413),
    ],
    ids=range(9),
)
def test_what_sns_has_not_signed_for_us_does_nothing(
    host: Host, catcher: Catcher, server: Sns, told: object, status: int
) -> None:
    """Nothing is stored, and only a certificate of SNS is asked for."""
    notification = sent(host, catcher)
    answer = post(host, told)
    assert answer.status_code == status
    assert answer.json is not None
    assert [*answer.json] == ["error"]
    assert "firm.example" not in answer.text
    assert stored(host) == []
    assert statuses(host, notification) == {BOB: "sent", EVE: "sent"}
    assert {path.partition("-")[0] for path in server.asked} <= {"/SimpleNotificationService"}


def test_a_subscription_of_our_topic_is_confirmed(host: Host, server: Sns) -> None:
    """At SNS itself, whatever URL is in it; that of another topic, or a forged one, is not."""
    evil = "https://evil.example/?Action=ConfirmSubscription"
    kind = "SubscriptionConfirmation"
    assert post(host, notice("x", kind, SubscribeURL=evil)).status_code == 200
    (path,) = [path for path in server.asked if "Action" in path]
    assert path == (
        "/?Action=ConfirmSubscription"
        f"&TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Amail&Token={sns.TOKEN}"
    )
    server.asked.clear()
    forged = [notice("x", kind, TopicArn=TOPIC + "2"), notice("x", kind, key="another")]
    forged += [notice("x", kind) | {"Token": sns.TOKEN[::-1]}]
    for told in forged:
        assert post(host, told).status_code == 403
    ended = notice("x", "UnsubscribeConfirmation")
    assert post(host, ended).json == {}
    assert [path for path in server.asked if "Action" in path] == []


def test_what_cannot_be_decided_now_is_posted_again(
    host: Host, catcher: Catcher, server: Sns
) -> None:
    """503 while the certificate or the database cannot be had; then it is noted."""
    sent(host, catcher)
    told = notice(ses("Bounce", BOB))
    server.status = 500
    assert post(host, told).status_code == 503
    server.status = 200
    with host.state.database.writing() as connection:
        connection.execute(sa.text("ALTER TABLE interaction_mail_report RENAME TO elsewhere"))
    assert post(host, told).status_code == 503
    with host.state.database.writing() as connection:
        connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO interaction_mail_report"))
    assert post(host, told).json == {"noted": 1}


def test_sns_is_asked_only_where_connections_may_go(
    tmp_path: Path, server: Sns, catcher: Catcher
) -> None:
    """The rule of mail servers holds, and redirects are not followed."""
    denied = [str(ipaddress.ip_network("127.0.0.0/8"))]
    host = made(f"sqlite:///{tmp_path}/a.sqlite", INTERACTION_MAIL_DENY_NETWORKS=denied)
    assert post(host, notice(ses("Bounce", BOB))).status_code == 503
    assert server.asked == []
    host.close()


def test_strangers_cannot_have_sns_asked_without_end(host: Host, server: Sns) -> None:
    """Who knows the topic may name any certificate: 20 requests a minute, and one at a time."""
    server.status = 404
    start = threading.Barrier(4)

    def stranger(first: int) -> None:
        start.wait()
        for number in range(first, first + 10):
            url = CERTIFICATE.replace("0123456789abcdef", f"{number}")
            assert post(host, notice({}, SigningCertURL=url)).status_code == 503

    threads = [threading.Thread(target=stranger, args=(first * 10,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 20


def test_a_new_certificate_is_taken(host: Host, catcher: Catcher, server: Sns) -> None:
    """SNS has a new one each year, at another URL; one that has ended signs nothing."""
    sent(host, catcher)
    assert post(host, notice(ses("Delivery", BOB))).json == {"noted": 1}
    server.pem = certificate("next")
    url = CERTIFICATE.replace("0123", "4567")
    told = notice(ses("Bounce", BOB), key="next", SigningCertURL=url)
    assert post(host, told).json == {"noted": 1}
    server.pem = certificate("next", days=-1)
    url = CERTIFICATE.replace("0123", "89ab")
    told = notice(ses("Complaint", BOB), key="next", SigningCertURL=url)
    assert post(host, told).status_code == 403


def test_the_same_event_at_the_same_moment_is_one(
    any_host: Host, catcher: Catcher, server: Sns
) -> None:
    """As SNS posts again what was not answered in time, to any process."""
    sent(any_host, catcher)
    told, answers, start = notice(ses("Bounce", BOB)), list[Any](), threading.Barrier(4)

    def one() -> None:
        start.wait()
        answers.append(post(any_host, told).json)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == [*["{'known': 1}"] * 3, "{'noted': 1}"]
    assert len(stored(any_host)) == len(server.asked) == 1


# -- SendGrid --------------------------------------------------------------------------


def test_events_of_sendgrid_mark_their_recipients(any_host: Host, catcher: Catcher) -> None:
    """Many in one request, by our Message-ID or by the name in SendGrid's reply."""
    notification = sent(any_host, catcher, f"250 Ok: queued as {SENDGRID_ID}")
    ours = {"smtp-id": str(notification.message_id), "sg_message_id": "x"}
    answer = post_signed(
        any_host,
        sendgrid("processed", BOB, 1),
        sendgrid("deferred", BOB, 2, response="451 4.7.1 later"),
        sendgrid("delivered", BOB, 3, response="250 2.0.0 OK"),
        sendgrid("bounce", EVE, 4, type="bounce", status="5.1.1", reason="550 5.1.1 no", **ours),
        sendgrid("bounce", EVE, 5, sg_message_id="y" * 22 + ".x"),
    )
    assert answer.json == {"noted": 3, "unknown": 1}
    assert statuses(any_host, notification) == {BOB: "delivered", EVE: "bounced"}


def test_what_sendgrid_has_not_signed_does_nothing(host: Host, catcher: Catcher) -> None:
    """By another key, long ago, with another body, or not at all."""
    sent(host, catcher, f"250 Ok: queued as {SENDGRID_ID}")
    told = sendgrid("bounce", BOB)
    assert post_signed(host, told, key="another").status_code == 403
    assert post_signed(host, told, at=1600112502).status_code == 403
    body, headers = signed(told)
    client = host.app.test_client()
    for data, given in ((body + b" ", headers), (body, {}), (b"", headers)):
        assert client.post(SENDGRID, data=data, headers=given).status_code == 403
    assert stored(host) == []
    assert client.post(SENDGRID, data=body, headers=headers).json == {"noted": 1}
    assert client.post(SENDGRID, data=body, headers=headers).json == {"known": 1}


def test_an_event_that_cannot_be_stored_keeps_no_other_back(
    host: Host, catcher: Catcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the log, and is posted again for a while."""
    sent(host, catcher, f"250 Ok: queued as {SENDGRID_ID}")
    note = returned.note

    def failing(database: Any, found: Any, *rest: Any, **more: Any) -> Any:
        if found.notes[0].final == (BOB,):
            raise sa.exc.DataError("x", {}, ValueError("odd"))
        return note(database, found, *rest, **more)

    monkeypatch.setattr(returned, "note", failing)
    answer = post_signed(host, sendgrid("bounce", BOB), sendgrid("bounce", EVE, 2))
    assert (answer.status_code, answer.json) == (503, {"failed": 1, "noted": 1})


# -- both ------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [True, False])
def test_no_more_is_read_than_providers_post(host: Host, announced: bool) -> None:
    """1 MiB, whether its length was announced, or it comes in chunks."""
    length = {"CONTENT_LENGTH": str(LIMIT + 1)} if announced else {"wsgi.input_terminated": True}
    environ = EnvironBuilder(path=SENDGRID, method="POST").get_environ()
    body = io.BytesIO(b" " * (3 * LIMIT))
    environ.pop("CONTENT_LENGTH", None)
    _, status, _ = run_wsgi_app(host.app, environ | {"wsgi.input": body} | length)
    assert status.startswith("413")
    assert body.tell() <= (0 if announced else LIMIT + 1)


@pytest.mark.parametrize("method", ["get", "post", "put"])
def test_without_configuration_there_is_no_such_url(tmp_path: Path, method: str) -> None:
    """404 for each that is not configured, whatever is sent."""
    nothing: Mapping[str, Any] = {
        "INTERACTION_MAIL_SNS_TOPICS": None,
        "INTERACTION_MAIL_SENDGRID_KEYS": [],
    }
    host = made(f"sqlite:///{tmp_path}/a.sqlite", **nothing)
    body, headers = signed(sendgrid("bounce", BOB))
    client = host.app.test_client()
    for url in (AMAZON, SENDGRID, AMAZON.replace("amazon-ses", ""), SENDGRID + "/"):
        for data in (body, json.dumps(notice({})).encode()):
            answer = getattr(client, method)(url, data=data, headers=headers)
            assert answer.status_code in ((404,) if method == "post" else (404, 405))
    host.close()


def test_an_event_is_kept_as_json_and_erased_with_the_address(
    tmp_path: Path, catcher: Catcher, server: Sns
) -> None:
    """Each by itself: a request may name strangers, too."""
    host = made(f"sqlite:///{tmp_path}/a.sqlite", access=lambda _: True)
    host.configure(smtp_port=catcher.port)
    notification = sent(host, catcher)
    post(host, notice(ses("Bounce", BOB, "jörg@firm.example", status="5.1.1")))
    (row,) = stored(host)
    assert json.loads(row.content)["bounce"]["bouncedRecipients"][0]["emailAddress"] == BOB
    answer = Panel(host).client.get(f"{OUTBOX}{notification.id}/reports/{row.digest}.eml")
    assert (answer.data, answer.mimetype) == (row.content, "application/json")
    assert answer.headers["Content-Disposition"].endswith(".json")
    with host.app.app_context():
        retention.erase(host.state.database, "jörg@firm.example", now=clock.now())
    (row,) = stored(host)
    assert row.content is None
    host.close()
