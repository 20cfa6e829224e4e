"""The outbox as a file for spreadsheets: everything that fits, no text, no formula (T6)."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_interaction_mail import Directory, Party, clock
from flask_interaction_mail.addresses import Mailbox
from flask_interaction_mail.admin.export import pieces, safe
from flask_interaction_mail.messages import encoding
from flask_interaction_mail.outbox import exporting
from flask_interaction_mail.outbox.filters import Filters
from flask_interaction_mail.outbox.insert import insert
from flask_interaction_mail.storage import tables
from tests import outbox_rows
from tests.databases import DIALECTS, fresh_database
from tests.host import ADA
from tests.outbox_rows import Store, a_message
from tests.panel import COVERAGE, OUTBOX, Panel, opened_panel, send
from tests.proofs import proved

EXPORT = OUTBOX + "export.csv"
CORPORA = Path(__file__).parents[1] / "corpora"
FORMULAS = (CORPORA / "csv_injection" / "csv-payload.txt").read_text("utf-8").splitlines()
NAUGHTY: list[str] = json.loads((CORPORA / "blns" / "blns.json").read_text("utf-8"))
FIRST = "=+-@\t\r\n＝＋－＠"
BEFORE = ("", " ", "\t", "\r\n", "\N{NO-BREAK SPACE}", "\N{ZERO WIDTH SPACE}", '"', "'", "“", '" ')


@pytest.fixture
def rights() -> set[str]:
    return {"outbox"}


@pytest.fixture
def panel(tmp_path: Path, rights: set[str]) -> Iterator[Panel]:
    with opened_panel(tmp_path, access=lambda right: right in rights) as opened:
        opened.host.configure()
        yield opened


def exported(panel: Panel, query: str = "") -> list[dict[str, str]]:
    """The lines of the file, as a spreadsheet reads them."""
    response = panel.client.get(EXPORT + query, buffered=True)
    assert response.status_code == 200
    assert response.data.startswith(b"\xef\xbb\xbf")
    text = response.data.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def put(panel: Panel, texts: Sequence[str]) -> None:
    """Messages with each of these texts wherever others may write one, whatever the rules say."""
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        messages = [a_message("a@x.example", "b@x.example") for _ in texts]
        insert(connection, messages)
        for message, text in zip(messages, texts, strict=True):
            outbox_rows.change(
                connection,
                message.id,
                **dict.fromkeys(("subject", "kind", "reason", "message_id"), text[:250]),
                detail=text,
                content=b"From: %b\r\n\r\n" % _author(text),
            )
            connection.execute(
                sa.update(tables.RECIPIENT)
                .where(tables.RECIPIENT.c.message_id == message.id)
                .values(name=text[:250], address=text[:300], reply=text)
            )


def _author(name: str) -> bytes:
    clean = "".join(filter(str.isprintable, name))
    return encoding.mailboxes("From", [Mailbox("a@x.example", clean)]).encode()


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet might take ``cell`` for one, blanks and quotes left out."""
    bare = cell.lstrip(' \t\r\n"\N{NO-BREAK SPACE}\N{ZERO WIDTH SPACE}')
    start = unicodedata.normalize("NFKC", bare[:1])
    return cell[:1] in tuple(FIRST) or start in tuple("=+-@")


def test_the_file_says_what_an_administrator_needs(panel: Panel) -> None:
    """One line a message, newest first, with each recipient's status and reply; no text."""
    old = send(panel, "Old")
    id = send(
        panel, "Grüße; “x”, y", [ADA, "zoe@else.example"], cc="cy@else.example", bcc="b@x.test"
    )
    with panel.host.app.app_context(), panel.host.state.database.writing() as connection:
        outbox_rows.change(connection, old, created_at=clock.now() - timedelta(days=1))
        connection.execute(
            sa.update(tables.RECIPIENT)
            .where(tables.RECIPIENT.c.address == "zoe@else.example")
            .values(status="failed", reply="550 5.1.1 no such user")
        )
    line, older = exported(panel)
    assert older["subject"] == "Old"
    assert line["subject"] == "Grüße; “x”, y"
    assert (line["status"], line["kind"], line["attempts"]) == ("queued", "notification", "0")
    assert line["from"] == "Ada Byron <ada@firm.example>"
    assert line["to"] == "Ada Byron <ada@firm.example>, zoe@else.example"
    assert (line["cc"], line["bcc"]) == ("cy@else.example", "b@x.test")
    assert "zoe@else.example: failed (550 5.1.1 no such user)" in line["replies"]
    assert "ada@firm.example: queued; " in line["replies"]
    assert line["number"] == str(id)
    assert line["message id"].startswith("<")
    assert line["created (UTC)"].startswith(f"{clock.now():%Y-}")
    assert line["finished (UTC)"] == ""


@pytest.mark.parametrize("may_read", [True, False])
def test_the_text_is_never_in_the_file(panel: Panel, rights: set[str], may_read: bool) -> None:
    """With and without the right to read it, of text, page and attachment."""
    if may_read:
        rights.add("body")
    send(
        panel,
        "Reset",
        text="From: secret-link",
        html="<p>secret-page</p>",
        attachments=[("a.txt", "text/plain", b"secret-file")],
    )
    data = panel.client.get(EXPORT, buffered=True).data
    assert b"Reset" in data
    assert b"secret" not in data


def test_the_answer_is_a_download_that_nobody_keeps(panel: Panel) -> None:
    """A fixed name, no cache, a type that is not guessed; and only with the right."""
    response = panel.client.get(EXPORT, buffered=True)
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == 'attachment; filename="outbox.csv"'
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?q=zoe", ["b"]),
        ("?status=queued&kind=invoice", ["c"]),
        ("?status=sent", []),
        ("?until=2020-01-01", []),
        ("?before=2020-01-01T00:00:00_00000000000000000000000000000000", ["c", "b", "a"]),
    ],
)
def test_the_filters_of_the_page_hold(panel: Panel, query: str, found: list[str]) -> None:
    """All that fits, not only from the page on from which it was asked for."""
    send(panel, "a")
    send(panel, "b", "zoe@else.example")
    send(panel, "c", kind="invoice")
    assert [line["subject"] for line in exported(panel, query)] == found


def test_the_page_offers_what_it_shows(panel: Panel) -> None:
    """The link carries the filters; where nothing is listed there is none."""
    send(panel, "a")
    link = panel.get(OUTBOX + "?q=ada&before=x").find("a", string="Export as CSV")
    assert link["href"] == EXPORT + "?q=ada"  # type: ignore[index]
    assert panel.get(OUTBOX + "?q=nobody").find("a", string="Export as CSV") is None


def test_a_long_outbox_comes_in_batches(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message once, in pieces; no transaction is open between them."""
    monkeypatch.setattr(exporting, "BATCH", 3)
    for number in range(8):
        send(panel, f"m{number}")
    response = panel.client.get(EXPORT)
    seen = []
    for piece in response.iter_encoded():
        seen.append(piece)
        send(panel, "meanwhile")  # SQLite would say that it is locked
    assert [piece.count(b"\r\n") for piece in seen] == [4, 3, 2]
    assert b"".join(seen).count(b"meanwhile") == 0
    assert [line["subject"] for line in exported(panel) if line["subject"] != "meanwhile"] == [
        f"m{number}" for number in reversed(range(8))
    ]


def test_missing_tables_are_told_before_the_file_begins(panel: Panel) -> None:
    """A page that says so, not a file that breaks off."""
    with panel.host.app.app_context():
        panel.host.db.drop_all()
    panel.host.state.database.tables_seen = False
    assert panel.client.get(EXPORT).status_code == 503


def test_no_cell_is_a_formula(panel: Panel) -> None:
    """Formulas and naughty strings as subject, name, address, reply, and what else is shown."""
    tried = [
        *(before + start + text for before in BEFORE for start in FIRST for text in FORMULAS),
        *(text + "1+1" for text in FIRST),
        *FORMULAS,
        *NAUGHTY,
    ]
    put(panel, tried)
    lines = exported(panel)
    assert len(lines) == len(tried)
    cells = [cell for line in lines for cell in line.values()]
    assert [cell for cell in cells if is_formula(cell)] == []
    proved("T6", "{} cells: 0 formulas", len(cells))


def test_no_cell_of_those_who_move_is_a_formula(panel: Panel, rights: set[str]) -> None:
    """Names, ids and addresses of a host's people, in the file of a new company domain."""
    rights.add("explain")
    tried = [*(start + text for start in FIRST for text in FORMULAS), *NAUGHTY]
    people = [Party(text, "x", id=text) for text in tried] + [Party("x", text) for text in tried]
    panel.host.state.people._directory = type("Host", (Directory,), {"parties": lambda _: people})()
    answer = panel.client.get(f"{COVERAGE}moves.csv?domain=new.example", buffered=True)
    lines = list(csv.reader(io.StringIO(answer.data.decode("utf-8-sig"), newline="")))[1:]
    assert len(tried) < len(lines) <= len(people)
    assert [cell for line in lines for cell in line if is_formula(cell)] == []


@pytest.mark.parametrize("end", [",", ";", "\t", "\r\n", '";', '","', "\n"])
@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_another_delimiter_is_a_formula(text: str, end: str) -> None:
    """Where a spreadsheet splits at something else, what it makes of it is none either."""
    written = safe(f"hello{end}{text}").replace('"', '""')
    for delimiter in ",;\t\n":
        cells = written.split(delimiter)
        assert [cell for cell in cells if is_formula(cell) and cell.strip('\t\r\n" ')] == []


@pytest.mark.parametrize(
    "text", ["", "Hello", "a-b = c", "<1@x.test>", "ada@x.test", "2026-01-01 10:00:00", "(no - x)"]
)
def test_what_is_no_formula_stays_as_it_is(text: str) -> None:
    """Nobody finds an apostrophe where none is needed."""
    assert safe(text) == text


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_database_gives_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dialect: str
) -> None:
    """From stands in the first bytes of the content, which each reads in its own way."""
    monkeypatch.setattr(exporting, "BATCH", 2)
    with fresh_database(dialect, tmp_path) as url:
        store = Store(url)
        content = (
            b"Date: x\r\nFrom: =?utf-8?b?w4RkYQ==?=\r\n <a@x.example>\r\nTo: b\r\n\r\nFrom: z\r\n"
        )
        store.put(*(a_message(content=content) for _ in range(3)))
        text = "".join(pieces(store.reading, Filters())).removeprefix("\ufeff")
        store.engine.dispose()
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [line["from"] for line in lines] == ["Äda <a@x.example>"] * 3
