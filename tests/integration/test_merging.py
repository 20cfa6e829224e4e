"""The merge request, end to end as far as the outbox: who is asked, once, whatever happens."""

from __future__ import annotations

import email
import email.policy
import re
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import abort, current_app
from werkzeug.exceptions import HTTPException

from flask_interaction_mail import (
    Contact,
    Merge,
    Notification,
    Party,
    Role,
    merge_completed,
    merge_denied,
    notification_failed,
    operations,
    request_merge,
)
from tests import outbox_rows
from tests.host import ADA, NAMELESS, STEWARDS, Host, a_merge, opened
from tests.transactions import give_up_what_waits

PARTNERS = Party("Partners", "partners", id=12, kind="group")
OWNER = Party("Olga Owner", "olga", id=20, role=Role.FOLDER_OWNER)


def deny(host: Host, merge: Merge | None = None) -> Notification:
    """What a view does that denies a merge."""
    with host.app.app_context():
        notification = request_merge(merge or a_merge(requester=ADA))
        assert notification is not None
        return notification


def to(host: Host) -> list[str]:
    message = content(host)
    return [str(one.addr_spec) for one in message["To"].addresses]


def content(host: Host, index: int = -1) -> EmailMessage:
    message = email.message_from_bytes(host.rows()[index].content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def body(host: Host) -> str:
    part = content(host).get_body(("plain",))
    assert isinstance(part, EmailMessage)
    return str(part.get_content())


# -- who is asked ----------------------------------------------------------------------


def test_r25_only_a_denial_sends_a_request(host: Host) -> None:
    """Another failure of a merge emits nothing; the signal is what sends."""
    with host.app.app_context():
        host.db.session.rollback()
    assert host.rows() == []
    merge_denied.send(host.app, merge=a_merge(requester=ADA))
    assert len(host.rows()) == 1


def test_r26_r39_the_request_names_both_contacts_and_the_requester(host: Host) -> None:
    """With links where the host gives them, in text and in HTML."""
    deny(host, a_merge(requester=ADA, reason="same phone"))
    text = body(host)
    for part in ("Acme Ltd", "https://crm.example/c/1", "ACME Limited", "Ada Byron", "same phone"):
        assert part in text
    html = content(host).get_body(("html",))
    assert isinstance(html, EmailMessage)
    assert re.search('<a href="https://crm.example/c/1"[^>]*>Acme Ltd</a>', html.get_content())
    assert content(host)["Subject"] == "Please merge: Acme Ltd and ACME Limited"


def test_r39_reply_to_is_the_requester_where_from_is_the_default(host: Host) -> None:
    """The recipient sees at a glance who asked."""
    host.configure(from_policy="default_from")
    deny(host)
    assert content(host)["From"] == "crm@firm.example"
    assert content(host)["Reply-To"] == "Ada Byron <ada@firm.example>"


def test_r27_r29_r30_the_group_that_may_merge_there_is_asked_by_its_own_address(
    host: Host,
) -> None:
    """One RCPT, whoever is in the group."""
    notification = deny(host)
    assert to(host) == ["stewards@firm.example"]
    assert "Data Stewards" in " ".join(notification.route)
    assert notification.kind == "request"


def test_r28_each_location_has_its_own_recipient_in_one_message(host: Host) -> None:
    """Two locations, two groups, one message; a location without an address adds default To."""
    host.people.mergers["Partners"] = [PARTNERS]
    deny(host, a_merge("Firm List", "Partners", requester=ADA))
    assert to(host) == ["stewards@firm.example", "partners@firm.example"]
    deny(host, a_merge("Firm List", "Nowhere", requester=ADA, ids=(3, 4)))
    assert to(host) == ["stewards@firm.example", "merge-desk@firm.example"]


@pytest.mark.parametrize("address", [None, "", "  "])
def test_r31_a_group_without_an_address_means_the_default_to(
    host: Host, address: str | None
) -> None:
    """Missing or blank, with the reason in the route."""
    host.people.mergers["Firm List"] = [Party("Quiet", address, kind="group")]
    notification = deny(host)
    assert to(host) == ["merge-desk@firm.example"]
    assert "Quiet has no address" in " ".join(notification.route)


def test_r32_no_group_means_the_default_to_and_of_several_the_first_with_an_address(
    host: Host,
) -> None:
    """The host's order decides."""
    host.people.mergers["Firm List"] = []
    deny(host)
    assert to(host) == ["merge-desk@firm.example"]
    host.people.mergers["Firm List"] = [NAMELESS, PARTNERS, STEWARDS]
    deny(host, a_merge(requester=ADA, ids=(5, 6)))
    assert to(host) == ["partners@firm.example"]


def test_r33_a_folder_owner_without_an_address_is_served_by_the_default_to(host: Host) -> None:
    """Not only groups are."""
    host.people.mergers["Firm List"] = [Party("Olga", None, role=Role.FOLDER_OWNER)]
    deny(host)
    assert to(host) == ["merge-desk@firm.example"]


def test_r6_somebody_without_the_desktop_client_is_passed_over(host: Host) -> None:
    """The next one is asked; if nobody is left, the default To, because somebody must act."""
    secretary = Party("Sue", "sue", role=Role.SECRETARY)
    host.people.mergers["Firm List"] = [secretary, STEWARDS]
    deny(host)
    assert to(host) == ["stewards@firm.example"]
    host.people.mergers["Firm List"] = [secretary]
    notification = deny(host, a_merge(requester=ADA, ids=(5, 6)))
    assert to(host) == ["merge-desk@firm.example"]
    assert "Sue" in " ".join(notification.route)


def test_r5_an_ordinary_user_gets_mail_only_as_a_resolved_recipient(host: Host) -> None:
    """Neither the requester nor anybody else is copied in."""
    deny(host)
    assert host.recipients() == ["stewards@firm.example"]
    assert content(host)["Cc"] is None


def test_r38_r42_the_requester_is_who_the_signal_names_else_who_is_logged_in(host: Host) -> None:
    """And nobody at all is fine, too."""
    host.people.user = OWNER
    deny(host)
    assert content(host)["From"] == "Ada Byron <ada@firm.example>"
    deny(host, a_merge(ids=(5, 6)))
    assert content(host)["From"] == "Olga Owner <olga@firm.example>"
    host.people.user = None
    deny(host, a_merge(ids=(7, 8)))
    assert content(host)["From"] == "crm@firm.example"
    assert "Somebody" in body(host)


def test_r40_a_foreign_requester_appears_as_via(host: Host) -> None:
    """From stays in our domain, the envelope sender is default From, answers go to the person."""
    foreign = Party("Fay", "fay@other.example", id=30)
    host.configure(sender_name="The Firm")
    deny(host, a_merge(requester=foreign))
    assert content(host)["From"] == "Fay via The Firm <crm@firm.example>"
    assert content(host)["Reply-To"] == "Fay <fay@other.example>"
    assert host.rows()[0].envelope_sender == "crm@firm.example"


# -- whatever the host does ------------------------------------------------------------


def test_r1_r4_a_denial_survives_every_end_of_the_request(any_host: Host) -> None:
    """abort(403), a rolled back block, an error handler that rolls back, a crash."""
    app, db = any_host.app, any_host.db

    def denied(first: int) -> None:
        merge_denied.send(
            current_app,  # type: ignore[arg-type]  # a proxy as sender works, too
            merge=a_merge(requester=ADA, ids=(first, first + 1)),
        )

    @app.route("/abort")
    def _abort() -> str:
        db.session.add(any_host.Thing(name="gone"))
        db.session.flush()
        denied(1)
        abort(403)

    @app.route("/block")
    def _block() -> str:
        with db.session.begin():
            denied(3)
            abort(403)

    @app.route("/crash")
    def _crash() -> str:
        denied(5)
        raise ZeroDivisionError

    @app.errorhandler(HTTPException)
    def _handler(error: HTTPException) -> HTTPException:
        db.session.rollback()
        return error

    client = app.test_client()
    assert [client.get(path).status_code for path in ("/abort", "/block", "/crash")] == [
        403,
        403,
        500,
    ]
    assert len(any_host.rows()) == 3
    with app.app_context():
        assert db.session.query(any_host.Thing).count() == 0


def test_r4_while_unconfigured_the_request_is_kept_as_failed_and_sent_anew_on_resend(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A typed reason, an ERROR in the log, a signal, and a resend once configured."""
    failed: list[str | None] = []

    def hear(_: Any, notification: Notification) -> None:
        failed.append(notification.reason)

    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        with notification_failed.connected_to(hear, host.app):
            merge_denied.send(host.app, merge=a_merge(requester=ADA))
        (row,) = host.rows()
        assert (row.status, row.reason) == ("failed", "not_configured")
        assert "Configuration → Messaging" in row.detail
        assert failed == ["not_configured"]
        assert any(record.levelname == "ERROR" for record in caplog.records)
        again = deny(host)
        assert again.id == row.id
        host.configure()
        with host.app.app_context():
            sent = operations.resend(host.state, row.id)
        assert sent.status == "queued"
        assert to(host) == ["stewards@firm.example"]


def test_r4_a_request_that_failed_does_not_stand_in_the_way_once_configured(
    tmp_path: Path,
) -> None:
    """The next click then makes a request that leaves."""
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        first = deny(host)
        host.configure()
        second = deny(host)
        assert (first.status, second.status) == ("failed", "queued")


@pytest.mark.parametrize("merge", [None, "x", 7])
def test_r4_rubbish_in_a_signal_is_logged_and_the_host_goes_on(
    host: Host, merge: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A mail problem never turns a denial into a 500."""
    merge_denied.send(host.app, merge=merge)
    merge_completed.send(host.app, merge=merge)
    merge_denied.send(host.app)
    assert "merge=Merge(...)" in caplog.text
    assert host.rows() == []


def test_r4_broken_tables_never_break_the_hosts_request(
    host: Host, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The denial is logged, the host's own work commits."""
    with host.app.app_context():
        host.state.database.check_tables(host.db.session.connection())
        host.db.session.rollback()
        for table in reversed(list(host.db.metadata.tables)):
            if table.startswith("interaction_mail"):
                host.db.session.execute(sa.text(f"DROP TABLE {table}"))
        host.db.session.commit()
        host.db.session.add(host.Thing(name="kept"))
        assert request_merge(a_merge(requester=ADA)) is None
        host.db.session.commit()
        assert host.db.session.query(host.Thing).count() == 1
    assert "notification.delayed: the request of Ada Byron to merge Acme Ltd" in caplog.text
    give_up_what_waits(monkeypatch)


def test_a_broken_directory_sends_the_request_to_the_default_to(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    """No answer is an answer."""
    host.people.merge_recipients = lambda _: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    deny(host)
    assert to(host) == ["merge-desk@firm.example"]
    assert "Directory.merge_recipients raised" in caplog.text


def test_a_foreign_app_is_none_of_our_business() -> None:
    """The one receiver hears every app, also those without the extension."""
    from flask import Flask

    merge_denied.send(Flask("other"), merge=a_merge())


def test_hostile_names_stay_names(host: Host) -> None:
    """Line breaks and mark-up in data of the CRM neither inject nor lose the request."""
    evil = Contact(1, "Acme\r\nBcc: x@evil.example", location="Firm List", url="javascript:x")
    other = Contact(2, "<img src=x onerror=y>", location="Firm List")
    deny(host, Merge((evil, other), requester=Party("Eve\r\nCc: z@evil.example", "eve")))
    message = content(host)
    assert message["Bcc"] is None
    assert message["Cc"] is None
    html = message.get_body(("html",))
    assert isinstance(html, EmailMessage)
    assert "<img" not in html.get_content()
    assert "javascript:" not in html.get_content()
    assert host.recipients() == ["stewards@firm.example"]


# -- once ------------------------------------------------------------------------------


def test_ten_clicks_are_one_request(any_host: Host) -> None:
    """Each call gets the same notification back, whichever contact is named first."""
    first = deny(any_host)
    swapped = Merge(tuple(reversed(a_merge().contacts)), requester=ADA)  # type: ignore[arg-type]
    assert {deny(any_host).id for _ in range(5)} | {deny(any_host, swapped).id} == {first.id}
    with any_host.app.app_context():
        one = request_merge(a_merge(requester=ADA, ids=(8, 9)))
        two = request_merge(a_merge(requester=ADA, ids=(8, 9)))
        assert one is not None
        assert two is not None
        assert one.id == two.id
    assert len(any_host.rows()) == 2


def test_another_requester_or_another_pair_is_another_request(host: Host) -> None:
    """The window is for one pair and one person."""
    deny(host)
    deny(host, a_merge(requester=OWNER))
    deny(host, a_merge(requester=ADA, ids=(1, 3)))
    assert len(host.rows()) == 3


def test_after_the_window_a_new_request_joins_the_thread(host: Host) -> None:
    """In-Reply-To names the request before."""
    first = deny(host)
    with host.app.app_context(), host.state.database.writing() as connection:
        early = host.rows()[0].created_at - timedelta(hours=25)
        outbox_rows.change(connection, created_at=early)
    second = deny(host)
    assert second.id != first.id
    assert content(host)["In-Reply-To"] == first.message_id


# -- merged meanwhile ------------------------------------------------------------------


def test_a_completed_merge_tells_the_owners_and_calls_the_request_back(any_host: Host) -> None:
    """Owners of the folders, except who did it; the pending request is cancelled."""
    any_host.people.owners["Firm List"] = [OWNER, ADA]
    request = deny(any_host)
    with any_host.app.app_context():
        merge_completed.send(any_host.app, merge=a_merge(requester=ADA))
        any_host.db.session.commit()
    states = {row.id: (row.status, row.reason) for row in any_host.rows()}
    assert states.pop(request.id) == ("cancelled", "merged")
    assert list(states.values()) == [("queued", None)]
    news = next(row for row in any_host.rows() if row.id != request.id)
    assert news.kind == "notification"
    assert news.subject == "Merged: Acme Ltd and ACME Limited"
    assert any_host.recipients() == ["olga@firm.example", "stewards@firm.example"]


def test_a_completed_merge_joins_the_hosts_transaction(host: Host) -> None:
    """Rolled back, it never happened."""
    host.people.owners["Firm List"] = [OWNER]
    request = deny(host)
    with host.app.app_context():
        merge_completed.send(host.app, merge=a_merge(requester=ADA))
        host.db.session.rollback()
    assert [(row.id, row.status) for row in host.rows()] == [(request.id, "queued")]


def test_without_owners_nobody_is_told(host: Host) -> None:
    """Not even the default To: it is news, not a request."""
    with host.app.app_context():
        merge_completed.send(host.app, merge=a_merge(requester=ADA))
        host.db.session.commit()
    assert host.rows() == []


def test_the_directory_is_asked_once_for_each_location(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the language and for the recipients alike: a host may have to query for it."""
    asked: list[str] = []

    def merge_recipients(location: str) -> list[Party]:
        asked.append(location)
        return [STEWARDS]

    monkeypatch.setattr(host.people, "merge_recipients", merge_recipients)
    deny(host)
    assert len(asked) == len(set(asked)) > 0
