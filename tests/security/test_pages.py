"""What others wrote is shown and never obeyed: the shape of every page stays the same (T5)."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from flask_interaction_mail import Contact, Party, Role, clock
from flask_interaction_mail.models import (
    AttemptRow,
    CheckRow,
    DeliveryRow,
    MessageRow,
    RecipientRow,
    SettingsRow,
)
from flask_interaction_mail.settings.model import SETTINGS
from tests.panel import (
    COVERAGE,
    EXPLAIN,
    HOME,
    OUTBOX,
    TEMPLATES,
    TEST,
    TYPED,
    Panel,
    form_values,
    opened_panel,
)
from tests.proofs import proved
from tests.security.corpora import NAUGHTY
from tests.security.dom import MARKUP, links_of, shape_of
from tests.servers.scripted import scripted

# A text with half a pair of surrogates is in no database, one with NUL in no PostgreSQL.
TEXTS = [*MARKUP, *(one for one in NAUGHTY if (one.strip() and one.isascii()) or one.isprintable())]
TEXTS = [one for one in TEXTS if one.strip() and "\0" not in one]
HARMLESS = "x"
_WITHIN = re.compile(
    r'sandbox title="Text of the message[^"]*" srcdoc="&lt;!DOCTYPE html&gt;&lt;meta http-equiv='
    r"Content-Security-Policy content=&#34;default-src &#39;none&#39;; [^\"]*\""
)


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    """A panel whose visitor has every right: each name of one is true."""
    with opened_panel(tmp_path, access=bool, MAIL_SUPPRESS_SEND=False) as opened:
        opened.host.configure()
        yield opened


def several(texts: Sequence[str], count: int) -> Iterator[list[str]]:
    """``texts`` in lists of ``count``, the last one filled up."""
    for start in range(0, len(texts), count):
        part = list(texts[start : start + count])
        yield part + [HARMLESS] * (count - len(part))


def page(panel: Panel, url: str) -> str:
    """The HTML of a page that is no error."""
    response = panel.client.get(url)
    assert response.status_code == 200
    return response.text


class Shape:
    """What a page looks like with harmless texts; every other page has to look the same."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        self.pages = 0

    def keeps(self, name: str, html: str) -> None:
        shape = shape_of(html)
        assert self.known.setdefault(name, shape) == shape
        harmless(html)
        self.pages += 1


def harmless(html: str) -> None:
    """No link of the page runs a script or leads elsewhere, but for Flask-Admin's own menu.

    The document within the page is a message: in a sandbox that allows nothing, behind a policy.
    """
    html = _WITHIN.sub('sandbox title="Text of the message"', html)
    for link in set(links_of(html)) - {"javascript:void(0)"}:
        assert link.startswith(("/", "#", "?", "../")) or link == "", link


def message_with(panel: Panel, texts: Iterable[str]) -> uuid.UUID:
    """A stored message in which every text that is shown is one of ``texts``, in turn."""
    id, now, text = uuid.uuid4(), clock.now(), iter(texts)

    def cut(size: int) -> str:
        return next(text)[:size]

    message = {
        "id": id, "origin": id, "kind": cut(32), "source": "call", "actor": cut(255),
        "created_at": now, "subject": cut(998),
        "intent": json.dumps({"kind": "x", "source": "call", "subject": "x", "text": cut(9999)}),
        "route": json.dumps([
            {"code": "named", "who": cut(500)},
            {"code": "bad_address", "name": cut(500), "problem": cut(500)},
            {"code": cut(500), "who": cut(500)},
        ]),
        "message_id": "<x@y>", "envelope_sender": cut(320), "content": None,
    }  # fmt: skip
    delivery = {
        "id": id, "status": "failed", "reason": "refused", "detail": cut(1000), "created_at": now,
        "due_at": now, "finished_at": now, "attempts": 2, "reply": cut(1100),
    }  # fmt: skip
    recipients = [
        {"message_id": id, "position": position, "field": cut(32), "name": cut(255),
         "address": f"{position}{cut(300)}", "status": "failed", "reply": cut(1100)}
        for position in range(3)
    ]  # fmt: skip
    attempts = [
        {"message_id": id, "number": number, "started_at": now, "finished_at": now,
         "server": cut(255), "worker": "w", "result": cut(32), "stage": cut(32),
         "reply": cut(1100), "diverted_to": cut(320),
         "verdicts": json.dumps({f"1{cut(300)}": cut(500), f"2{cut(300)}": cut(500)})}
        for number in range(2)
    ]  # fmt: skip
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        connection.execute(sa.insert(MessageRow).values(**message))
        connection.execute(sa.insert(DeliveryRow).values(**delivery))
        connection.execute(sa.insert(RecipientRow), recipients)
        connection.execute(sa.insert(AttemptRow), attempts)
    return id


SHOWN = 42  # texts that message_with takes


def forget(panel: Panel) -> None:
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        for table in (AttemptRow, RecipientRow, DeliveryRow, MessageRow):
            connection.execute(sa.delete(table))


def test_t5_outbox(panel: Panel) -> None:
    """Subject, kind, names, addresses, replies, detail, route, attempts, text; list and details."""
    shape = Shape()
    for texts in ([HARMLESS] * SHOWN, *several(TEXTS, SHOWN), *several(TEXTS[::-1], SHOWN)):
        forget(panel)
        id = message_with(panel, texts)
        shape.keeps("details", page(panel, f"{OUTBOX}{id}/"))
        shape.keeps("list", page(panel, OUTBOX))
    proved(
        "T5",
        f"outbox: {len(TEXTS)} texts in {SHOWN} places: {{}} pages keep their shape",
        shape.pages,
    )


def test_t5_headers_and_bodies_of_what_was_sent(panel: Panel) -> None:
    """Header fields of stored content, and its two texts; the HTML one only in the sandbox."""
    shape = Shape()
    id = message_with(panel, [HARMLESS] * SHOWN)
    for texts in ([HARMLESS] * 10, *several(TEXTS, 10)):
        text = "\r\n".join(texts)
        fields = [f"X-{at}: {' '.join(one.split())}\r\n" for at, one in enumerate(texts)]
        content = (
            f"{''.join(fields)}MIME-Version: 1.0\r\n"
            'Content-Type: multipart/alternative; boundary="=_b"\r\n\r\n'
            f"--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
            f"--=_b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n{text}\r\n--=_b--\r\n"
        )
        with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
            connection.execute(sa.update(MessageRow).values(content=content.encode()))
        shape.keeps("details", page(panel, f"{OUTBOX}{id}/"))
    assert 'sandbox title="' in page(panel, f"{OUTBOX}{id}/")
    assert _WITHIN.search(page(panel, f"{OUTBOX}{id}/"))
    policy = panel.client.get(f"{OUTBOX}{id}/html").headers["Content-Security-Policy"]
    assert {"default-src 'none'", "sandbox"} <= {part.strip() for part in policy.split(";")}
    proved("T5", f"content: {len(TEXTS)} texts: {{}} pages keep their shape", shape.pages)


def test_t5_what_is_searched_for(panel: Panel) -> None:
    """The filters come back in fields and in links."""
    shape = Shape()
    names = ("q", "status", "kind", "since", "until", "before")
    for texts in ([HARMLESS] * 6, *several(TEXTS, 6)):
        query = urlencode(dict(zip(names, texts, strict=True)))
        shape.keeps("list", page(panel, f"{OUTBOX}?{query}"))
    proved("T5", f"filters: {len(TEXTS)} texts: {{}} pages keep their shape", shape.pages)


STORED = tuple(name for name, one in SETTINGS.items() if one.kind is str and name != "password")


def test_t5_settings_and_history(panel: Panel) -> None:
    """A row that somebody edited by hand, the name of who tested, and of who saved meanwhile."""
    shape = Shape()
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        check = {"id": uuid.uuid4(), "kind": "test", "at": clock.now(), "fingerprint": "f" * 64}
        connection.execute(
            sa.insert(CheckRow).values(**check, by="x", verdict="passed", steps="[]")
        )
    count = len(STORED) + 1
    for texts in ([HARMLESS] * count, *several(TEXTS, count)):
        fields = dict(zip(STORED, texts, strict=False)) | {"own_domains": texts[-2:-1]}
        by = texts[-1][:255]
        with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
            row = {"fields": json.dumps(fields), "created_by": by}
            at = clock.now() - timedelta(seconds=shape.pages)
            connection.execute(sa.update(SettingsRow).values(**row, created_at=at))
            connection.execute(sa.update(CheckRow).values(by=by))
        shape.keeps("settings", page(panel, HOME))
        shape.keeps("templates", page(panel, TEMPLATES))
    proved("T5", f"settings: {len(TEXTS)} texts: {{}} pages keep their shape", shape.pages)


def test_t5_what_stands_around_a_message(panel: Panel) -> None:
    """Header and footer in the preview of a message: in its header fields, text and frames."""
    shape = Shape()
    for texts in ([HARMLESS] * 3, *several([text for text in TEXTS if text.isprintable()], 3)):
        names = ("mail_header", "mail_footer", "sender_name")
        look = dict(zip(names, (text[:200] for text in texts), strict=True))
        panel.host.configure(**look)
        shape.keeps("preview", page(panel, f"{TEMPLATES}preview/merge_request"))
    proved("T5", f"previews: {len(TEXTS)} texts: {{}} pages keep their shape", shape.pages)


def test_t5_what_was_typed_and_refused(panel: Panel) -> None:
    """Every field quotes what was typed, beside it and in its error; Save and Test alike."""
    pages = 0
    token = panel.fields()["csrf_token"]
    allowed = kinds_in(panel.post(HOME, **refusable([HARMLESS] * len(REFUSABLE))).text)
    allowed |= kinds_in(panel.post(TEST, **refusable([HARMLESS] * len(REFUSABLE))).text)
    for texts in several(TEXTS, len(REFUSABLE)):
        for url in (HOME, TEST):
            data = TYPED | refusable(texts) | {"csrf_token": token}
            response = panel.client.post(url, data=data)
            assert response.status_code == 400
            # Which fields have an error depends on the texts: nothing may be of a new kind.
            assert kinds_in(response.text) <= allowed
            harmless(response.text)
            pages += 1
    proved("T5", f"typed and refused: {len(TEXTS)} texts: {{}} pages without a new element", pages)


def kinds_in(html: str) -> set[tuple[str, str]]:
    """Each kind of element with each of its attributes, but for those of a field with an error."""
    of_error = {"aria-invalid", "aria-describedby"}
    return {(tag, name) for tag, names in shape_of(html) for name in ("", *names)} - {
        (tag, name) for tag in ("input", "select", "textarea", "fieldset") for name in of_error
    }


REFUSABLE = (
    *(name for name, one in SETTINGS.items() if one.kind is not bool and name != "password"),
    "revision",
)


def refusable(texts: Sequence[str]) -> dict[str, str]:
    """What is typed into each field; neither port nor revision is a number, so it is refused."""
    typed = dict(zip(REFUSABLE, texts, strict=True))
    return typed | {name: typed[name] + "!" for name in ("smtp_port", "revision")}


def test_t5_explain_and_coverage(panel: Panel) -> None:
    """Names, addresses, ids and locations of a host, what is typed, and a message made of it."""
    pages, allowed = 0, set[tuple[str, str]]()
    form = panel.fields()
    right, wrong = [HARMLESS] * 9, [HARMLESS, "a b", *[HARMLESS] * 6, "a b"]
    # What is listed depends on the texts: nothing may be of a new kind.
    for texts in (right, wrong):
        known_as(panel, texts)
        allowed = allowed.union(*map(kinds_in, pages_about(panel, form, texts)))
    for texts in several(TEXTS, 9):
        known_as(panel, texts)
        for html in pages_about(panel, form, texts):
            harmless(html)
            assert kinds_in(html) <= allowed
            pages += 1
    proved("T5", f"people: {len(TEXTS)} texts: {{}} pages without a new element", pages)


def known_as(panel: Panel, texts: Sequence[str]) -> None:
    """Have the host tell of people, a location and a contact that are called so."""
    user, email, id, group, location, first, second, url, _ = texts
    asked = Party(user, email, id=id, role=Role.SECRETARY)
    people = panel.host.people
    people.mergers = {location: [Party(group, None, kind="group"), asked]}
    names = {"1": first, "2": second}
    answers = {
        "parties": lambda: [asked, Party(user, "short"), Party(user, f"x@{HARMLESS}.example")],
        "find_contacts": lambda text, _limit: [people.contact(one) for one in names][: len(text)],
        "contact": lambda one: (
            Contact(one, names[one], location=location, url=url) if one in names else None
        ),
    }
    for name, answer in answers.items():
        setattr(people, name, answer)


def pages_about(panel: Panel, form: dict[str, str], texts: Sequence[str]) -> Iterator[str]:
    """The pages with everything that can be asked of them, also beside settings in ``form``."""
    id, location, typed = texts[2], texts[4], texts[8]
    for query in (
        {"requester": id, "location": location},
        {"requester": typed, "location": typed},
        {"requester": "short", "contact": ["1", "2"]},
        {"requester": HARMLESS, "contact": ["ab", typed]},
    ):
        yield panel.client.get(EXPLAIN, query_string=query).text
    for domain in (typed, "new.example"):
        yield panel.client.get(COVERAGE, query_string={"domain": domain, "selector": typed}).text
    names = dict.fromkeys(("login", "default_from_name", "sender_name"), typed)
    for others in (names, refusable([typed] * len(REFUSABLE))):
        yield panel.client.post(EXPLAIN, data=form | others | {"location": location}).text


def test_t5_what_a_server_says(panel: Panel) -> None:
    """Greeting and replies of a hostile server, in the steps and in the transcript of a test."""
    shape = Shape()
    for number, texts in enumerate(([HARMLESS] * 90, *several(TEXTS, 90))):
        panel.host.people.user = Party(f"{texts[0]} {number}", "ada")
        lines = [" ".join(one.split()).encode("utf-8", "replace")[:600] for one in texts]
        greeting = b"".join(b"220-" + line + b"\r\n" for line in lines) + b"220 x\r\n"
        refusal = b"".join(b"550-" + line + b"\r\n" for line in lines) + b"550 5.1.1 x\r\n"
        with scripted({"GREETING": greeting, "RCPT": refusal}) as server:
            typed = {"smtp_server": "127.0.0.1", "smtp_port": str(server.port)}
            html = panel.post(TEST, **(TYPED | typed), encryption="none").text
        assert "data-im-verdict" in html
        shape.keeps("test", html)
    proved(
        "T5", f"replies: {len(TEXTS)} texts: {{}} results of a test keep their shape", shape.pages
    )


def test_t5_what_is_flashed(panel: Panel) -> None:
    """An error of Resend quotes an address, above a page of Flask-Admin's making."""
    shape = Shape()
    id = message_with(panel, [HARMLESS] * SHOWN)
    for text in (f"{HARMLESS} {HARMLESS}", *MARKUP):
        intent = {"kind": "x", "source": "call", "subject": "x", "text": "x"}
        intent |= {"to": [{"name": text, "email": f"{text} <"}]}
        with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
            connection.execute(sa.update(MessageRow).values(intent=json.dumps(intent)))
        values = form_values(panel.get(f"{OUTBOX}{id}/"))
        response = panel.client.post(f"{OUTBOX}{id}/resend", data=values, follow_redirects=True)
        assert "is not a valid e-mail address" in response.text
        shape.keeps("details", response.text)
    proved(
        "T5", f"errors above a page: {len(MARKUP)} texts: {{}} pages keep their shape", shape.pages
    )
