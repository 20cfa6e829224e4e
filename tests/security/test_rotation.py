"""A rotation of the keys may be cut off at any moment (T12)."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from flask_interaction_mail.errors import SecretUnreadable
from flask_interaction_mail.settings.keyring import Keyring
from flask_interaction_mail.settings.revisions import Rows
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.settings.store import SettingsStore
from tests.canary import PASSWORD
from tests.crash.site import processes
from tests.host import SETTINGS
from tests.outbox_rows import Store
from tests.proofs import proved
from tests.security import rotating

KILLS = 20
REVISIONS = 8
FIRST_UPDATE = 8  # steps of the database's work before the first password is written


def rotate(url: str, point: int, *keys: str) -> int | None:
    """Run a rotation in a process of its own; gives how it ended."""
    process = processes().Process(target=rotating.rotate, args=(url, point, keys))
    process.start()
    process.join(60)
    status: int | None = process.exitcode
    process.close()
    return status


def under(store: Store, *keys: str) -> int:
    """How many of the stored passwords these keys open; what opens is the right one."""
    opened = 0
    for row in Rows(store).with_secret():
        try:
            password, _ = Keyring(keys).open(row.secret or "")
        except SecretUnreadable:
            continue
        assert password == Secret(PASSWORD)
        opened += 1
    return opened


def test_t12_killed_anywhere_it_leaves_every_password_readable(tmp_path: Path) -> None:
    """Twenty rotations are killed in twenty places; one that ends leaves nothing under old keys."""
    url = f"sqlite:///{tmp_path}/crm.sqlite"
    store = Store(url)
    settings = {**SETTINGS, "use_authentication": True, "login": "crm", "password": PASSWORD}
    settings |= {"encryption": "starttls"}
    before = SettingsStore(store, Keyring(["key 0"]))
    for number in range(REVISIONS):
        before.save(settings | {"sender_name": str(number)}, base=None, changed_by="test")
    keys = ["key 0"]
    halfway = 0
    for number in range(1, KILLS + 1):
        keys.insert(0, f"key {number}")
        assert rotate(url, FIRST_UPDATE + number, *keys) == -signal.SIGKILL
        assert under(store, *keys) == REVISIONS
        assert SettingsStore(store, Keyring(keys)).current().settings.password == Secret(PASSWORD)
        halfway += 0 < under(store, keys[0]) < REVISIONS
    assert halfway > KILLS / 2
    assert rotate(url, 0, *keys) == 0
    assert under(store, keys[0]) == REVISIONS
    assert under(store, *keys[1:]) == 0
    store.engine.dispose()
    proved("T12", f"{KILLS} rotations killed, {halfway} of them halfway: {{}} unreadable", 0)


def test_t12_without_the_old_key_nothing_is_lost(tmp_path: Path) -> None:
    """Who forgets the old key gets an error and finds the password as it was."""
    store = Store(f"sqlite:///{tmp_path}/crm.sqlite")
    settings = {**SETTINGS, "use_authentication": True, "login": "crm", "password": PASSWORD}
    before = SettingsStore(store, Keyring(["old"]))
    before.save(settings | {"encryption": "starttls"}, base=None, changed_by="test")
    with pytest.raises(SecretUnreadable, match="SECRET_KEY_FALLBACKS"):
        SettingsStore(store, Keyring(["new"])).rotate_keys()
    assert under(store, "old") == 1
    store.engine.dispose()
