"""The Templates tab: what each message looks like, and a copy for the person who looks."""

from __future__ import annotations

from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import jinja2
import pytest
from bs4 import BeautifulSoup

from flask_interaction_mail import Party
from tests.host import ADA
from tests.integration.test_panel_trial import Mailbox, Server
from tests.panel import HISTORY, HOME, TEMPLATES, Panel, form_values, opened_panel

PREVIEW = TEMPLATES + "preview/"
SEND = TEMPLATES + "send"


@pytest.fixture
def rights() -> set[str]:
    """What the visitor may do; a test changes it."""
    return {"view", "edit", "test", "history"}


@pytest.fixture
def panel(tmp_path: Path, rights: set[str]) -> Iterator[Panel]:
    access = rights.__contains__
    with opened_panel(tmp_path, access=access, MAIL_SUPPRESS_SEND=False) as panel:
        panel.host.people.user = ADA
        panel.host.app.template_folder = str(tmp_path / "templates")
        yield panel


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the host's own templates are."""
    folder = tmp_path / "templates" / "interaction_mail" / "mail"
    folder.mkdir(parents=True)
    return folder


def own(folder: Path, name: str, text: str = "Hi") -> None:
    (folder / f"{name}.subject.txt").parent.mkdir(exist_ok=True)
    (folder / f"{name}.subject.txt").write_text("Subject")
    (folder / f"{name}.txt").write_text(text)


def rows(panel: Panel) -> dict[str, list[str]]:
    """The list: where each leads, and what stands beside it."""
    found = panel.get(TEMPLATES).select("tbody tr")
    return {
        str(row.a["href"]): [" ".join(cell.text.split()) for cell in row.select("td")]  # type: ignore[index]
        for row in found
    }


def press(panel: Panel, name: str = "merge_request") -> str:
    """Send me this one; what the page says then."""
    values = form_values(panel.get(PREVIEW + name))
    answer = panel.client.post(SEND, data=values)
    assert (answer.status_code, answer.location) == (303, PREVIEW + name)
    (said,) = panel.get(answer.location).select(".alert")
    return " ".join(said.text.split())


def sent(box: Mailbox) -> EmailMessage:
    (envelope,) = box.envelopes
    message = message_from_bytes(envelope.content, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


# -- the list --------------------------------------------------------------------------


def test_what_ships_is_listed_with_what_it_is_for(panel: Panel) -> None:
    """In words, each with a link to its page."""
    found = rows(panel)
    assert [link.removeprefix(PREVIEW) for link in found] == [
        "digest",
        "merge_completed",
        "merge_request",
        "not_delivered",
        "settings_test",
    ]
    title, purpose, author = found[PREVIEW + "merge_request"]
    assert (title, author) == ("Merge request", "this extension")
    assert "may merge" in purpose
    for link in found:
        assert panel.client.get(link).status_code == 200


def test_templates_of_the_host_are_listed_and_marked(panel: Panel, folder: Path) -> None:
    """Its own, those in folders, and those that replace one that ships."""
    own(folder, "import_done")
    own(folder, "hr/welcome")
    (folder / "digest.txt").write_text("mine")
    found = rows(panel)
    assert found[PREVIEW + "import_done"][0] == "import_done"
    authors = {link.removeprefix(PREVIEW): cells[2] for link, cells in found.items()}
    assert {name for name, author in authors.items() if author == "your application"} == {
        "digest",
        "hr/welcome",
        "import_done",
    }
    assert "replaced" in panel.get(PREVIEW + "digest").main.text  # type: ignore[union-attr]
    page = panel.get(PREVIEW + "hr/welcome").main
    assert page is not None
    assert "by your application" in page.text
    assert "replaced" not in page.text


def test_what_stands_around_messages_leads_to_its_settings(panel: Panel, rights: set[str]) -> None:
    """With the values in force, and a link to each field for those who may change it."""
    panel.save(mail_footer="Acme GmbH, Berlin", mail_colour="#A1B2C3")
    page = panel.get(TEMPLATES).select_one(".im-facts")
    assert page is not None
    values = [" ".join(value.text.split()) for value in page.select("dd")]
    assert values == [
        "CRM Change Header",
        "Acme GmbH, Berlin Change Footer",
        "#a1b2c3 Change Colour",
    ]
    form = panel.get(HOME)
    for link in page.select("a"):
        url, _, field = str(link["href"]).partition("#")
        assert url == HOME
        assert form.find(id=field) is not None
    assert form.select_one(f"#im-form a[href='{TEMPLATES}']") is not None
    rights.remove("edit")
    assert panel.get(TEMPLATES).select(".im-facts a") == []


def test_a_field_that_the_deployment_sets_has_no_link(tmp_path: Path) -> None:
    """It cannot be changed there."""
    overrides = {"mail_footer": "Acme"}
    with opened_panel(tmp_path, INTERACTION_MAIL_OVERRIDES=overrides) as panel:
        links = panel.get(TEMPLATES).select(".im-facts a")
        assert [link["href"] for link in links] == [
            f"{HOME}#im-mail_{x}" for x in ("header", "colour")
        ]


# -- a preview -------------------------------------------------------------------------


def test_a_preview_shows_headers_html_and_text(panel: Panel) -> None:
    """The HTML twice, for two widths, with the look that is set."""
    panel.save(mail_header="Acme & Co", mail_footer="Acme GmbH")
    page = panel.get(PREVIEW + "merge_request")
    facts = page.select_one("[aria-labelledby=im-h-headers] .im-facts")
    assert facts is not None
    names = [name.text for name in facts.select("dt")]
    assert {"From", "To", "Subject", "Message-ID"} <= set(names)
    frames = page.select("iframe")
    assert [frame["title"] for frame in frames] == [
        "Text of the message, as on a phone",
        "Text of the message, as on a wide screen",
    ]
    assert len({frame["srcdoc"] for frame in frames}) == 1
    within = BeautifulSoup(str(frames[0]["srcdoc"]), "lxml")
    assert "Acme & Co" in within.text
    assert within.select_one("a.im-button") is not None
    text = page.select_one("pre.im-text")
    assert text is not None
    assert text.text.endswith("-- \nAcme GmbH\n")
    assert panel.host.rows() == []


def test_a_preview_needs_no_settings_and_no_html(panel: Panel, folder: Path) -> None:
    """Before anything is configured, and of a message that has only a text."""
    own(folder, "note", "Dear {{ name }}")
    page = panel.get(PREVIEW + "note")
    assert page.select("iframe") == []
    assert page.select_one("pre.im-text").text.startswith("Dear {{ name }}")  # type: ignore[union-attr]
    assert panel.get(PREVIEW + "merge_request").select("iframe")


@pytest.mark.parametrize(
    "text", ["{% if %}", "{{ 1 / 0 }}", '{% include "nothing.txt" %}', "{{ x.y() }}"]
)
def test_a_template_that_cannot_be_used_says_why(panel: Panel, folder: Path, text: str) -> None:
    """Its page and the list stay whole; nothing can be sent of it."""
    own(folder, "broken", text)
    assert PREVIEW + "broken" in rows(panel)
    page = panel.get(PREVIEW + "broken").main
    assert page is not None
    assert "cannot be shown" in page.text
    assert "interaction_mail/mail/broken" in page.select_one(".im-alert .im-said").text  # type: ignore[union-attr]
    assert page.select("form, iframe") == []


@pytest.mark.parametrize("name", ["nothing", "../mail/digest", "merge_request.html", "letterhead"])
def test_what_is_no_template_is_not_found(panel: Panel, name: str) -> None:
    """Neither to look at nor to send."""
    panel.save()
    assert panel.client.get(PREVIEW + name).status_code == 404
    token = form_values(panel.get(PREVIEW + "digest"))
    assert panel.client.post(SEND, data=token | {"name": name}).status_code == 404


# -- send me this one ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digest", "merge_completed", "merge_request", "settings_test"])
def test_a_copy_goes_to_the_visitor_alone(panel: Panel, server: Server, name: str) -> None:
    """From the default From, whoever the sample names; past the outbox and the history."""
    panel.save(**server.typed)
    before = panel.get(HISTORY).select(".im-history > li")
    assert "accepted the message for ada@firm.example" in press(panel, name)
    (envelope,) = server.box.envelopes
    assert (envelope.mail_from, envelope.rcpt_tos) == ("crm@firm.example", ["ada@firm.example"])
    message = sent(server.box)
    assert (message["To"], message["From"]) == (
        "Ada Byron <ada@firm.example>",
        "crm@firm.example",
    )
    assert message["Cc"] is message["Reply-To"] is message["Sender"] is None
    assert message["Auto-Submitted"] == "auto-generated"
    html = message.get_body(("html",))
    assert isinstance(html, EmailMessage)
    assert "im-sheet" in html.get_content()
    assert panel.host.rows() == []
    assert panel.get(HISTORY).select(".im-history > li") == before


def test_a_copy_goes_out_although_mail_is_paused_and_diverted(panel: Panel, server: Server) -> None:
    """To the visitor's own address, which is all that it is for."""
    panel.save(**server.typed, paused="y", divert_to="somebody@else.example")
    assert "accepted" in press(panel)
    assert server.box.envelopes[0].rcpt_tos == ["ada@firm.example"]


def test_nobody_can_have_a_copy_sent_elsewhere(panel: Panel, server: Server) -> None:
    """Whatever the request says, the address is that of the directory."""
    panel.save(**server.typed)
    values = form_values(panel.get(PREVIEW + "digest"))
    others = dict.fromkeys(("to", "email", "address", "visitor", "cc"), "eve@evil.example")
    panel.client.post(f"{SEND}?to=eve@evil.example", data=values | others)
    assert server.box.envelopes[0].rcpt_tos == ["ada@firm.example"]
    assert b"evil" not in server.box.envelopes[0].content


def test_who_may_not_test_is_offered_no_copy(
    panel: Panel, server: Server, rights: set[str]
) -> None:
    """And gets none."""
    panel.save(**server.typed)
    values = form_values(panel.get(PREVIEW + "digest"))
    rights.remove("test")
    page = panel.get(PREVIEW + "digest").main
    assert page is not None
    assert page.select("form[method=post]") == []
    assert panel.client.post(SEND, data=values).status_code == 403
    assert server.box.envelopes == []


def test_who_has_no_address_is_told(panel: Panel, server: Server) -> None:
    """There is no button, and a request without it sends nothing."""
    panel.save(**server.typed)
    panel.host.people.user = Party("Ada Byron")
    page = panel.get(PREVIEW + "digest").main
    assert page is not None
    assert "knows no e-mail address of yours" in page.text
    assert page.select("form[method=post] button") == []
    assert "knows no e-mail address of yours" in press(panel, "digest")
    panel.host.people.user = Party("Ada Byron", "a da@@")
    assert "a da@@" in press(panel, "digest")
    assert server.box.envelopes == []


def test_what_stands_in_the_way_is_said_as_by_a_test(panel: Panel) -> None:
    """No settings, no server, and an application that sends nothing: what it is, and what to do."""
    assert "default From" in press(panel)
    panel.save(smtp_server="127.0.0.1", smtp_port="1", encryption="none")
    said = press(panel)
    assert "refuse" in said or "nothing answers" in said.lower()
    panel.host.app.config["MAIL_SUPPRESS_SEND"] = True
    assert "Not sent: suppressed" in press(panel)


def test_a_preview_and_its_copy_are_in_the_language_that_is_chosen(
    panel: Panel, server: Server
) -> None:
    """That of the page until somebody chooses another one; what is no language is not chosen."""
    panel.save(**server.typed)
    for query in ("", "?language=xx", "?language=../../de", "?language="):
        page = panel.get(PREVIEW + "digest" + query)
        assert "4 requests for you" in page.select_one("pre.im-text[lang=en]").text  # type: ignore[union-attr]
    options = page.select("#im-language option")
    assert [(one["value"], one.text) for one in options] == [
        ("de", "Deutsch"),
        ("en", "English"),
        ("fr", "Français"),
    ]
    page = panel.get(PREVIEW + "digest?language=de")
    assert page.select_one("option[selected]")["value"] == "de"  # type: ignore[index]
    assert "4 Anfragen an Sie" in page.select_one("pre.im-text[lang=de]").text  # type: ignore[union-attr]
    assert '<html lang="de">' in str(page.iframe["srcdoc"])  # type: ignore[index]
    answer = panel.client.post(SEND, data=form_values(page))
    assert answer.location == PREVIEW + "digest?language=de"
    assert sent(server.box)["Subject"] == "4 Anfragen"


def test_ten_copies_a_minute_are_allowed(panel: Panel, server: Server) -> None:
    """As of tests, with which they are counted (T14)."""
    panel.save(**server.typed)
    for _ in range(10):
        assert "accepted" in press(panel)
    assert "at most 10 tests a minute" in press(panel)
    assert len(server.box.envelopes) == 10


def test_a_copy_of_a_hosts_template_has_its_sample(
    panel: Panel, server: Server, folder: Path
) -> None:
    """A template of the host, with its own sample."""
    own(folder, "import_done", "{{ count }} rows, {{ more }}")
    (folder / "import_done.sample.json").write_text('{"count": 412}')
    panel.save(**server.typed)
    assert "accepted" in press(panel, "import_done")
    assert sent(server.box).get_content() == "412 rows, {{ more }}\r\n"


def test_a_template_that_cannot_be_read_is_listed_and_says_why(panel: Panel, folder: Path) -> None:
    """One file in another encoding does not take the others from the list."""
    own(folder, "reminder")
    (folder / "reminder.subject.txt").write_bytes(b"Gr\xfc\xdfe")
    assert "your application" in rows(panel)[PREVIEW + "reminder"]
    assert "interaction_mail/mail/reminder.subject.txt" in panel.get(PREVIEW + "reminder").text


def test_templates_are_listed_where_a_loader_has_no_list(panel: Panel) -> None:
    """Such as one that makes them by name: what ships is there."""
    panel.host.app.jinja_loader = jinja2.FunctionLoader(lambda _: None)
    assert PREVIEW + "merge_request" in rows(panel)
