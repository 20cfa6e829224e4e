"""Several relays as people and monitors see them: pages, commands, alerts, probes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask_admin import Admin

from flask_interaction_mail import clock, notification_held, operations
from flask_interaction_mail.delivery import watch
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.monitoring import alerts as monitoring
from flask_interaction_mail.monitoring import exposition
from flask_interaction_mail.monitoring.health import delivery as health
from flask_interaction_mail.outbox import breaker, probes
from flask_interaction_mail.outcome import Stage
from flask_interaction_mail.settings.model import relays_of
from flask_interaction_mail.settings.relay import Relay
from flask_interaction_mail.storage.tables import CHECK, DELIVERY
from flask_interaction_mail.transport.registry import Transports
from tests.host import SETTINGS, Host
from tests.panel import EXPLAIN, HOME, OUTBOX, OpenIndex, Panel, send
from tests.servers.scripted import Scripted, scripted
from tests.terminal import done

EXPLAINED = f"{EXPLAIN}?requester=1&location=Firm+List"


@pytest.fixture
def servers() -> Iterator[tuple[Scripted, Scripted]]:
    with scripted({}) as first, scripted({}) as second:
        yield first, second


def two(host: Host, servers: tuple[Scripted, Scripted], **changes: Any) -> None:
    """Have the host send by two relays, "default" and "backup"."""
    first, second = servers
    host.configure(
        smtp_port=first.port,
        **{
            "relays": ("default", "backup"),
            "relays.backup.smtp_server": "127.0.0.1",
            "relays.backup.smtp_port": second.port,
            "relays.backup.encryption": "none",
            **changes,
        },
    )


@pytest.fixture
def site(any_host: Host, servers: tuple[Scripted, Scripted]) -> Host:
    """A host with two relays, in each kind of database."""
    two(any_host, servers)
    return any_host


@pytest.fixture
def panel(tmp_path: Path, servers: tuple[Scripted, Scripted]) -> Iterator[Panel]:
    host = Host(
        f"sqlite:///{tmp_path}/host.sqlite",
        admin=Admin(index_view=OpenIndex()),
        access=lambda _: True,
    )
    two(host, servers)
    yield Panel(host)
    host.close()


def relays(host: Host) -> tuple[Relay, ...]:
    return relays_of(host.state.settings.current().settings)


def in_trouble(host: Host, name: str) -> Relay:
    (relay,) = [one for one in relays(host) if one.name == name]
    with host.state.database.writing() as connection:
        breaker.trip(
            connection,
            relay,
            TransportError("It is silent.", stage=Stage.CONNECT),
            worker="w",
            now=clock.now(),
        )
    return relay


def is_open(host: Host, relay: Relay) -> bool:
    with host.state.database.reading() as connection:
        return breaker.read(connection, relay) is not None


# -- alerts and probes -----------------------------------------------------------------


def test_the_alert_names_the_relay_in_trouble(site: Host) -> None:
    """Monitors learn which one it is, and nothing that a server said."""
    in_trouble(site, "backup")
    found = monitoring.health(site.state)
    assert found.holding["server"] == "backup: It is silent."  # type: ignore[index]
    told = exposition.as_json(found)
    assert told["relays"] == {"default": "ok", "backup": "trouble"}
    assert "silent" not in str(told)
    text = exposition.as_text(found)
    assert 'interaction_mail_relay_in_trouble{name="backup"} 1.0' in text
    assert 'interaction_mail_relay_in_trouble{name="default"} 0.0' in text


def test_mail_that_no_relay_may_carry_raises_an_alert(
    site: Host, servers: tuple[Scripted, Scripted]
) -> None:
    """It is over when a relay may carry it, and saving that is enough to let it go."""
    only = {"from_domains": "else.example", "relays.backup.from_domains": "other.example"}
    two(site, servers, **only)
    send(Panel(site), "Whose?")
    assert site.dispatcher().drain().done == 0
    found = monitoring.health(site.state)
    assert "messages that wait for one: 1" in found.holding["relay"]  # type: ignore[index]
    assert exposition.as_json(found)["without_relay"] == 1
    assert done(site, "status", "--json").json["without_relay"] == 1
    two(site, servers, **only | {"relays.backup.from_domains": "other.example, firm.example"})
    assert "relay" not in monitoring.health(site.state).holding
    assert site.dispatcher().drain().sent == 1
    assert len(servers[1].messages) == 1


def test_each_relay_is_probed_for_itself(site: Host, servers: tuple[Scripted, Scripted]) -> None:
    """The second one gets no mail, so that only a probe can tell that it works."""
    transports = Transports(site.state.connect_policy)
    watch.turn(site.state, transports)
    with site.state.database.writing() as connection:
        connection.execute(sa.update(CHECK).values(until=clock.now() - timedelta(seconds=1)))
    send(Panel(site), "One")
    site.dispatcher().drain()
    first, second = servers
    before = first.connections
    watch.turn(site.state, transports)
    assert second.connections == 1
    assert first.connections - before <= 1  # once a day, for its certificate
    with site.state.database.reading() as connection:
        assert all(probes.read(connection, relay) for relay in relays(site))


def test_a_probe_closes_the_breaker_of_its_relay_while_mail_goes_by_the_other(site: Host) -> None:
    """Also if mail waits, which is for the other one."""
    for name in ("default", "backup"):
        in_trouble(site, name)
    send(Panel(site), "One")
    transports = Transports(site.state.connect_policy)
    for _ in range(2):  # the first one comes when its time is over
        with site.state.database.writing() as connection:
            connection.execute(sa.update(CHECK).values(until=clock.now() - timedelta(seconds=1)))
        watch.turn(site.state, transports)
    assert not any(is_open(site, relay) for relay in relays(site))


def test_a_save_closes_only_the_breakers_of_relays_that_changed(
    site: Host, servers: tuple[Scripted, Scripted]
) -> None:
    """Another default To says nothing about a server."""
    for name in ("default", "backup"):
        in_trouble(site, name)
    with site.app.app_context():
        base = site.state.settings.current().revision
        operations.save_settings(site.state, {"default_to": "others"}, base=base, changed_by="test")
        assert all(is_open(site, relay) for relay in relays(site))
        base = site.state.settings.current().revision
        operations.save_settings(
            site.state, {"relays.backup.helo_name": "b.test"}, base=base, changed_by="test"
        )
    default, backup = relays(site)
    assert is_open(site, default)
    assert not is_open(site, backup)
    assert SETTINGS["default_to"] != "others"


def test_the_host_hears_of_a_message_that_is_held(site: Host) -> None:
    """Its relay was removed, so that nobody can find out any more whether it has left."""
    heard: list[Any] = []

    def hear(_: object, notification: Any) -> None:
        heard.append((notification.id, str(notification.reason)))

    id = send(Panel(site), "One")
    with site.state.database.writing() as connection:
        connection.execute(sa.update(DELIVERY).values(relay="gone"))
    with notification_held.connected_to(hear):
        site.dispatcher().drain()
    assert heard == [(id, "ambiguous")]


# -- commands --------------------------------------------------------------------------


def test_status_tells_of_each_relay(site: Host) -> None:
    """In words for several; the JSON always has the list."""
    in_trouble(site, "backup")
    told = done(site, "status", "--json").json
    assert [(one["name"], one["trouble"]) for one in told["relays"]] == [
        ("default", None),
        ("backup", "It is silent."),
    ]
    assert told["server_trouble"] is None  # of the first
    text = done(site, "status").out
    assert "backup: 127.0.0.1:" in text
    assert "in trouble until" in text
    assert "server trouble" not in text
    with site.app.app_context():
        level, words = health.server(site.state)
    assert (str(level), "relay 'backup' in trouble since" in words) == ("wrong", True)


def test_the_outbox_says_which_relay_took_it(
    site: Host, servers: tuple[Scripted, Scripted]
) -> None:
    """In the list, and in the details."""
    in_trouble(site, "default")
    id = send(Panel(site), "One")
    assert site.dispatcher().drain().sent == 1
    assert done(site, "outbox", "list", "--json").json[0]["relay"] == "backup"
    assert done(site, "outbox", "show", str(id), "--json").json["relay"] == "backup"
    assert len(servers[1].messages) == 1


# -- pages -----------------------------------------------------------------------------


def test_pages_say_which_server_is_in_trouble(panel: Panel) -> None:
    """And whether mail goes on."""
    in_trouble(panel.host, "default")
    text = panel.get(HOME).text
    assert "Mail server “default”: in trouble since" in text
    assert "others carry what they may" in text
    in_trouble(panel.host, "backup")
    assert "as all others are" in panel.get(HOME).text


def test_the_list_has_the_server_of_each_message(panel: Panel) -> None:
    """It can be filtered by it, and exported."""
    first = send(panel, "By the first")
    panel.host.dispatcher().drain()
    in_trouble(panel.host, "default")
    send(panel, "By the second")
    panel.host.dispatcher().drain()
    page = panel.get(OUTBOX)
    assert [cell.text for cell in page.select("tbody td:nth-of-type(5)")] == ["backup", "default"]
    page = panel.get(f"{OUTBOX}?relay=backup")
    assert [link.text for link in page.select("tbody td a")] == ["By the second"]
    facts = panel.get(f"{OUTBOX}{first}/").select_one(".im-facts")
    assert facts is not None
    assert "Mail serverdefault" in facts.get_text(strip=True).replace("\n", "")
    lines = panel.client.get(f"{OUTBOX}export.csv").text.splitlines()
    assert lines[0].endswith('"relay"')
    assert [line.rpartition(",")[2] for line in lines[1:]] == ['"backup"', '"default"']


def test_with_one_server_nothing_is_said_of_relays(panel: Panel) -> None:
    """The list and the page of a message are as simple as they were."""
    panel.host.configure(relays=("default",))
    id = send(panel, "One")
    assert panel.host.dispatcher().drain().sent == 1
    facts = panel.get(f"{OUTBOX}{id}/").select_one(".im-facts")
    assert facts is not None
    assert "Mail server" not in facts.text
    page = panel.get(OUTBOX)
    assert [head.text for head in page.select("thead th")][-2:] == ["To", "State"]
    assert page.select_one("#im-relay") is None


def test_a_message_that_waits_says_what_for(panel: Panel, servers: Any) -> None:
    """In the list and on its page, without a time at which nothing will happen."""
    two(
        panel.host, servers, **{"relays.backup.from_domains": "x.example"}, from_domains="y.example"
    )
    id = send(panel, "Whose?")
    panel.host.dispatcher().drain()
    with panel.host.state.database.reading() as connection:
        assert connection.scalar(sa.select(DELIVERY.c.reason)) == "relay"
    for url in (OUTBOX, f"{OUTBOX}{id}/"):
        text = panel.get(url).text
        assert "It waits for a mail server." in text
        assert "No mail server may carry mail from firm.example" in text
    assert "Next try" not in text
    assert "Oldest message waiting since" in panel.get(HOME).text
    assert "“/”" not in text


def test_explain_says_which_server_would_carry_it(panel: Panel, servers: Any) -> None:
    """And why, in each case."""

    def goes_by() -> list[str]:
        return [
            row.td.get_text(strip=True)
            for row in panel.get(EXPLAINED).select(".im-compare tbody tr")
            if row.th.get_text(strip=True).startswith(("Goes by", "Mail server"))
        ]

    first, second = servers
    assert goes_by() == [
        "“default”, the first that may carry it",
        f"127.0.0.1, port {first.port}, not encrypted, without a login",
    ]
    in_trouble(panel.host, "default")
    assert goes_by() == [
        "“backup”, because those before it are in trouble",
        f"127.0.0.1, port {second.port}, not encrypted, without a login",
    ]
    in_trouble(panel.host, "backup")
    assert goes_by()[0] == "Waiting for the mail server “default”: It is silent."
    two(
        panel.host, servers, **{"relays.backup.from_domains": "x.example"}, from_domains="y.example"
    )
    assert goes_by()[0].startswith("No mail server may carry mail from firm.example.")
    panel.host.configure(relays=("default",), from_domains="")
    assert len(goes_by()) == 1
