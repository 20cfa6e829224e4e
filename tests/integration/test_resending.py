"""Sending again: only what has ended, and a second time only for those who know of the first."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import (
    Notification,
    Party,
    cancel_notification,
    get_notification,
    operations,
    send_notification,
)
from flask_interaction_mail.errors import SentAgain, StillWaiting
from flask_interaction_mail.storage.tables import DELIVERY
from tests.catcher import Catcher, catching
from tests.host import ADA, Host, opened
from tests.panel import Panel, form_values, opened_panel
from tests.terminal import done, run

OUTBOX = "/admin/messaging/outbox/"
OPEN = ("queued", "deferred", "held", "sending")
FINAL = ("sent", "failed", "suppressed", "cancelled")


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path) as panel:
        panel.host.configure()
        yield panel


def put(host: Host, status: str, **others: Any) -> uuid.UUID:
    """A message that delivery has brought to ``status``."""
    with host.app.app_context():
        sent = send_notification("bob", "Hello", text="x", **others)
        host.db.session.commit()
    with host.app.app_context(), host.db.engine.begin() as connection:
        change = sa.update(DELIVERY).where(DELIVERY.c.id == sent.id)
        connection.execute(change.values(status=status, due_at=None))
    return sent.id


def resend(host: Host, id: uuid.UUID, **named: Any) -> Notification:
    with host.app.app_context():
        return operations.resend(host.state, id, **named)


# Why an open message is not sent again, whether it is under way or waits.
WHY = {True: "The server has not answered yet", False: "It is still waiting"}


# -- the rule ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", OPEN)
def test_an_open_message_is_not_sent_again(host: Host, status: str) -> None:
    """Both could leave; nothing is stored."""
    id = put(host, status)
    with pytest.raises(StillWaiting, match=WHY[status == "sending"]):
        resend(host, id)
    assert len(host.rows()) == 1


@pytest.mark.parametrize("status", FINAL)
def test_a_final_message_is_sent_again_once(any_host: Host, status: str) -> None:
    """The second time who asks has to know of the first; then there is a third message."""
    id = put(any_host, status)
    first = resend(any_host, id, by="Ann Admin")
    with pytest.raises(SentAgain, match=r"sent again on 20\d\d-.* UTC by Ann Admin\.") as caught:
        resend(any_host, id)
    assert caught.value.newest == first.id
    second = resend(any_host, id, after=first.id)
    with pytest.raises(SentAgain):
        resend(any_host, id, after=first.id)  # knows of the first alone
    assert {row.id for row in any_host.rows()} == {id, first.id, second.id}
    assert {row.resend_of for row in any_host.rows()} == {None, id}


def test_what_was_sent_again_meanwhile_is_seen_in_the_transaction_that_writes(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who is quicker has sent it again while it was composed here."""
    id = put(host, "failed")
    compose = operations.compose_in
    quicker: list[Notification] = []

    def slowly(state: Any, *given: Any) -> Any:
        if not quicker:
            monkeypatch.setattr(operations, "compose_in", compose)
            quicker.append(operations.resend(state, id))
        return compose(state, *given)

    monkeypatch.setattr(operations, "compose_in", slowly)
    with pytest.raises(SentAgain):
        resend(host, id)
    assert {row.id for row in host.rows()} == {id, quicker[0].id}


def test_two_who_press_at_once_make_one(any_host: Host) -> None:
    """The other is told that it was sent again."""
    id = put(any_host, "failed")
    barrier = threading.Barrier(4)
    came: list[str] = []

    def press() -> None:
        barrier.wait(20)
        try:
            resend(any_host, id)
        except Exception as error:
            came.append(type(error).__name__)
        else:
            came.append("sent")

    threads = [threading.Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(came) == ["SentAgain"] * 3 + ["sent"]
    assert len(any_host.rows()) == 2


def test_a_resend_stays_the_affair_of_whoever_caused_the_first(host: Host) -> None:
    """Who pressed the button is kept beside that: a request still counts as its requester's."""
    id = put(host, "failed")
    resend(host, id, by="Ann Admin")
    first, second = host.rows()
    assert (second.actor, second.resent_by) == (first.actor, "Ann Admin")


def test_a_resend_keeps_the_key(any_host: Host) -> None:
    """So that nobody sends a third, and the host can call it back by the name that it knows."""
    id = put(any_host, "failed", key="order-1")
    again = resend(any_host, id)
    assert (again.key, again.earlier) == ("order-1", id)
    with any_host.app.app_context():
        assert get_notification(key="order-1") == again
        assert send_notification("bob", "Hello", text="x", key="order-1") == again
        assert cancel_notification(key="order-1") is True
        third = send_notification("bob", "Hello", text="x", key="order-1")
        assert third.earlier == again.id


def test_a_key_whose_first_message_left_stays_used_when_a_resend_fails(host: Host) -> None:
    """One that has left keeps its meaning, whatever became of what was made of it."""
    id = put(host, "sent", key="order-1")
    with host.app.app_context():
        again = operations.resend(host.state, id)
        assert cancel_notification(again.id) is True
        assert send_notification("bob", "Hello", text="x", key="order-1").id == id


# -- the page ----------------------------------------------------------------------------


def token(panel: Panel, id: uuid.UUID) -> dict[str, str]:
    return form_values(panel.get(f"{OUTBOX}{id}/"))


def press(panel: Panel, id: uuid.UUID, values: dict[str, str]) -> str:
    answer = panel.client.post(f"{OUTBOX}{id}/resend", data=values, follow_redirects=True)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize("status", OPEN)
def test_a_page_that_is_out_of_date_sends_nothing_again(panel: Panel, status: str) -> None:
    """The page of an open message has no such button; an old one is told what to do instead."""
    id = put(panel.host, status)
    page = panel.get(f"{OUTBOX}{id}/")
    assert "Resend" not in page.text
    assert WHY[status == "sending"] in press(panel, id, token(panel, id))
    assert len(panel.host.rows()) == 1


def test_the_page_asks_before_it_sends_a_second_time(panel: Panel) -> None:
    """*Back* and *Resend* send nothing; the page says when, by whom, and asks."""
    panel.host.people.user = Party("Ann <Admin>", "ann", id=3)
    id = put(panel.host, "failed")
    values = token(panel, id)
    assert "Queued as a new message" in press(panel, id, values)

    asked = press(panel, id, values)

    assert len(panel.host.rows()) == 2
    assert "It was resent on" in asked
    assert "by Ann &lt;Admin&gt;" in asked
    assert "Nothing was sent now." in asked
    assert "Do you want to send it once more?" in asked
    assert "Yes, send it once more" in asked

    known = token(panel, id)
    press(panel, id, known)
    assert len(panel.host.rows()) == 3
    press(panel, id, known)
    assert len(panel.host.rows()) == 3
    press(panel, id, known | {"after": "rubbish"})
    assert len(panel.host.rows()) == 3


# -- the command -------------------------------------------------------------------------


@pytest.mark.parametrize("status", OPEN)
def test_the_command_does_not_send_again_what_is_open(host: Host, status: str) -> None:
    """Status 1, what to do instead, and ``--again`` is no way around."""
    id = put(host, status)
    for line in ([str(id)], [str(id), "--again"]):
        said = run(host, "outbox", "resend", *line)
        assert said.status == 1
        assert f"{id} is not sent again. {WHY[status == 'sending']}" in said.err
    assert ("release it or cancel it first" in said.err) is (status != "sending")
    assert len(host.rows()) == 1


def test_the_command_sends_a_second_time_only_when_told_to(host: Host) -> None:
    """It says when and by whom; ``show`` does, too."""
    id = put(host, "failed")
    resend(host, id, by="Ann Admin")

    refused = run(host, "outbox", "resend", str(id))
    shown = done(host, "outbox", "show", str(id))
    again = done(host, "outbox", "resend", str(id), "--again")

    assert refused.status == 1
    assert "by Ann Admin. --again sends it once more." in refused.err
    assert "Ann Admin" in shown.out
    assert f"{id} is sent again as " in again.out
    told = done(host, "outbox", "show", str(id), "--json").json
    assert len(told["resent_as"]) == 2
    assert [one["id"] for one in told["resends"]] == told["resent_as"][::-1]
    assert told["resends"][1]["by"] == "Ann Admin"


# -- what came of it ---------------------------------------------------------------------


def test_what_is_held_for_its_rate_is_in_one_digest_once(tmp_path: Path) -> None:
    """Resending it used to put it there twice."""
    url = f"sqlite:///{tmp_path}/host.sqlite"
    with catching() as catcher, opened(url, INTERACTION_MAIL_RATE=2) as host:
        host.configure(smtp_port=catcher.port)
        for number in range(4):
            with host.app.app_context():
                send_notification(ADA, f"s{number}", text="x")
                host.db.session.commit()
        host.dispatcher().drain()
        held = [row.id for row in host.rows() if row.status == "held"]
        assert len(held) == 2
        for id in held:
            with pytest.raises(StillWaiting):
                resend(host, id)
        _pass_a_minute(host)
        host.dispatcher().drain()
        assert _digest(catcher).count("s3") == 1


def _pass_a_minute(host: Host) -> None:
    over = sa.update(DELIVERY).where(DELIVERY.c.status == "held")
    with host.state.database.writing() as connection:
        connection.execute(over.values(due_at=DELIVERY.c.created_at))


def _digest(catcher: Catcher) -> str:
    text = catcher.mails[-1].message.get_body(("plain",))
    assert text is not None
    return str(text.get_content())


def test_erasing_a_person_erases_that_he_sent_again(host: Host) -> None:
    """Where his address stands for him."""
    id = put(host, "failed")
    resend(host, id, by="zoe@else.example")
    done(host, "outbox", "erase", "zoe@else.example", "--yes")
    assert [row.resent_by for row in host.rows()] == [None, None]
