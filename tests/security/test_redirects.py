"""No link and no redirect leads where somebody else wants it to (T17)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup

from flask_interaction_mail import Contact, Merge, merge_completed, merge_denied
from flask_interaction_mail.storage.tables import MESSAGE
from flask_interaction_mail.values import Party
from tests.host import STEWARDS, Host, opened
from tests.outbox_rows import ROWS
from tests.panel import OUTBOX, Panel, form_values, opened_panel
from tests.proofs import proved
from tests.security.corpora import NAUGHTY

# What must never become a link, in a mail or on a page.
NO_LINKS = (
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "\x01javascript:alert(1)",
    "java\nscript:alert(1)",
    "java\tscript:alert(1)",
    "javascript://crm.example/%0aalert(1)",
    "&#106;avascript:alert(1)",
    "vbscript:msgbox(1)",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "file:///etc/passwd",
    "blob:https://crm.example/1",
    "//evil.example/",
    "\\\\evil.example\\",
    "/\\evil.example",
    "/\t/evil.example",
    "///evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https:\\\\evil.example",
    "http:/\\evil.example",
    "http://",
    "http://[",
    "http://[::1",
    "https://crm.example/\r\nBcc: x@evil.example",
    "https://crm.example/\n\nPlease pay to the account …",
    "https://crm.example/\x00",
    "https://crm.example/\N{RIGHT-TO-LEFT OVERRIDE}gpj.1",
    "https://crm.example/ and more",
    "https://crm.example/<b>",
    'https://crm.example/" onmouseover="alert(1)',
    "ht\ntp://crm.example/",
    "",
    " ",
)
LINKS = (
    "https://crm.example/c/1",
    "HTTP://crm.example/c/1?a=1&b=2#top",
    "http://localhost:5000/c/1",
    "https://[2001:db8::1]:8443/c/1",
    "https://münchen.example/Kontakte/Äpfel",
    "  https://crm.example/c/2  ",
)
ELSEWHERE = (
    "javascript:alert(1)",
    "//evil.example/",
    "\\\\evil.example",
    "data:text/html,x",
    "\r\nX: y",
)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with opened(f"sqlite:///{tmp_path}/crm.sqlite") as host:
        host.configure()
        host.people.owners = {"Firm List": [STEWARDS]}
        yield host


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path, access=lambda _right: True) as opened:
        opened.host.configure()
        yield opened


def merge_of(url: str | None, requester: Party | None = None) -> Merge:
    contacts = [Contact(uuid.uuid4().hex, "Acme", location="Firm List", url=url) for _ in range(2)]
    return Merge((contacts[0], contacts[1]), requester=requester)


def mailed(host: Host, signal: Any, merge: Merge) -> tuple[str, BeautifulSoup]:
    """The text and the page of the message that a signal brings about."""
    known = stored(host)
    with host.app.app_context():
        signal.send(host.app, merge=merge)
        host.db.session.commit()
    (new,) = stored(host) - known
    with host.state.database.reading() as connection:
        row = connection.execute(ROWS.where(MESSAGE.c.id == new)).one()
    assert row.status == "queued"
    message = message_from_bytes(row.content, policy=policy.default)
    texts = [message.get_body((kind,)) for kind in ("plain", "html")]
    assert all(isinstance(text, EmailMessage) for text in texts)
    plain, page = (text.get_content() for text in texts if text is not None)
    return plain, BeautifulSoup(page, "html.parser")


def stored(host: Host) -> set[uuid.UUID]:
    """The ids of all messages, without the contents, of which there are many."""
    with host.state.database.reading() as connection:
        return set(connection.scalars(sa.select(MESSAGE.c.id)))


def links(page: BeautifulSoup) -> list[str]:
    """Everything in our part of a page that can be followed or is fetched, but mail to people.

    The text of a message stands in a frame without rights, whose own links lead nowhere.
    """
    names = ("href", "src", "action", "formaction", "srcdoc", "data", "poster", "background")
    tags = (page.main or page).find_all(lambda tag: any(tag.get("sandbox", ["none at all"])))
    found = [str(tag[name]) for tag in tags for name in names if tag.has_attr(name)]
    return [link for link in found if not link.startswith("mailto:")]


@pytest.mark.parametrize("signal", [merge_denied, merge_completed], ids=["denied", "completed"])
def test_what_is_no_link_is_none_in_a_mail(host: Host, signal: Any) -> None:
    """The message goes out, with the name and without the link; no text is smuggled into it."""
    for url in (*NO_LINKS, *NAUGHTY[::3]):
        plain, page = mailed(host, signal, merge_of(url))
        found = links(page)
        assert found == [] or (found == [url] * 2 and url not in NO_LINKS)
        assert all(link.startswith(("http://", "https://")) for link in found)
        assert plain.count("Acme") == 2
        assert "evil" not in plain
        assert "pay" not in plain
        assert not any(ord(char) < 32 and char not in "\r\n" for char in plain)


@pytest.mark.parametrize("url", LINKS)
def test_what_is_a_link_is_one(host: Host, url: str) -> None:
    """Unchanged but for blanks around it."""
    plain, page = mailed(host, merge_denied, merge_of(url))
    assert links(page) == [url.strip()] * 2
    assert plain.count(url.strip()) == 2


def test_an_address_adds_nothing_to_the_mail_to_it(host: Host) -> None:
    """A question mark may stand in an address; behind "mailto:" it would begin a Bcc (RFC 6068)."""
    eve = Party("Eve", "eve?bcc=x&body=y%20z@firm.example", id=6)
    link = mailed(host, merge_denied, merge_of(None, eve))[1].select_one("a")
    assert link is not None
    assert link["href"] == "mailto:eve%3Fbcc%3Dx%26body%3Dy%2520z@firm.example"


def test_pages_link_to_themselves_alone(panel: Panel) -> None:
    """Naughty strings in every argument of a URL, and in the message that is shown."""
    host = panel.host
    with host.app.app_context():
        host.people.mergers = {"Firm List": [STEWARDS]}
        for url in NO_LINKS:
            merge_denied.send(host.app, merge=merge_of(url))
    ids = [row.id for row in host.rows()]
    seen = 0
    names = ("q", "status", "kind", "since", "until", "before", "next", "url", "back")
    for text in (*NO_LINKS, *NAUGHTY[::4]):
        for name in names if text in NO_LINKS else names[:1]:
            id = ids[seen % len(ids)]
            address = (OUTBOX, f"{OUTBOX}{id}/")[seen % 2]
            found = links(panel.get(f"{address}?{name}={quote(text, safe='')}"))
            assert [one for one in found if not one.startswith(("/admin/", "#"))] == []
            seen += 1
    proved("T17", "{} pages: every link stays", seen)


@pytest.mark.parametrize("action", ["resend", "cancel", "release"])
def test_a_button_leads_back_to_its_page(panel: Panel, action: str) -> None:
    """Whatever stands in the arguments, and whichever host the request names."""
    with panel.host.app.app_context():
        merge_denied.send(panel.host.app, merge=merge_of(None))
    (row,) = panel.host.rows()
    url = f"{OUTBOX}{row.id}/"
    for text in ELSEWHERE:
        for name in ("q", "before", "next", "url", "id"):
            answer = panel.client.post(
                f"{url}{action}",
                query_string={name: text},
                data=form_values(panel.get(url)) | {"next": text, "url": text},
                headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
            )
            assert answer.status_code == 303
            assert answer.location.partition("?")[0].startswith(OUTBOX)
            assert answer.headers.get("X") is None


@pytest.mark.parametrize("text", ELSEWHERE)
def test_saving_leads_back_to_the_form(panel: Panel, text: str) -> None:
    """There is no argument that says where to go."""
    answer = panel.client.post(
        f"/admin/messaging/?next={quote(text, safe='')}", data=panel.fields() | {"next": text}
    )
    assert (answer.status_code, answer.location) == (303, "/admin/messaging/")
