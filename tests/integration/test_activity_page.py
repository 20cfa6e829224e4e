"""The Activity tab: how much mail left, how fast, and what was in the way."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup

from flask_interaction_mail import clock, merge_denied, operations, send_notification
from flask_interaction_mail.errors import TransportError
from flask_interaction_mail.monitoring import activity
from flask_interaction_mail.outbox import breaker, tally
from flask_interaction_mail.outbox.counts import DAY, HOUR, MINUTE, Counts, Names, begin_of
from flask_interaction_mail.outcome import Stage
from flask_interaction_mail.settings.model import relay_of
from flask_interaction_mail.state import State
from flask_interaction_mail.storage.tables import CHECK
from flask_interaction_mail.transport.memory import MemoryTransport
from flask_interaction_mail.values import Status
from tests.host import ADA, Host, a_merge
from tests.panel import ACTIVITY, OUTBOX, Panel, opened_panel
from tests.terminal import done


@pytest.fixture
def rights() -> set[str]:
    """Those of the visitor, which a test may change."""
    return {"view", "edit", "activity", "outbox"}


@pytest.fixture
def panel(tmp_path: Path, rights: set[str]) -> Iterator[Panel]:
    with opened_panel(tmp_path, access=lambda right: right in rights) as panel:
        panel.save()
        yield panel


def put(state: State, at: datetime, *, sent: int = 0, refused: str = "", **more: Any) -> None:
    """Count ``sent`` messages, and one that met ``refused``."""
    found = Counts(Names())
    kind, domain = more.get("kind", "request"), more.get("domain", "firm.example")
    for _ in range(sent):
        found.message(at, kind, Status.SENT, made_at=at - timedelta(seconds=more.get("took", 2)))
        found.recipient(at, f"ada@{domain}", Status.SENT)
    if refused:
        found.message(at, kind, Status.FAILED, made_at=at)
        found.refused(at, [refused], more.get("message", uuid.uuid4()))
    with state.database.writing() as connection:
        tally._add(connection, found.rows(uuid.uuid4()))


def words(part: Any) -> str:
    return " ".join(part.get_text(" ").split())


def totals(page: BeautifulSoup) -> list[str]:
    return [one.get_text() for one in page.select(".im-legend strong")]


def table(page: BeautifulSoup, title: str) -> list[list[str]]:
    """The rows of the table below the heading ``title``."""
    heading = next(one for one in page.select("h2") if one.get_text() == title)
    rows = heading.parent.select("tbody tr")  # type: ignore[union-attr]
    return [[words(cell) for cell in row.select("th, td")] for row in rows]


def test_before_anything_was_sent_the_page_says_so(panel: Panel) -> None:
    """Without a figure that means nothing."""
    page = panel.get(ACTIVITY)
    assert totals(page) == ["0", "0", "0", "0"]
    assert "Half is accepted within – " in words(page.select_one(".im-figures"))
    for text in ("Nothing was refused.", "No trouble, no probe and no test in this time."):
        assert text in page.text


@pytest.mark.parametrize(
    ("last", "steps", "total"),
    [("hour", 60, "3"), ("day", 24, "5"), ("week", None, "7"), ("month", 30, "9")],
)
def test_each_period_has_its_own_sums(
    panel: Panel, last: str, steps: int | None, total: str
) -> None:
    """Whole minutes, hours and days up to now, also after they were merged."""
    now = clock.now()
    state = panel.host.state
    for ago, sent in ((MINUTE, 3), (5 * HOUR, 2), (4 * DAY, 2), (20 * DAY, 2), (40 * DAY, 9)):
        put(state, now - ago, sent=sent)
    for merged in (False, True):
        if merged:
            tally.merge(state.database, now)
        page = panel.get(f"{ACTIVITY}?last={last}")
        assert totals(page)[0] == total
        rows = page.select("#im-chart-data tbody tr")
        assert sum(int(str(row.select("data")[0]["value"])) for row in rows) == int(total)
        if steps is not None:
            assert len(rows) == steps
    current = page.select_one(".im-pills [aria-current]")
    assert current is not None
    assert f"last={last}" in str(current["href"])


def test_a_period_that_is_none_is_a_day(panel: Panel) -> None:
    """Whatever the URL says."""
    assert len(panel.get(f"{ACTIVITY}?last=<x>").select("#im-chart-data tbody tr")) == 24


def test_figures_of_now(any_host: Host) -> None:
    """What waits, the rate, and the times from commit to acceptance, on each database."""
    state = any_host.state
    now = clock.now()
    put(state, now - 2 * MINUTE, sent=90, took=1.0)
    put(state, now - 3 * MINUTE, sent=10, took=100.0, kind="digest", domain="other.example")
    put(state, now, sent=1, took=1.0)
    with any_host.app.app_context():
        for _ in range(3):
            send_notification(ADA, "x", text="x")
        any_host.db.session.commit()
    found = activity.activity(state, "hour")
    assert (found.waiting, found.shown_waiting, found.rate) == (3, "3", 10.0)
    assert found.median == pytest.approx(1.0, rel=0.1)
    assert found.most == pytest.approx(100.0, rel=0.1)
    assert found.total == (101, 0, 0, 0)
    assert found.kinds == [("request", (91, 0, 0, 0)), ("digest", (10, 0, 0, 0))]
    assert found.domains == [("firm.example", (91, 0, 0, 0)), ("other.example", (10, 0, 0, 0))]
    last = found.steps[-1][0]
    assert last in (begin_of(MINUTE, now), begin_of(MINUTE, clock.now()))
    assert [at for at, _ in found.steps] == [last - n * MINUTE for n in range(59, -1, -1)]


def test_a_queue_beyond_all_bounds_is_not_counted_to_its_end(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says that there are more."""
    monkeypatch.setattr(activity, "MOST_WAITING", 2)
    with panel.host.app.app_context():
        for _ in range(4):
            send_notification(ADA, "x", text="x")
        panel.host.db.session.commit()
    figures = panel.get(ACTIVITY).select_one(".im-figures")
    assert "Waiting now 2+" in words(figures)


def test_the_most_frequent_names_are_shown_and_the_rest_as_one(panel: Panel) -> None:
    """Twenty domains, then all others together."""
    state, now = panel.host.state, clock.now()
    for number in range(activity.SHOWN + 5):
        put(state, now, sent=1 + (number == 7), domain=f"d{number:02}.example")
    rows = table(panel.get(ACTIVITY), "By recipient domain")
    assert rows[0] == ["d07.example", "2", "0", "0"]
    assert len(rows) == activity.SHOWN + 1
    assert rows[-1] == ["all others", "5", "0", "0"]


def test_refusals_are_shown_with_the_mail_that_met_them(panel: Panel, rights: set[str]) -> None:
    """The most frequent first, with links for those who may see messages."""
    host, now = panel.host, clock.now()
    with host.app.app_context():
        sent = send_notification(ADA, "Quarterly figures", text="x")
        host.db.session.commit()
    for _ in range(2):
        put(host.state, now, refused="550 5.7.1 Blocked", message=sent.id)
    put(host.state, now, refused="451 Later")  # its message is gone
    first, second = panel.get(ACTIVITY).select(".im-refusals > li")
    assert "550 5.7.1 Blocked" in words(first)
    assert "“No”: 2 times." in words(first)
    assert "“Not now”: once." in words(second)
    assert [link["href"] for link in first.select("a")] == [f"{OUTBOX}{sent.id}/"]
    assert second.select("a") == []
    rights.remove("outbox")
    page = panel.get(ACTIVITY)
    assert "Quarterly figures" not in page.text
    assert not page.select(f"a[href^='{OUTBOX}']")


def test_troubles_probes_and_tests_are_on_a_line(panel: Panel) -> None:
    """Newest first, in words; what is older than the period is not there."""
    state, now = panel.host.state, clock.now()
    relay = relay_of(panel.in_force().settings)
    error = TransportError("Nobody answers at the port.", stage=Stage.CONNECT)
    with state.database.writing() as connection:
        breaker.trip(connection, relay, error, worker="w", now=now - HOUR)
        for kind, verdict, ago in (
            ("probe", "failed", HOUR / 2),
            ("probe", "none", MINUTE),
            ("test", "passed", MINUTE),
            ("test", "passed", 3 * DAY),
            ("room", "known", MINUTE),
        ):
            steps = "[]" if kind == "test" else '{"why": null}'
            if verdict == "failed":
                steps = '{"why": "The login was refused."}'
            values = {"id": uuid.uuid4(), "kind": kind, "at": now - ago, "by": "x", "steps": steps}
            row = values | {"fingerprint": "", "verdict": verdict}
            connection.execute(sa.insert(CHECK).values(row))
    lines = [words(line) for line in panel.get(ACTIVITY).select(".im-history > li")]
    assert [line.partition("UTC ")[2] for line in lines] == [
        "A test of the settings: passed",
        "A probe of the mail server: did not pass: The login was refused.",
        "Trouble with the mail server began and goes on: Nobody answers at the port.",
    ]
    with state.database.writing() as connection:
        breaker.close(connection, relay)
    assert "which is over now: Nobody answers" in words(panel.get(ACTIVITY))


def test_what_strangers_write_is_shown_as_text(panel: Panel) -> None:
    """Domains, kinds and replies that look like HTML or turn the direction (T5)."""
    hostile = "<script>alert(1)</script>\u202e"
    put(panel.host.state, clock.now(), sent=1, refused=hostile, kind=hostile, domain=hostile)
    page = panel.get(ACTIVITY)
    assert not page.select("main script")
    assert page.text.count("<script>alert(1)</script>") == 3
    assert all(one.find_parent(["bdi", "span"]) for one in page.find_all(string=hostile))


def test_only_this_page_loads_the_chart(panel: Panel) -> None:
    """From this host alone."""
    page = panel.get(ACTIVITY)
    scripts = [str(script["src"]) for script in page.select("script[src]")]
    assert [src for src in scripts if "uPlot" in src or "activity.js" in src][1:] != []
    assert not [src for src in scripts if src.startswith(("http", "//"))]
    assert (
        panel.client.get(next(src for src in scripts if "uPlot" in src), buffered=True).status_code
        == 200
    )
    assert "uPlot" not in panel.client.get(OUTBOX).text


def test_mail_from_before_is_counted_by_a_command(any_host: Host) -> None:
    """``activity rebuild`` says how many messages it found."""
    with any_host.app.app_context():
        for _ in range(2):
            send_notification(ADA, "x", text="x")
        any_host.db.session.commit()
    transport = MemoryTransport()
    any_host.dispatcher(transport=lambda _: transport).drain()
    assert activity.activity(any_host.state, "day").total.sent == 2
    with any_host.state.database.writing() as connection:
        connection.execute(sa.text("DELETE FROM interaction_mail_activity"))
    assert done(any_host, "activity", "rebuild").out == "Counted 2 messages anew.\n"
    with any_host.app.app_context():
        operations.purge(any_host.state)
    assert len(transport.delivered) == 2


def test_a_message_that_could_not_be_routed_counts_as_failed(tmp_path: Path) -> None:
    """It fails when it is stored, in a transaction of the host, and is counted there."""
    with opened_panel(tmp_path) as panel:
        host = panel.host
        for pair in ((1, 2), (3, 4)):
            with host.app.app_context():
                merge_denied.send(host.app, merge=a_merge(ids=pair))
        assert [row.reason for row in host.rows()] == ["not_configured"] * 2
        found = activity.activity(host.state, "day")
        assert found.total == (0, 0, 2, 0)
        assert found.kinds == [("request", (0, 0, 2, 0))]
