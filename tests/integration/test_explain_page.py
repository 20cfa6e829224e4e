"""The Explain tab: who would get a request and as whom, in force and with what is in the form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup, Tag
from flask_admin import Admin

from flask_interaction_mail import Contact, Directory, Party, request_merge
from tests.databases import DIALECTS, fresh_database
from tests.host import ADA, NAMELESS, PASSWORD, STEWARDS, Host, People, a_merge
from tests.panel import EXPLAIN, OpenIndex, Panel, form_values, opened_panel

EVE = Party("Eve Byron", "eve@else.example", id=2)
ACME = Contact("a1", "Acme Ltd", location="Firm List", url="https://crm.example/c/a1")
ACME_2 = Contact("a2", "ACME Limited", location="Leavers")
BORGES = Contact("b1", "Borges", location="Firm List")


@dataclass
class Searched(People):
    """A directory that can be searched, too."""

    contacts: list[Contact] = field(default_factory=lambda: [ACME, ACME_2, BORGES])
    users: list[Party] = field(default_factory=lambda: [ADA, EVE])

    def find_parties(self, text: str, limit: int = 20) -> Sequence[Party]:
        return [each for each in (*self.users, STEWARDS) if matches(text, each.name, each.id)]

    def find_contacts(self, text: str, limit: int = 20) -> Sequence[Contact]:
        return [each for each in self.contacts if matches(text, each.name, None)]

    def contact(self, id: str) -> Contact | None:
        return next((each for each in self.contacts if each.id == id), None)


def matches(text: str, name: str, id: object) -> bool:
    return text.casefold() in name.casefold() or text == str(id)


@pytest.fixture
def rights() -> set[str]:
    return {"explain", "view", "edit"}


@pytest.fixture
def panel(tmp_path: Path, rights: set[str]) -> Iterator[Panel]:
    with opened_panel(tmp_path, access=lambda right: right in rights) as panel:
        panel.host.configure()
        panel.host.people.mergers["Leavers"] = [NAMELESS]
        yield panel


def searched(panel: Panel, people: Directory | None = None) -> Directory:
    """Give the panel a directory that can be searched."""
    known = people or Searched(mergers=panel.host.people.mergers)
    panel.host.state.people._directory = known
    return known


def explained(panel: Panel, query: str, status: int = 200) -> BeautifulSoup:
    return panel.get(f"{EXPLAIN}?{query}", status)


def facts(page: BeautifulSoup) -> dict[str, list[list[str]]]:
    """What would happen: label -> the addresses under each of the settings."""
    found: dict[str, list[list[str]]] = {}
    for row in page.select(".im-compare tbody tr"):
        label = row.th.find(string=True, recursive=False)  # type: ignore[union-attr]
        found[str(label).strip()] = [
            [text.get_text(strip=True) for text in cell.select("div")] for cell in row.select("td")
        ]
    return found


def why(page: BeautifulSoup, number: int = 0) -> list[str]:
    lists = page.select(".im-route")
    return [item.find(string=True).strip() for item in lists[number].select("li")]  # type: ignore[union-attr]


def message(page: BeautifulSoup, number: int = 0) -> str:
    return page.select("pre.im-text")[number].text


def troubles(page: BeautifulSoup) -> list[str]:
    return [text.get_text(strip=True) for text in page.select("form.im-card .im-error")]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_request_is_explained_as_it_would_be_sent(tmp_path: Path, dialect: str) -> None:
    """The page says of each database what the outbox has after the same request."""
    with fresh_database(dialect, tmp_path) as url:
        host = Host(url, admin=Admin(name="CRM", index_view=OpenIndex()), MAIL_SUPPRESS_SEND=False)
        host.configure()
        panel = Panel(host)
        people = searched(panel)
        page = explained(panel, "requester=1&contact=a1&contact=b1")
        assert host.rows() == []
        with host.app.app_context():
            merge = a_merge(requester=ADA)
            sent = request_merge(type(merge)((ACME, BORGES), requester=ADA))
            assert sent is not None
        (row,) = host.rows()
        host.close()
    assert isinstance(people, Searched)
    assert facts(page)["Goes to"] == [["Data Stewards <stewards@firm.example>"]]
    assert [recipient.address for recipient in sent.recipients] == ["stewards@firm.example"]
    assert facts(page)["From"] == [[row.sender]]
    assert facts(page)["Returned mail goes to"] == [[row.envelope_sender]]
    assert tuple(why(page)) == sent.route
    text = row.content.decode().replace("\r\n", "\n")
    assert "https://crm.example/c/a1" in message(page)
    assert message(page).strip() in text


def test_a_location_is_enough(panel: Panel) -> None:
    """The contacts are made up then, and the page says so."""
    page = explained(panel, "requester=1&location=Firm+List")
    assert facts(page)["From"] == [["Ada Byron <ada@firm.example>"]]
    assert facts(page)["Sent by (Sender)"] == [["crm@firm.example"]]
    assert facts(page)["Answers go to"] == [["Ada Byron <ada@firm.example>"]]
    assert facts(page)["Mail server"][0][0].startswith("127.0.0.1, port 25, not encrypted")
    assert "First contact" in message(page)
    assert "are examples" in page.text


def test_two_locations_may_have_two_recipients(panel: Panel) -> None:
    """And each of them is explained; a group without an address leads to the default To."""
    page = explained(panel, "location=Firm+List&location=Leavers")
    assert facts(page)["Goes to"] == [
        ["Data Stewards <stewards@firm.example>", "merge-desk@firm.example"]
    ]
    assert "Quiet Group has no address" in " ".join(why(page))
    assert "No user is known" in " ".join(why(page))


def test_without_a_question_there_is_only_the_form(panel: Panel) -> None:
    """And nothing is looked up."""
    page = explained(panel, "")
    assert not page.select(".im-compare")
    assert troubles(page) == []
    assert [str(each["value"]) for each in page.select("datalist option")] == [
        "Firm List",
        "Leavers",
    ]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("requester=1", "Name a location, or two contacts."),
        ("contact=a1", "Name both contacts."),
        ("contact=a1&contact=zz", "Nothing is found for “zz”."),
        ("requester=zz&location=Leavers", "Nothing is found for “zz”."),
        ("requester=Stewards&location=Leavers", "Nothing is found for “Stewards”."),
        ("requester=byron&location=Leavers", "“byron” can mean several: choose one."),
        ("contact=acme&contact=b1", "“acme” can mean several: choose one."),
    ],
)
def test_what_is_not_clear_is_asked_again(panel: Panel, query: str, said: str) -> None:
    """In a sentence, and nothing is explained; a group asks for nothing."""
    searched(panel)
    page = explained(panel, query)
    assert said in troubles(page)
    assert not page.select(".im-compare")


def test_one_of_several_is_chosen_in_the_form(panel: Panel) -> None:
    """Each choice finds exactly the one that it names."""
    searched(panel)
    page = explained(panel, "requester=byron&contact=acme&contact=b1")
    choices = {
        str(box["name"]): [(str(one["value"]), one.text) for one in box.select("option[value]")][1:]
        for box in page.select("form.im-card select")
    }
    assert choices == {
        "requester": [("1", "Ada Byron (ada)"), ("2", "Eve Byron (eve@else.example)")],
        "contact": [("a1", "Acme Ltd (in Firm List)"), ("a2", "ACME Limited (in Leavers)")],
    }
    chosen = explained(panel, "requester=2&contact=a2&contact=b1")
    assert "Eve Byron via CRM <crm@firm.example>" in facts(chosen)["From"][0]
    assert "ACME Limited" in message(chosen)
    meant = [text.get_text() for text in chosen.select("form.im-card .im-help strong")]
    assert meant == [
        "Eve Byron (eve@else.example)",
        "ACME Limited (in Leavers)",
        "Borges (in Firm List)",
    ]


def test_a_user_is_found_without_a_search_of_the_host(panel: Panel) -> None:
    """Among the parties, by id, address or a part of the name."""
    for text in ("1", "ada", "Byr"):
        page = explained(panel, f"requester={text}&location=Firm+List")
        assert facts(page)["From"] == [["Ada Byron <ada@firm.example>"]]


def test_a_location_that_does_not_exist_is_named(panel: Panel) -> None:
    """The answer is shown all the same: it is what would happen."""
    page = explained(panel, "location=Firm+Lits")
    assert "no location “Firm Lits”" in page.select_one(".im-alert-warn").text  # type: ignore[union-attr]
    assert facts(page)["Goes to"] == [["merge-desk@firm.example"]]


def test_what_the_host_does_not_offer_is_named(panel: Panel) -> None:
    """With the method, and what it would be good for."""
    searched(panel, Directory())
    page = explained(panel, "location=Firm+List")
    for method in ("find_parties", "parties", "locations", "contact", "find_contacts"):
        assert f"Directory.{method}" in page.text
    assert not page.select("input[name=contact]")
    assert facts(page)["Goes to"] == [["merge-desk@firm.example"]]


def test_why_nobody_would_get_it(tmp_path: Path) -> None:
    """Before e-mail is set up, the page says what is missing."""
    with opened_panel(tmp_path) as panel:
        page = explained(panel, "location=Firm+List")
    assert "an SMTP server and a default From are missing" in page.text
    assert facts(page)["Goes to"] == [["nobody"]]
    assert "There would be none." in page.text


def test_what_keeps_it_from_its_recipients_is_said(panel: Panel) -> None:
    """Pause and divert."""
    panel.host.configure(paused=True, divert_to="ops")
    page = explained(panel, "location=Firm+List")
    assert facts(page)["What then becomes of it"] == [
        [
            "It waits: sending is paused.",
            "It is diverted to ops: the recipients get nothing.",
        ]
    ]


# -- beside the settings in the form ---------------------------------------------------


def press_explain(panel: Panel, **typed: str) -> BeautifulSoup:
    """Press the button in the form of the settings."""
    page = panel.get()
    button = page.find("button", string="Explain with these")
    assert isinstance(button, Tag)
    assert (button["formaction"], button["formtarget"]) == (EXPLAIN, "interaction_mail_explain")
    answer = panel.client.post(EXPLAIN, data=form_values(page) | typed)
    assert answer.status_code == 200, answer.text
    assert PASSWORD not in answer.text
    return BeautifulSoup(answer.text, "lxml")


def ask(panel: Panel, page: BeautifulSoup, **typed: Any) -> BeautifulSoup:
    """Fill in the form of a page of Explain that compares."""
    answer = panel.client.post(EXPLAIN, data=form_values(page) | typed)
    assert answer.status_code == 200
    return BeautifulSoup(answer.text, "lxml")


def test_the_settings_in_the_form_are_explained_beside_those_in_force(panel: Panel) -> None:
    """What differs is marked; the form comes along, without its password."""
    searched(panel)
    page = press_explain(
        panel,
        company_domain="new.example",
        from_policy="default_from",
        use_authentication="y",
        login="crm",
        password=PASSWORD,
        password_confirm=PASSWORD,
    )
    changed = [item.strong.text for item in page.select(".im-alert-info li")]  # type: ignore[union-attr]
    assert changed == ["Company domain", "Use SMTP authentication", "Login", "Messages come from"]
    assert not page.select(".im-compare")
    page = ask(panel, page, requester="1", location="Firm List")
    found = facts(page)
    assert found["Goes to"] == [
        ["Data Stewards <stewards@firm.example>"],
        ["Data Stewards <stewards@new.example>"],
    ]
    assert found["From"] == [["Ada Byron <ada@firm.example>"], ["crm@new.example"]]
    assert found["Mail server"][1][0].endswith("with a login")
    assert found["What then becomes of it"][0] == found["What then becomes of it"][1]
    marked = page.select(".im-compare tr.im-differs th")
    assert "What then becomes of it" not in [each.contents[0] for each in marked]
    assert len(marked) == 6
    assert "ada@firm.example" in message(page, 0)
    assert "ada@new.example" in message(page, 1)
    assert panel.in_force().revision == 1
    assert panel.host.rows() == []


def test_a_form_without_a_change_says_so(panel: Panel) -> None:
    """And one message is shown for both."""
    page = press_explain(panel)
    assert "The form has the settings in force" in page.text
    page = ask(panel, page, location="Firm List")
    assert len(page.select("pre.im-text")) == 1
    assert "It is the same with both." in page.text
    assert not page.select(".im-differs")


def test_each_wrong_field_is_named_once(panel: Panel) -> None:
    """An error quotes what was typed, or begins with the name of its field."""
    wrong = {"smtp_server": "bad host", "alert_waiting": "soon"}
    answer = panel.client.post(EXPLAIN, data=panel.fields() | wrong)
    page = BeautifulSoup(answer.text, "lxml")
    said = [item.get_text() for item in page.select(".im-alert-bad li")]
    assert [text[:12] for text in said] == ["SMTP server:", "Minutes that"]
    assert [
        text.count(name) for text, name in zip(said, ("SMTP server", "Minutes that"), strict=True)
    ] == [1, 1]


def test_a_form_that_cannot_be_read_is_refused_with_the_reason(panel: Panel) -> None:
    """The settings in force are explained alone."""
    sent = form_values(panel.get()) | {"smtp_port": "70000", "location": "Firm List"}
    answer = panel.client.post(EXPLAIN, data=sent)
    assert answer.status_code == 400
    page = BeautifulSoup(answer.text, "lxml")
    assert "Port" in page.select_one(".im-alert-bad li").text  # type: ignore[union-attr]
    assert [len(values) for values in facts(page).values()] == [1] * len(facts(page))


def test_a_form_that_could_not_be_saved_is_explained_all_the_same(panel: Panel) -> None:
    """Without a default To, the place of nobody's request is what there is to see."""
    page = ask(panel, press_explain(panel, default_to=""), location="Leavers")
    assert facts(page)["Goes to"] == [["merge-desk@firm.example"], ["nobody"]]
    assert "no default To is set" in page.select_one(".im-alert-bad").text  # type: ignore[union-attr]


def test_who_may_not_see_the_settings_sees_none_of_them(panel: Panel, rights: set[str]) -> None:
    """Neither the login beside the server, nor values beside others that were made up."""
    login: dict[str, Any] = {"use_authentication": True, "login": "mailer7", "password": PASSWORD}
    panel.host.configure(**login, allow_unencrypted_auth=True)
    data = panel.fields() | {"location": "Firm List", "smtp_server": "", "login": ""}
    rights -= {"view"}
    answer = panel.client.post(EXPLAIN, data=data)
    assert answer.status_code == 403
    assert "mailer7" not in answer.text
    page = explained(panel, "location=Firm+List")
    assert facts(page)["Mail server"] == [["127.0.0.1, port 25, not encrypted, with a login"]]
    assert "mailer7" not in page.text


def test_only_who_may_change_the_settings_may_try_others(panel: Panel, rights: set[str]) -> None:
    """Who may explain alone has no button, and the form is refused; a question is answered."""
    sent = form_values(panel.get())
    rights -= {"edit"}
    assert panel.get().find("button", string="Explain with these") is None
    assert panel.client.post(EXPLAIN, data=sent).status_code == 403
    asked = {"csrf_token": sent["csrf_token"], "location": "Firm List"}
    answer = panel.client.post(EXPLAIN, data=asked)
    assert answer.status_code == 200
    assert facts(BeautifulSoup(answer.text, "lxml"))["Goes to"] == [
        ["Data Stewards <stewards@firm.example>"]
    ]


def test_a_form_of_another_site_is_not_shown(panel: Panel) -> None:
    """Without the token nothing that was sent stands on the page."""
    sent = form_values(panel.get()) | {"csrf_token": "x", "login": "evil-login"}
    answer = panel.client.post(EXPLAIN, data=sent)
    assert answer.status_code == 400
    assert "evil-login" not in answer.text
    assert "out of date" in answer.text


def test_an_overridden_setting_stays_as_it_is(tmp_path: Path) -> None:
    """Whatever is sent for it (R23)."""
    with opened_panel(
        tmp_path, access=bool, INTERACTION_MAIL_OVERRIDES={"company_domain": "firm.example"}
    ) as panel:
        panel.host.configure()
        page = press_explain(panel, company_domain="evil.example")
        page = ask(panel, page, location="Firm List", company_domain="evil.example")
        assert facts(page)["Goes to"][1] == ["Data Stewards <stewards@firm.example>"]


def test_a_name_that_no_page_can_carry_is_explained(panel: Panel) -> None:
    """Half a surrogate pair, as from a directory in another encoding."""
    broken = Party("Zo\udce9", "zoe", id=9)
    searched(panel, Searched(mergers={"Firm List": [STEWARDS]}, users=[broken]))
    page = explained(panel, "requester=9&location=Firm+List")
    assert "Zo\ufffd (zoe)" in page.text
    assert facts(page)["Answers go to"] == [["Zo <zoe@firm.example>"]]
