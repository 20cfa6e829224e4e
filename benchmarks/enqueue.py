"""What a notification costs the host that sends it: building, storing, both."""

from __future__ import annotations

from typing import Any

from .harness import (
    PINNED,
    Figure,
    Goal,
    Options,
    Samples,
    Spread,
    Table,
    child,
    number,
    progress,
    ratio,
)
from .servers import database, dialects

ONE = "ours: send_notification() of a merge request"
DENIED = "ours: merge_denied, in a transaction of its own"
MANY = "ours: 1,000 in one transaction"
PEER_ONE = "django-post_office: send(), nothing built"
PEER_LOOP = "django-post_office: send() 1,000 times in one transaction"
PEER_MANY = "django-post_office: send_many() of 1,000"
_KINDS = {"text": "the same text", "key": "with a key", "template": "a template for each"}
_WAYS = {
    f"{way}_{kind}": f"{words}, {said}"
    for kind, said in _KINDS.items()
    for way, words in (("loop", "send_notification() in a loop"), ("each", "send_each()"))
}
_MANY_AT_MOST = {"sqlite": 1.2, "postgresql": 1.0}  # times the peer's


def measure(options: Options) -> Figure:
    figure = Figure("5", "Putting a message into the queue, and building it")
    texts = child("enqueueing", "texts")
    texts.pop("peak_memory")
    for dialect in dialects():
        _enqueue(figure, dialect, texts, options)
        _mail(figure, dialect, options)
    _build(figure, options)
    return figure


def _enqueue(figure: Figure, dialect: str, texts: dict[str, str], options: Options) -> None:
    count = options.size(1000, 100)
    samples: Samples = {}
    with database(dialect, options) as ours, database(dialect, options) as post_office:
        for _ in range(options.rounds):
            done = child("enqueueing", "enqueue", url=ours, count=count)
            _keep(samples, {ONE: done["one"], DENIED: done["denied"], MANY: done["many"]})
            done = child(
                "django_queues", "post_office_enqueue", url=post_office, texts=texts, count=count
            )
            _keep(
                samples, {PEER_ONE: done["one"], PEER_LOOP: done["loop"], PEER_MANY: done["many"]}
            )
    title = f"{dialect}: µs a message, beyond the host's own transaction"
    figure.tables.append(_table(title, samples))
    figure.goals += [
        Goal(
            f"{dialect}: one in the host's transaction, time against send()",
            "<=",
            1.2,
            ratio(samples, ONE, PEER_ONE),
        ),
        Goal(
            f"{dialect}: 1,000 in one transaction, time against send_many()",
            "<=",
            _MANY_AT_MOST[dialect],
            ratio(samples, MANY, PEER_MANY),
        ),
    ]


def _mail(figure: Figure, dialect: str, options: Options) -> None:
    count = options.size(10_000, 500, full=100_000)
    clock: Samples = {}
    processor: Samples = {}
    memory: Samples = {}
    for _ in range(options.rounds):
        with database(dialect, options) as ours:
            done = child("enqueueing", "mailing", url=ours, count=count)
            _keep(clock, {title: done[name] for name, title in _WAYS.items()})
            _keep(processor, {title: done[f"{name}_cpu"] for name, title in _WAYS.items()})
        for people in (count // 10, count):
            with database(dialect, options) as ours:
                done = child("enqueueing", "mailing_memory", url=ours, count=people)
            memory.setdefault(f"{people:,} people", []).append(done["peak_memory"])
    figure.tables += [
        _table(f"{dialect}: µs a message to each of {count:,} people", clock),
        _table(f"{dialect}: the same, processor time of the application alone", processor),
        _table(f"{dialect}: MB of memory at most, send_each()", memory),
    ]
    for kind, said in _KINDS.items():
        loop, each = _WAYS[f"loop_{kind}"], _WAYS[f"each_{kind}"]
        title = f"{dialect}: send_each(), {said}, against a loop that commits every 500"
        figure.goals += [
            Goal(title, ">=", 3, ratio(clock, loop, each)),
            Goal(f"{title}, processor time", ">=", 3, ratio(processor, loop, each)),
        ]
    small, large = memory
    title = f"{dialect}: memory of send_each() at ten times the people"
    figure.goals.append(Goal(title, "<=", 1.1, ratio(memory, large, small)))


def _keep(samples: Samples, values: dict[str, float]) -> None:
    for name, value in values.items():
        samples.setdefault(name, []).append(value)
        progress(f"{name}: {value:.0f} µs")


def _table(title: str, samples: Samples) -> Table:
    table = Table(title, ["", "median", "min", "max"])
    for name, values in samples.items():
        spread = Spread.of(values)
        table.rows.append([name, *map(number, (spread.median, spread.low, spread.high))])
    return table


_MAKERS = {
    "ours": "ours",
    "email": "EmailMessage, policy SMTP",
    "flask_mail": "Flask-Mail as_bytes()",
}


def _build(figure: Figure, options: Options) -> None:
    count = options.size(1500, 100)
    rounds: list[dict[str, Any]] = [
        child("plain", "building", cpu=PINNED, count=count) for _ in range(options.rounds)
    ]
    samples: Samples = {
        f"{title}, {words}": [done[f"{name}_{kind}"] for done in rounds]
        for kind, words in (("text", "text"), ("both", "text and HTML"))
        for name, title in _MAKERS.items()
    }
    figure.tables.append(_table("Building the content, µs", samples))
    speed = ratio(samples, "Flask-Mail as_bytes(), text and HTML", "ours, text and HTML")
    figure.goals.append(Goal("building text and HTML, against Flask-Mail", ">=", 3, speed))
