"""What a notification costs the host that sends it."""

from __future__ import annotations

import itertools
import time
from functools import partial
from typing import Any

import sqlalchemy as sa

from flask_interaction_mail import Contact, Merge, Party, send_each, send_notification
from flask_interaction_mail.merges import request_merge
from flask_interaction_mail.messages import templates

from ..clockwork import beside, median_seconds
from .ours import host

STEWARDS = Party("Data Stewards", "stewards", id=10, kind="group")
_PAIR: dict[str, Any] = {
    "contacts": [
        Contact(
            "17",
            "Acme Ltd",
            location="Customers",
            url="https://crm.firm.example/contacts/17",
        ),
        Contact("42", "ACME Limited", location="Customers"),
    ],
    "requester": "Bob Stone",
    "requester_address": "bob@firm.example",
    "reason": "They have the same telephone number.",
}


def texts() -> dict[str, Any]:
    """The merge request as rendered, for those who render nothing."""
    state = host("sqlite://")
    with state.app.app_context():
        found = templates.render(state.app, "merge_request", _PAIR)
    return {"subject": found.subject, "text": found.text, "html": found.html}


def enqueue(url: str, count: int) -> dict[str, float]:
    """µs a message: in a host's transaction, a thousand in one, and as an event of the host."""
    state = host(url)
    session = state.db.session
    numbers = itertools.count(time.time_ns())  # a pair that was asked for before is not stored

    def of_the_host() -> None:
        session.execute(sa.text("INSERT INTO thing (name) VALUES (:name)"), {"name": "Acme"})

    def alone() -> None:
        of_the_host()
        session.commit()

    def with_mail() -> None:
        of_the_host()
        _send()
        session.commit()

    def many() -> None:
        for _ in range(count):
            _send()
        session.commit()

    def denied() -> None:
        of_the_host()
        request_merge(_merge(next(numbers)))
        session.commit()

    with state.app.app_context():
        session.execute(sa.text("CREATE TABLE IF NOT EXISTS thing (name VARCHAR(50))"))
        session.commit()
        times = max(100, count // 4)
        return {
            "one": beside(alone, with_mail, times=times) * 1e6,
            "denied": beside(alone, denied, times=times) * 1e6,
            "many": median_seconds(many, times=3) / count * 1e6,
        }


def mailing(url: str, count: int) -> dict[str, float]:
    """µs a message to ``count`` people, one each: in a loop that commits every 500, and at once.

    ``text`` is the same for all; ``template`` is rendered for each.
    """
    state = host(url)
    people = [Party(f"Person {number}", f"p{number}", id=number) for number in range(count)]
    kinds: dict[str, dict[str, Any]] = {
        "text": {"subject": "News", "text": "What is new this week.\n" * 20},
        "template": {"template": "merge_request", "context": _PAIR},
    }

    def loop(said: dict[str, Any]) -> None:
        for number, person in enumerate(people, 1):
            send_notification(person, **said)
            if number % 500 == 0:
                state.db.session.commit()
        state.db.session.commit()

    with state.app.app_context():
        return {
            f"{name}_{kind}": median_seconds(partial(way, said), times=1) / count * 1e6
            for kind, said in kinds.items()
            for name, way in (("loop", loop), ("each", lambda said: send_each(people, **said)))
        }


def _send() -> None:
    send_notification(STEWARDS, template="merge_request", context=_PAIR)


def _merge(number: int) -> Merge:
    return Merge(
        (
            Contact(2 * number, "Acme Ltd", location="Customers"),
            Contact(2 * number + 1, "ACME Limited", location="Customers"),
        )
    )
