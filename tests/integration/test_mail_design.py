"""The messages that ship: what they say, how they look to a program, and what a host can change."""

from __future__ import annotations

import builtins
import email
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.utils import getaddresses
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup

from flask_interaction_mail import (
    Contact,
    ContentError,
    Merge,
    Notification,
    Party,
    TemplateMissing,
    cancel_notification,
    merge_completed,
    operations,
    request_merge,
    send_notification,
)
from flask_interaction_mail.errors import SettingsError
from flask_interaction_mail.messages import plain_text
from flask_interaction_mail.messages.letterhead import letterhead_of
from flask_interaction_mail.monitoring import previews
from flask_interaction_mail.monitoring.previews import Listed, Preview
from flask_interaction_mail.settings.model import MessagingSettings
from tests.host import ADA, NAMELESS, STEWARDS, Host, opened
from tests.servers.rspamd import Rspamd, rspamd
from tests.terminal import done, run

SHIPPED = ["digest", "merge_completed", "merge_request", "not_delivered", "settings_test"]
EVIL = '"><img src=x onerror=alert(1)> {{ 7*7 }} <b>'
BEN = Party("Ben Okafor", "ben", id=2)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with opened(f"sqlite:///{tmp_path}/crm.sqlite") as host:
        host.configure()
        yield host


@pytest.fixture
def folder(host: Host, tmp_path: Path) -> Path:
    """Where the host's own templates are."""
    folder = tmp_path / "templates" / "interaction_mail" / "mail"
    folder.mkdir(parents=True)
    host.app.template_folder = str(tmp_path / "templates")
    return folder


def merge_of(**changes: Any) -> Merge:
    """Two contacts that differ in one of two fields."""
    first = {"Phone": "030 1234", "City": "Berlin"}
    second = {"City": "Munich", "Phone": "030 1234", "Fax": "030 99"}
    contacts = (
        Contact(1, "Acme Ltd", location="Firm List", url="https://crm.example/1", fields=first),
        Contact(2, "ACME Limited", location="Firm List", fields=second),
    )
    values = {"requester": BEN, "reason": "same phone", "url": "https://crm.example/m?a=1&b=2"}
    return Merge(contacts, **{**values, **changes})


def asked(host: Host, merge: Merge | None = None) -> Notification:
    with host.app.app_context():
        notification = request_merge(merge or merge_of())
        assert notification is not None
        return notification


def parts(host: Host, index: int = -1) -> tuple[str, BeautifulSoup]:
    """The text and the page of a message in the outbox."""
    content = host.rows()[index].content
    message = email.message_from_bytes(content, policy=policy.default)
    plain, page = message.get_body(("plain",)), message.get_body(("html",))
    assert isinstance(plain, EmailMessage)
    assert isinstance(page, EmailMessage)
    return plain.get_content().replace("\r\n", "\n"), BeautifulSoup(page.get_content(), "lxml")


# -- what a merge says -----------------------------------------------------------------


def test_the_contacts_stand_beside_each_other_with_what_differs(host: Host) -> None:
    """In the order of the first, each value at its contact, and differences in words as well."""
    asked(host)
    text, page = parts(host)
    for said in ("    Phone: 030 1234\n", "    City: Berlin (differs)\n", "    City: Munich (diff"):
        assert said in text
    assert text.count("Fax: (empty) (differs)") == text.count("Fax: 030 99 (differs)") == 1
    first, second = page.select(".im-card")
    assert [mark.text.strip() for mark in first.select(".im-mark")] == ["Berlin", "(empty)"]
    assert [mark.text.strip() for mark in second.select(".im-mark")] == ["Munich", "030 99"]
    assert "City: Berlin (differs)" in " ".join(first.text.split())
    assert "Phone: 030 1234 City" in " ".join(first.text.split())


def test_one_button_opens_the_merge(host: Host) -> None:
    """In both texts; without a URL, or with one that is no page, there is none."""
    asked(host)
    text, page = parts(host)
    (button,) = page.select("a.im-button")
    assert button["href"] == "https://crm.example/m?a=1&b=2"
    assert "Open the merge: https://crm.example/m?a=1&b=2\n" in text
    for number, url in enumerate((None, "javascript:alert(1)", "//evil.example", "/m/1")):
        asked(host, merge_of(url=url, requester=Party("Ben", "ben", id=f"b{number}")))
        text, page = parts(host)
        assert page.select("a.im-button") == []
        assert "Open the merge" not in text


def test_a_merge_without_fields_and_url_says_what_it_said(host: Host) -> None:
    """A host that gives no more than before."""
    contacts = (Contact(1, "A", location="Firm List"), Contact(2, "B", location="Firm List"))
    asked(host, Merge(contacts))
    text, page = parts(host)
    assert "differs" not in text + page.text
    assert len(page.select(".im-card")) == 2


def test_a_contact_can_still_be_compared_hashed_and_copied() -> None:
    """Fields count for equality; their mapping is a copy, and each value is checked."""
    given: dict[str, str | None] = {"City": "Berlin"}
    contact = Contact(1, "A", location="L", fields=given)
    given["City"] = "Munich"
    assert contact.fields == {"City": "Berlin"}
    assert contact == Contact(1, "A", location="L", fields={"City": "Berlin"})
    assert contact != Contact(1, "A", location="L")
    assert hash(contact) == hash(Contact(1, "A", location="L"))
    for wrong in ({"City": 1}, {1: "Berlin"}, ["City"], "City"):
        with pytest.raises(TypeError, match=r"Contact\.fields"):
            Contact(1, "A", location="L", fields=wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Merge\.url"):
        merge_of(url=1)


def test_at_most_twenty_fields_are_compared(host: Host) -> None:
    """What a host gives by mistake makes no endless message, and a long value is cut."""
    fields = {f"Label {number}": "x" * 5000 for number in range(500)}
    contacts = tuple(Contact(id, "A", location="Firm List", fields=fields) for id in (1, 2))
    asked(host, Merge(contacts))  # type: ignore[arg-type]
    text, page = parts(host)
    assert text.count("Label ") == page.text.count("Label ") == 40
    assert max(map(len, text.splitlines())) < 300


# -- why its reader gets it ------------------------------------------------------------


def test_a_request_says_why_its_reader_gets_it(host: Host) -> None:
    """A member of a group, a person, the default To, and several of them, in one sentence each."""
    anna = Party("Anna Berg", "anna", id=30)
    nobody = (
        "You get this because nobody with an e-mail address may merge contacts in Firm List. "
        "Such requests go to this mailbox."
    )
    cases = [
        ([STEWARDS], "You get this because you belong to Data Stewards, who may merge contacts "
         "in Firm List."),
        ([anna], "You get this because you have the right to merge contacts in Firm List."),
        ([], nobody),
        ([NAMELESS], nobody),
    ]  # fmt: skip
    for number, (mergers, sentence) in enumerate(cases):
        host.people.mergers["Firm List"] = mergers
        asked(host, merge_of(requester=Party("Ben", "ben", id=100 + number)))
        text, page = parts(host)
        assert sentence in text.splitlines()
        assert page.find("p", string=sentence) is not None
    host.people.mergers |= {"Firm List": [STEWARDS], "Partners": []}
    first, second = merge_of().contacts
    elsewhere = Contact(second.id, second.name, location="Partners")
    asked(host, Merge((first, elsewhere), requester=ADA))
    text, _ = parts(host)
    assert "Data Stewards: You get this because you belong to Data Stewards" in text
    assert "merge-desk@firm.example: You get this because nobody with an e-mail address" in text


def test_an_owner_is_told_so_and_who_stands_in_too(host: Host) -> None:
    """Of a merge that is done."""
    host.people.owners = {"Firm List": [ADA, STEWARDS]}
    with host.app.app_context():
        merge_completed.send(host.app, merge=merge_of())
        host.db.session.commit()
    text, _ = parts(host)
    owner = "You get this because you own a folder that contained one of them."
    assert owner in text.splitlines()
    host.people.owners = {"Firm List": [ADA, NAMELESS]}
    with host.app.app_context():
        merge_completed.send(host.app, merge=merge_of())
        host.db.session.commit()
    text, _ = parts(host)
    assert f"Ada Byron: {owner} merge-desk@firm.example: You get this because Quiet Group" in text


def test_a_resend_says_why_its_new_reader_gets_it(host: Host) -> None:
    """The texts were written for somebody else; in HTML the sentence is escaped."""
    host.people.mergers["Firm List"] = [Party("R&D <stewards>", "rd", id=10, kind="group")]
    first = asked(host)
    with host.app.app_context():
        cancel_notification(first.id)
        host.people.mergers["Firm List"] = [Party("Anna Berg", "anna", id=30)]
        operations.resend(host.state, first.id)
    text, page = parts(host)
    for said in (text, page.text):
        assert "you have the right to merge contacts in Firm List" in said
        assert "R&D" not in said


def test_a_sentence_of_the_hosts_own_stays_in_a_resend(host: Host, folder: Path) -> None:
    """Whoever gets it: only what we have written is written anew."""
    (folder / "note.subject.txt").write_text("Note")
    (folder / "note.txt").write_text("{{ why }}")
    with host.app.app_context():
        sent = send_notification(STEWARDS, template="note", context={"why": "Because."})
        host.db.session.commit()
        cancel_notification(sent.id)
        operations.resend(host.state, sent.id)
    assert email.message_from_bytes(host.rows()[-1].content).get_payload() == "Because.\r\n"


def test_a_template_of_the_host_may_say_why_and_whom_it_is_copied_to(
    host: Host, folder: Path
) -> None:
    """``why`` is a name like any other, and the host's own value wins."""
    (folder / "note.subject.txt").write_text("Note")
    (folder / "note.txt").write_text("{{ why }}")
    with host.app.app_context():
        send_notification(STEWARDS, template="note", cc=[ADA, "bob"])
        send_notification("bob", template="note", context={"why": "Because."})
        send_notification("bob", template="note")
        host.db.session.commit()
    texts = [email.message_from_bytes(row.content).get_payload() for row in host.rows()]
    assert [text.strip() for text in texts] == [  # type: ignore[union-attr]
        "You get this because you belong to Data Stewards. "
        "Copies go to Ada Byron and bob@firm.example.",
        "Because.",
        "",
    ]


# -- safety ----------------------------------------------------------------------------


def test_hostile_values_are_text_everywhere(host: Host) -> None:
    """Names, locations, labels, values, reason, header and footer: no element, no second line."""
    harmless = hostile("harmless", host)[1]
    text, page = hostile(EVIL, host)
    assert [tag.name for tag in page.find_all()] == [tag.name for tag in harmless.find_all()]
    assert page.select("img, b, script") == []
    assert "{{ 7*7 }}" in text
    assert "Bcc: x@evil.example" not in text.splitlines()
    assert host.recipients() == ["stewards@firm.example"] * 2


def hostile(word: str, host: Host) -> tuple[str, BeautifulSoup]:
    """A request with ``word`` in every place."""
    host.configure(mail_header=word, mail_footer=word)
    host.people.mergers[word] = [Party(word, "stewards", id=10, kind="group")]
    fields = {word: word, "City": f"{word}\r\nBcc: x@evil.example"}
    contacts = (
        Contact(1, word, location=word, url="https://crm.example/1", fields=fields),
        Contact(2, word, location=word, fields={word: "", "City": "", "Fax": word}),
    )
    eve = Party(word, "eve", id=word)
    asked(host, Merge(contacts, requester=eve, reason=word, url="https://x.example"))
    return parts(host)


def test_names_are_isolated_in_their_direction(host: Host) -> None:
    """A right-to-left name turns nothing around it."""
    name = "شركة الأفق"
    contacts = tuple(
        Contact(id, name, location=name, fields={name: name + str(id)}) for id in (1, 2)
    )
    asked(host, Merge(contacts, requester=Party(name, "eve"), reason=name))  # type: ignore[arg-type]
    _, page = parts(host)
    texts = page.select(".im-sheet")[0].find_all(string=lambda text: name in text)
    holders = [text.parent for text in texts]
    assert len(holders) >= 8
    assert {holder.get("dir") for holder in holders} == {"auto"}


@pytest.mark.parametrize("wrong", ["red", "#12345", "#12345g", "#123456;x:y", "url(x)"])
def test_a_colour_is_one(host: Host, wrong: str) -> None:
    """Whatever else is refused with a sentence."""
    with pytest.raises(SettingsError, match="must be a #"):
        host.configure(mail_colour=wrong)
    host.configure(mail_colour="#A1B2C3")


def test_a_wrong_colour_that_came_in_elsewhere_is_left_out() -> None:
    """A row that was changed by hand neither breaks mail nor puts anything into its styles."""
    settings = MessagingSettings(mail_colour="red;background:url(https://evil.example)")
    assert letterhead_of(settings, "CRM").colour == "#1f5fae"


# -- letterhead ------------------------------------------------------------------------


def test_header_footer_and_colour_stand_in_each_message(host: Host) -> None:
    """The text on the colour is black or white, whichever can be read; there is no picture."""
    asked(host)
    text, page = parts(host)
    assert page.title is not None
    assert page.title.text == "crm"
    assert "\n-- \n" not in text
    host.configure(mail_header="Acme & Co", mail_footer="Acme GmbH, Berlin", mail_colour="#ffe600")
    asked(host, merge_of(requester=ADA))
    text, page = parts(host)
    assert text.endswith("\n-- \nAcme GmbH, Berlin\n")
    assert page.select("img") == []
    assert page.select_one(".im-sheet").text.split("\n\n")[0].strip() == "Acme & Co"  # type: ignore[union-attr]
    assert "Acme GmbH, Berlin" in page.text
    (button,) = page.select("a.im-button")
    assert "color: #000000" in button["style"]  # black on yellow
    assert "#ffe600" in str(page.select_one(".im-sheet")["style"])  # type: ignore[index]


def test_a_template_of_the_host_can_extend_the_letterhead(host: Host, folder: Path) -> None:
    """With its blocks and its button; nothing that it does not know has to be given."""
    (folder / "done.subject.txt").write_text("Done")
    (folder / "done.txt").write_text(
        '{% extends "interaction_mail/mail/letterhead.txt" %}{% block content %}Hi{% endblock %}'
    )
    (folder / "done.html").write_text(
        '{% extends "interaction_mail/mail/letterhead.html" %}'
        '{% from "interaction_mail/mail/button.html" import button %}'
        "{% block title %}T{% endblock %}{% block content %}<p>{{ name }}</p>"
        '{{ button("https://x.example/", "Go", letterhead) }}{% endblock %}'
        "{% block why %}W{% endblock %}{% block footer %}F{% endblock %}"
    )
    host.configure(mail_footer="Foot")
    with host.app.app_context():
        send_notification(ADA, template="done", context={"name": EVIL})
        host.db.session.commit()
    text, page = parts(host)
    assert text == "Hi\n\n-- \nFoot\n"
    assert page.title is not None
    assert page.title.text == "T"
    assert page.select("img") == []
    assert [link["href"] for link in page.select("a")] == ["https://x.example/"]
    assert page.text.split()[-2:] == ["W", "F"]


# -- HTML alone, and styles ------------------------------------------------------------


def html_only(
    host: Host, html: str = "<h1>Hi</h1><p>See <a href='https://x.example/'>it</a>"
) -> str:
    with host.app.app_context():
        send_notification(ADA, "Hello", html=html)
        host.db.session.commit()
    return parts(host)[0]


def test_html_alone_gets_a_text(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the library of the extra, and a plainer one without it; a given text stays."""
    plain_text._inscriptis.cache_clear()
    assert html_only(host) == "Hi\n\nSee [it](https://x.example/)\n"
    assert html_only(host, "<p>a&#7;b") == "a b\n"
    with host.app.app_context():
        send_notification(ADA, "Hello", html="<p>x", text="own")
        host.db.session.commit()
    assert parts(host)[0] == "own\n"
    without(monkeypatch, "inscriptis")
    plain_text._inscriptis.cache_clear()
    assert html_only(host) == "Hi\nSee it <https://x.example/>\n"
    plain_text._inscriptis.cache_clear()


def test_half_a_character_in_html_is_the_error_that_it_was(host: Host) -> None:
    """Making a text of it changes nothing about what cannot be sent."""
    with host.app.app_context(), pytest.raises(ContentError, match="surrogate"):
        send_notification(ADA, "Hello", html="<p>\ud800")


def without(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    """As where the extra is not installed."""
    real = builtins.__import__

    def importing(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_styles_of_the_host_are_put_at_the_elements(
    host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is fetched, rules for phones stay, and without the library the sheet stays."""
    (folder / "own.subject.txt").write_text("Own")
    (folder / "own.html").write_text(
        "<style>p { color: red } @media print { p { color: blue } }</style>"
        '<link rel="stylesheet" href="http://127.0.0.1:9/x.css"><p>Hi</p>'
    )
    with host.app.app_context():
        send_notification(ADA, template="own")
        without(monkeypatch, "css_inline")
        send_notification(ADA, template="own")
        host.db.session.commit()
    text, page = parts(host, 0)
    assert text == "Hi\n"
    assert "color: red" in str(page.p["style"])  # type: ignore[index]
    assert "@media print" in str(page.style)
    assert parts(host, 1)[1].p.attrs == {}  # type: ignore[union-attr]


# -- previews --------------------------------------------------------------------------


def shown(host: Host, name: str, locale: str | None = None) -> Preview:
    template = previews.find(host.state, name)
    assert template is not None
    return previews.preview(host.state, template, locale=locale)


def test_each_template_that_ships_has_a_preview(host: Host) -> None:
    """Complete, without a server or addresses, and nothing is stored."""
    host.configure(mail_footer="Foot")
    with host.app.app_context():
        listed = previews.listed(host.state)
        assert [template.name for template in listed] == SHIPPED
        assert {(template.own, template.ships) for template in listed} == {(False, True)}
        for template in listed:
            found = previews.preview(host.state, template)
            assert "{{" not in found.text + str(found.html) + found.subject
            assert found.text.endswith("\n-- \nFoot\n")
            assert {"From", "To", "Subject", "Message-ID"} <= {name for name, _ in found.headers}
    assert host.rows() == []


def test_the_preview_of_the_test_message_goes_where_a_test_goes(host: Host) -> None:
    """To the default To, with a copy to the default From."""
    with host.app.app_context():
        headers = dict(shown(host, "settings_test").headers)
    assert (headers["To"], headers["Cc"]) == ("merge-desk@firm.example", "crm@firm.example")
    assert headers["From"] == "crm@firm.example"


def test_a_preview_needs_no_settings(tmp_path: Path) -> None:
    """Examples stand where nothing is set yet."""
    with opened(f"sqlite:///{tmp_path}/new.sqlite") as fresh:
        said = done(fresh, "preview", "merge_request", "--headers").out
        assert "To: Data Stewards <data-stewards@example.com>" in said.splitlines()


def test_a_template_of_the_host_has_a_preview(host: Host, folder: Path) -> None:
    """Its names appear, or the values that it gives beside it; it is marked as its own."""
    (folder / "import_done.subject.txt").write_text("{{ count }} rows")
    (folder / "import_done.txt").write_text("Dear {{ user.name }}, {{ count }} rows came.")
    (folder / "digest.txt").write_text("mine")
    with host.app.app_context():
        found = shown(host, "import_done")
        assert found.template == Listed("import_done", own=True, ships=False)
        assert (found.html, found.subject) == (None, "{{ count }} rows")
        assert found.text.splitlines()[0] == "Dear {{ user }}, {{ count }} rows came."
        (folder / "import_done.sample.json").write_text('{"count": 412, "user": {"name": "Ada"}}')
        assert shown(host, "import_done").text.splitlines()[0] == "Dear Ada, 412 rows came."
        assert shown(host, "digest").template == Listed("digest", own=True, ships=True)
        for wrong in ("[1]", "{"):
            (folder / "import_done.sample.json").write_text(wrong)
            with pytest.raises(TemplateMissing, match=r"import_done\.sample\.json"):
                shown(host, "import_done")
    # A message still needs the values.
    with host.app.app_context(), pytest.raises(TemplateMissing):
        send_notification(ADA, template="import_done")


def test_the_command_shows_text_html_and_headers(host: Host) -> None:
    """And lists the templates; an unknown one is an error that names them."""
    assert done(host, "preview").out.split() == SHIPPED
    assert done(host, "preview", "digest").out.startswith("4 requests\n\n4 requests for you")
    assert done(host, "preview", "digest", "--html").out.startswith("<!doctype html>")
    told = json.loads(done(host, "preview", "merge_request", "--json").out)
    assert told["subject"] == told["headers"]["Subject"]
    assert "digest, merge_completed" in run(host, "preview", "nothing").err


def test_the_command_opens_a_browser(
    host: Host, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With a file that is still there when the browser gets to it."""
    opened: list[str] = []
    monkeypatch.setattr("click.launch", opened.append)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    name = done(host, "preview", "digest", "--open").out.strip()
    assert opened == [name]
    html = done(host, "preview", "digest", "--html").out
    assert Path(name).read_text("utf-8").strip() == html.strip()


# -- what filters and servers think of it ----------------------------------------------


def test_a_request_is_small_and_plain_for_servers(host: Host) -> None:
    """Seven bits without an encoding, short lines, and far below what programs cut off."""
    asked(host)
    content = host.rows()[-1].content
    _, page = parts(host)
    assert len(content) < 8_000
    assert len(str(page)) < 6_000
    assert b"quoted-printable" not in content
    assert b"base64" not in content
    assert max(map(len, content.split(b"\r\n"))) < 250


@pytest.mark.allowed_skip("SpamAssassin is optional")
def test_spamassassin_finds_nothing_in_the_text(host: Host) -> None:
    """Only that it has HTML, and that it was not received by anybody, as none is here."""
    program = shutil.which("spamassassin")
    if program is None:
        pytest.skip("there is no SpamAssassin: apt-get install spamassassin")
    with host.app.app_context():
        for name, locale in product(SHIPPED, ("en", "de", "fr")):
            content = shown(host, name, locale).content
            report = subprocess.run(
                [program, "-L", "-t"], input=content, capture_output=True, check=False
            ).stdout.decode("utf-8", "replace")
            assert _rules(report) <= {"NO_RECEIVED", "NO_RELAYS", "HTML_MESSAGE"}, report


@pytest.fixture(scope="module")
def spam_filter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rspamd]:
    with rspamd(tmp_path_factory.mktemp("rspamd")) as running:
        yield running


_MAY_LACK_RSPAMD = pytest.mark.allowed_skip("not every system has a package of Rspamd")
# From is a person in a domain of ours, so it is not the sender of the envelope.
_HELD_AGAINST_ALL = {"FORGED_SENDER"}


@_MAY_LACK_RSPAMD
@pytest.mark.parametrize("domain", ["example.com", "firm.example"], ids=["own", "foreign"])
def test_rspamd_holds_nothing_against_what_ships(
    host: Host, spam_filter: Rspamd, domain: str
) -> None:
    """No more than against the same text alone, if it is from a person of ours or of others."""
    host.configure(company_domain=domain)  # the people of the samples are in example.com
    with host.app.app_context():
        for name, locale in product(SHIPPED, ("en", "de", "fr")):
            content = shown(host, name, locale).content
            found = _held_against(spam_filter, content, domain)
            assert found.keys() <= _HELD_AGAINST_ALL, (name, locale, found)
            assert found == _held_against(spam_filter, _plain(content), domain), (name, locale)


@_MAY_LACK_RSPAMD
def test_rspamd_holds_nothing_against_a_message_of_the_host(
    host: Host, spam_filter: Rspamd
) -> None:
    """A text, HTML with the text that is made of it, and both."""
    text, page = (
        "Hello Ada,\n\nthe import is done.\n",
        "<p>Hello Ada,</p><p>the import is done.</p>",
    )
    with host.app.app_context():
        send_notification(ADA, "The import is done", text=text)
        send_notification(ADA, "The import is done", html=page)
        send_notification(ADA, "The import is done", text=text, html=page)
        host.db.session.commit()
    for row in host.rows():
        found = _held_against(spam_filter, row.content, "firm.example")
        assert found.keys() <= _HELD_AGAINST_ALL, row.content


@_MAY_LACK_RSPAMD
def test_rspamd_does_hold_something_against_spam(spam_filter: Rspamd) -> None:
    """Otherwise the tests above could not fail."""
    bad = b"From: a@b.example\r\nContent-Type: text/html\r\n\r\n<img src='http://x.example/'>\r\n"
    found = _held_against(spam_filter, bad, "b.example").keys()
    assert {"MISSING_DATE", "MISSING_MID", "MISSING_TO", "MIME_HTML_ONLY"} <= found


def _held_against(spam_filter: Rspamd, content: bytes, domain: str) -> dict[str, float]:
    message = email.message_from_bytes(content, policy=policy.default)
    given = [str(message[name]) for name in ("To", "Cc") if message[name]]
    return spam_filter.symbols(content, f"crm@{domain}", [to for _, to in getaddresses(given)])


def _plain(content: bytes) -> bytes:
    """A message with the same header and text, without HTML."""
    message = email.message_from_bytes(content, policy=policy.default)
    body, plain = message.get_body(("plain",)), EmailMessage(policy=policy.SMTP)
    assert isinstance(body, EmailMessage)
    for name, value in message.items():
        if not name.lower().startswith(("content-", "mime-version")):
            plain[name] = str(value)
    plain.set_content(body.get_content())
    return plain.as_bytes()


def _rules(report: str) -> set[str]:
    table = report.partition("Content analysis details")[2]
    assert table
    return set(re.findall(r"^ *-?\d+\.\d (\w+)", table, re.MULTILINE))
