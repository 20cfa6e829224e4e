"""What a notification costs the host that sends it."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import sqlalchemy as sa
from jinja2 import ChoiceLoader, DictLoader

from flask_interaction_mail import Contact, Merge, Party, send_each, send_notification
from flask_interaction_mail.merges import request_merge
from flask_interaction_mail.messages import templates
from flask_interaction_mail.state import State

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

_NEWS: dict[str, Any] = {"subject": "News", "text": "What is new this week.\n" * 20}
_LETTERHEAD = "interaction_mail/mail/letterhead"
_POINTS = {
    "interaction_mail/mail/points.subject.txt": "{{ party.name }}, you have {{ points }} points",
    "interaction_mail/mail/points.txt": f"""{{% extends "{_LETTERHEAD}.txt" %}}{{% block content %}}
Dear {{{{ party.name }}}},

you have {{{{ points }}}} points. Show this message in one of our shops before the year ends.
{{% endblock %}}""",
    "interaction_mail/mail/points.html": f"""{{% extends "{_LETTERHEAD}.html" %}}
{{% block content %}}
<p>Dear {{{{ party.name }}}},</p>
<p>you have <strong>{{{{ points }}}}</strong> points. Show this message in one of our shops before
the year ends.</p>
{{% endblock %}}""",
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

    ``text`` is the same for all, ``key`` the same with a key, ``template`` is rendered for each.
    Names that end in ``_cpu`` are the processor time of this process alone.
    """
    state = host(url)
    state.app.jinja_env.loader = ChoiceLoader([DictLoader(_POINTS), state.app.jinja_env.loader])
    ways: dict[str, Callable[[str, Iterable[Party]], None]] = {
        "loop": partial(_in_a_loop, state),
        "each": _to_each,
    }
    found: dict[str, float] = {}
    with state.app.app_context():
        for kind, (name, way) in itertools.product(("text", "key", "template"), ways.items()):
            way(kind, _people(20))  # caches
            gc.collect()
            clock, processor = time.perf_counter(), time.process_time()
            way(kind, _people(count))
            found[f"{name}_{kind}"] = (time.perf_counter() - clock) / count * 1e6
            found[f"{name}_{kind}_cpu"] = (time.process_time() - processor) / count * 1e6
    return found


def mailing_memory(url: str, count: int) -> dict[str, float]:
    """Store a message for each of ``count`` people; the caller looks at the peak of memory."""
    with host(url).app.app_context():
        _to_each("text", _people(count))
    return {}


_numbers = itertools.count()


def _people(count: int) -> Iterator[Party]:
    """So many people, other ones at each call."""
    for number in itertools.islice(_numbers, count):
        yield Party(f"Person {number}", f"p{number}", id=number)


def _points_of(person: Party) -> dict[str, Any]:
    return {"points": 3 * int(person.id or 0)}


def _in_a_loop(state: State, kind: str, people: Iterable[Party]) -> None:
    for number, person in enumerate(people, 1):
        if kind == "template":
            context = {"party": person, **_points_of(person)}
            send_notification(person, template="points", context=context)
        else:
            key = f"news:{person.id}" if kind == "key" else None
            send_notification(person, **_NEWS, key=key)
        if number % 500 == 0:
            state.db.session.commit()
    state.db.session.commit()


def _to_each(kind: str, people: Iterable[Party]) -> None:
    if kind == "template":
        send_each(people, template="points", context=_points_of)
    else:
        send_each(people, **_NEWS, key="news" if kind == "key" else None)


def _send() -> None:
    send_notification(STEWARDS, template="merge_request", context=_PAIR)


def _merge(number: int) -> Merge:
    return Merge(
        (
            Contact(2 * number, "Acme Ltd", location="Customers"),
            Contact(2 * number + 1, "ACME Limited", location="Customers"),
        )
    )
