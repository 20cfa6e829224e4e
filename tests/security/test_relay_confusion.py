"""A secret of one relay goes to no server but its own, whatever is done with the list (T26).

Two relays log in with passwords of their own, and a third server takes whatever it is shown. Each
case changes one thing without typing a password, and then tests both relays and sends.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup

from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.settings.model import relays_of
from flask_interaction_mail.storage.tables import REVISION
from tests.canary import STEM, spellings
from tests.panel import EXPLAIN, HOME, TEST, Panel, form_values
from tests.proofs import proved
from tests.security.test_connection_group import edit, opened
from tests.servers.certificates import pki
from tests.servers.scripted import Scripted, scripted
from tests.terminal import run

OFFERS = b"250-scripted.test\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"
PASSWORDS = {"default": f"{STEM}one", "backup": f"{STEM}two"}
pytestmark = pytest.mark.usefixtures("trusted_ca")


class Sides(NamedTuple):
    """The servers of the two relays, and one of somebody else."""

    one: Scripted
    two: Scripted
    evil: Scripted


@pytest.fixture
def sides() -> Iterator[Sides]:
    context = pki().server()
    answers = {"EHLO": OFFERS, "AUTH": b"235 2.7.0 ok\r\n"}
    with (
        scripted(answers, tls=context) as one,
        scripted(answers, tls=context) as two,
        scripted(answers, tls=context) as evil,
    ):
        yield Sides(one, two, evil)


def stored(sides: Sides) -> dict[str, Any]:
    """Settings in which the two relays differ in port, login and password."""
    common = {"encryption": "starttls", "use_authentication": True, "smtp_server": "127.0.0.1"}
    one = {**common, "smtp_port": sides.one.port, "login": "one"}
    two = {**common, "smtp_port": sides.two.port, "login": "two"}
    return {
        **one,
        "password": PASSWORDS["default"],
        **{f"relays.backup.{name}": value for name, value in two.items()},
        "relays.backup.password": PASSWORDS["backup"],
        "relays": ("default", "backup"),
        "default_to": "merge-desk",
        "default_from": "crm",
        "company_domain": "firm.example",
    }


def saved(panel: Panel, sides: Sides) -> Panel:
    with panel.host.app.app_context():
        operations.save_settings(panel.host.state, stored(sides), base=None, changed_by="test")
    return panel


def use(panel: Panel) -> None:
    """Test each relay in the panel and on the command line, and send a message."""
    for relay in panel.in_force().settings.relays:
        panel.post(f"{TEST}?relay={relay}")
        run(panel.host, "relays", "test", relay)
    with panel.host.app.app_context():
        send_notification("ada@firm.example", "Hello", text="Hello")
        panel.host.db.session.commit()
    run(panel.host, "worker", "--once")


def logins(server: Scripted) -> set[str]:
    """The passwords that ``server`` was shown."""
    said = [line.split(b" ") for line in server.lines if line.upper().startswith(b"AUTH")]
    return {base64.b64decode(words[-1]).decode().split("\0")[-1] for words in said}


def to_evil(sides: Sides) -> dict[str, Any]:
    return {"smtp_port": sides.evil.port}


def to_each_other(sides: Sides) -> dict[str, Any]:
    return {"smtp_port": sides.one.port, "login": "one"}


def by_test(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        own = {f"relays-backup-{name}": str(value) for name, value in change.items()}
        answer = saved(panel, sides).post(f"{TEST}?relay=backup", **own)
        assert answer.status_code == 400
        assert "Password needed" in answer.text


def by_save(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        own = {f"relays-backup-{name}": str(value) for name, value in change.items()}
        assert saved(panel, sides).post(HOME, **own).status_code == 400
        use(panel)


def by_command(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        saved(panel, sides)
        own = [f"--{name.replace('_', '-')}={value}" for name, value in change.items()]
        for command in ("edit", "test"):
            said = run(panel.host, "relays", command, "backup", *own)
            assert "needed for this server" in said.err
        use(panel)


def by_database(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        edit(saved(panel, sides), **{f"relays.backup.{name}": change[name] for name in change})
    with opened(folder) as panel:  # as the settings of this process are cached
        assert panel.in_force().of("backup").settings.password is None
        use(panel)


def by_override(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        saved(panel, sides)
    layer = {"relays": {"backup": change}}
    with opened(folder, INTERACTION_MAIL_OVERRIDES=layer) as panel:
        assert panel.in_force().of("backup").settings.password is None
        use(panel)


def by_new_relay(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    """Remove the relay, and add one with its name that leads elsewhere."""
    with opened(folder) as panel:
        saved(panel, sides)
        run(panel.host, "relays", "remove", "backup")
        plain = ("--smtp-server=127.0.0.1", "--use-authentication", "--login=two")
        own = [f"--{name.replace('_', '-')}={value}" for name, value in change.items()]
        said = run(panel.host, "relays", "add", "backup", *plain, *own)
        assert "Enter the password" in said.err
        use(panel)


WAYS: dict[str, Callable[[Path, Sides, dict[str, Any]], None]] = {
    "Test": by_test,
    "Save": by_save,
    "command line": by_command,
    "database": by_database,
    "override": by_override,
    "a new relay of its name": by_new_relay,
}
CHANGES = {"somebody else": to_evil, "the other relay": to_each_other}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", CHANGES)
def test_t26_no_way_takes_the_secret_of_a_relay_elsewhere(
    tmp_path: Path, sides: Sides, where: str, way: str
) -> None:
    """Each server has seen its own relay's password at most, and the third one none."""
    WAYS[way](tmp_path, sides, CHANGES[where](sides))
    assert logins(sides.evil) == set()
    assert logins(sides.one) <= {PASSWORDS["default"]}
    assert logins(sides.two) <= {PASSWORDS["backup"]}
    proved("T26", "2 places × 6 ways: no secret elsewhere in {} of 12")


def test_t26_each_password_goes_to_its_own_server(tmp_path: Path, sides: Sides) -> None:
    """In whatever order they stand, so the cases above mean something."""
    with opened(tmp_path) as panel:
        use(saved(panel, sides))
        run(panel.host, "relays", "move", "backup", "1")
        use(panel)
    assert logins(sides.one) == {PASSWORDS["default"]}
    assert logins(sides.two) == {PASSWORDS["backup"]}


def test_t26_secrets_that_are_exchanged_in_the_database_open_nothing(
    tmp_path: Path, sides: Sides
) -> None:
    """Each is encrypted with the server that it is for."""
    with opened(tmp_path) as panel:
        saved(panel, sides)
        with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
            row = connection.execute(sa.select(REVISION.c.secret, REVISION.c.secrets)).one()
            secrets = json.loads(row.secrets)
            mine, secrets["relays.backup.password"] = secrets["relays.backup.password"], row.secret
            connection.execute(sa.update(REVISION).values(secret=mine, secrets=json.dumps(secrets)))
    with opened(tmp_path) as panel:
        assert [relay.secret for relay in relays_of(panel.in_force().settings)] == [None, None]
        use(panel)
    assert logins(sides.one) == logins(sides.two) == set()


def test_t26_a_typed_password_is_for_the_relay_at_whose_field_it_was_typed(
    tmp_path: Path, sides: Sides
) -> None:
    """Typed for one relay, it does not serve a change of the other."""
    with opened(tmp_path) as panel:
        saved(panel, sides)
        typed = {f"relays-backup-{name}": f"{STEM}new" for name in ("password", "password_confirm")}
        answer = panel.post(HOME, smtp_port=str(sides.evil.port), **typed)
        assert answer.status_code == 400
        assert panel.post(HOME, **typed).status_code == 303
        one, two = relays_of(panel.in_force().settings)
        assert one.secret.reveal() == PASSWORDS["default"]  # type: ignore[union-attr]
        assert two.secret.reveal() == f"{STEM}new"  # type: ignore[union-attr]


def test_t26_a_typed_secret_of_a_relay_never_comes_back(tmp_path: Path, sides: Sides) -> None:
    """Not with the form, not after an error, and not on the page that explains."""
    with opened(tmp_path) as panel:
        saved(panel, sides)
        typed = {
            "relays-backup-password": f"{STEM}typed",
            "relays-backup-password_confirm": f"{STEM}typed",
            "relays-backup-oauth_client_secret": f"{STEM}client",
        }
        for url, more in (
            (HOME, {"relays-backup-smtp_port": "0"}),
            (HOME + "relays", {"do": "up backup"}),
            (HOME + "preset", {"preset": "microsoft365", "preset_relay": "backup"}),
            (EXPLAIN, {}),
        ):
            values = form_values(panel.get()) | typed | more
            text = panel.client.post(url, data=values).text
            assert "relays-backup" in text
            assert not [one for one in spellings(STEM) if one in text.encode()], url
        page = BeautifulSoup(panel.client.post(HOME, data=values | {"csrf_token": ""}).text, "lxml")
        assert page.select_one("#im-relays-backup-password")["value"] == ""  # type: ignore[index]


def test_t26_the_page_that_explains_reads_no_secret(tmp_path: Path, sides: Sides) -> None:
    """One that would be refused is no error there, as it is not looked at."""
    with opened(tmp_path) as panel:
        saved(panel, sides)
        values = form_values(panel.get()) | {"relays-backup-oauth_client_secret": f"{STEM}\nx"}
        assert panel.client.post(HOME, data=values).status_code == 400
        assert panel.client.post(EXPLAIN, data=values).status_code == 200
