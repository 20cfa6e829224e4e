"""Delivery: claim, send over a few kept connections, record, tell.

One coordinator owns the database; each courier owns one connection to the server. They meet in
two queues, so that no transaction is ever open while the network is in use, and what several
couriers finish within ten milliseconds is recorded in one commit.
"""

from __future__ import annotations

import logging
import queue as stdlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import sqlalchemy as sa

from . import breaker, queue
from .courier import Courier, Returned
from .errors import AddressError, InteractionMailError, TransportError
from .outcome import Delivery, Result, Stage
from .queue import Attempt, Claimed, Verdict
from .recipients import complete_setting
from .settings import MessagingSettings, OnAmbiguous
from .transport.base import Transport
from .transport.kept import KeptTransports
from .values import Status
from .verdict import as_delivery, concerns_server, expired, given_up, poisoned, verdict_of

log = logging.getLogger("flask_interaction_mail")

_GROUP = 0.010  # s: how long an accepted message may wait for others to be recorded with it
_BATCH = 50  # messages a claim
_AFTER_ABORT = 2.0  # s for couriers to notice that their connection was broken off
_TIDY_EVERY = 3600.0  # s
_RECORD_AGAIN = 0.5  # s between two tries to record while the database is away
_GLANCE = 0.25  # s between two looks at whether to stop
_AWAY = (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError)
_NOBODY_KNOWS = Delivery(
    result=Result.AMBIGUOUS,
    stage=Stage.CONTENT,
    reply=None,
    verdicts={},
    note="The worker had to stop while it was waiting for the server.",
)


class Store(Protocol):
    """What delivery needs of the database: two kinds of short transactions."""

    def reading(self) -> AbstractContextManager[sa.Connection]: ...

    def writing(self) -> AbstractContextManager[sa.Connection]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """What the dispatcher works with; every part can be exchanged.

    ``settings`` gives what is in force now; ``transport`` opens a connection for it; ``announce``
    is told of what was recorded and must not raise. ``grace`` is how many seconds a message in
    flight gets to finish when work has to stop, ``suppressed`` whether nothing may leave now;
    ``tidy`` is called once an hour, and while ``listening`` lasts another process may set the
    event. ``report`` is told what was given up, in the transaction that
    records it, and must not raise.
    """

    store: Store
    settings: Callable[[], MessagingSettings]
    transport: Callable[[MessagingSettings], Transport]
    announce: Callable[[Sequence[Verdict]], None]
    worker: str
    connections: int
    lease: timedelta
    grace: float = 30.0
    suppressed: Callable[[], bool] = lambda: False
    tidy: Callable[[], object] = lambda: None
    listening: Callable[[threading.Event], AbstractContextManager[None]] = lambda _: nullcontext()
    report: Callable[[sa.Connection, Sequence[Verdict]], None] = lambda *_: None


@dataclass(slots=True)
class Progress:
    """What a drain came to: how many were sent, how many got another verdict, what stopped it."""

    sent: int = 0
    others: int = 0
    held_up_by: str | None = None

    @property
    def done(self) -> int:
        return self.sent + self.others


@dataclass(frozen=True, slots=True)
class Limit:
    """When to stop: an event, or a moment of ``time.monotonic``."""

    stop: threading.Event | None = None
    deadline: float | None = None

    def reached(self) -> bool:
        if self.stop is not None and self.stop.is_set():
            return True
        return self.deadline is not None and time.monotonic() >= self.deadline


@dataclass(slots=True)
class _Shift:
    """One stretch of work under one set of settings."""

    settings: MessagingSettings
    limit: Limit
    jobs: stdlib.SimpleQueue[Claimed | None] = field(default_factory=stdlib.SimpleQueue)
    results: stdlib.SimpleQueue[Returned] = field(default_factory=stdlib.SimpleQueue)
    in_flight: dict[uuid.UUID, Claimed] = field(default_factory=dict)
    couriers: list[threading.Thread] = field(default_factory=list)
    transports: list[Transport] = field(default_factory=list)
    trouble: TransportError | None = None
    renewed_at: float = field(default_factory=time.monotonic)
    holds_until: float = 0.0  # monotonic: when the leases end
    lost: set[uuid.UUID] = field(default_factory=set)  # claimed, and taken over by others
    probing: bool = False
    proven: bool = False  # the server has taken part in a conversation about a message

    def may_begin(self, claimed: Claimed) -> bool:
        """Whether a message may still leave: nobody else has it, and the server works."""
        ours = claimed.id not in self.lost and time.monotonic() < self.holds_until
        return ours and self.trouble is None

    @property
    def manned(self) -> bool:
        """Whether anybody carries, or has left a result."""
        return not self.results.empty() or any(one.is_alive() for one in self.couriers)


class Dispatcher:
    """Delivers what is due; one a worker process."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._time = queue.Time()
        self._kept = KeptTransports(office.transport)
        self._tidied_at = time.monotonic() - _TIDY_EVERY
        self._complaint: str | None = None  # what was logged last, and is still so

    def run(self, stop: threading.Event, wake: threading.Event, *, poll: float = 1.0) -> None:
        """Deliver until ``stop``; look for work every ``poll`` seconds, and at once on ``wake``.

        A database that is away is waited for; nothing but ``stop`` ends this.
        """
        deliver(lambda: self, stop, wake, poll=poll)

    def _turn(self, stop: threading.Event) -> bool:
        """Deliver what is due, tidy where it is time; whether there was anything. Never raises."""
        self._kept.close_idle()
        try:
            busy = self._drain(Limit(stop)).done > 0
            if time.monotonic() - self._tidied_at >= _TIDY_EVERY:
                self._tidied_at = time.monotonic()
                self._office.tidy()
        except sa.exc.SQLAlchemyError as error:
            log.error("dispatcher.database: %s; trying again", type(error).__name__)
        except InteractionMailError as error:  # no tables yet, say
            self._complain(str(error))
        except Exception:
            log.exception("dispatcher.failed: trying again")
        else:
            self._complaint = None
            return busy
        return False

    def _complain(self, text: str) -> None:
        if text != self._complaint:
            self._complaint = text
            log.error("dispatcher.held_up: %s", text)

    def drain(self, limit: Limit = Limit()) -> Progress:
        """Deliver until nothing is due or ``limit`` is reached; short transactions of its own.

        What is in flight at the end is finished and recorded, what was claimed and not begun is
        given back.
        """
        try:
            return self._drain(limit)
        finally:
            self._kept.close()

    def _drain(self, limit: Limit) -> Progress:
        progress = Progress()
        settings = self._office.settings()
        progress.held_up_by = self._obstacle(settings)
        if progress.held_up_by is not None:
            return progress
        shift = _Shift(settings, limit)
        try:
            self._work(shift, progress)
        finally:
            self._end(shift, progress)
        return progress

    def _obstacle(self, settings: MessagingSettings) -> str | None:
        if self._office.suppressed():
            return "the application suppresses sending (MAIL_SUPPRESS_SEND)"
        if not settings.configured:
            return "e-mail is not configured"
        if settings.paused:
            return "sending is paused"
        try:
            _divert_to(settings)
        except AddressError as error:  # an override is not looked at together with the others
            return f"mail cannot be diverted: {error}"
        return None

    def _work(self, shift: _Shift, progress: Progress) -> None:
        while not shift.limit.reached():
            claimed = self._claim(shift, progress)
            if not claimed:
                return
            self._hand_out(shift, progress, claimed)
            while shift.in_flight and shift.trouble is None and not shift.limit.reached():
                self._collect(shift, progress)
                if not shift.manned:
                    return
            if shift.trouble is not None or self._office.settings() != shift.settings:
                return  # the next drain begins with the breaker, or with the new settings

    def _claim(self, shift: _Shift, progress: Progress) -> list[Claimed]:
        with self._office.store.reading() as connection:
            now = self._time.look(connection)
            broken = breaker.read(connection, shift.settings)
        if broken is not None and broken.until > now:
            progress.held_up_by = broken.why
            return []
        shift.probing = broken is not None
        with self._office.store.writing() as connection:
            claimed = self._take(connection, shift, now)
            if claimed and shift.probing and not breaker.begin_probe(connection, now):
                queue.give_back(connection, claimed, due_at=now, detail=None)
                return []
        return claimed

    def _take(self, connection: sa.Connection, shift: _Shift, now: datetime) -> list[Claimed]:
        office, hold = self._office, shift.settings.on_ambiguous is OnAmbiguous.HOLD
        # Under hold all that was claimed waits for an administrator when a worker dies: claim no
        # more than can begin at once.
        limit = 1 if shift.probing else office.connections if hold else _BATCH
        shift.renewed_at = time.monotonic()
        shift.holds_until = shift.renewed_at + office.lease.total_seconds()
        return queue.claim(
            connection,
            limit=limit,
            worker=office.worker,
            lease=office.lease,
            now=now,
            at_once=office.connections,
            hold=hold,
        )

    def _hand_out(self, shift: _Shift, progress: Progress, claimed: Sequence[Claimed]) -> None:
        late = {one.id: verdict for one in claimed if (verdict := expired(one, self._time.now()))}
        for one in claimed:
            if one.id not in late:
                shift.in_flight[one.id] = one
                shift.jobs.put(one)
        # Where even this cannot be recorded, what nobody carries yet is given back.
        self._record(shift, progress, list(late.values()))
        self._staff(shift)

    def _staff(self, shift: _Shift) -> None:
        """Have as many couriers as there is work for; the first one alone where one logs in."""
        wanted = min(self._office.connections, len(shift.in_flight))
        if shift.settings.use_authentication and not shift.proven:
            wanted = min(wanted, 1)  # a wrong password is shown once, not once a connection
        for _ in range(len(shift.couriers), wanted):
            courier = threading.Thread(
                target=self._carry, args=(shift,), name="interaction-mail-courier", daemon=True
            )
            shift.couriers.append(courier)
            courier.start()

    def _carry(self, shift: _Shift) -> None:
        """A courier at work; its connection is kept for the next shift, unless it has failed."""
        divert_to = _divert_to(shift.settings)
        transport = self._kept.take(shift.settings)
        shift.transports.append(transport)
        courier = Courier(shift, transport, self._time.now, divert_to)
        try:
            courier.work()
        except BaseException:
            courier.spent = True
            raise
        finally:
            if courier.spent or shift.trouble is not None:
                transport.close()
            else:
                self._kept.give_back(shift.settings, transport)

    def _collect(self, shift: _Shift, progress: Progress, *, patience: float = _GLANCE) -> None:
        """Wait for results; those that come within ten milliseconds share a commit."""
        third = self._office.lease.total_seconds() / 3
        patience = min(patience, third, _GLANCE)
        returned = _gather(shift.results, patience, len(shift.in_flight))
        if returned:
            self._settle(shift, progress, returned)
        if shift.in_flight and time.monotonic() - shift.renewed_at >= third:
            self._renew(shift)

    def _renew(self, shift: _Shift) -> None:
        """Keep what is in flight; what another worker has taken over meanwhile is not begun."""
        renewed_at, lease = time.monotonic(), self._office.lease
        claims = list(shift.in_flight.values())
        try:
            with self._office.store.writing() as connection:
                now = self._time.look(connection)
                ours = queue.renew(connection, claims, lease=lease, now=now)
        except _AWAY as error:
            log.error("dispatcher.renew: %s; trying again", type(error).__name__)
            return
        shift.lost.update({one.id for one in claims} - ours)
        shift.renewed_at, shift.holds_until = renewed_at, renewed_at + lease.total_seconds()

    def _settle(self, shift: _Shift, progress: Progress, returned: Sequence[Returned]) -> None:
        verdicts: list[Verdict] = []
        unlucky: list[Claimed] = []
        for one in returned:
            shift.in_flight.pop(one.claimed.id, None)
            if one.outcome is None or _blames_server(one.outcome):
                unlucky.append(one.claimed)
            else:
                shift.proven = True
                verdicts.append(self._verdict(shift, one, one.outcome))
        self._record(shift, progress, verdicts)
        self._stand_back(shift, progress, unlucky)
        if shift.trouble is None:
            self._staff(shift)

    def _verdict(self, shift: _Shift, one: Returned, outcome: Delivery | Exception) -> Verdict:
        now = one.finished_at
        if isinstance(outcome, TransportError):
            outcome = as_delivery(outcome)
        if isinstance(outcome, Exception):
            log.error("message.poison: %s", one.claimed.id, exc_info=outcome)
            return poisoned(one.claimed, outcome, now)
        attempt = Attempt.of(
            outcome,
            started_at=one.started_at,
            finished_at=now,
            server=f"{shift.settings.smtp_server}:{shift.settings.smtp_port}",
            diverted_to=one.diverted_to,
        )
        return verdict_of(
            one.claimed,
            outcome,
            attempt,
            hold=shift.settings.on_ambiguous is OnAmbiguous.HOLD,
            now=now,
            chance=random.random(),  # noqa: S311 - jitter, not a secret
        )

    def _record(self, shift: _Shift, progress: Progress, verdicts: list[Verdict]) -> None:
        """Record, and while the database is away try again: what was accepted must not leave twice.

        Having to stop, it is tried for as long as a message in flight gets to finish.
        """
        if not verdicts:
            return
        last_try: float | None = None
        while True:
            try:
                kept = self._write_down(shift, verdicts)
                break
            except _AWAY:
                if shift.limit.reached():
                    last_try = last_try or time.monotonic() + self._office.grace
                    if time.monotonic() > last_try:
                        raise
                log.error("dispatcher.record: the database is away; trying again")
                time.sleep(_RECORD_AGAIN)
        progress.sent += sum(verdict.status is Status.SENT for verdict in kept)
        progress.others += sum(verdict.status is not Status.SENT for verdict in kept)
        self._office.announce(kept)

    def _write_down(self, shift: _Shift, verdicts: Sequence[Verdict]) -> list[Verdict]:
        with self._office.store.writing() as connection:
            now = self._time.now()
            kept = queue.record(connection, verdicts, worker=self._office.worker, now=now)
            if shift.probing and any(one.attempt for one in verdicts):  # the server has spoken
                breaker.close(connection)
            if late := [one for one in kept if given_up(one, now)]:
                self._office.report(connection, late)
        return kept

    def _stand_back(self, shift: _Shift, progress: Progress, unlucky: Sequence[Claimed]) -> None:
        """The server is in trouble: nobody's attempt is burnt, the breaker opens.

        What waits is due at once: when it may be tried is the breaker's to say, and better
        settings close that.
        """
        trouble, detail = shift.trouble, None
        if not unlucky:
            return
        with self._office.store.writing() as connection:
            now = self._time.look(connection)
            if trouble is not None:
                log.warning("server.trouble: at %s: %s", trouble.stage, trouble)
                progress.held_up_by = str(trouble)
                detail = f"Waiting for the server: {trouble}"[:1000]
                breaker.trip(
                    connection, shift.settings, trouble, worker=self._office.worker, now=now
                )
            queue.give_back(connection, unlucky, due_at=now, detail=detail)

    def _end(self, shift: _Shift, progress: Progress) -> None:
        """Give back what was not begun, let couriers finish, record what they bring."""
        waiting = _take_back(shift.jobs)
        for _ in shift.couriers:
            shift.jobs.put(None)
        for one in waiting:
            shift.in_flight.pop(one.id, None)
        self._give_back(waiting)
        self._await(shift, progress, self._office.grace)
        if shift.in_flight:
            for transport in shift.transports:
                transport.abort()  # what waits for the answer to its dot is ambiguous now
            self._await(shift, progress, _AFTER_ABORT)
        if shift.in_flight:
            self._leave(shift, progress)

    def _give_back(self, claims: Sequence[Claimed]) -> None:
        if not claims:
            return
        try:
            with self._office.store.writing() as connection:
                queue.give_back(connection, claims, due_at=self._time.look(connection), detail=None)
        except _AWAY as error:
            log.error("dispatcher.give_back: %s; their leases will end", type(error).__name__)

    def _leave(self, shift: _Shift, progress: Progress) -> None:
        """No claim is left behind, whatever became of its courier."""
        left = list(shift.in_flight.values())
        log.warning("dispatcher.left: %s messages still in flight", len(left))
        if not shift.manned:
            self._give_back(left)
            return
        now = self._time.now()
        self._settle(
            shift, progress, [Returned(one, _NOBODY_KNOWS, now, now, None) for one in left]
        )

    def _await(self, shift: _Shift, progress: Progress, seconds: float) -> None:
        end = time.monotonic() + seconds
        while shift.in_flight and shift.manned and (left := end - time.monotonic()) > 0:
            self._collect(shift, progress, patience=left)


def deliver(
    present: Callable[[], Dispatcher | None],
    stop: threading.Event,
    wake: threading.Event,
    *,
    poll: float = 1.0,
) -> None:
    """As ``Dispatcher.run`` for what ``present`` gives, and only while it gives one.

    Between two looks nothing here holds on to it, so that its application can be thrown away.
    """
    if (dispatcher := present()) is None:
        return
    listening, kept = dispatcher._office.listening(wake), dispatcher._kept
    del dispatcher
    try:
        with listening:
            while not stop.is_set() and (dispatcher := present()) is not None:
                wake.clear()
                busy = dispatcher._turn(stop)
                del dispatcher
                if not busy:
                    wake.wait(poll)
    finally:
        kept.close()


def _blames_server(outcome: Delivery | Exception) -> bool:
    return isinstance(outcome, TransportError) and concerns_server(outcome)


def _divert_to(settings: MessagingSettings) -> str | None:
    return complete_setting(settings.divert_to, settings) if settings.divert_to else None


def _gather(
    results: stdlib.SimpleQueue[Returned], patience: float, expected: int
) -> list[Returned]:
    returned: list[Returned] = []
    with suppress(stdlib.Empty):
        returned.append(results.get(timeout=patience))
        end = time.monotonic() + _GROUP
        while len(returned) < expected and (left := end - time.monotonic()) > 0:
            returned.append(results.get(timeout=left))
    return returned


def _take_back(jobs: stdlib.SimpleQueue[Claimed | None]) -> list[Claimed]:
    waiting: list[Claimed] = []
    while True:
        try:
            one = jobs.get_nowait()
        except stdlib.Empty:
            return waiting
        if one is not None:
            waiting.append(one)
