"""A secret of OAuth 2, and a token, go where the secret was entered for, and nowhere else (T22).

Each case changes one thing in one of the ways there are, without the secret, and then sends and
tests. Both mail servers and both token services take all that they are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from bs4 import BeautifulSoup

from flask_interaction_mail import operations
from tests.canary import STEM, spellings
from tests.panel import HOME, TEST, Panel
from tests.proofs import proved
from tests.security.test_connection_group import edit, opened, options_for
from tests.servers.certificates import other_pki, pki
from tests.servers.keys import certificate_pem, key_pem, service_account_json
from tests.servers.scripted import Scripted, scripted
from tests.servers.token_server import CLIENT, SECRET, TokenServer, token_server
from tests.terminal import run

OFFERS = b"250-scripted.test\r\n250-STARTTLS\r\n250 AUTH PLAIN XOAUTH2\r\n"
pytestmark = pytest.mark.usefixtures("trusted_ca")
FIELDS = ("smtp_server", "smtp_port", "encryption", "ca_certificate", "oauth_token_url", "tenant")


class Sides(NamedTuple):
    """The mail server and the token service that a secret is for, and others."""

    right: Scripted
    tokens: TokenServer
    other: Scripted
    elsewhere: TokenServer


@pytest.fixture
def sides() -> Iterator[Sides]:
    context = pki().server()
    with (
        scripted({"EHLO": OFFERS}, tls=context) as right,
        scripted({"EHLO": OFFERS}, tls=context) as other,
        token_server() as tokens,
        token_server() as elsewhere,
    ):
        yield Sides(right, tokens, other, elsewhere)


def stored(sides: Sides) -> dict[str, Any]:
    """Settings with a secret for the right ones."""
    return {
        "smtp_server": "127.0.0.1",
        "smtp_port": sides.right.port,
        "encryption": "starttls",
        "sign_in": "oauth_application",
        "oauth_token_url": sides.tokens.url,
        "oauth_client_id": CLIENT,
        "oauth_client_secret": SECRET,
        "allow_unencrypted_auth": True,
        "default_to": "merge-desk",
        "default_from": "crm",
        "company_domain": "firm.example",
    }


def changed(field: str, sides: Sides) -> dict[str, Any]:
    """The change of one field, to a value with which all would be reached just as well."""
    values = {
        "smtp_server": "localhost",
        "smtp_port": sides.other.port,
        "encryption": "none",
        "ca_certificate": other_pki().pem.strip(),
        "oauth_token_url": sides.elsewhere.url,
        "tenant": sides.elsewhere.url.replace("127.0.0.1", "localhost"),
    }
    return {field.replace("tenant", "oauth_token_url"): values[field]}


def saved(panel: Panel, sides: Sides) -> Panel:
    """With the settings, and a token that is kept: it has been used once."""
    with panel.host.app.app_context():
        operations.save_settings(panel.host.state, stored(sides), base=None, changed_by="test")
    use(panel)
    assert (len(sides.tokens.asked), sides.right.count("AUTH")) == (3, 3)
    return panel


def use(panel: Panel) -> None:
    """Send a message, and test what is in force in the panel and on the command line."""
    from flask_interaction_mail import send_notification

    with panel.host.app.app_context():
        send_notification("ada@firm.example", "Hello", text="Hello")
        panel.host.db.session.commit()
    run(panel.host, "worker", "--once")
    panel.post(TEST, oauth_client_secret="")
    run(panel.host, "test")


def by_test(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        response = saved(panel, sides).post(TEST, **change)
        assert response.status_code == 400
        assert "Enter the client secret" in response.text
        assert run(panel.host, "test", *options_for(folder, change)).status == 1


def by_save(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        response = saved(panel, sides).post(HOME, **change)
        assert response.status_code == 400
        assert "Enter the client secret" in response.text


def by_database(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        edit(saved(panel, sides), **change)
    with opened(folder) as panel:  # as the settings of this process are cached
        assert panel.in_force().settings.oauth_client_secret is None
        use(panel)


def by_command(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        saved(panel, sides)
        said = run(panel.host, "settings", "set", *options_for(folder, change))
        assert said.status == 1
        assert "Enter the client secret" in said.err


def by_override(folder: Path, sides: Sides, change: dict[str, Any]) -> None:
    with opened(folder) as panel:
        saved(panel, sides)
    with opened(folder, INTERACTION_MAIL_OVERRIDES=change) as panel:
        assert panel.in_force().settings.oauth_client_secret is None
        use(panel)


WAYS: dict[str, Callable[[Path, Sides, dict[str, Any]], None]] = {
    "Test": by_test,
    "Save": by_save,
    "database": by_database,
    "command line": by_command,
    "override": by_override,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", FIELDS)
def test_t22_no_way_takes_a_secret_or_token_elsewhere(
    tmp_path: Path, sides: Sides, field: str, way: str
) -> None:
    """Neither the old servers nor the new ones see one after the change."""
    WAYS[way](tmp_path, sides, changed(field, sides))
    assert (sides.other.count("AUTH"), sides.elsewhere.asked) == (0, [])
    assert (sides.right.count("AUTH"), len(sides.tokens.asked)) == (3, 3)
    proved("T22", "6 changes × 5 ways: no secret and no token in {} of 30")


def test_t22_the_unchanged_sign_in_works_with_a_blank_secret(tmp_path: Path, sides: Sides) -> None:
    """Test, Save and delivery use it, so the cases above mean something."""
    with opened(tmp_path) as panel:
        saved(panel, sides)
        assert "data-im-verdict" in panel.post(TEST).text
        assert panel.post(HOME, sender_name="Firm").status_code == 303
        use(panel)
    # The worker goes on with the token that is kept; each test asks for its own.
    assert (len(sides.tokens.asked), sides.right.count("AUTH")) == (6, 7)


def test_no_secret_of_a_sign_in_comes_back(tmp_path: Path, sides: Sides) -> None:
    """Not on the page, not after an error, and not in the history."""
    typed = {
        "oauth_client_secret": SECRET,
        "oauth_certificate": f"{STEM}{certificate_pem()}{key_pem()}",
        "oauth_service_account": service_account_json(sides.tokens.url, project_id=STEM),
    }
    pages = []
    with opened(tmp_path) as panel:
        for changes in (typed | {"oauth_tenant": "/"}, typed):
            pages.append(panel.post(HOME, **stored(sides) | changes).text)
            pages.append(panel.post("/admin/messaging/preset", preset="own", **typed).text)
        saved(panel, sides)
        pages += [panel.client.get(url).text for url in (HOME, "/admin/messaging/history/")]
    for page in pages:
        assert "PRIVATE KEY-----\\n" not in page
        for canary in spellings(STEM):
            assert canary.decode() not in page
        for area in BeautifulSoup(page, "lxml").select("textarea[name^=oauth]"):
            assert area.text.strip() == ""
