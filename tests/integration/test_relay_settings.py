"""Several relays: stored, restored, in conflict, overridden, in the form, by command."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup

from flask_interaction_mail import clock, operations, settings_changed
from flask_interaction_mail.config import parse
from flask_interaction_mail.errors import SettingsConflict, SettingsError, TransportError
from flask_interaction_mail.outbox import breaker
from flask_interaction_mail.outcome import Stage
from flask_interaction_mail.settings.layers import InForce
from flask_interaction_mail.settings.model import PasswordState, relays_of
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.settings.store import SettingsStore
from flask_interaction_mail.storage import migrations
from flask_interaction_mail.storage.tables import OURS, REVISION
from tests.canary import PASSWORD, STEM
from tests.crash.commands import Commands
from tests.databases import DIALECTS, fresh_database
from tests.host import Host, opened
from tests.integration.test_settings_store import CHANGES, Engine, store_on
from tests.panel import (
    HISTORY,
    HOME,
    TEST,
    Panel,
    change,
    error_at,
    form_values,
    opened_panel,
    send,
)
from tests.servers.scripted import scripted
from tests.terminal import done, run

RELAYS = HOME + "relays"
BACKUP = {
    "relays": ("default", "backup"),
    "relays.backup.smtp_server": "two.example",
    "relays.backup.use_authentication": True,
    "relays.backup.login": "crm-two",
    "relays.backup.password": f"{STEM}two",
    "relays.backup.from_domains": "Firm.example, other.example",
}


@pytest.fixture(params=DIALECTS)
def any_database(request: Any, tmp_path: Path) -> Iterator[Engine]:
    """A fresh database with the tables, of each kind."""
    with fresh_database(request.param, tmp_path) as url:
        database = Engine(url)
        OURS.create_all(database.engine)
        yield database
        database.engine.dispose()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Engine]:
    """A fresh SQLite file."""
    with fresh_database("sqlite", tmp_path) as url:
        database = Engine(url)
        OURS.create_all(database.engine)
        yield database
        database.engine.dispose()


def saved(database: Engine, **layers: Any) -> SettingsStore:
    """A store with two relays, each with a password of its own."""
    store = store_on(database, **layers)
    store.save({**CHANGES, **BACKUP}, base=0, changed_by="ada")
    return store


def names(found: InForce) -> list[str]:
    return [relay.name for relay in relays_of(found.settings)]


# -- stored -----------------------------------------------------------------------------


def test_one_revision_holds_all_relays_in_order(any_database: Engine) -> None:
    """Another process reads the list, and each relay's own values and password."""
    saved(any_database)
    found = store_on(any_database).current()
    one, two = relays_of(found.settings)
    assert (one.name, one.server, one.login) == ("default", "mail.firm.example", "crm")
    assert (two.name, two.server, two.login) == ("backup", "two.example", "crm-two")
    assert one.secret == Secret(str(CHANGES["password"]))
    assert two.secret == Secret(f"{STEM}two")
    assert two.from_domains == ("firm.example", "other.example")
    assert found.revision == 1
    assert STEM not in str(any_database.dump())


def test_the_order_and_removal_concern_the_whole_list(any_database: Engine) -> None:
    """A removed relay is gone with its secret; restoring brings both back, bound as before."""
    store = saved(any_database)
    store.save({"relays": ("backup", "default")}, base=1, changed_by="ada")
    assert names(store.current()) == ["backup", "default"]
    store.save({"relays": ("default",)}, base=2, changed_by="ada")
    assert names(store.current()) == ["default"]
    newest = any_database.dump()[-1]
    assert "backup" not in str(newest)
    store.restore(2, changed_by="ada")
    back = store.current()
    assert names(back) == ["backup", "default"]
    assert back.of("backup").password is PasswordState.USABLE


def test_the_history_names_what_changed_where(database: Engine) -> None:
    """By the names of the settings; of a removed relay the list tells."""
    store = saved(database)
    store.save({"relays.backup.smtp_port": 2525, "relays.backup.password": f"{STEM}3"}, **BY_ADA)
    store.save({"relays": "default"}, **BY_ADA)
    last, before, _ = store.history()
    assert last.changed == ("relays",)
    assert before.changed == ("relays.backup.smtp_port", "relays.backup.password")


BY_ADA: dict[str, Any] = {"base": None, "changed_by": "ada"}


def test_two_savers_of_a_list_meet(any_database: Engine) -> None:
    """One of them wins, the other is told; the list is never mixed."""
    saved(any_database)
    orders = [("backup", "default"), ("default",)]
    ends: list[str] = []
    gate = threading.Barrier(2)

    def save(order: tuple[str, ...]) -> None:
        store = store_on(any_database)
        gate.wait()
        try:
            store.save({"relays": order}, base=1, changed_by="ada")
            ends.append("saved")
        except SettingsConflict:
            ends.append("conflict")

    threads = [threading.Thread(target=save, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["conflict", "saved"]
    assert store_on(any_database).current().settings.relays in orders


def test_keys_are_rotated_for_each_relay(database: Engine) -> None:
    """The password of every relay is readable under the new key alone."""
    saved(database)
    assert store_on(database, "new", "key").rotate_keys() == 1
    found = store_on(database, "new").current()
    assert [relay.secret is not None for relay in relays_of(found.settings)] == [True, True]


def test_another_destination_needs_that_relays_password(database: Engine) -> None:
    """The error stands at the field of the relay whose server changed, and at no other."""
    store = saved(database)
    with pytest.raises(SettingsError) as caught:
        store.save({"relays.backup.smtp_server": "evil.example"}, **BY_ADA)
    assert [*caught.value.errors] == ["relays.backup.password"]


@pytest.mark.parametrize(
    "changes",
    [
        {"relays": ("backup",)},
        {"relays": ("default", "default")},
        {"relays": ("default", "not a name")},
        {"relays": ("default", "a__b")},
        {"relays": ["default", *(f"r{number}" for number in range(20))]},
        {"relays.other.login": "x"},
        {"relays.default.login": "x"},
        {"relays.BACKUP.login": "x"},
        {"relays.backup.default_to": "x"},
        {"relays.backup": "x"},
        {"relays.backup.smtp_port": "0"},
        {"relays": ("default", "backup", "third")},
    ],
)
def test_what_is_no_list_and_no_relay_is_refused(
    database: Engine, changes: dict[str, object]
) -> None:
    """With an error at its name, and nothing is saved: default stays, a new one needs a server."""
    store = saved(database)
    with pytest.raises(SettingsError):
        store.save(changes, **BY_ADA)
    assert store.current().revision == 1


def test_a_row_of_a_newer_version_breaks_nothing(database: Engine) -> None:
    """What cannot be read counts as unset; the other relays work on."""
    saved(database)
    database.edit(**{"relays.backup.smtp_port": "many", "relays.backup.colour": "red"})
    with database.engine.begin() as connection:
        secrets = json.loads(connection.scalar(sa.select(REVISION.c.secrets)) or "{}")
        secrets |= {"relays.backup.new_secret": "x", "other_secret": "y"}
        connection.execute(sa.update(REVISION).values(secrets=json.dumps(secrets)))
    found = store_on(database).current()
    assert names(found) == ["default", "backup"]
    assert found.of("backup").settings.smtp_port == 25


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_way_back_keeps_default_and_says_what_it_drops(
    dialect: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Today's settings become those of default, and are so again on the way back."""
    with fresh_database(dialect, tmp_path) as url, ExitStack() as pool:
        database = Engine(url)
        pool.callback(database.engine.dispose)
        migrations.upgrade(database.engine)
        store = store_on(database)
        store.save(CHANGES, base=0, changed_by="ada")
        store.save({**BACKUP, "relays": ("backup", "default")}, **BY_ADA)
        migrations.downgrade(database.engine, "0006")
        assert "backup dropped from the settings; default stays" in caplog.text
        with database.engine.connect() as connection:
            kept = connection.execute(sa.text("SELECT fields FROM interaction_mail_settings"))
            assert "relays" not in str(kept.all())
        migrations.upgrade(database.engine)
        found = store_on(database).current()
        assert names(found) == ["default"]
        assert found.password is PasswordState.USABLE
        assert found.settings.smtp_server == "mail.firm.example"


# -- layers -----------------------------------------------------------------------------


def overrides(**values: Any) -> Any:
    return parse({"INTERACTION_MAIL_OVERRIDES": values}).overrides


def test_an_override_is_of_the_relay_that_it_names(database: Engine) -> None:
    """Flat names mean default; a password beside them stays with its own relay."""
    layer = overrides(
        smtp_port=2525, relays={"BACKUP": {"SMTP_PORT": "465"}, "default": {"helo_name": "a.de"}}
    )
    saved(database)
    found = store_on(database, overrides=layer).current()
    one, two = relays_of(found.settings)
    assert (one.port, one.helo, two.port) == (2525, "a.de", 465)
    assert found.overridden == {"smtp_port", "helo_name", "relays.backup.smtp_port"}
    assert found.of("backup").unbound == ("smtp_port",)
    assert (one.secret, two.secret) == (None, None)


def test_a_relay_of_the_overrides_alone_stands_last_and_is_read_only(database: Engine) -> None:
    """Whatever the stored order; nothing of it can be saved."""
    layer = overrides(
        relays={
            "eu": {
                "smtp_server": "eu.example",
                "use_authentication": True,
                "login": "eu",
                "password": f"{STEM}eu",
            }
        }
    )
    saved(database)
    store = store_on(database, overrides=layer)
    found = store.current()
    assert names(found) == ["default", "backup", "eu"]
    assert found.fixed == {"eu"}
    assert found.of("eu").settings.password == Secret(f"{STEM}eu")
    with pytest.raises(SettingsError):
        store.save({"relays.eu.helo_name": "x.example"}, **BY_ADA)


def test_an_override_and_a_typed_password_of_one_relay(database: Engine) -> None:
    """What overrides default changes nothing in where a typed password of another may go."""
    saved(database)
    store = store_on(database, overrides=overrides(smtp_port=2525))
    drafted = store.draft({"relays.backup.password": f"{STEM}new"})
    assert drafted.of("backup").password is PasswordState.USABLE
    assert drafted.password is PasswordState.UNBOUND


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ({"relays": ["eu"]}, "['relays']"),
        ({"relays": {"eu": "x"}}, "['relays']['eu']"),
        ({"relays": {"eu": {"smtp_port": "x"}}}, "['relays']['eu']['smtp_port']"),
        ({"relays": {"e u": {"smtp_port": 25}}}, "['relays']['e u']['smtp_port']"),
        ({"relays": {"eu": {"default_to": "x"}}}, "['relays']['eu']['default_to']"),
    ],
)
def test_a_wrong_override_is_named_with_its_place(wrong: dict[str, Any], place: str) -> None:
    """When the application starts."""
    with pytest.raises(SettingsError) as caught:
        overrides(**wrong)
    assert [*caught.value.errors] == [f"INTERACTION_MAIL_OVERRIDES{place}"]


def test_mail_keys_are_of_default_alone(database: Engine) -> None:
    """They count where nothing is stored, and never for another relay."""
    fallback = {"smtp_server": "mail.host.example", "default_from": "a@firm.example"}
    store = store_on(database, config_fallback=fallback)
    assert names(store.current()) == ["default"]
    with pytest.raises(SettingsError) as caught:
        store.save({"relays": ("default", "backup"), "default_to": "b@firm.example"}, **BY_ADA)
    assert [*caught.value.errors] == ["relays.backup.smtp_server"]


# -- what a save does -------------------------------------------------------------------


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        yield host


def save(host: Host, **changes: Any) -> None:
    with host.app.app_context():
        operations.save_settings(host.state, changes, base=None, changed_by="ada")


def test_a_save_closes_only_the_breakers_of_relays_that_changed(host: Host) -> None:
    """The others are still in trouble; a new password counts as a change."""
    save(host, **CHANGES, **BACKUP)
    with host.app.app_context():
        relays = relays_of(host.state.settings.current().settings)
    with host.app.app_context(), host.state.database.writing() as connection:
        for relay in relays:
            error = TransportError("nobody answers", stage=Stage.CONNECT)
            breaker.trip(connection, relay, error, worker="w", now=clock.now())

    def open_ones() -> list[str]:
        with host.app.app_context(), host.state.database.reading() as connection:
            return [relay.name for relay in relays if breaker.read(connection, relay)]

    save(host, sender_name="Firm")
    assert open_ones() == ["default", "backup"]
    save(host, **{"relays.backup.password": f"{STEM}new"})
    assert open_ones() == ["default"]
    save(host, smtp_port="2525", password=PASSWORD)
    assert open_ones() == []


def test_a_save_that_changes_nothing_is_another_try(host: Host) -> None:
    """Whoever has put something right at the server presses Save."""
    save(host, **CHANGES)
    with host.app.app_context():
        (relay,) = relays_of(host.state.settings.current().settings)
    with host.app.app_context(), host.state.database.writing() as connection:
        error = TransportError("nobody answers", stage=Stage.CONNECT)
        breaker.trip(connection, relay, error, worker="w", now=clock.now())
    save(host, smtp_port=CHANGES["smtp_port"])
    with host.app.app_context(), host.state.database.reading() as connection:
        assert breaker.read(connection, relay) is None


def test_the_signal_has_no_secret_of_any_relay(host: Host) -> None:
    """Receivers see every relay, and no password."""
    seen: list[Any] = []

    def receive(_: Any, *, previous: Any, settings: Any, changed_by: str) -> None:
        seen.extend((previous, settings, changed_by))

    with settings_changed.connected_to(receive):
        save(host, **CHANGES, **BACKUP)
    assert seen[1].with_relay("backup").smtp_server == "two.example"
    assert seen[1].with_relay("backup").password is seen[1].password is None


# -- the form ---------------------------------------------------------------------------


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path) as panel:
        panel.save()
        yield panel


def arranged(panel: Panel, do: str, status: int = 200, **typed: str) -> dict[str, str]:
    """The values of the form after one of its buttons for relays."""
    response = panel.post(RELAYS, do=do, **typed)
    assert response.status_code == status, response.text
    return form_values(BeautifulSoup(response.text, "lxml"))


def with_backup(panel: Panel, **typed: str) -> None:
    """Add a relay and save."""
    values = arranged(panel, "add", relay_name="backup")
    own = {"relays-backup-smtp_server": "two.example"} | typed
    response = panel.client.post(HOME, data=values | own)
    assert response.status_code == 303, response.text


def test_add_move_and_remove_keep_what_was_typed_and_save_nothing(panel: Panel) -> None:
    """Without JavaScript: each button answers with the form."""
    values = arranged(panel, "add", relay_name=" Backup ", default_to="typed-desk")
    assert (values["relays"], values["default_to"]) == ("default, backup", "typed-desk")
    values |= {"relays-backup-smtp_server": "two.example"}
    response = panel.client.post(RELAYS, data=values | {"do": "up backup"})
    values = form_values(BeautifulSoup(response.text, "lxml"))
    assert (values["relays"], values["relays-backup-smtp_server"]) == (
        "backup, default",
        "two.example",
    )
    response = panel.client.post(RELAYS, data=values | {"do": "remove backup"})
    values = form_values(BeautifulSoup(response.text, "lxml"))
    assert (values["relays"], values["default_to"]) == ("default", "typed-desk")
    assert panel.in_force().revision == 1


def test_save_stores_what_the_form_lists(panel: Panel) -> None:
    """Order and fields; another save without a change keeps them."""
    with_backup(panel, **{"relays-backup-from_domains": "a.example"})
    assert panel.in_force().settings.relays == ("default", "backup")
    assert panel.post(HOME).status_code == 303
    two = relays_of(panel.in_force().settings)[1]
    assert (two.server, two.from_domains) == ("two.example", ("a.example",))
    values = arranged(panel, "remove backup")
    assert panel.client.post(HOME, data=values).status_code == 303
    assert panel.in_force().settings.relays == ("default",)


@pytest.mark.parametrize("name", ["", "default", "no good", "a.b", "ä", "a" * 41, "x__y", "-x"])
def test_a_name_that_cannot_be_one_is_said_at_its_field(panel: Panel, name: str) -> None:
    """And nothing is added."""
    response = panel.post(RELAYS, do="add", relay_name=name)
    assert response.status_code == 400
    page = BeautifulSoup(response.text, "lxml")
    assert error_at(page, "relay_name")
    assert form_values(page)["relays"] == "default"


@pytest.mark.parametrize("do", ["up nobody", "remove default", "down default", "x", ""])
def test_a_button_that_means_nothing_changes_nothing(panel: Panel, do: str) -> None:
    """Crafted requests come back with the form as it is."""
    with_backup(panel)
    moved = {"down default": "backup, default"}
    assert arranged(panel, do)["relays"] == moved.get(do, "default, backup")


def test_an_error_of_a_relay_stands_at_its_own_field(panel: Panel) -> None:
    """Named with the relay in the summary; that part of the page is open."""
    with_backup(panel)
    response = panel.post(HOME, **{"relays-backup-smtp_port": "0"})
    page = BeautifulSoup(response.text, "lxml")
    assert response.status_code == 400
    assert error_at(page, "relays-backup-smtp_port")
    assert not error_at(page, "smtp_port")
    assert "backup: Port" in page.select_one(".im-alert-bad").text  # type: ignore[union-attr]
    assert page.select_one("[data-im-relay=backup] details[open]")


def test_fields_of_a_relay_that_are_not_sent_stay_as_they_are(panel: Panel) -> None:
    """A script that sends today's names alone changes default alone, boxes included."""
    save_ = {**BACKUP, "default_to": "desk"}
    save(panel.host, **save_)
    flat = {name: text for name, text in panel.fields().items() if not name.startswith("relays")}
    assert panel.client.post(HOME, data=flat | {"smtp_port": "2525"}).status_code == 303
    one, two = relays_of(panel.in_force().settings)
    assert (one.port, two.use_authentication, two.secret) == (2525, True, Secret(f"{STEM}two"))


def test_passwords_are_typed_twice_for_each_relay(panel: Panel) -> None:
    """The error stands at the field of that relay."""
    with_backup(panel)
    own = {"relays-backup-password": f"{STEM}1", "relays-backup-password_confirm": f"{STEM}2"}
    page = BeautifulSoup(panel.post(HOME, **own).text, "lxml")
    assert error_at(page, "relays-backup-password_confirm")
    assert STEM not in page.prettify()


def test_a_login_that_has_ended_keeps_what_was_typed_for_each_relay(panel: Panel) -> None:
    """It is sent again by the page that asks for a login, but for secrets."""
    with_backup(panel)
    typed = {"relays-backup-smtp_server": "typed.example", "relays-backup-password": f"{STEM}1"}
    values = panel.fields() | typed
    user, panel.host.people.user = panel.host.people.user, None
    panel.host.state.access = lambda _right: False
    answer = panel.client.post(HOME, data=values)
    assert answer.status_code == 403
    assert "backup: SMTP server" in answer.text
    assert STEM not in answer.text
    again = form_values(BeautifulSoup(answer.text, "lxml"))
    panel.host.state.access, panel.host.people.user = None, user
    assert again["relays-backup-smtp_server"] == "typed.example"
    assert panel.client.post(HOME, data=again).status_code == 303
    assert relays_of(panel.in_force().settings)[1].server == "typed.example"


def test_one_relay_is_as_light_as_before(panel: Panel) -> None:
    """The form of one relay has no list and at most 60 kB, before and after a second one."""
    response = panel.client.get(HOME)
    assert len(response.data) <= 60_000
    page = BeautifulSoup(response.text, "lxml")
    assert not page.select("[data-im-relay]")
    assert not page.select("[name^=relays-]")
    assert "Test Settings" in page.text


def test_the_page_for_those_who_may_only_look_has_every_relay(tmp_path: Path) -> None:
    """With values, and without a secret."""
    with opened_panel(tmp_path, access=lambda right: right == "view") as panel:
        save(panel.host, **CHANGES, **BACKUP)
        text = panel.get().get_text(" ", strip=True)
    assert "backup: SMTP server two.example" in text
    assert "backup: Password stored, never shown" in text


def test_a_relay_of_the_overrides_is_shown_and_tested_but_not_changed(tmp_path: Path) -> None:
    """Its card has no field; a form that sends one changes nothing."""
    with scripted() as eu:
        own = {"smtp_server": "127.0.0.1", "smtp_port": eu.port, "encryption": "none"}
        config = {"INTERACTION_MAIL_OVERRIDES": {"relays": {"eu": own}}}
        with opened_panel(tmp_path, **config) as panel:
            assert panel.save().status_code == 303
            page = panel.get()
            assert "eu" in page.select_one("#im-relays").text  # type: ignore[union-attr]
            assert not page.select("[name^=relays-eu]")
            assert panel.post(HOME, **{"relays-eu-smtp_server": "evil.example"}).status_code == 303
            assert relays_of(panel.in_force().settings)[1].server == "127.0.0.1"
            listed = {"relays": "eu, default", "relays-eu-smtp_server": "evil.example"}
            assert panel.post(HOME, **listed).status_code == 303
            assert panel.in_force().fixed == {"eu"}
            assert panel.post(RELAYS, do="add", relay_name="eu").status_code == 400
            assert "data-im-verdict" in panel.post(TEST + "?relay=eu").text
            assert len(eu.messages) == 1


# -- tests of one relay -----------------------------------------------------------------


def test_a_test_is_of_the_relay_that_it_names(panel: Panel) -> None:
    """With the values in the form; without a name it is default."""
    with scripted() as one, scripted() as two:
        with_backup(panel)
        values = {
            "smtp_server": "127.0.0.1",
            "smtp_port": str(one.port),
            "encryption": "none",
            "relays-backup-smtp_server": "127.0.0.1",
            "relays-backup-smtp_port": str(two.port),
            "relays-backup-encryption": "none",
        }
        assert 'data-im-badge="backup"' in panel.post(TEST + "?relay=backup", **values).text
        assert (len(one.messages), len(two.messages)) == (0, 1)
        assert 'data-im-badge="default"' in panel.post(TEST, **values).text
        assert (len(one.messages), len(two.messages)) == (1, 1)
        assert panel.post(TEST, relay="backup", **values).status_code == 200
        assert (len(one.messages), len(two.messages)) == (1, 2)
        assert panel.post(TEST + "?relay=nobody", **values).status_code == 404
        wrong = panel.post(TEST + "?relay=backup", **values | {"smtp_port": "0"})
        assert len(two.messages) == 3, "an error of another relay is none of this one"
        assert wrong.status_code == 200


def test_each_relay_has_a_badge_of_its_own(panel: Panel) -> None:
    """A passed test of one says nothing of the other."""
    with scripted() as two:
        own = {"relays-backup-smtp_server": "127.0.0.1", "relays-backup-encryption": "none"}
        with_backup(panel, **own, **{"relays-backup-smtp_port": str(two.port)})
        panel.post(TEST + "?relay=backup")
        page = panel.get()
    assert "Tested by" in page.select_one("[data-im-badge-of=backup]").text  # type: ignore[union-attr]
    assert "Never tested" in page.select_one("[data-im-badge-of=default]").text  # type: ignore[union-attr]


def test_suspect_fields_are_those_of_the_tested_relay(panel: Panel) -> None:
    """A failed test points to the fields of its relay."""
    with_backup(panel, **{"relays-backup-smtp_server": "127.0.0.1", "relays-backup-smtp_port": "1"})
    page = BeautifulSoup(panel.post(TEST + "?relay=backup").text, "lxml")
    assert {part["data-im-field"] for part in page.select("[data-im-field]")} == {
        "relays-backup-smtp_server",
        "relays-backup-smtp_port",
    }


def test_a_preset_fills_in_the_relay_that_is_chosen(panel: Panel) -> None:
    """And leaves the others alone."""
    with_backup(panel)
    response = panel.post(HOME + "preset", preset="microsoft365", preset_relay="backup")
    values = form_values(BeautifulSoup(response.text, "lxml"))
    assert values["relays-backup-smtp_server"] == "smtp.office365.com"
    assert values["smtp_server"] == "mail.firm.example"


def test_removal_says_what_waits_for_the_relay(panel: Panel) -> None:
    """Messages that may have left by it are named, with what comes of them."""
    with_backup(panel)
    change(panel, send(panel, "Hello"), status="deferred", relay="backup")
    page = panel.post(RELAYS, do="remove backup").text
    assert "One message that may have left by it waits for it" in page


# -- two administrators ------------------------------------------------------------------


def test_a_conflict_of_lists_is_decided_by_the_visitor(panel: Panel) -> None:
    """Both have changed the list: nothing is overwritten until one is chosen."""
    with_backup(panel)
    mine = arranged(panel, "up backup")
    save(panel.host, relays=("default",))
    response = panel.client.post(HOME, data=mine)
    assert response.status_code == 409
    assert "Order of the servers" in response.text
    values = form_values(BeautifulSoup(response.text, "lxml"))
    chosen = panel.client.post(HOME, data=values | {"keep_relays": "theirs"})
    assert chosen.status_code == 303
    assert panel.in_force().settings.relays == ("default",)


def test_a_relay_that_only_others_added_is_taken_over(panel: Panel) -> None:
    """The form of who saves later has it, with its values."""
    mine = panel.fields() | {"sender_name": "Firm"}
    save(panel.host, **BACKUP)
    response = panel.client.post(HOME, data=mine)
    values = form_values(BeautifulSoup(response.text, "lxml"))
    assert values["relays"] == "default, backup"
    assert panel.client.post(HOME, data=values).status_code == 303
    found = panel.in_force().settings
    assert (found.relays, found.sender_name) == (("default", "backup"), "Firm")
    assert relays_of(found)[1].secret == Secret(f"{STEM}two")


def test_changes_in_a_relay_that_others_removed_are_not_lost_in_silence(panel: Panel) -> None:
    """The visitor is asked about the list."""
    with_backup(panel)
    mine = panel.fields() | {"relays-backup-smtp_port": "2525"}
    save(panel.host, relays=("default",))
    response = panel.client.post(HOME, data=mine)
    assert response.status_code == 409
    assert 'name="keep_relays"' in response.text
    values = form_values(BeautifulSoup(response.text, "lxml"))
    chosen = panel.client.post(HOME, data=values | {"keep_relays": "mine"})
    assert chosen.status_code == 303, chosen.text
    assert relays_of(panel.in_force().settings)[1].port == 2525


def test_the_history_page_tells_the_relays_apart(panel: Panel) -> None:
    """What changed, with the name of the relay, and what a restore would change."""
    with_backup(panel)
    save(panel.host, **{"relays.backup.smtp_port": "2525"})
    text = panel.get(HISTORY).select_one(".im-history").get_text(" ", strip=True)  # type: ignore[union-attr]
    assert "backup: Port" in text
    assert "Order of the servers" in text
    assert "backup: Port" in panel.get(HISTORY + "2/").text
    assert "Order of the servers" in panel.get(HISTORY + "1/").text


# -- the command line --------------------------------------------------------------------


def test_the_command_line_arranges_the_relays(host: Host) -> None:
    """add, edit, move, list, remove; flat names stay those of default."""
    save(host, **CHANGES)
    done(host, "relays", "add", "backup", "--smtp-server", "two.example", "--from-domains", "a.de")
    done(host, "relays", "edit", "backup", "--smtp-port", "2525", "--max-per-minute", "30")
    done(host, "relays", "move", "backup", "1")
    done(host, "settings", "set", "--helo-name", "crm.firm.example")
    found = done(host, "relays", "list", "--json").json
    assert [(one["name"], one["smtp_port"]) for one in found] == [
        ("backup", 2525),
        ("default", 587),
    ]
    assert "two.example" in done(host, "relays", "list").out
    assert "relays.backup.max_per_minute" in done(host, "settings", "show").out
    shown = done(host, "settings", "show", "--json").json
    assert shown["settings"]["smtp_server"]["value"] == "mail.firm.example"
    assert [one["name"] for one in shown["relays"]] == ["backup", "default"]
    done(host, "relays", "remove", "backup")
    assert [one["name"] for one in done(host, "relays", "list", "--json").json] == ["default"]


def test_a_password_on_the_command_line_is_of_the_relay_that_it_names(host: Host) -> None:
    """Read from standard input, and never shown."""
    save(host, **CHANGES)
    own = ("--smtp-server", "two.example", "--use-authentication", "--login", "two")
    done(host, "relays", "add", "backup", *own, "--password-stdin", typed=f"{STEM}two\n")
    with host.app.app_context():
        one, two = relays_of(host.state.settings.current().settings)
    assert (one.secret, two.secret) == (Secret(str(CHANGES["password"])), Secret(f"{STEM}two"))
    for command in (("relays", "list"), ("settings", "show"), ("settings", "history")):
        assert STEM not in done(host, *command).out


def test_doctor_looks_at_each_relay(host: Host) -> None:
    """What is wrong with one of them is named with it."""
    save(host, **CHANGES, **BACKUP)
    assert "backup: there, for this connection" in run(host, "doctor").out
    with host.app.app_context(), host.state.database.writing() as connection:
        row = json.loads(connection.scalar(sa.select(REVISION.c.fields)) or "")
        row |= {"relays.backup.login": "eve"}
        connection.execute(sa.update(REVISION).values(fields=json.dumps(row)))
    host.state.settings._cached = None
    said = run(host, "doctor")
    assert said.status != 0
    assert "backup: Password needed for this server" in said.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "default"), "is a relay already"),
        (("add", "no good", "--smtp-server", "x.de"), "letters"),
        (("add", "third"), "relays.third.smtp_server"),
        (("edit", "nobody", "--smtp-port", "25"), "is no relay"),
        (("edit", "backup"), "Nothing to change"),
        (("remove", "default"), "is always there"),
        (("move", "backup", "0"), "0 is not in the range"),
        (("test", "nobody"), "is no relay"),
    ],
)
def test_a_command_that_cannot_be_is_refused(
    host: Host, arguments: tuple[str, ...], said: str
) -> None:
    """With the reason, and nothing is saved."""
    save(host, **CHANGES, **BACKUP)
    refused = run(host, "relays", *arguments)
    assert refused.status != 0
    assert said in refused.err
    with host.app.app_context():
        assert host.state.settings.current().revision == 1


def test_the_command_line_tests_one_relay(host: Host) -> None:
    """By 'relays test' and by 'test --relay'."""
    with scripted() as two:
        plain = {"relays": ("default", "backup"), "relays.backup.smtp_server": "127.0.0.1"}
        save(host, **CHANGES, **plain, **{"relays.backup.encryption": "none"})
        port = ("--smtp-port", str(two.port))
        done(host, "relays", "test", "backup", *port)
        done(host, "test", "--relay", "backup", *port)
        assert len(two.messages) == 2


def test_real_processes_see_each_others_relays(terminal: Commands, tmp_path: Path) -> None:
    """Saved by one process, shown by the next; the environment adds one that stands last."""
    (tmp_path / "app.py").write_text(PROGRAM)

    def flask(*arguments: str, **more: str) -> str:
        line, url = (
            ("--app", "app", "interaction-mail", *arguments),
            f"sqlite:///{tmp_path}/p.sqlite",
        )
        (said,) = terminal.flask(line, at=tmp_path, DATABASE=url, **more)
        assert said.status == 0, said.err
        return said.out

    flask(
        *("settings", "set", "--smtp-server", "one.example", "--default-to", "a@firm.example"),
        *("--default-from", "b@firm.example"),
    )
    flask("relays", "add", "backup", "--smtp-server", "two.example")
    flask("relays", "move", "backup", "1")
    prefix = "FLASK_INTERACTION_MAIL_OVERRIDES__relays__"
    more = {f"{prefix}eu__smtp_server": "eu.example", f"{prefix}backup__smtp_port": "2525"}
    found = json.loads(flask("relays", "list", "--json", **more))
    assert [(one["name"], one["smtp_server"], one["smtp_port"]) for one in found] == [
        ("backup", "two.example", 2525),
        ("default", "one.example", 25),
        ("eu", "eu.example", 25),
    ]
    assert [one["read_only"] for one in found] == [False, False, True]


PROGRAM = """
import os
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_interaction_mail import InteractionMail

app = Flask(__name__)
app.config.update(SECRET_KEY="k" * 32, SQLALCHEMY_DATABASE_URI=os.environ["DATABASE"])
app.config.from_prefixed_env()
db = SQLAlchemy(app)
InteractionMail(app, db=db)
with app.app_context():
    db.create_all()
"""
