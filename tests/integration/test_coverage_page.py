"""The Coverage tab: whom mail reaches, what a new company domain moves, what DNS says of From."""

from __future__ import annotations

import csv
import io
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from bs4 import BeautifulSoup
from flask_admin import Admin

from flask_interaction_mail import Directory, Party, Role, clock
from flask_interaction_mail.monitoring import coverage, from_dns
from flask_interaction_mail.storage.tables import DEAD
from tests.databases import DIALECTS, fresh_database
from tests.host import ADA, NAMELESS, STEWARDS, Host, People
from tests.panel import COVERAGE, HISTORY, HOME, OpenIndex, Panel, opened_panel
from tests.servers.names import NameServer, name_server, silent

SECRETARY = Party("Sec", "sec", id=3, role=Role.SECRETARY)
EVE = Party("Eve", "eve@else.example", id=2)
SPF = 'TXT "v=spf1 mx -all"'


@dataclass
class Many(People):
    """A directory whose parties a test sets, and which counts how many were taken."""

    everybody: Sequence[Party] = ()
    taken: list[Party] = field(default_factory=list)

    def parties(self) -> Iterator[Party]:  # type: ignore[override]
        for party in self.everybody:
            self.taken.append(party)
            yield party


def with_people(panel: Panel, *everybody: Party, **mergers: Sequence[Party]) -> Many:
    people = Many(everybody=everybody, mergers=mergers or {"Firm List": [STEWARDS]})
    panel.host.state.people._directory = people
    return people


@pytest.fixture
def server() -> Iterator[NameServer]:
    with name_server() as server:
        yield server


@pytest.fixture
def panel(tmp_path: Path, server: NameServer) -> Iterator[Panel]:
    servers = f"127.0.0.1:{server.port}"
    with opened_panel(tmp_path, INTERACTION_MAIL_NAME_SERVERS=servers) as panel:
        panel.host.configure()
        yield panel


def part(page: BeautifulSoup, name: str) -> str:
    """The text of one section."""
    section = page.select_one(f"section[aria-labelledby=im-h-{name}]")
    assert section is not None
    return " ".join(section.get_text(" ").split())


def cells(page: BeautifulSoup, name: str) -> list[list[str]]:
    """The lines of the table of one section."""
    rows = page.select(f"section[aria-labelledby=im-h-{name}] tbody tr")
    return [[" ".join(cell.get_text(" ").split()) for cell in row.select("td")] for row in rows]


def asked(panel: Panel, **query: str) -> BeautifulSoup:
    answer = panel.client.get(COVERAGE, query_string=query)
    assert answer.status_code == 200, answer.text
    return BeautifulSoup(answer.text, "lxml")


def moved(panel: Panel, domain: str) -> list[dict[str, str]]:
    """The lines of the file, as a spreadsheet reads them."""
    answer = panel.client.get(COVERAGE + "moves.csv", query_string={"domain": domain})
    assert answer.status_code == 200
    text = answer.data.decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_where_requests_go_by_location(tmp_path: Path, dialect: str) -> None:
    """What needs somebody is first; the page changes nothing in any database."""
    with fresh_database(dialect, tmp_path) as url:
        host = Host(url, admin=Admin(name="CRM", index_view=OpenIndex()))
        host.configure()
        panel = Panel(host)
        with_people(panel, **{"Firm List": [STEWARDS], "Leavers": [NAMELESS], "Attic": []})
        page = asked(panel)
        assert host.rows() == []
        host.close()
    assert cells(page, "places") == [
        [
            "Leavers",
            "Quiet Group",
            "merge-desk@firm.example Quiet Group has no address, so the default To "
            "(merge-desk@firm.example) is used.",
        ],
        [
            "Attic",
            "nobody",
            "merge-desk@firm.example Nobody there has the right to merge, so the default To "
            "(merge-desk@firm.example) is used.",
        ],
        ["Firm List", "Data Stewards", "Data Stewards <stewards@firm.example>"],
    ]
    assert "Quiet Group : Leavers" in part(page, "lacking")


def test_each_location_leads_to_its_explanation(panel: Panel) -> None:
    """Whatever characters its name has."""
    with_people(panel, **{"A&B=<i>": [STEWARDS]})
    link = asked(panel).select_one("section[aria-labelledby=im-h-places] a")
    assert link is not None
    page = panel.get(str(link["href"]))
    assert "Contacts are in A&B=<i>." in page.text


def test_addresses_and_people_that_mail_does_not_reach(panel: Panel) -> None:
    """Wrong ones with the reason, and those who get none because of their role."""
    with_people(panel, ADA, Party("Wrong", "a b@firm.example"), SECRETARY)
    page = asked(panel)
    assert "Wrong: 1" in part(page, "addresses")
    assert "not a valid e-mail address" in part(page, "addresses")
    assert "do not use the desktop client: 1." in part(page, "never")
    assert "Sec sec" in part(page, "never")


def test_short_addresses_before_a_company_domain_is_set(tmp_path: Path) -> None:
    """An administrator sees them before the first mail fails."""
    with opened_panel(tmp_path) as panel:
        page = asked(panel)
    assert "Short, and no company domain is set: 2" in part(page, "addresses")
    assert "no default From that can be used" in part(page, "from")


def test_what_the_host_does_not_offer_is_named(panel: Panel) -> None:
    """With what it would show; nothing is claimed of what nobody knows."""
    panel.host.state.people._directory = Directory()
    page = asked(panel, domain="new.example")
    assert "no Directory.locations()" in part(page, "places")
    for name in ("addresses", "never", "domain"):
        assert "no Directory.parties()" in part(page, name)
    assert "There are none." not in page.text


def test_a_large_directory_is_looked_at_in_part(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says of how many its numbers are, and takes no more from the host."""
    monkeypatch.setattr(coverage, "PARTIES", 50)
    monkeypatch.setattr(coverage, "LOCATIONS", 3)
    many = [Party(f"U{number}", f"u{number}", id=number) for number in range(1000)]
    people = with_people(panel, *many, **{f"L{number}": [STEWARDS] for number in range(9)})
    page = asked(panel, domain="new.example")
    assert len(people.taken) == 51
    assert "only the first 50 were looked at" in page.text
    assert "50 users and 0 groups" in part(page, "domain")
    assert "only the first 3 were" in part(page, "places")
    assert len(cells(page, "places")) == 3
    assert len(moved(panel, "new.example")) == 1000


def test_many_people_cost_a_page_seconds_at_most(panel: Panel) -> None:
    """100,000 users, of whom the page looks at the first ones."""
    with_people(panel, *(Party(f"U{n}", f"u{n}@d{n % 7}.example", id=n) for n in range(100_000)))
    began = time.monotonic()
    page = asked(panel, domain="new.example")
    assert time.monotonic() - began < 15
    assert f"only the first {coverage.PARTIES:,} were looked at" in page.text


# -- another company domain ------------------------------------------------------------


def test_a_new_domain_shows_what_it_moves_before_it_is_saved(panel: Panel) -> None:
    """How many, from where to where, twenty of them, and the addresses of the settings."""
    people = [Party(f"U{number}", f"u{number}", id=number) for number in range(30)]
    with_people(panel, *people, STEWARDS, EVE, Party("Full", "full@firm.example"))
    page = asked(panel, domain=" @New.Example. ")
    text = part(page, "domain")
    assert "30 users and 1 group would get another address." in text
    assert "firm.example would no longer be one of your own domains." in text
    assert "Full addresses in it stay: 1 user." in text
    lines = cells(page, "domain")
    assert lines[:2] == [
        ["Default To", "merge-desk@firm.example", "merge-desk@new.example"],
        ["Default From", "crm@firm.example", "crm@new.example"],
    ]
    assert lines[2] == ["U0", "u0@firm.example", "u0@new.example"]
    assert len(lines) == 22
    assert panel.in_force().settings.company_domain == "firm.example"
    link = page.find("a", string="All of them as CSV")
    assert link["href"] == COVERAGE + "moves.csv?domain=@New.Example."  # type: ignore[index]


def test_the_file_has_everybody_who_moves(panel: Panel) -> None:
    """With id, both addresses, and what would be wrong; nothing that could be a formula."""
    with_people(panel, ADA, EVE, Party("=1+1", "x" * 64, id="+2"))
    long = ".".join(["d" * 60] * 3 + ["example"])
    assert moved(panel, long) == [
        {
            "kind": "user",
            "id": "1",
            "name": "Ada Byron",
            "from": "ada@firm.example",
            "to": f"ada@{long}",
            "problem": "",
        },
        {
            "kind": "user",
            "id": "'+2",
            "name": "'=1+1",
            "from": "x" * 64 + "@firm.example",
            "to": "",
            "problem": moved(panel, long)[1]["problem"],
        },
    ]
    assert "cannot be completed with" in moved(panel, long)[1]["problem"]


def test_a_file_without_a_domain_has_no_lines(panel: Panel) -> None:
    """Nothing moves; what is no domain is refused."""
    assert moved(panel, "") == []
    assert panel.client.get(COVERAGE + "moves.csv?domain=a+b").status_code == 400


def test_what_is_no_domain_is_an_error_at_its_field(panel: Panel) -> None:
    """The page says what to write, and previews nothing."""
    answer = panel.client.get(COVERAGE, query_string={"domain": "not a domain"})
    assert answer.status_code == 400
    page = BeautifulSoup(answer.text, "lxml")
    assert "not a valid domain" in page.select_one("#im-new-error").text  # type: ignore[union-attr]
    assert page.select_one("#im-new")["aria-describedby"] == "im-new-error"  # type: ignore[index]
    assert cells(page, "domain") == []


def test_a_domain_that_the_deployment_sets_is_said_to_be_so(tmp_path: Path) -> None:
    """The preview is shown, and nobody is sent to a field that is read-only."""
    overrides = {"company_domain": "firm.example"}
    with opened_panel(tmp_path, INTERACTION_MAIL_OVERRIDES=overrides) as panel:
        panel.host.configure()
        text = part(asked(panel, domain="new.example"), "domain")
    assert "1 user and 1 group would" in text
    assert "Your deployment sets the company domain" in text


def test_the_settings_lead_to_the_preview(panel: Panel) -> None:
    """In another tab, so that nothing that was typed is lost."""
    link = panel.get(HOME).find("a", string="Which addresses would another domain change?")
    assert link["href"] == COVERAGE + "#im-domain"  # type: ignore[index]
    assert link["target"]  # type: ignore[index]


# -- From and DNS ----------------------------------------------------------------------


def findings(page: BeautifulSoup) -> list[tuple[str, str]]:
    """Topic and kind of each finding."""
    return [
        (item.strong.text, item.select_one(".im-badge").text)  # type: ignore[union-attr]
        for item in page.select(".im-finding")
    ]


def test_dns_is_asked_by_the_button_alone(panel: Panel, server: NameServer) -> None:
    """The page itself waits for nobody, nor does one that another site has linked to."""
    asked(panel)
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert panel.client.get(COVERAGE + "?dns=1", headers=headers).status_code == 200
    assert server.asked == []
    asked(panel, dns="1")
    assert server.asked != []


@pytest.mark.parametrize(("domain", "times"), [("", 1), ("new.example", 2)])
def test_people_are_looked_at_once_for_each_settings(
    panel: Panel, monkeypatch: pytest.MonkeyPatch, domain: str, times: int
) -> None:
    """Also when DNS is asked: those in force, and those with the domain that is previewed."""
    looked: list[object] = []
    survey = coverage.survey

    def counted(parties: Any, settings: Any, *rest: Any) -> coverage.Survey:
        looked.append(settings.company_domain)
        return survey(parties, settings, *rest)

    monkeypatch.setattr(coverage, "survey", counted)
    page = asked(panel, dns="1", domain=domain)
    assert looked == ["firm.example", "new.example"][:times]
    assert part(page, "from")


def test_the_dns_of_from_in_words_with_the_record_to_add(panel: Panel, server: NameServer) -> None:
    """What is missing is named with the record; what cannot be listed is not called missing."""
    server.add("firm.example", "MX 10 mail.firm.example.", SPF)
    server.add("mail.firm.example", "A 192.0.2.1")
    page = asked(panel, dns="1")
    assert findings(page) == [
        ("MX", "fine"),
        ("SPF", "fine"),
        ("DKIM", "could not be checked"),
        ("DMARC", "missing"),
        ("From", "fine"),
    ]
    record = [code.text for code in page.select(".im-record code")]
    assert record == [
        "_dmarc.firm.example",
        "TXT",
        "v=DMARC1; p=none; rua=mailto:dmarc@firm.example",
    ]


def test_a_key_is_looked_for_by_its_name(panel: Panel, server: NameServer) -> None:
    """Several names, separated by blanks or commas, stay in their field."""
    server.add("firm.example", "MX 0 .")
    page = asked(panel, dns="1", selector="one, two")
    assert {name for _, name, _ in server.asked if "_domainkey" in name} == {
        "one._domainkey.firm.example",
        "two._domainkey.firm.example",
    }
    assert page.select_one("#im-selector")["value"] == "one, two"  # type: ignore[index]


def test_users_whose_from_would_fail_and_what_to_choose(panel: Panel, server: NameServer) -> None:
    """Sent as themselves from a domain that wants such mail refused."""
    panel.host.configure(foreign_sender="as")
    with_people(panel, ADA, EVE)
    server.add("firm.example", "MX 0 .", SPF)
    server.add("_dmarc.firm.example", 'TXT "v=DMARC1; p=none; rua=mailto:d@firm.example"')
    server.add("_dmarc.else.example", 'TXT "v=DMARC1; p=reject"')
    page = asked(panel, dns="1")
    text = part(page, "from")
    assert "Mail from else.example (1 address) fits neither the envelope" in text
    assert "Let users with an address elsewhere be sent for via the default From" in text
    panel.host.configure(foreign_sender="via")
    assert "else.example (1 address)" not in part(asked(panel, dns="1"), "from")
    assert ["else.example", "1: Eve", "the default From; answers go to them"] in cells(
        asked(panel), "from"
    )


def test_a_preview_asks_about_the_new_domain(panel: Panel, server: NameServer) -> None:
    """Where mail would come from then."""
    asked(panel, dns="1", domain="new.example")
    assert ("udp", "_dmarc.new.example", "TXT") in server.asked
    assert not [name for _, name, _ in server.asked if name.endswith("firm.example")]


def test_one_deadline_holds_for_the_page(panel: Panel, server: NameServer) -> None:
    """However many servers are silent: what was not answered could not be checked."""
    names = [f"d{number}.example" for number in range(30)]
    people = [Party(name, f"x@{name}") for name in names]
    panel.host.configure(foreign_sender="as")
    with_people(panel, *people)
    server.faults |= {f"_dmarc.{name}": silent for name in [*names, "firm.example", "example"]}
    server.faults["firm.example"] = silent
    began = time.monotonic()
    page = asked(panel, dns="1")
    assert time.monotonic() - began < from_dns.WITHIN + 2.5
    kinds = {kind for topic, kind in findings(page) if topic != "From"}
    assert kinds == {"could not be checked"}
    assert f"{len(names) - from_dns.DOMAINS} more domains stand in From" in page.text


def test_what_a_record_says_is_only_text(panel: Panel, server: NameServer) -> None:
    """A stranger writes it (T5)."""
    server.add("firm.example", "MX 0 .", 'TXT "v=spf1 <script>alert(1)</script> -all"')
    page = asked(panel, dns="1")
    assert "<script>alert(1)</script>" in part(page, "from")
    assert not page.select("main script")


def test_a_host_that_fails_is_no_reason_to_fail(
    panel: Panel, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory that raises counts as no answer; the log names the method."""

    def broken(*_: Any) -> Any:
        raise RuntimeError("no database")

    people = with_people(panel)
    for method in ("parties", "locations", "merge_recipients"):
        setattr(people, method, broken)
    asked(panel, domain="new.example")
    assert "Directory.parties raised" in caplog.text


@pytest.mark.parametrize("path", ["", "moves.csv"])
def test_a_name_that_no_page_can_carry_hides_nothing(panel: Panel, path: str) -> None:
    """Half a surrogate pair, as from a directory in another encoding: everybody else is shown."""
    broken = Party("Zo\udce9", "zo\udce9", id="z\udce9")
    group = Party("Gro\udcfcpe", None, id=7, kind="group")
    with_people(panel, broken, EVE, ADA, group, **{"Caf\udce9": [group]})
    answer = panel.client.get(COVERAGE + path, query_string={"domain": "new.example"})
    assert answer.status_code == 200
    assert "ada@new.example" in answer.text
    if not path:
        assert "Zo\ufffd" in answer.text
        assert "Caf\ufffd" in answer.text


def test_an_address_that_does_not_exist_is_shown_until_somebody_mends_it(panel: Panel) -> None:
    """Beside its party and its location, counted, with what to do; the deed has a name."""
    with_people(panel, STEWARDS, ADA, EVE)
    assert "im-h-dead" not in str(panel.get(COVERAGE))
    with panel.host.state.database.writing() as connection:
        for days in (0, 2):
            id, sent_at = uuid.uuid4(), clock.now() - timedelta(days=days)
            connection.execute(
                sa.insert(DEAD).values(
                    message_id=id, address="stewards@firm.example", sent_at=sent_at, code="5.1.1"
                )
            )
    page = panel.get(COVERAGE)
    (line,) = cells(page, "dead")
    assert line[:3] == ["stewards@firm.example", "Data Stewards (group)", "2 ( 5.1.1 )"]
    assert "does not exist any more" in cells(page, "places")[0][2]
    assert "Mail still goes to them" in part(page, "dead")
    panel.host.configure(skip_dead_addresses=True)
    page = panel.get(COVERAGE)
    assert "merge-desk@firm.example" in cells(page, "places")[0][2]
    assert "requests pass over these addresses" in part(page, "dead")
    form = page.select_one("section[aria-labelledby=im-h-dead] form")
    values = {field["name"]: field.get("value", "") for field in form.select("input")}
    without = {name: value for name, value in values.items() if name == "address"}
    panel.client.post(COVERAGE + "mended", data=without)
    assert cells(panel.get(COVERAGE), "dead")
    answer = panel.client.post(COVERAGE + "mended", data=values, follow_redirects=True)
    assert "Requests go to that address again." in answer.text
    assert "im-h-dead" not in answer.text
    assert "mailbox again at stewards@firm.example" in " ".join(
        panel.get(HISTORY).get_text(" ").split()
    )
