"""The tests of the settings, as they are kept: who, when, of which settings, with what verdict."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal

import sqlalchemy as sa

from .. import clock
from ..diagnosis.results import Diagnosis, Outcome, Step
from ..errors import TemplateMissing
from ..logs import log
from ..messages import templates
from ..messages.intent import Texts
from ..messages.letterhead import letterhead_of
from ..outbox import breaker, logins
from ..outcome import Stage
from ..settings.layers import InForce
from ..settings.model import MessagingSettings, relay_of
from ..state import State
from ..storage.tables import CHECK
from ..values import Party

if TYPE_CHECKING:
    from ..diagnosis.sample import Sample

PER_MINUTE = 10  # tests by one user
_LIMITS = "interaction_mail_test_limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """What the page says of the last test; ``at`` is naive UTC."""

    kind: Literal["never", "passed", "partial", "no_answer", "failed", "changed"]
    by: str = ""
    at: datetime | None = None
    saved: bool = True  # else what was tested is not what is in force


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """A test that somebody made ``at`` (naive UTC), with its verdict, a word of ``Outcome``."""

    verdict: str
    by: str
    at: datetime


_KINDS: Final[Mapping[str, Literal["passed", "partial", "no_answer"]]] = {
    Outcome.PASSED: "passed",
    Outcome.PARTIAL: "partial",
    Outcome.NO_ANSWER: "no_answer",
}


def badge(state: State, present: InForce) -> Badge:
    """Whether the settings in force have passed a test."""
    fingerprints = state.settings.keyring.fingerprints(present.settings)
    with state.database.reading() as connection:
        ours = _latest(connection, CHECK.c.fingerprint.in_(fingerprints))
        if ours is not None:
            return Badge(kind=_KINDS.get(ours.verdict, "failed"), by=ours.by, at=ours.at)
        if len(present.settings.relays) > 1:  # the last test may have been of another one
            return Badge(kind="never")
        passed = _latest(connection, CHECK.c.verdict == Outcome.PASSED)
    if passed is None:
        return Badge(kind="never")
    return Badge(kind="changed", by=passed.by, at=passed.at)


def badge_after(state: State, tested: InForce, present: InForce, by: str, end: Diagnosis) -> Badge:
    """The badge of a test that has just ended with ``end``, whether or not it could be stored."""
    fingerprint = state.settings.keyring.fingerprint
    return Badge(
        kind=_KINDS.get(end.outcome, "failed"),
        by=by,
        at=clock.now(),
        saved=fingerprint(tested.settings) == fingerprint(present.settings),
    )


def steps(
    state: State, tried: InForce, *, tester: Party | None = None
) -> Iterator[Stage | Step | Diagnosis]:
    """A test of the settings ``tried`` as it happens, as ``diagnose`` yields it.

    ``tester`` gets a copy of the test message.
    """
    from ..diagnosis.sample_message import make_sample  # late, as below: it brings the wire

    write = partial(_written, state, tried.settings)

    def make() -> Sample:
        return make_sample(tried.settings, write, id=uuid.uuid4(), now=_now(), tester=tester)

    return _sent(state, tried.settings, make)


def send_copy(state: State, settings: MessagingSettings, texts: Texts, to: Party) -> Diagnosis:
    """Send ``texts`` to ``to`` alone, as a test is sent: at once, and past the outbox."""
    from ..diagnosis.sample_message import make_copy

    def make() -> Sample:
        return make_copy(settings, texts, id=uuid.uuid4(), now=_now(), to=to)

    *_, end = _sent(state, settings, make)
    assert isinstance(end, Diagnosis)  # noqa: S101 - for the type checker: it comes last
    return end


def _sent(
    state: State, settings: MessagingSettings, make: Callable[[], Sample]
) -> Iterator[Stage | Step | Diagnosis]:
    from ..delivery.tokens import tokens_for_test
    from ..diagnosis.runner import diagnose
    from ..transport.registry import Transports

    return diagnose(
        relay_of(settings, state.config.transport),
        settings,
        make,
        transports=Transports(state.connect_policy, state.stand_in, tokens_for_test(state)),
        suppressed=state.suppressed,
    )


def _now() -> datetime:
    return clock.now().replace(tzinfo=UTC)


def _written(state: State, settings: MessagingSettings, names: Mapping[str, Any]) -> Texts:
    letterhead = letterhead_of(settings, state.organisation)
    try:
        with templates.speaking(state.app, None, *state.translations):
            return templates.render(state.app, "settings_test", names, letterhead=letterhead)
    except TemplateMissing:
        log.exception("test.template: the test message is sent without its template")
        return Texts(subject="Test message", text="This is a test message.\n", html=None)


def record(state: State, tested: InForce, *, by: str, end: Diagnosis) -> None:
    """Write down one test, and how it logged in; commits a transaction of its own."""
    present, name = state.settings.current(), tested.settings.relay
    saved = name in present.settings.relays and present.of(name).settings == tested.settings
    relay = relay_of(tested.settings, state.config.transport)
    with state.database.writing() as connection:
        if end.mechanism is not None and not relay.by_token:
            keyring = state.settings.keyring
            logins.record(connection, keyring, relay, end.mechanism, clock.now())
        if end.passed and saved:
            breaker.close(connection, relay)  # what stood in the way does so no more
        connection.execute(
            sa.insert(CHECK).values(
                id=uuid.uuid4(),
                kind="test",
                at=clock.now(),
                by=by,
                fingerprint=state.settings.keyring.fingerprint(tested.settings),
                verdict=end.outcome,
                steps=json.dumps([step.to_json() for step in end.steps]),
            )
        )


def before(connection: sa.Connection, end: datetime | None, limit: int) -> list[Tested]:
    """Up to ``limit`` tests from before ``end`` (naive UTC), newest first."""
    query = sa.select(CHECK.c.verdict, CHECK.c.by, CHECK.c.at).where(CHECK.c.kind == "test")
    if end is not None:
        query = query.where(CHECK.c.at < end)
    rows = connection.execute(query.order_by(CHECK.c.at.desc()).limit(limit))
    return [Tested(verdict=row.verdict, by=row.by, at=row.at) for row in rows]


def too_many(state: State, by: str) -> bool:
    """Whether ``by`` has begun ten tests within the last minute; counts this one if not.

    What this process began is counted at once, what others did when it has ended.
    """
    with state.database.reading() as connection:
        recorded = connection.scalar(
            sa.select(sa.func.count())
            .select_from(CHECK)
            .where(
                CHECK.c.kind == "test",
                CHECK.c.by == by,
                CHECK.c.at > clock.now() - timedelta(minutes=1),
            )
        )
    limits: _Limits = state.app.extensions.setdefault(_LIMITS, _Limits())
    return (recorded or 0) >= PER_MINUTE or not limits.admit(by)


class _Limits:
    """How often each user began a test in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._begun: dict[str, deque[float]] = {}

    def admit(self, user: str) -> bool:
        """Whether ``user`` may begin another one now; if so it counts."""
        now = time.monotonic()
        with self._lock:
            self._forget(now - 60)
            begun = self._begun.setdefault(user, deque())
            if len(begun) >= PER_MINUTE:
                return False
            begun.append(now)
            return True

    def _forget(self, before: float) -> None:
        for user, begun in list(self._begun.items()):
            while begun and begun[0] < before:
                begun.popleft()
            if not begun:
                del self._begun[user]


def _latest(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> Any:
    # Where sending was suppressed nothing was tried, so nothing is known.
    tried = CHECK.c.verdict != Outcome.SUPPRESSED
    wanted: Iterable[sa.ColumnElement[bool]] = (CHECK.c.kind == "test", tried, *conditions)
    return connection.execute(
        sa.select(CHECK.c.verdict, CHECK.c.by, CHECK.c.at)
        .where(*wanted)
        .order_by(CHECK.c.at.desc())
        .limit(1)
    ).first()
