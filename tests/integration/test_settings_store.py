"""Settings in real databases: revisions, savers that meet, keys that change, edited rows."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from flask_interaction_mail.errors import SecretUnreadable, SettingsConflict, SettingsError
from flask_interaction_mail.settings.keyring import Keyring
from flask_interaction_mail.settings.model import MessagingSettings, Origin, PasswordState
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.settings.store import SettingsStore
from flask_interaction_mail.storage.tables import OURS, REVISION
from tests.databases import DIALECTS, fresh_database

CANARY = "kanarie-Zq7-Ω"
CHANGES = {
    "company_domain": "@firm.example",
    "smtp_server": "mail.firm.example",
    "smtp_port": "587",
    "encryption": "starttls",
    "use_authentication": "y",
    "login": "crm",
    "password": CANARY,
    "default_to": "stewards",
    "default_from": "crm",
}
GROUP_CHANGES = [
    {"smtp_server": "evil.example"},
    {"smtp_port": "25"},
    {"encryption": "tls"},
    {"login": "eve"},
]


class Engine:
    """Short transactions on an engine, as the store asks for them."""

    def __init__(self, url: str) -> None:
        self.engine = sa.create_engine(url)
        self.statements = 0
        self.state = threading.local()
        sa.event.listen(self.engine, "before_cursor_execute", self._count)

    def _count(self, *args: object) -> None:
        self.statements += 1

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        self.state.open = True
        try:
            with self.engine.connect() as connection:
                yield connection
        finally:
            self.state.open = False

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        assert not getattr(self.state, "open", False), "one transaction at a time"
        with self.engine.begin() as connection:
            yield connection

    def dump(self) -> list[tuple[object, ...]]:
        """Every row of the table."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.select(REVISION))]

    def edit(self, **changes: object) -> None:
        """Change fields of the newest row behind the program's back."""
        with self.engine.begin() as connection:
            newest = sa.select(REVISION).order_by(REVISION.c.revision.desc()).limit(1)
            row = connection.execute(newest).one()
            fields = json.dumps(json.loads(row.fields) | changes)
            where = REVISION.c.revision == row.revision
            connection.execute(sa.update(REVISION).where(where).values(fields=fields))


@pytest.fixture(params=DIALECTS)
def database(request, tmp_path) -> Iterator[Engine]:
    """A fresh database with the tables, of each kind."""
    with fresh_database(request.param, tmp_path) as url:
        database = Engine(url)
        OURS.create_all(database.engine)
        yield database
        database.engine.dispose()


@pytest.fixture
def sqlite(tmp_path) -> Iterator[Engine]:
    """A fresh SQLite file, for what does not depend on the kind of database."""
    with fresh_database("sqlite", tmp_path) as url:
        database = Engine(url)
        OURS.create_all(database.engine)
        yield database
        database.engine.dispose()


def store_on(database: Engine, *keys: str, **layers: dict[str, object]) -> SettingsStore:
    """A store as another process would have it."""
    return SettingsStore(database, Keyring(keys or ("key",)), **layers)


def saved(database: Engine, **changes: object) -> SettingsStore:
    """A store in whose database the settings were saved once."""
    store = store_on(database)
    store.save({**CHANGES, **changes}, base=0, changed_by="ada")
    return store


def errors_of_save(store: SettingsStore, changes: dict[str, object]) -> dict[str, str]:
    """The errors with which a save of ``changes`` is refused."""
    with pytest.raises(SettingsError) as caught:
        store.save(changes, base=None, changed_by="ada")
    return caught.value.errors


class TestSave:
    def test_r3_nothing_stored_is_not_configured(self, database):
        """An empty table gives the defaults, at revision 0."""
        found = store_on(database).current()
        assert found.settings == MessagingSettings()
        assert (found.revision, found.password) == (0, PasswordState.NONE)

    def test_r14_r22_what_one_process_saves_all_others_use(self, database):
        """Another store on the database sees the settings at its next look."""
        ours, theirs = store_on(database), store_on(database)
        theirs.current()
        answer = ours.save(CHANGES, base=0, changed_by="ada")
        for found in (answer, ours.current(), theirs.current()):
            assert found.settings.smtp_server == "mail.firm.example"
            assert found.settings.smtp_port == 587
            assert found.settings.password == Secret(CANARY)
            assert found.password is PasswordState.USABLE
            assert found.revision == 1
            assert found.origins["smtp_port"] is Origin.STORED
            assert found.origins["paused"] is Origin.DEFAULT

    def test_r57_a_wrong_field_stores_nothing(self, database):
        """All errors come at once, and the old settings stay."""
        store = saved(database)
        found = errors_of_save(store, {"smtp_port": "0", "default_to": "a b", "paused": "y"})
        assert set(found) == {"smtp_port", "default_to"}
        assert store_on(database).current().revision == 1

    @pytest.mark.parametrize("name", ["smtp_server", "default_to", "default_from"])
    def test_r44_a_save_needs_these(self, sqlite, name):
        """Without a server or a default address nothing is stored."""
        assert set(errors_of_save(store_on(sqlite), CHANGES | {name: " "})) == {name}
        assert sqlite.dump() == []

    def test_r10_short_addresses_stay_short(self, sqlite):
        """A new company domain moves every short address: none is stored completed."""
        store = saved(sqlite)
        found = store.save({"company_domain": "new.example"}, base=1, changed_by="ada")
        assert (found.settings.default_to, found.settings.default_from) == ("stewards", "crm")

    def test_r12_removing_the_domain_is_refused(self, sqlite):
        """Short addresses without a domain are errors at their fields."""
        found = errors_of_save(saved(sqlite), {"company_domain": ""})
        assert set(found) == {"default_to", "default_from"}

    def test_a_partial_save_keeps_the_rest(self, sqlite):
        """One field on the command line leaves the others as they are."""
        found = saved(sqlite).save({"paused": "on"}, base=None, changed_by="cli")
        assert found.settings.paused
        assert found.settings.smtp_server == "mail.firm.example"
        assert found.password is PasswordState.USABLE

    def test_t11_no_password_in_the_database(self, database):
        """No column of no row has the password, nor the fields have a place for it."""
        saved(database)
        text = repr(database.dump())
        assert CANARY not in text
        assert "password" not in text

    def test_t11_no_password_in_what_is_logged(self, sqlite, caplog):
        """Neither log nor error has it, also when the database fails."""
        store = store_on(sqlite)
        OURS.drop_all(sqlite.engine)
        with caplog.at_level(logging.DEBUG), pytest.raises(sa.exc.OperationalError) as caught:
            store.save(CHANGES, base=None, changed_by="ada")
        assert CANARY not in str(caught.value) + caplog.text

    def test_missing_keys_matter_only_for_a_password(self, sqlite):
        """Without SECRET_KEY all can be saved but a password, which is told at its field."""
        store = SettingsStore(sqlite, Keyring([]))
        plain = {**CHANGES, "use_authentication": "", "password": ""}
        assert store.save(plain, base=0, changed_by="a").revision == 1
        assert "SECRET_KEY" in errors_of_save(store, CHANGES)["password"]
        assert len(sqlite.dump()) == 1

    def test_t18_names_longer_than_the_column_are_cut(self, database):
        """A long name of an administrator does not break the save."""
        store_on(database).save(CHANGES, base=0, changed_by="a" * 400)
        assert store_on(database).history()[0].by == "a" * 255


class TestConflict:
    def test_the_second_of_two_administrators_is_told(self, database):
        """He learns who saved and when; nothing is overwritten."""
        store = saved(database)
        store.save({"sender_name": "First"}, base=1, changed_by="grace")
        with pytest.raises(SettingsConflict, match="grace saved other settings on 20") as caught:
            store.save({"sender_name": "Second"}, base=1, changed_by="ada")
        assert f"{datetime.now(UTC):%Y-%m-%d}" in str(caught.value)
        assert store.current().settings.sender_name == "First"

    def test_a_base_that_never_was(self, sqlite):
        """A base from another database is a conflict too."""
        with pytest.raises(SettingsConflict, match="gone"):
            store_on(sqlite).save(CHANGES, base=7, changed_by="ada")

    def test_concurrent_savers(self, database):
        """Of eight that save at one moment from one base exactly one wins."""
        saved(database)
        barrier = threading.Barrier(8)
        results: list[str] = []

        def save(name: str) -> None:
            store = store_on(database)
            barrier.wait()
            try:
                store.save({"sender_name": name}, base=1, changed_by=name)
                results.append(name)
            except SettingsConflict:
                results.append("conflict")

        threads = [threading.Thread(target=save, args=(f"admin{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        winners = [name for name in results if name != "conflict"]
        assert len(results) == 8
        assert len(winners) == 1
        assert store_on(database).current().settings.sender_name == winners[0]
        assert len(database.dump()) == 2


class TestPassword:
    @pytest.mark.parametrize("blank", [{}, {"password": ""}, {"password": None}])
    def test_r57_blank_on_an_unchanged_server_keeps_it(self, sqlite, blank):
        """The stored password stays where the connection stays."""
        same = {**CHANGES, **blank}
        if not blank:
            same.pop("password")
        found = saved(sqlite).save(same, base=1, changed_by="ada")
        assert found.settings.password == Secret(CANARY)

    def test_t1_an_empty_port_is_25(self, sqlite):
        """Port 25 by name and by nothing are one destination."""
        store = saved(sqlite, smtp_port="25")
        found = store.save({"smtp_port": "", "password": ""}, base=1, changed_by="ada")
        assert found.settings.password == Secret(CANARY)

    @pytest.mark.parametrize("change", GROUP_CHANGES)
    def test_t1_r57_a_changed_connection_needs_it_again(self, sqlite, change):
        """Test gets no password, Save is refused at the field, and nothing is stored."""
        store = saved(sqlite)
        drafted = store.draft({**CHANGES, **change, "password": ""})
        assert drafted.password is PasswordState.UNBOUND
        assert drafted.settings.password is None
        assert drafted.unbound == tuple(change)
        found = errors_of_save(store, {**change, "password": ""})
        assert found["password"].startswith("Password needed for this server")
        assert len(sqlite.dump()) == 1

    @pytest.mark.parametrize("change", GROUP_CHANGES)
    def test_t1_typed_again_it_is_bound_anew(self, sqlite, change):
        """With the password typed the new connection is saved and works."""
        found = saved(sqlite).save({**change, "password": "new"}, base=1, changed_by="ada")
        assert found.settings.password == Secret("new")
        assert store_on(sqlite).current().settings.password == Secret("new")

    @pytest.mark.parametrize(
        "edit",
        [
            {"smtp_server": "evil.example"},
            {"smtp_port": 25},
            {"encryption": "none"},
            {"login": "eve"},
            {"ca_certificate": "evil"},
        ],
    )
    def test_t1_edited_in_the_database(self, database, edit):
        """Who can only write the table learns no password."""
        saved(database)
        database.edit(**edit)
        found = store_on(database).current()
        assert found.password is PasswordState.UNBOUND
        assert found.settings.password is None
        assert found.unbound == tuple(edit)

    @pytest.mark.parametrize("change", GROUP_CHANGES)
    def test_t1_overridden_in_one_process(self, sqlite, change):
        """An override of the server does not get the stored password."""
        saved(sqlite)
        store = store_on(sqlite, overrides=store_on(sqlite)._cleaned(change))
        assert store.current().password is PasswordState.UNBOUND
        assert store.draft(CHANGES | {"password": ""}).settings.password is None

    def test_t1_mail_config_does_not_feed_a_stored_server(self, sqlite):
        """MAIL_PASSWORD stays with MAIL_SERVER."""
        fallback = {"smtp_server": "old.example", "login": "crm", "password": Secret("m")}
        store = store_on(sqlite, config_fallback=fallback)
        assert store.current().settings.password == Secret("m")
        drafted = store.draft({"smtp_server": "evil.example"})
        assert (drafted.password, drafted.unbound) == (PasswordState.UNBOUND, ("smtp_server",))

    def test_r18_off_saves_without_a_password(self, sqlite):
        """Without authentication another server can be saved; the old password waits, bound."""
        store = saved(sqlite)
        off = {"use_authentication": "", "smtp_server": "two.example"}
        assert store.save(off, base=1, changed_by="a").password is PasswordState.UNBOUND
        assert "password" in errors_of_save(store, {"use_authentication": "y"})
        back = {"use_authentication": "y", "smtp_server": "mail.firm.example"}
        assert store.save(back, base=2, changed_by="a").settings.password == Secret(CANARY)

    def test_a_lost_key_breaks_no_page(self, database, caplog):
        """The settings are shown, the state says unreadable, the row waits for its key."""
        saved(database)
        keys = ["other"]
        store = SettingsStore(database, Keyring(lambda: keys))
        found = store.current()
        assert found.password is PasswordState.UNREADABLE
        assert found.settings.smtp_server == "mail.firm.example"
        assert "password_unreadable" in caplog.text
        assert "password" in store.history()[0].changed
        assert "cannot be read" in errors_of_save(store, {"sender_name": "x"})["password"]
        keys.append("key")
        assert store.current().settings.password == Secret(CANARY)

    def test_a_lost_key_keeps_the_row_through_a_save(self, sqlite):
        """A save without authentication carries the unreadable password along."""
        saved(sqlite)
        other = store_on(sqlite, "other")
        other.save({"use_authentication": ""}, base=1, changed_by="a")
        assert store_on(sqlite).current().settings.password == Secret(CANARY)


class TestOverrides:
    def test_r23_the_override_wins_and_what_is_sent_for_it_is_ignored(self, sqlite):
        """Rubbish in a read-only field is no error, and is not stored."""
        store = store_on(sqlite, overrides={"smtp_port": 2525, "password": None})
        changes = {**CHANGES, "smtp_port": "rubbish", "use_authentication": ""}
        found = store.save(changes, base=0, changed_by="ada")
        assert found.settings.smtp_port == 2525
        assert found.origins["smtp_port"] is Origin.OVERRIDE
        assert found.overridden == {"smtp_port", "password"}
        assert store_on(sqlite).current().settings.smtp_port == 25
        assert store_on(sqlite).current().password is PasswordState.NONE

    def test_r23_a_draft_uses_the_override(self, sqlite):
        """Test Settings goes where the mail will go."""
        store = store_on(sqlite, overrides={"smtp_server": "override.example"})
        drafted = store.draft(CHANGES)
        assert drafted.settings.smtp_server == "override.example"
        assert drafted.settings.password == Secret(CANARY)  # typed for what is shown

    def test_t1_a_password_is_sealed_for_what_is_in_force(self, sqlite):
        """Typed beside an overridden server, it does not fit the stored one elsewhere."""
        store = store_on(sqlite, overrides={"smtp_server": "override.example"})
        store.save(CHANGES, base=0, changed_by="ada")
        assert store_on(sqlite).current().password is PasswordState.UNBOUND
        assert store.current().password is PasswordState.USABLE

    def test_r47_a_draft_saves_nothing(self, sqlite):
        """Drafting leaves the table as it is; wrong fields are told."""
        store = saved(sqlite)
        store.draft({"paused": "y", "smtp_server": ""})
        with pytest.raises(SettingsError):
            store.draft({"smtp_port": "x"})
        assert len(sqlite.dump()) == 1
        assert not store.current().settings.paused


class TestCache:
    def test_one_statement_when_nothing_changed(self, database):
        """Asking again costs one look by primary key, on the given connection if there is one."""
        store = saved(database)
        first = store.current()
        before = database.statements
        assert store.current() is first
        assert database.statements == before + 1
        with database.engine.connect() as connection:
            assert store.current(connection) is first

    def test_a_new_database_of_the_same_height(self, sqlite):
        """After a restored backup, or between tests, revision 1 may be another one."""
        store = saved(sqlite)
        store.current()
        OURS.drop_all(sqlite.engine)
        OURS.create_all(sqlite.engine)
        assert store.current().revision == 0
        saved(sqlite, smtp_server="two.example")
        assert store.current().settings.smtp_server == "two.example"


class TestHistory:
    def test_who_when_what(self, database):
        """Newest first, with the changed fields, and passwords only as changed."""
        store = saved(database)
        store.save({"smtp_port": "25", "password": "two"}, base=1, changed_by="grace")
        store.save({"sender_name": "Firm", "paused": ""}, base=2, changed_by="ada")
        newest, middle, oldest = store.history()
        assert (newest.revision, newest.by, newest.changed) == (3, "ada", ("sender_name",))
        assert (middle.by, middle.changed) == ("grace", ("smtp_port", "password"))
        assert set(oldest.changed) == set(CHANGES) - {"encryption"}
        assert abs((datetime.now(UTC) - newest.at).total_seconds()) < 60
        assert "password" not in newest.values
        assert newest.values["sender_name"] == "Firm"
        assert CANARY not in repr(store.history())

    def test_limit(self, sqlite):
        """The last of a limited list is compared with the one before it."""
        store = saved(sqlite)
        for number in range(1, 4):
            store.save({"sender_name": f"n{number}"}, base=number, changed_by="ada")
        assert [row.changed for row in store.history(limit=2)] == [("sender_name",)] * 2
        assert [row.revision for row in store.history()] == [4, 3, 2, 1]

    def test_restore(self, database):
        """Old values come back as a new revision, with the password that was entered for them."""
        store = saved(database)
        store.save({"smtp_server": "two.example", "password": "two"}, base=1, changed_by="grace")
        found = store.restore(1, changed_by="ada")
        assert found.revision == 3
        assert found.settings.smtp_server == "mail.firm.example"
        assert found.settings.password == Secret(CANARY)
        assert store_on(database).current().settings == found.settings
        assert store.history()[0].changed == ("smtp_server", "password")

    def test_t1_restore_under_an_override(self, sqlite):
        """The old password comes only as bound: elsewhere it is not used."""
        saved(sqlite)
        store = store_on(sqlite, overrides={"smtp_server": "evil.example"})
        assert store.restore(1, changed_by="ada").password is PasswordState.UNBOUND

    def test_restore_what_is_not_there(self, sqlite):
        """An unknown revision is an error that says so."""
        with pytest.raises(SettingsError, match="there is no revision 9"):
            saved(sqlite).restore(9, changed_by="ada")


class TestRotation:
    def test_t12_all_rows_under_the_newest_key(self, database):
        """After the rotation the old key can go; a second run does nothing."""
        store = saved(database)
        store.save({"password": "two"}, base=1, changed_by="ada")
        store.save({"paused": "y"}, base=2, changed_by="ada")
        both = store_on(database, "new", "key")
        history = both.history()
        assert both.rotate_keys() == 3
        assert both.rotate_keys() == 0
        only_new = store_on(database, "new")
        assert only_new.current().settings.password == Secret("two")
        assert only_new.restore(1, changed_by="a").settings.password == Secret(CANARY)
        assert both.history()[1:] == history  # to encrypt anew is no change

    def test_t12_a_save_writes_under_the_newest_key(self, sqlite):
        """A row that is saved beside a running rotation needs none."""
        saved(sqlite)
        store_on(sqlite, "new", "key").save({"paused": "y"}, base=1, changed_by="a")
        assert store_on(sqlite, "new").current().settings.password == Secret(CANARY)

    def test_t12_interrupted(self, sqlite, monkeypatch):
        """What was rotated before an interruption stays readable, the rest follows later."""
        store = saved(sqlite)
        store.save({"paused": "y"}, base=1, changed_by="ada")
        both = store_on(sqlite, "new", "key")
        replace = both._rows.replace_secrets
        monkeypatch.setattr(both._rows, "replace_secrets", interrupted_after(1, replace))
        with pytest.raises(KeyboardInterrupt):
            both.rotate_keys()
        assert store_on(sqlite, "new", "key").current().password is PasswordState.USABLE
        assert store_on(sqlite, "new", "key").rotate_keys() == 1

    def test_t12_rows_of_a_lost_key(self, sqlite, caplog):
        """An old row is skipped with a warning; the one in force is an error, after the rest."""
        saved(sqlite)
        store_on(sqlite, "two").save({"password": "x"}, base=1, changed_by="a")
        assert store_on(sqlite, "new", "two").rotate_keys() == 1
        assert "rotation_skipped: revision 1" in caplog.text
        with pytest.raises(SecretUnreadable):
            store_on(sqlite, "newest", "key").rotate_keys()
        assert CANARY not in caplog.text

    def test_nothing_to_rotate(self, sqlite):
        """Without passwords there is nothing to do, with or without keys."""
        assert SettingsStore(sqlite, Keyring([])).rotate_keys() == 0


def interrupted_after(count: int, function):
    """``function``, which is interrupted when it is called once more than ``count`` times."""
    calls = iter(range(count))

    def wrapper(*args: object, **named: object) -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        function(*args, **named)

    return wrapper


def test_damaged_rows_do_not_take_the_panel_away(sqlite, caplog):
    """Fields that cannot be read count as unset, and the log names them."""
    store = saved(sqlite)
    sqlite.edit(encryption="rot13", future=1)
    found = store_on(sqlite).current()
    assert found.settings.encryption == "starttls"
    assert "cannot read encryption, future" in caplog.text
    assert store.save({"encryption": "starttls"}, base=1, changed_by="a").revision == 2
