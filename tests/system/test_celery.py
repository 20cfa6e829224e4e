"""Delivery by Celery: real brokers, real workers, and what happens when they fail.

``FIM_LONG=1`` (``make celery``) sends 10,000 messages instead of 300.
"""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

pytest.importorskip("celery", reason="Celery is missing: pip install celery redis")

from flask_interaction_mail import clock, send_notification
from flask_interaction_mail.contrib import wakeups
from flask_interaction_mail.contrib.celery import (
    DELIVER,
    PURGE,
    WATCH,
    beat_schedule,
    celery_of,
)
from flask_interaction_mail.delivery.modes import SyncDelivery
from flask_interaction_mail.delivery.ports import StopCondition
from flask_interaction_mail.errors import InteractionMailError
from flask_interaction_mail.storage.tables import DELIVERY, RECIPIENT
from tests.brokers import BROKERS, Broker, a_queue, own_redis
from tests.catcher import Catcher, catching
from tests.celery_host import (
    LEASE,
    ROOT,
    Program,
    Start,
    beat,
    celery_for,
    command,
    environment,
    host_with_celery,
    worker,
)
from tests.celery_programs import Nursery, nursery
from tests.databases import fresh_database
from tests.host import SETTINGS, Host, opened
from tests.length import LONG
from tests.servers.programs import free_port
from tests.terminal import run

MANY = 10_000 if LONG else 300
PATIENCE = 600 if LONG else 120  # s


@dataclass
class Site:
    """A host with its database and broker, a mail server, and the programs around them."""

    host: Host
    broker: Broker
    catcher: Catcher
    folder: Path
    environment: dict[str, str]
    stack: ExitStack
    how: Start  # programs are started

    def start(self, *, workers: int = 1, with_beat: bool = False, **others: str) -> list[Program]:
        """Start so many workers, and beat; all at once, because each takes seconds."""
        around = self.environment | others
        wanted = [worker(self.how, self.folder, around) for _ in range(workers)]
        wanted += [beat(self.how, self.folder, around)] if with_beat else []
        programs = [self.stack.enter_context(one) for one in wanted]
        for program in programs:
            self.stack.callback(program.begin_to_end)  # before the first of them is waited for
        for program in programs:
            program.wait_until_ready()
        return programs

    def send(self, count: int, *, commits: int = 1, first: int = 0) -> None:
        """Store ``count`` messages to p<number>@firm.example in so many transactions."""
        with self.host.app.app_context():
            for part in range(commits):
                for number in range(first + part, first + count, commits):
                    send_notification(f"p{number}@firm.example", "Hello", text="Hello")
                self.host.db.session.commit()

    def got(self) -> Counter[str]:
        """How often each address was delivered to."""
        return Counter(mail.recipients[0] for mail in self.catcher.mails)

    def statuses(self) -> Counter[str]:
        counted = sa.select(DELIVERY.c.status, sa.func.count()).group_by("status")
        with self.host.state.database.reading() as connection:
            return Counter(dict(connection.execute(counted).all()))

    def wait_until(self, condition: Callable[[], object], seconds: float = PATIENCE) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.statuses(), len(self.catcher.mails), self.logs())
            time.sleep(0.05)

    def all_sent(self, count: int) -> None:
        """Wait until so many messages are recorded as sent, and nothing else is there."""
        self.wait_until(lambda: self.statuses() == {"sent": count})

    def is_idle(self) -> bool:
        """Whether no task waits, and each delivery that a worker has begun is over."""
        begun, over = (
            {*re.findall(rf"{DELIVER}\[([\w-]+)\] {word}", self.logs())}
            for word in ("received", "succeeded")
        )
        return self.broker.waiting() == 0 and begun == over

    def logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self.folder.glob("celery-*.log"))


@pytest.fixture(scope="module")
def programs() -> Iterator[Nursery]:
    with nursery() as programs:
        yield programs


@pytest.fixture
def build(tmp_path: Path, programs: Nursery) -> Iterator[Callable[..., Site]]:
    """Makes a site at a broker, on PostgreSQL."""
    with ExitStack() as stack:

        def building(broker: Broker, *, web_broker: str | None = None, **config: Any) -> Site:
            url = stack.enter_context(fresh_database("postgresql", tmp_path))
            catcher = stack.enter_context(catching())
            stack.callback(broker.remove)  # when all programs have ended
            host = host_with_celery(url, Broker(web_broker or broker.url, broker.queue), **config)
            stack.callback(host.close)
            with host.app.app_context():  # without a wake-up, which tests count
                values = SETTINGS | {"smtp_port": catcher.port}
                host.state.settings.save(values, base=None, changed_by="test")
            around = environment(url, broker)
            return Site(host, broker, catcher, tmp_path, around, stack, programs.start)

        yield building


@pytest.fixture(params=BROKERS)
def broker(request: pytest.FixtureRequest) -> Broker:
    return a_queue(request.param)


@pytest.fixture
def redis() -> Broker:
    return a_queue("redis")


@pytest.fixture
def site(build: Callable[..., Site], broker: Broker) -> Site:
    """A site at each of the brokers."""
    return build(broker)


@pytest.fixture
def rabbit_site(build: Callable[..., Site]) -> Site:
    """A site at RabbitMQ, for what does not depend on the broker."""
    return build(a_queue("rabbitmq"))


# -- a commit becomes a task -------------------------------------------------------------


def test_a_commit_is_delivered_by_a_worker(site: Site) -> None:
    """No beat is needed for it; receivers of signals run in a context of the right application."""
    site.how = command  # as it is outside of tests, with all imports
    site.start(FIM_NOTE="1")
    site.send(3)
    site.all_sent(3)
    assert set(site.got().values()) == {1}
    site.wait_until(lambda: len(noted(site)) == 3)
    assert noted(site) == {f"sent {row.id}" for row in site.host.rows()}


def noted(site: Site) -> set[str]:
    with site.host.app.app_context():
        return {one.name for one in site.host.db.session.scalars(sa.select(site.host.Thing))}


def test_many_commits_make_few_tasks_without_content(site: Site) -> None:
    """A hundred commits of one moment need a handful of tasks; the last one is never missed."""
    began = time.monotonic()
    site.send(100, commits=100)
    elapsed = time.monotonic() - began
    site.host.state.delivery.stop()
    assert 1 <= site.broker.waiting() <= elapsed / 0.1 + 2
    site.start()
    site.all_sent(100)
    site.wait_until(lambda: site.broker.waiting() == 0)


def test_a_task_says_nothing_about_messages(rabbit_site: Site) -> None:
    """What goes to the broker has no arguments."""
    seen: list[Any] = []
    from celery.signals import before_task_publish

    def look(sender: str, body: Any, headers: Any, **_: Any) -> None:
        seen.append((sender, body[0], body[1], headers["task"]))

    before_task_publish.connect(look)
    try:
        rabbit_site.send(1)
        rabbit_site.host.state.delivery.stop()
    finally:
        before_task_publish.disconnect(look)
    assert seen == [(DELIVER, (), {}, DELIVER)]


def test_a_backlog_spreads_over_all_workers(rabbit_site: Site) -> None:
    """One commit of many messages keeps two workers with two processes each busy."""
    # So that there is something left for each, however late: one message at a time and process.
    rabbit_site.catcher.delay = 2.0
    rabbit_site.start(workers=2, FIM_CONNECTIONS="1")
    rabbit_site.send(MANY)
    rabbit_site.wait_until(lambda: len(_carriers(rabbit_site)) == 4)
    rabbit_site.catcher.delay = 0
    rabbit_site.all_sent(MANY)
    assert set(rabbit_site.got().values()) == {1}
    rabbit_site.wait_until(lambda: rabbit_site.broker.waiting() == 0)


def _carriers(site: Site) -> set[str]:
    """The processes that have recorded something."""
    with site.host.state.database.reading() as connection:
        recorded = sa.select(DELIVERY.c.worker).where(DELIVERY.c.status == "sent")
        return set(connection.scalars(recorded))


SHORT_LIVED = """
import os, sys
from flask_interaction_mail import send_notification
from flask_interaction_mail.contrib.wakeups import CeleryDelivery
from tests.celery_host import from_environment

CeleryDelivery.stop.__defaults__ = (60.0,)  # 2 s may be too short on a busy machine
host = from_environment()
def send(number):
    with host.app.app_context():
        send_notification(f"p{number}@firm.example", "Hello", text="Hello")
        host.db.session.commit()

send(0)
child = os.fork()
if child == 0:
    host.state.database.bind.engine.dispose(close=False)
    send(1)
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_process_that_ends_at_once_lets_its_wake_up_out(site: Site) -> None:
    """A command that stores one message and ends; and a process forked from a living one."""
    command = [sys.executable, "-W", "error::UserWarning", "-c", SHORT_LIVED]
    done = subprocess.run(command, env=site.environment, cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    # RabbitMQ may read what it was sent after the sender has ended.
    site.wait_until(lambda: site.broker.waiting() == 2)


# -- workers die, tasks come twice -------------------------------------------------------


def test_a_killed_worker_costs_at_most_what_it_had_in_flight(site: Site) -> None:
    """Two workers, one killed with its children: all arrive; twice only what was in flight."""
    site.catcher.delay = 0.02
    doomed = site.start(workers=2, with_beat=True)[0]
    site.send(MANY, commits=10)
    pids = doomed.pids
    site.wait_until(lambda: len(site.catcher.mails) > MANY / 4 and in_flight(site, pids))
    doomed.kill()
    lost = in_flight(site, pids)
    assert lost, "the worker was killed between two messages"
    site.all_sent(MANY)
    got = site.got()
    assert set(got) == {f"p{number}@firm.example" for number in range(MANY)}
    twice = {address for address, times in got.items() if times > 1}
    assert twice <= lost
    assert max(got.values()) <= 2
    message_ids = Counter(str(mail.message["Message-ID"]) for mail in site.catcher.mails)
    assert len(message_ids) == MANY
    report(site, "one of two workers killed", acknowledged=MANY, duplicated=len(twice))


def in_flight(site: Site, pids: set[int]) -> set[str]:
    """To whom the messages go that these processes have claimed."""
    names = [f"{socket.gethostname()}:{pid}" for pid in pids]
    claimed = sa.select(RECIPIENT.c.address).join_from(
        RECIPIENT,
        DELIVERY,
        DELIVERY.c.id == RECIPIENT.c.message_id,
    )
    with site.host.state.database.reading() as connection:
        return set(
            connection.scalars(
                claimed.where(DELIVERY.c.status == "sending", DELIVERY.c.worker.in_(names))
            )
        )


def report(site: Site, what: str, **counts: int) -> None:
    """What the long form prints with ``-s``."""
    figures = ", ".join(f"{name} {count}" for name, count in counts.items())
    lost = counts["acknowledged"] - len(site.got())
    sys.stderr.write(f"\n{site.broker.url.split(':')[0]}: {what}: {figures}, lost {lost}\n")


def test_a_task_that_comes_many_times_changes_nothing(site: Site) -> None:
    """The same task, by its id too, given to two workers at once: each message goes once."""
    site.catcher.delay = 0.02
    site.start(workers=2)
    celery = celery_of(site.host.app)
    site.send(60, commits=3)
    for _ in range(10):
        celery.send_task(DELIVER, task_id="the-same-task", ignore_result=True)
    site.all_sent(60)
    site.wait_until(lambda: site.broker.waiting() == 0)
    time.sleep(LEASE)  # nothing is left that a lost lease would send again
    celery.send_task(DELIVER, ignore_result=True)
    site.wait_until(lambda: site.broker.waiting() == 0)
    assert site.got() == {f"p{number}@firm.example": 1 for number in range(60)}


# -- the sweep ---------------------------------------------------------------------------


def test_the_sweep_finds_what_no_task_told_of(build: Callable[..., Site], redis: Broker) -> None:
    """Lost tasks, and messages that were deferred: beat looks after both."""
    site = build(redis, INTERACTION_MAIL_DELIVERY="worker")  # publishes nothing
    site.catcher.refuse["p1@firm.example"] = "450 4.2.0 later"
    site.how = command  # beat, too, as it is outside of tests
    site.start(with_beat=True)
    site.send(2)
    site.wait_until(lambda: site.statuses() == {"sent": 1, "deferred": 1})
    site.catcher.refuse.clear()
    with site.host.state.database.writing() as connection:
        deferred = DELIVERY.c.status == "deferred"
        connection.execute(sa.update(DELIVERY).where(deferred).values(due_at=clock.now()))
    site.all_sent(2)


def test_the_schedule_holds_the_sweep_the_purge_and_the_watch() -> None:
    """What a host adds to its own beat schedule."""
    entries = beat_schedule(timedelta(seconds=10))
    assert {one["task"] for one in entries.values()} == {DELIVER, PURGE, WATCH}
    assert entries["interaction-mail-deliver"]["schedule"] == timedelta(seconds=10)


def test_the_watch_runs_in_a_worker(build: Callable[..., Site], redis: Broker) -> None:
    """An alert is told, as by every process that delivers."""
    site = build(redis)
    site.host.configure(alert_waiting=1, probe_every=0)
    program = site.start()[0]
    site.send(1)
    site.all_sent(1)
    site.wait_until(site.is_idle)  # else the task of the commit may send it before the watch looks
    with site.host.state.database.writing() as connection:
        long_ago = clock.now() - timedelta(minutes=5)
        late = {"status": "sending", "lease_until": long_ago, "finished_at": None}
        connection.execute(sa.update(DELIVERY).values(late))
    celery_of(site.host.app).send_task(WATCH, ignore_result=True)
    program.wait_for("alert.begun: waiting")


def test_the_purge_runs_in_a_worker(build: Callable[..., Site], redis: Broker) -> None:
    """Old messages go when the purge task comes."""
    site = build(redis)
    program = site.start()[0]
    site.send(1)
    site.all_sent(1)
    with site.host.state.database.writing() as connection:
        long_ago = clock.now() - timedelta(days=365)
        connection.execute(sa.update(DELIVERY).values(finished_at=long_ago, created_at=long_ago))
    celery_of(site.host.app).send_task(PURGE, ignore_result=True)
    site.wait_until(lambda: not site.host.rows())
    program.wait_for(f"Task {PURGE}")


# -- the broker fails --------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
@pytest.mark.parametrize("state", ["closed", "silent"])
def test_a_broker_that_is_away_costs_the_request_nothing(
    scheme: str, state: str, build: Callable[..., Site], redis: Broker, caplog: Any
) -> None:
    """A closed port, or one that never answers: the commit is quick, a warning says what to do."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if state == "silent" else free_port()
        site = build(redis, web_broker=f"{scheme}://guest:secret@127.0.0.1:{port}//")
        began = time.monotonic()
        site.send(20, commits=20)
        assert time.monotonic() - began < 3  # a look at a silent one takes longer
        site.wait_until(lambda: "celery.unreachable" in caplog.text, 15)
    warning = next(one for one in caplog.records if "celery.unreachable" in one.message)
    assert warning.levelno == logging.WARNING
    assert "sweep" in warning.message
    assert "secret" not in caplog.text
    began = time.monotonic()
    site.host.state.delivery.stop()
    assert time.monotonic() - began < 3
    site.start(with_beat=True)
    site.all_sent(20)


def test_a_broker_that_comes_back_gets_the_wake_up(
    build: Callable[..., Site], tmp_path: Path
) -> None:
    """Without a sweep, and without another commit."""
    with own_redis(tmp_path) as redis:
        site = build(Broker(redis.url))
        site.send(5)
        time.sleep(0.5)
        redis.start()
        site.start()
        site.all_sent(5)


def test_a_restarted_broker_loses_nothing(
    build: Callable[..., Site], tmp_path: Path, caplog: Any
) -> None:
    """A Redis that forgets everything, in the middle of the work: the sweep makes up for it."""
    with own_redis(tmp_path) as redis:
        redis.start()
        site = build(Broker(redis.url))
        site.catcher.delay = 0.02
        site.start(workers=2, with_beat=True)
        site.send(MANY // 2, commits=5)
        site.wait_until(lambda: len(site.catcher.mails) > MANY / 10)
        redis.stop()
        site.send(MANY - MANY // 2, commits=5, first=MANY // 2)
        time.sleep(1)
        redis.start()
        site.all_sent(MANY)
        assert site.got() == {f"p{number}@firm.example": 1 for number in range(MANY)}
        report(site, "broker restarted", acknowledged=MANY, duplicated=0)


def test_a_kept_connection_that_broke_is_made_anew(tmp_path: Path) -> None:
    """The broker was restarted between two commits: the second one's task gets there."""
    from flask import Flask

    with own_redis(tmp_path) as redis:
        redis.start()
        broker = Broker(redis.url)
        line = wakeups.Line(celery_for(Flask("crm"), broker))
        line.send()
        redis.stop()
        redis.start()
        line.send()
        assert broker.waiting() == 1
        line.close()


def test_a_broker_without_its_client_library_is_told_like_one_that_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No error ends the thread for good, and no password is in the log."""
    import celery

    urls = "nonsense://ada:secret@a.example;nonsense://ada:secret@b.example"
    delivery = wakeups.CeleryDelivery(lambda: celery.Celery("crm", broker=urls))
    delivery.wake()
    end = time.monotonic() + 5
    while "celery.unreachable" not in caplog.text:
        assert time.monotonic() < end
        time.sleep(0.02)
    delivery.stop()
    assert "b.example" in caplog.text
    assert "secret" not in caplog.text


def test_the_thread_ends_when_nothing_comes(
    build: Callable[..., Site], redis: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No thread is left behind in silence, and the next commit starts another."""
    monkeypatch.setattr(wakeups, "_IDLE", 0.2)
    site = build(redis)
    site.send(1)
    site.wait_until(lambda: site.broker.waiting() == 1)
    site.wait_until(lambda: site.host.state.delivery._thread is None)
    site.send(1, first=1)
    site.wait_until(lambda: site.broker.waiting() == 2)


# -- setting it up -----------------------------------------------------------------------


def test_no_celery_application_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    """At the first request, and in doctor."""
    with opened(f"sqlite:///{tmp_path}/a.sqlite", INTERACTION_MAIL_DELIVERY="celery") as host:
        host.app.testing = True
        with pytest.raises(InteractionMailError, match=r"app\.extensions\['celery'\]"):
            host.app.test_client().get("/")
        host.configure()
        said = run(host, "doctor")
        assert "[wrong] delivery: INTERACTION_MAIL_DELIVERY is 'celery'" in said.out
        celery_for(host.app, Broker("memory://"))
        assert host.app.test_client().get("/").status_code == 404
        assert "[   ok] delivery: by celery" in run(host, "doctor").out
        host.app.extensions["celery"].conf.beat_schedule = {}
        assert "[ note] delivery: by Celery, but its beat" in run(host, "doctor").out


def test_celery_not_installed_is_an_error_at_once() -> None:
    """The application does not start, and the text names the extra."""
    code = """
import sys
sys.modules["celery"] = None
from tests.host import Host
Host("sqlite://", INTERACTION_MAIL_DELIVERY="celery")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert b"pip install 'flask-interaction-mail[celery]'" in done.stderr.splitlines()[-1]


def test_the_celery_application_can_be_named(tmp_path: Path) -> None:
    """As an object or by its import path; a wrong path is an error that quotes it."""
    url = f"sqlite:///{tmp_path}/a.sqlite"
    named = {"INTERACTION_MAIL_DELIVERY": "celery"}
    with opened(url, **named) as host:
        made = celery_for(host.app, Broker("memory://"))
    with opened(url, **named, INTERACTION_MAIL_CELERY=made) as host:
        assert celery_of(host.app) is made
    with opened(url, **named, INTERACTION_MAIL_CELERY="celery:current_app") as host:
        import celery

        assert celery_of(host.app) == celery.current_app
    with (
        opened(url, **named, INTERACTION_MAIL_CELERY="nowhere.at:all") as host,
        pytest.raises(InteractionMailError, match=re.escape("nowhere.at")),
    ):
        celery_of(host.app)


def test_an_eager_celery_delivers_at_the_end_of_the_context(tmp_path: Path) -> None:
    """Tests of hosts run without a broker: then no task is made."""
    with (
        catching() as catcher,
        opened(f"sqlite:///{tmp_path}/a.sqlite", INTERACTION_MAIL_DELIVERY="celery") as host,
    ):
        celery_for(host.app, Broker("amqp://nowhere.invalid")).conf.task_always_eager = True
        host.configure(smtp_port=catcher.port)
        with host.app.app_context():
            send_notification("ada", "Hello", text="Hello")
            host.db.session.commit()
        assert isinstance(host.state.delivery, SyncDelivery)
        assert [row.status for row in host.rows()] == ["sent"]


def test_a_task_nobody_knows_an_application_for_says_so() -> None:
    """A worker whose module makes no application."""
    import celery

    lonely = celery.Celery("lonely", broker="memory://", set_as_current=False)
    with pytest.raises(InteractionMailError, match="application factory"):
        lonely.tasks[DELIVER]()


def test_two_applications_share_a_celery(tmp_path: Path) -> None:
    """One task carries the mail of both, each in a context of its own application."""
    with ExitStack() as stack:
        catcher = stack.enter_context(catching())
        hosts = [
            stack.enter_context(
                opened(f"sqlite:///{tmp_path}/{name}.sqlite", INTERACTION_MAIL_DELIVERY="celery")
            )
            for name in "ab"
        ]
        made = celery_for(hosts[0].app, Broker("redis://127.0.0.1:1"))
        hosts[1].app.extensions["celery"] = made
        for number, host in enumerate(hosts):
            host.configure(smtp_port=catcher.port)
            with host.app.app_context():
                send_notification(f"p{number}@firm.example", "Hello", text="Hello")
                host.db.session.commit()
            host.state.delivery.stop()
        told = made.tasks[DELIVER]()
        assert [one["sent"] for one in told] == [1, 1]
        assert sorted(mail.recipients[0] for mail in catcher.mails) == [
            "p0@firm.example",
            "p1@firm.example",
        ]


def test_beside_other_ways_of_delivery(rabbit_site: Site) -> None:
    """A dispatcher in this process and two workers: each message goes once."""
    rabbit_site.catcher.delay = 0.01
    rabbit_site.start()
    rabbit_site.send(100, commits=10)
    while rabbit_site.host.dispatcher().drain(StopCondition()).done:
        pass
    rabbit_site.all_sent(100)
    assert set(rabbit_site.got().values()) == {1}
