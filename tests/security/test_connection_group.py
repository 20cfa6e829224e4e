"""The stored password goes to the server that it was entered for, and to no other (T1).

Each case changes one field of the connection in one of the ways there are, without the password,
and then sends and tests. The servers offer all that a password could be sent with.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask_admin import Admin

from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.models import SettingsRow
from flask_interaction_mail.settings.model import PasswordState
from tests.host import PASSWORD, Host
from tests.panel import HOME, TEST, OpenIndex, Panel
from tests.proofs import proved
from tests.servers.certificates import other_pki, pki
from tests.servers.scripted import Scripted, scripted
from tests.terminal import done, run

OFFERS = b"250-scripted.test\r\n250-STARTTLS\r\n250 AUTH PLAIN LOGIN\r\n"
pytestmark = pytest.mark.usefixtures("trusted_ca")
FIELDS = ("smtp_server", "smtp_port", "encryption", "ca_certificate", "login")


@pytest.fixture
def servers() -> Iterator[tuple[Scripted, Scripted]]:
    """The one that the password is for, and another one."""
    context = pki().server()
    with (
        scripted({"EHLO": OFFERS}, tls=context) as right,
        scripted({"EHLO": OFFERS}, tls=context) as other,
    ):
        yield right, other


Servers = tuple[Scripted, Scripted]


def stored(right: Scripted, **changes: Any) -> dict[str, Any]:
    """Settings with a password for ``right``."""
    settings = {
        "smtp_server": "127.0.0.1",
        "smtp_port": right.port,
        "encryption": "starttls",
        "use_authentication": True,
        "login": "crm",
        "password": PASSWORD,
        "allow_unencrypted_auth": True,
        "default_to": "merge-desk",
        "default_from": "crm",
        "company_domain": "firm.example",
    }
    return settings | changes


def changed(field: str, other: Scripted) -> dict[str, Any]:
    """The change of one field, to a value with which a server would be reached just as well."""
    values = {
        "smtp_server": "localhost",
        "smtp_port": other.port,
        "encryption": "none",
        "ca_certificate": other_pki().pem.strip(),
        "login": "eve",
    }
    return {field: values[field]}


@contextlib.contextmanager
def opened(folder: Path, **config: Any) -> Iterator[Panel]:
    """An application with a panel and a database in ``folder``, as another process has it."""
    admin = Admin(name="CRM", index_view=OpenIndex())
    host = Host(f"sqlite:///{folder}/crm.sqlite", admin=admin, **config)
    try:
        yield Panel(host)
    finally:
        host.close()


def saved(panel: Panel, right: Scripted) -> Panel:
    with panel.host.app.app_context():
        operations.save_settings(panel.host.state, stored(right), base=None, changed_by="test")
    return panel


def edit(panel: Panel, **fields: Any) -> None:
    """Write ``fields`` into the newest row behind the program's back, or make a first row."""
    state = panel.host.state
    with panel.host.app.app_context(), state.database.writing() as connection:
        row = connection.execute(sa.select(SettingsRow.revision, SettingsRow.fields)).first()
        if row is None:
            values = {"revision": 1, "created_by": "eve", "fields": json.dumps(fields)}
            now = sa.func.current_timestamp()
            connection.execute(sa.insert(SettingsRow).values(**values, created_at=now))
        else:
            text = json.dumps(json.loads(row.fields) | fields)
            connection.execute(sa.update(SettingsRow).values(fields=text))


def use(panel: Panel) -> None:
    """Send a message, and test what is in force in the panel and on the command line."""
    with panel.host.app.app_context():
        send_notification("ada@firm.example", "Hello", text="Hello")
        panel.host.db.session.commit()
    run(panel.host, "worker", "--once")
    panel.post(TEST, password="", password_confirm="")
    run(panel.host, "test")


def options_for(folder: Path, change: dict[str, Any]) -> tuple[str, str]:
    """The same change as an option of the command line, where a certificate is a file."""
    ((name, value),) = change.items()
    if name == "ca_certificate":
        (folder / "ca.pem").write_text(value)
        value = f"@{folder / 'ca.pem'}"
    return f"--{name.replace('_', '-')}", str(value)


def by_test(folder: Path, servers: Servers, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        response = saved(panel, servers[0]).post(TEST, **change, password="")
        assert response.status_code == 400
        assert "Password needed for this server" in response.text
        assert run(panel.host, "test", *options_for(folder, change)).status == 1


def by_save(folder: Path, servers: Servers, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        response = saved(panel, servers[0]).post(HOME, **change, password="")
        assert response.status_code == 400
        assert "Password needed for this server" in response.text
        assert panel.in_force().revision == 1


def by_database(folder: Path, servers: Servers, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        edit(saved(panel, servers[0]), **change)
        assert panel.in_force().password is PasswordState.UNBOUND
        use(panel)


def by_command(folder: Path, servers: Servers, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        saved(panel, servers[0])
        said = run(panel.host, "settings", "set", *options_for(folder, change))
        assert said.status == 1
        assert "Password needed for this server" in said.err
        assert panel.in_force().revision == 1


def by_override(folder: Path, servers: Servers, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        saved(panel, servers[0])
    with opened(folder, INTERACTION_MAIL_OVERRIDES=change) as panel:
        assert panel.in_force().password is PasswordState.UNBOUND
        use(panel)


def by_mail_config(folder: Path, servers: Servers, change: dict[str, Any]) -> None:
    """MAIL_PASSWORD belongs to MAIL_SERVER: a row of ours does not take it elsewhere."""
    config = {
        "MAIL_SERVER": "127.0.0.1",
        "MAIL_PORT": servers[0].port,
        "MAIL_USE_TLS": True,
        "MAIL_USERNAME": "crm",
        "MAIL_PASSWORD": PASSWORD,
        "MAIL_DEFAULT_SENDER": "crm@firm.example",
    }
    with opened(folder, **config) as panel:
        edit(panel, allow_unencrypted_auth=True, default_to="merge-desk@firm.example", **change)
        assert panel.in_force().password is PasswordState.UNBOUND
        use(panel)


WAYS: dict[str, Callable[[Path, Servers, dict[str, Any]], None]] = {
    "Test": by_test,
    "Save": by_save,
    "database": by_database,
    "command line": by_command,
    "override": by_override,
    "MAIL_*": by_mail_config,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", FIELDS)
def test_t1_no_way_takes_the_password_to_another_connection(
    tmp_path: Path, servers: Servers, field: str, way: str
) -> None:
    """Neither the old server nor the new one sees a login."""
    WAYS[way](tmp_path, servers, changed(field, servers[1]))
    for server in servers:
        assert server.count("AUTH") == 0
    proved("T1", "5 fields × 6 ways: 0 AUTH in {} of 30")


def test_t1_the_unchanged_connection_works_with_a_blank_password(
    tmp_path: Path, servers: Servers
) -> None:
    """Test, Save and delivery log in with it, so the cases above mean something."""
    right, other = servers
    with opened(tmp_path) as panel:
        saved(panel, right)
        assert "data-im-verdict" in panel.post(TEST, password="").text
        assert panel.post(HOME, password="", sender_name="Firm").status_code == 303
        assert panel.in_force().revision == 2
        use(panel)
    assert right.count("AUTH") == 4  # Test, the worker, and the two tests of use()
    assert other.count("AUTH") == 0
    proved("T1", "unchanged and blank: {} logins of 4", right.count("AUTH"))


@pytest.mark.parametrize("way", [by_database, by_override, by_mail_config])
def test_t1_with_the_password_typed_anew_the_other_connection_works(
    tmp_path: Path, servers: Servers, way: Callable[..., None]
) -> None:
    """What was refused was refused for want of the password alone."""
    way(tmp_path, servers, changed("smtp_port", servers[1]))
    with opened(tmp_path) as panel:
        typed = stored(servers[1])
        typed.pop("use_authentication")
        response = panel.post(HOME, **typed, use_authentication="y", password_confirm=PASSWORD)
        assert response.status_code == 303
        done(panel.host, "test")
    assert servers[1].count("AUTH") == 1


def test_t1_an_empty_port_is_port_25(tmp_path: Path, servers: Servers) -> None:
    """A form with an empty port and a blank password keeps the password of port 25."""
    with opened(tmp_path) as panel:
        with panel.host.app.app_context():
            settings = stored(servers[0], smtp_port=25)
            operations.save_settings(panel.host.state, settings, base=None, changed_by="test")
        assert panel.post(HOME, smtp_port="", password="").status_code == 303
        assert panel.in_force().password is PasswordState.USABLE
    proved("T1", "empty port is 25: the password stays")
