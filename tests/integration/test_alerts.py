"""Alerts from end to end: what is in trouble is noticed, and told once, by one of several."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from flask_interaction_mail import Alert, clock, messaging_alert
from flask_interaction_mail.delivery import watch
from flask_interaction_mail.delivery.factory import pulse_of
from flask_interaction_mail.monitoring import alerts as monitoring
from flask_interaction_mail.outbox import alerts, breaker, probes
from flask_interaction_mail.outbox.claim import Time
from flask_interaction_mail.outbox.conditions import AlertName
from flask_interaction_mail.outbox.presence import How
from flask_interaction_mail.settings.model import relay_of, relays_of
from flask_interaction_mail.storage.tables import ALERT, CHECK, DELIVERY
from flask_interaction_mail.transport.registry import Transports
from flask_interaction_mail.values import Status
from tests import outbox_rows
from tests.canary import PASSWORD
from tests.databases import DIALECTS, fresh_database
from tests.host import ADA, Host, opened
from tests.servers.certificates import pki
from tests.servers.receiver import Receiver, receiving
from tests.servers.scripted import (
    PIPELINING,
    Scripted,
    check_login,
    scripted,
    start_tls,
)
from tests.terminal import done, run

SECRET = "of the receiver"
TLS = b"250-scripted.test\r\n250 STARTTLS\r\n"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as server:
        yield server


@pytest.fixture
def site(any_host: Host, receiver: Receiver, server: Scripted) -> Host:
    """A host that sends to a server and tells a receiver, in each kind of database."""
    any_host.configure(
        smtp_port=server.port,
        helo_name="here.test",
        alert_url=receiver.url,
        alert_secret=SECRET,
    )
    return any_host


@pytest.fixture
def heard() -> Iterator[list[Alert]]:
    """What the signal brought."""
    found: list[Alert] = []

    def receive(_: object, alert: Alert) -> None:
        found.append(alert)

    with messaging_alert.connected_to(receive):
        yield found


def turn(host: Host) -> None:
    """What each process that delivers does once a minute, here outside of any context."""
    watch.turn(host.state, Transports(host.state.connect_policy))


def send(host: Host, count: int = 1, **row: Any) -> None:
    """Store ``count`` messages; ``row`` is what has become of them."""
    from flask_interaction_mail import send_notification

    with host.app.app_context():
        ids = [send_notification(ADA, "Subject", text="Text").id for _ in range(count)]
        host.db.session.commit()
    with host.state.database.writing() as connection:
        for id in ids if row else ():
            outbox_rows.change(connection, id, **row)


def ended(status: Status, **ago: float) -> dict[str, Any]:
    return {"status": status, "due_at": None, "finished_at": clock.now() - timedelta(**ago)}


def let_time_pass(host: Host, table: sa.Table, column: str = "until", **span: float) -> None:
    """Have a moment in the rows of ``table`` be earlier, as if time had passed since."""
    with host.state.database.writing() as connection:
        for row in connection.execute(sa.select(table)).all():
            key = next(iter(table.primary_key))
            if (moment := getattr(row, column)) is not None:
                earlier = sa.update(table).where(key == getattr(row, key.name))
                connection.execute(earlier.values({column: moment - timedelta(**span)}))


def rows(host: Host) -> dict[str, Any]:
    with host.state.database.reading() as connection:
        return {row.name: row for row in connection.execute(sa.select(ALERT))}


def last_probe(host: Host) -> probes.Probe | None:
    with host.state.database.reading() as connection:
        return probes.read(connection, relay_of(host.state.settings.current().settings))


# -- told once ---------------------------------------------------------------------------


def test_an_alert_is_told_when_it_begins_and_when_it_is_over(
    site: Host, receiver: Receiver, heard: list[Alert], caplog: pytest.LogCaptureFixture
) -> None:
    """Once each, however often somebody looks: by the log, the signal and the webhook."""
    send(site, due_at=clock.now() - timedelta(minutes=16))
    pulse_of(site.state, How.WORKER).beat()
    for _ in range(3):
        turn(site)
    assert receiver.told() == [("waiting", "begun")]
    site.dispatcher().drain()
    for _ in range(3):
        turn(site)
    assert receiver.told() == [("waiting", "begun"), ("waiting", "over")]
    assert [(alert.name, alert.state) for alert in heard] == receiver.told()
    told = [record for record in caplog.records if getattr(record, "event", "") == "alert.begun"]
    assert [record.levelno for record in told] == [logging.ERROR]


def test_what_the_webhook_gets(site: Host, receiver: Receiver) -> None:
    """A body that says everything without an address, a new id for each telling, a signature."""
    send(site, due_at=clock.now() - timedelta(minutes=16))
    turn(site)
    begun = {hook.json["alert"]: hook for hook in receiver.hooks}["waiting"]
    assert begun.json == {
        "id": begun.headers["webhook-id"],
        "application": "crm",
        "alert": "waiting",
        "state": "begun",
        "title": "Messages wait too long",
        "text": "A message that could have left has waited for 16 minutes.",
        "began_at": begun.json["at"],
        "at": begun.json["at"],
    }
    assert datetime.fromisoformat(begun.json["at"]).tzinfo == UTC
    assert begun.headers["webhook-signature"].startswith("v1,")
    site.dispatcher().drain()
    turn(site)
    over = receiver.hooks[-1].json
    began = datetime.fromisoformat(begun.json["at"])
    assert (over["state"], over["began_at"]) == ("over", begun.json["began_at"])
    assert over["text"] == f"It began on {began:%Y-%m-%d at %H:%M} UTC."
    assert "@" not in begun.body.decode()


def test_it_can_begin_again(site: Host, receiver: Receiver) -> None:
    """After it was over, with an id of its own."""
    pulse_of(site.state, How.WORKER).beat()
    for _ in range(2):
        send(site, due_at=clock.now() - timedelta(minutes=16))
        turn(site)
        site.dispatcher().drain()
        turn(site)
    assert receiver.told() == [("waiting", "begun"), ("waiting", "over")] * 2
    assert len({hook.json["id"] for hook in receiver.hooks}) == 4


def test_one_of_two_that_see_it_tells(site: Host, receiver: Receiver) -> None:
    """Who looked at the same moment changes nothing and tells nothing."""
    store, found = site.state.database, {AlertName.SERVER: "It is silent."}
    for _ in range(2):
        with store.writing() as connection:
            alerts.write(connection, found, before={}, now=clock.now())
    assert rows(site)["server"].fence == 1
    with store.reading() as connection:
        (change,) = alerts.untold(connection, clock.now())
    claims = []
    for _ in range(2):
        with store.writing() as connection:
            claims.append(alerts.claim(connection, change, clock.now()))
    assert claims == [True, False]
    with store.reading() as connection:
        before = alerts.seen(connection)
    for _ in range(2):
        with store.writing() as connection:
            alerts.write(connection, {}, before=before, now=clock.now())
    assert rows(site)["server"].fence == 2


def test_what_another_worker_has_ended_meanwhile_does_not_begin_again(
    site: Host, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has seen the trouble and takes its time; the other one sees its end, and tells it."""
    state, look = site.state, watch.take
    with state.database.writing() as connection:
        breaker_opens(site, connection)
    turn(site)

    def slow(connection: sa.Connection, *others: Any) -> Any:
        found = look(connection, *others)
        monkeypatch.setattr(watch, "take", look)
        with state.database.writing() as its:
            its.execute(sa.delete(CHECK).where(CHECK.c.kind == "breaker"))
        watch.check(state)
        return found

    monkeypatch.setattr(watch, "take", slow)
    watch.check(state)
    watch.check(state)
    assert receiver.told() == [("server", "begun"), ("server", "over")]
    assert rows(site)["server"].fence == 2


def test_what_a_stopped_worker_had_claimed_is_told_by_another(
    site: Host, receiver: Receiver
) -> None:
    """A minute later; what it told in the end of an older change does not count for a newer one."""
    store = site.state.database
    with store.writing() as connection:
        alerts.write(connection, {AlertName.SERVER: "x"}, before={}, now=clock.now())
    with store.reading() as connection:
        (change,) = alerts.untold(connection, clock.now())
    with store.writing() as connection:
        assert alerts.claim(connection, change, clock.now())
        later = clock.now() + timedelta(seconds=61)
        assert alerts.claim(connection, change, later)
        alerts.write(connection, {}, before=alerts.seen(connection), now=later)
        alerts.told(connection, change)
    with store.reading() as connection:
        assert [found.fence for found in alerts.untold(connection, later)] == [2]


def test_a_slow_receiver_of_one_change_leaves_the_minute_of_the_next_whole(
    site: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or another worker would tell the next one at the same time."""
    passed, left = [timedelta(0)], []

    class Later(Time):
        def look(self, connection: sa.Connection) -> datetime:
            return super().look(connection) + passed[0]

    def slow(_: object, __: object, change: alerts.Change) -> bool:
        left.append(rows(site)[change.name].due_at - clock.now() - passed[0])
        passed[0] += timedelta(seconds=70)
        return True

    monkeypatch.setattr(watch, "Time", Later)
    monkeypatch.setattr(watch, "tell", slow)
    with site.state.database.writing() as connection:
        both = {AlertName.SERVER: "x", AlertName.NOBODY: "y"}
        alerts.write(connection, both, before={}, now=clock.now())
    watch._tell(site.state, site.state.settings.current().settings)
    assert len(left) == 2
    assert min(left) > timedelta(seconds=50)


def test_a_webhook_that_fails_is_tried_again(
    site: Host, receiver: Receiver, heard: list[Alert], caplog: pytest.LogCaptureFixture
) -> None:
    """Later and later, with the same id; log and signal are not told again. Then it is given up."""
    receiver.statuses += [500] * 5
    with site.state.database.writing() as connection:
        breaker_opens(site, connection)
    waits = []
    for _ in range(7):
        turn(site)
        due = rows(site)["server"].due_at
        waits.append(round((due - clock.now()).total_seconds() / 10) * 10)
        let_time_pass(site, ALERT, "due_at", hours=1)
    assert len(receiver.hooks) == 5
    assert waits[:4] == [10, 60, 300, 900]
    assert len({hook.json["id"] for hook in receiver.hooks}) == 1
    assert [alert.name for alert in heard] == ["server"]
    assert "alert.given_up" in caplog.text


def breaker_opens(host: Host, connection: sa.Connection) -> None:
    from flask_interaction_mail import Stage, TransportError

    relay = relay_of(host.state.settings.current(connection).settings)
    error = TransportError("It is silent.", stage=Stage.CONNECT)
    breaker.trip(connection, relay, error, worker="w", now=clock.now())


def test_a_receiver_of_the_signal_that_raises_stops_nothing(site: Host, receiver: Receiver) -> None:
    """The webhook is told all the same."""

    def broken(_: object, **__: object) -> None:
        raise RuntimeError("a host's mistake")

    with site.state.database.writing() as connection:
        breaker_opens(site, connection)
    with messaging_alert.connected_to(broken):
        turn(site)
    assert receiver.told() == [("server", "begun")]


# -- what is noticed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "sent", "told"), [(2, 18, True), (1, 19, False), (2, 17, False)]
)
def test_failures_of_the_last_hour_count(
    site: Host, receiver: Receiver, failed: int, sent: int, told: bool
) -> None:
    """Not those before, however many."""
    send(site, failed, **ended(Status.FAILED, minutes=59))
    send(site, sent, **ended(Status.SENT, minutes=1))
    send(site, 5, **ended(Status.FAILED, minutes=61))
    turn(site)
    assert (("failures", "begun") in receiver.told()) is told


def test_what_is_not_due_is_not_late(site: Host) -> None:
    """A message for tomorrow, one that is tried again later, and one that is held."""
    yesterday, tomorrow = (clock.now() + timedelta(days=days) for days in (-1, 1))
    send(site, created_at=yesterday, due_at=tomorrow)
    send(site, created_at=yesterday, due_at=tomorrow, status=Status.DEFERRED, attempts=1)
    send(site, created_at=yesterday, due_at=None, status=Status.HELD)
    assert monitoring.health(site.state).vitals.oldest is None
    send(site, due_at=yesterday, status=Status.DEFERRED, attempts=1)
    assert monitoring.health(site.state).vitals.late > timedelta(hours=23)


def test_what_a_stopped_worker_has_left_is_late(site: Host) -> None:
    """Since its lease ended, unless another one takes it over."""
    left = {"status": Status.SENDING, "due_at": None, "worker": "gone"}
    send(site, lease_until=clock.now() - timedelta(minutes=20), **left)
    assert AlertName.WAITING in monitoring.health(site.state).holding


def test_nobody_delivers(site: Host, receiver: Receiver) -> None:
    """The command says so from cron; a worker that comes tells that it is over."""
    send(site, due_at=clock.now() - timedelta(minutes=2))
    said = run(site, "alert")
    assert said.status == 1
    assert "nobody: Nobody delivers." in said.out
    pulse_of(site.state, How.WORKER).beat()
    turn(site)
    assert receiver.told() == [("nobody", "begun"), ("nobody", "over")]


def test_nothing_is_told_where_sending_is_suppressed(tmp_path: Path, receiver: Receiver) -> None:
    """In the tests of a host, say."""
    url = f"sqlite:///{tmp_path}/a.sqlite"
    with opened(url, MAIL_SUPPRESS_SEND=True) as host:
        host.configure(alert_url=receiver.url, alert_secret=SECRET)
        send(host, status=Status.QUEUED, due_at=clock.now() - timedelta(hours=1))
        turn(host)
        assert run(host, "alert").status == 0
    assert receiver.hooks == []


# -- the probe ---------------------------------------------------------------------------


def test_the_server_is_probed_without_mail(site: Host, server: Scripted) -> None:
    """After a quarter of an hour without any, once, and then after another one."""
    for minutes in (0, 14, 1, 0, 15):
        let_time_pass(site, CHECK, minutes=minutes)
        let_time_pass(site, CHECK, "at", minutes=minutes)
        turn(site)
    assert server.commands() == ["EHLO", "QUIT"] * 2
    assert server.messages == []
    probe = last_probe(site)
    assert probe is not None
    assert probe.why is None


def test_mail_makes_a_probe_needless(site: Host, server: Scripted) -> None:
    """But for one look a day at the certificate."""
    turn(site)
    let_time_pass(site, CHECK, minutes=15)
    turn(site)
    send(site)
    site.dispatcher().drain()
    sent = server.connections
    let_time_pass(site, CHECK, minutes=15)
    turn(site)
    assert server.connections == sent
    let_time_pass(site, CHECK, "at", days=1)
    turn(site)
    assert server.connections == sent + 1


def test_one_of_two_makes_the_probe(site: Host) -> None:
    """The turn is taken in the database."""
    relay, every = relay_of(site.state.settings.current().settings), timedelta(minutes=15)
    with site.state.database.writing() as connection:
        now = clock.now()
        turns = [
            probes.begin(
                connection, relay, every=every, worker="w", now=now + timedelta(minutes=at)
            )
            for at in (0, 0, 14, 15, 15, 29, 30)
        ]
    assert turns == [False, False, False, True, False, False, True]


def test_a_server_that_breaks_and_comes_back(site: Host, receiver: Receiver) -> None:
    """The failed probe is told; the next one comes in a minute, and its success is told."""
    with scripted({"GREETING": b"554 5.3.2 no mail today, <ops@relay.example>\r\n"}) as broken:
        site.configure(smtp_port=broken.port, alert_url=receiver.url)
        turn(site)
        let_time_pass(site, CHECK, minutes=15)
        turn(site)
        assert receiver.told() == [("server", "begun")]
        assert "no mail today" in receiver.hooks[0].json["text"]
        assert "@" not in receiver.hooks[0].json["text"]
        broken.answers.clear()
        let_time_pass(site, CHECK, seconds=59)
        turn(site)
        assert len(receiver.hooks) == 1
        let_time_pass(site, CHECK, seconds=1)
        turn(site)
    assert receiver.told() == [("server", "begun"), ("server", "over")]


def test_mail_that_goes_ends_the_trouble_of_a_probe(site: Host, server: Scripted) -> None:
    """It is the better proof."""
    server.answers["GREETING"] = [b"421 4.3.2 busy\r\n"]
    turn(site)
    let_time_pass(site, CHECK, minutes=15)
    turn(site)
    assert AlertName.SERVER in monitoring.health(site.state).holding
    send(site)
    site.dispatcher().drain()
    assert monitoring.health(site.state).fine


def test_a_probe_closes_the_breaker_that_nothing_else_would(
    site: Host, server: Scripted, receiver: Receiver
) -> None:
    """While mail waits, delivery tries; without any, only the probe can."""
    turn(site)
    with site.state.database.writing() as connection:
        breaker_opens(site, connection)
    let_time_pass(site, CHECK, minutes=15)
    send(site)
    turn(site)
    assert (server.connections, receiver.told()) == (0, [("server", "begun")])
    with site.state.database.writing() as connection:
        connection.execute(sa.update(DELIVERY).values(**ended(Status.CANCELLED)))
    turn(site)
    assert (server.connections, receiver.told()[1:]) == (1, [("server", "over")])


def test_a_refused_login_is_not_tried_each_minute(site: Host, server: Scripted) -> None:
    """Servers lock accounts after a few wrong passwords."""
    server.answers |= {
        "EHLO": b"250-scripted.test\r\n250 AUTH PLAIN\r\n",
        "AUTH": check_login("crm", "another"),
    }
    site.configure(
        smtp_port=server.port,
        use_authentication=True,
        allow_unencrypted_auth=True,
        login="crm",
        password=PASSWORD,
        probe_every=1,
    )
    for minutes in (0, 1, 1, 12, 2):
        let_time_pass(site, CHECK, minutes=minutes)
        turn(site)
    assert server.count("AUTH") == 2
    probe = last_probe(site)
    assert probe is not None
    assert probe.why is not None
    assert PASSWORD not in probe.why


def test_a_certificate_that_ends_soon(site: Host, receiver: Receiver) -> None:
    """As a probe has seen it, and that of a private authority in the settings."""
    soon = datetime.now(UTC) + timedelta(days=13)
    context = pki().server(not_after=soon)
    with scripted({"EHLO": [TLS, PIPELINING] * 2, "STARTTLS": start_tls}, tls=context) as server:
        site.configure(
            smtp_port=server.port,
            smtp_server="127.0.0.1",
            encryption="starttls",
            ca_certificate=pki().pem,
            alert_url=receiver.url,
        )
        turn(site)
        let_time_pass(site, CHECK, minutes=15)
        turn(site)
    probe = last_probe(site)
    assert probe is not None
    assert (probe.why, probe.expires) == (None, soon.replace(microsecond=0, tzinfo=None))
    (hook,) = receiver.hooks
    assert hook.json["alert"] == "expiry"
    assert f"mail server ends on {soon:%Y-%m-%d}" in hook.json["text"]
    assert run(site, "settings", "set", "--alert-expiry", "12").status == 0
    turn(site)
    assert receiver.told()[1:] == [("expiry", "over")]


def test_probes_can_be_switched_off(site: Host, server: Scripted) -> None:
    site.configure(smtp_port=server.port, probe_every=0)
    for _ in range(2):
        turn(site)
        let_time_pass(site, CHECK, days=1)
    assert server.connections == 0


def test_what_the_last_probe_found_is_forgotten_without_probes(
    site: Host, receiver: Receiver
) -> None:
    """No probe would ever find out that the server works again, or has another certificate."""
    with scripted() as gone:
        port = gone.port
    site.configure(smtp_port=port, alert_url=receiver.url, alert_secret=SECRET)
    turn(site)
    let_time_pass(site, CHECK, minutes=15)
    turn(site)
    assert receiver.told() == [("server", "begun")]
    site.configure(smtp_port=port, probe_every=0)
    turn(site)
    assert receiver.told()[1:] == [("server", "over")]


def test_no_transaction_is_open_while_the_network_is_used(
    site: Host, server: Scripted, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A silent server or receiver holds nobody up."""
    store, depth, seen = site.state.database, [0], []

    def counted(name: str) -> Any:
        real = getattr(type(store), name)

        @contextmanager
        def transaction(self: Any) -> Iterator[Any]:
            depth[0] += 1
            try:
                with real(self) as connection:
                    yield connection
            finally:
                depth[0] -= 1

        return transaction

    for name in ("reading", "writing"):
        monkeypatch.setattr(type(store), name, counted(name))
    for module, name in ((watch.Transports, "look"), (telling_webhook(), "post")):
        real = getattr(module, name)

        def spied(*args: Any, _real: Any = real, **named: Any) -> Any:
            seen.append(depth[0])
            return _real(*args, **named)

        monkeypatch.setattr(module, name, spied)
    turn(site)
    let_time_pass(site, CHECK, minutes=15)
    server.answers["GREETING"] = b"554 no\r\n"
    turn(site)
    assert seen == [0, 0]


def telling_webhook() -> Any:
    from flask_interaction_mail.transport import webhook

    return webhook


# -- the secret --------------------------------------------------------------------------


def test_the_secret_is_stored_encrypted_and_shown_nowhere(tmp_path: Path) -> None:
    """As the password: not in the file, the commands, the history."""
    path = tmp_path / "a.sqlite"
    with opened(f"sqlite:///{path}") as host:
        host.configure()
        typed = PASSWORD + "\n"
        url = ("--alert-url", "https://hooks.example/")
        done(host, "settings", "set", *url, "--alert-secret-stdin", typed=typed)
        shown = done(host, "settings", "show").out + done(host, "settings", "show", "--json").out
        assert PASSWORD not in shown
        history = done(host, "settings", "history", "--json").json
        assert history[0]["changed"] == ["alert_url", "alert_secret"]
        settings = host.state.settings.current().settings
        assert settings.alert_secret is not None
        assert settings.alert_secret.reveal() == PASSWORD
    assert PASSWORD.encode() not in path.read_bytes()


def test_the_secret_belongs_to_one_url(host: Host, receiver: Receiver) -> None:
    """Who may change the URL does not get messages signed with a secret that they do not know."""
    host.configure(alert_url=receiver.url, alert_secret=SECRET)
    with receiving() as other:
        refused = run(host, "settings", "set", "--alert-url", other.url)
        assert refused.status == 1
        assert "alert_secret: Enter the secret" in refused.err
        overridden = {"INTERACTION_MAIL_OVERRIDES": {"alert_url": other.url}}
        with opened(url_of(host), **overridden) as process:
            assert process.state.settings.current().settings.alert_secret is None
            assert run(process, "alert", "--test").status == 1
        assert other.hooks == []
    assert run(host, "alert", "--test").status == 0
    assert len(receiver.hooks) == 1


def url_of(host: Host) -> str:
    return str(host.app.config["SQLALCHEMY_DATABASE_URI"])


def test_the_configuration_may_set_both(tmp_path: Path, receiver: Receiver) -> None:
    """Keys of their own, above what is stored."""
    keys = {"INTERACTION_MAIL_ALERT_URL": receiver.url, "INTERACTION_MAIL_ALERT_SECRET": SECRET}
    with opened(f"sqlite:///{tmp_path}/a.sqlite", **keys) as host:
        host.configure()
        assert "which took it" in done(host, "alert", "--test").out
        assert host.state.settings.current().overridden == {"alert_url", "alert_secret"}
    assert receiver.told() == [("test", "test")]


def test_keys_are_rotated(tmp_path: Path, receiver: Receiver) -> None:
    """The secret moves to the newest key with the password."""
    url = f"sqlite:///{tmp_path}/a.sqlite"
    both = {"password": PASSWORD, "login": "crm", "use_authentication": True}
    with opened(url, SECRET_KEY="old") as host:
        host.configure(
            **both, allow_unencrypted_auth=True, alert_url=receiver.url, alert_secret=SECRET
        )
    with opened(url, SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]) as host:
        assert "1 stored" in done(host, "rotate-keys").out
    with opened(url, SECRET_KEY="new") as host:
        settings = host.state.settings.current().settings
        assert settings.alert_secret is not None
        assert settings.password is not None
        assert run(host, "alert", "--test").status == 0
    with opened(url, SECRET_KEY="lost") as host:
        assert host.state.settings.current().settings.alert_secret is None


# -- the command -------------------------------------------------------------------------


def test_a_test_alert_goes_everywhere(
    site: Host, receiver: Receiver, heard: list[Alert], caplog: pytest.LogCaptureFixture
) -> None:
    """And says what the webhook said."""
    assert "which took it" in done(site, "alert", "--test").out
    assert receiver.told() == [("test", "test")]
    assert [alert.state for alert in heard] == ["test"]
    assert "alert.test" in caplog.text
    receiver.statuses.append(500)
    assert "answered 500" in run(site, "alert", "--test").err
    assert rows(site) == {}


def test_without_a_webhook_log_and_signal_are_told(host: Host, heard: list[Alert]) -> None:
    assert "no webhook" in done(host, "alert", "--test").out
    assert len(heard) == 1


def test_the_command_gives_json(site: Host) -> None:
    """The same as the page for monitors."""
    told = json.loads(run(site, "alert", "--json").out)
    assert (told["status"], told["alerts"]) == ("ok", [])
    with site.state.database.writing() as connection:
        breaker_opens(site, connection)
    said = run(site, "alert", "--json")
    assert said.status == 1
    assert [alert["name"] for alert in json.loads(said.out)["alerts"]] == ["server"]


def test_the_documented_receiver_hears_of_it(site: Host, caplog: pytest.LogCaptureFixture) -> None:
    """The snippet of docs/monitoring.md."""
    page = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text("utf-8")
    snippet = page.split("```python\nfrom flask_interaction_mail import messaging_alert", 1)[1]
    names: dict[str, Any] = {"messaging_alert": messaging_alert}
    exec(snippet.split("```", 1)[0], names)  # noqa: S102 - ours
    try:
        done(site, "alert", "--test")
    finally:
        messaging_alert.disconnect(names["page_somebody"])
    assert "test test: A test of the alerts" in caplog.text


# -- the rest ----------------------------------------------------------------------------


def test_a_dispatcher_watches_in_a_thread_of_its_own(host: Host, server: Scripted) -> None:
    """Delivery does not wait for it, and it does not run twice at once."""
    host.configure(smtp_port=server.port)
    import threading

    stop, wake, go = threading.Event(), threading.Event(), threading.Event()
    threads: list[str] = []

    def watching() -> None:
        threads.append(threading.current_thread().name)
        go.wait(20)

    dispatcher = host.dispatcher(watch=watching, watch_every=0.01)
    running = threading.Thread(target=dispatcher.run, args=(stop, wake), kwargs={"poll": 0.01})
    running.start()
    from tests.servers.scripted import until

    assert until(lambda: bool(threads))
    send(host)
    assert until(lambda: bool(server.messages))
    assert threads == ["interaction-mail-watch"]
    go.set()
    assert until(lambda: len(threads) > 1)
    stop.set()
    wake.set()
    running.join(20)


def test_a_broken_database_is_logged_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A turn never raises, as nobody would catch it."""
    with opened(f"sqlite:///{tmp_path}/a.sqlite") as host:
        host.configure()
        with host.state.database.writing() as connection:
            connection.execute(sa.text("DROP TABLE interaction_mail_alert"))
        turn(host)
    assert "watch." in caplog.text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_queries_use_indexes(dialect: str, tmp_path: Path) -> None:
    """With 20,000 messages that have ended, none of them reads the table."""
    from flask_interaction_mail.outbox import vitals

    with fresh_database(dialect, tmp_path) as url, opened(url) as host:
        host.configure()
        send(host)
        with host.state.database.writing() as connection:
            fill(connection, 20_000)
        host.db.metadata.bind = None
        statements: list[tuple[str, Any]] = []
        with host.app.app_context():
            engine = host.db.engine

        def note(*args: Any) -> None:
            statements.append((args[2], args[3]))

        sa.event.listen(engine, "before_cursor_execute", note)
        with host.state.database.reading() as connection:
            settings = host.state.settings.current(connection).settings
            statements.clear()
            vitals.take(connection, settings, relays_of(settings))
        sa.event.remove(engine, "before_cursor_execute", note)
        with engine.connect() as connection:
            if dialect == "postgresql":
                connection.exec_driver_sql("ANALYZE interaction_mail_delivery")
            explain = "EXPLAIN QUERY PLAN" if dialect == "sqlite" else "EXPLAIN"
            for statement, parameters in statements:
                if "interaction_mail_delivery" not in statement:
                    continue
                plan = connection.exec_driver_sql(f"{explain} {statement}", parameters)
                text = "\n".join(map(str, plan))
                assert any(
                    by in text
                    for by in ("ix_interaction_mail_delivery", "optimized away", "min/max")
                ), text


def fill(connection: sa.Connection, count: int) -> None:
    """Put ``count`` messages beside the first that ended long ago."""
    import uuid

    from flask_interaction_mail.storage.tables import MESSAGE

    for table in (MESSAGE, DELIVERY):
        like = dict(connection.execute(sa.select(table)).first()._mapping)
        if table is DELIVERY:
            like |= {
                "status": "sent",
                "due_at": None,
                "finished_at": clock.now() - timedelta(days=2),
            }
        connection.execute(
            sa.insert(table), [like | {"id": uuid.UUID(int=at)} for at in range(count)]
        )
