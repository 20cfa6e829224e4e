"""The form of Configuration → Messaging: what is kept, what is refused, what is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from jinja2 import StrictUndefined

from flask_interaction_mail.settings.model import MessagingSettings, Origin, PasswordState
from flask_interaction_mail.values import Party
from tests.host import ADA, PASSWORD
from tests.panel import HOME, OUTBOX, TYPED, Panel, error_at, form_values, opened_panel

AUTH = {
    "use_authentication": "y",
    "login": "crm",
    "password": PASSWORD,
    "password_confirm": PASSWORD,
}


@pytest.fixture
def panel(tmp_path: Path) -> Iterator[Panel]:
    with opened_panel(tmp_path) as opened:
        yield opened


def soup(response: object) -> BeautifulSoup:
    return BeautifulSoup(response.text, "lxml")  # type: ignore[attr-defined]


def test_r7_one_panel_in_the_configuration_menu_holds_all_settings(panel: Panel) -> None:
    """The menu leads to one page that has a field for every setting."""
    from flask_interaction_mail.settings.model import SETTINGS

    page = panel.get()
    menu = page.select_one("nav .dropdown")
    assert menu is not None
    assert "Configuration" in menu.text
    assert "Messaging" in menu.text
    names = {field["name"] for field in page.select("#im-form [name]")}
    assert names >= {*SETTINGS, "password_confirm", "csrf_token", "revision"}


@pytest.mark.parametrize("typed", [{"smtp_port": "0"}, {"revision": "7"}, AUTH | {"password": ""}])
def test_a_page_uses_no_name_that_it_was_not_given(panel: Panel, typed: dict[str, str]) -> None:
    """A host's StrictUndefined breaks neither the page, nor a refused save, nor a conflict."""
    assert panel.host.app.jinja_env.undefined is StrictUndefined
    panel.save()
    panel.get()
    assert panel.save(**typed).status_code in (400, 409)


def test_r46_the_sections_are_in_order(panel: Panel) -> None:
    """Domain, server and port, authentication, To and From, policy, Test, Save, Cancel."""
    form = panel.get().select_one("#im-form")
    assert form is not None
    text = form.text
    order = [
        "Company domain",
        "SMTP server",
        "Port",
        "Use SMTP authentication",
        "Default To",
        "Default From",
        "Messages come from",
        "Test Settings",
        "Save",
        "Cancel",
    ]
    places = [text.index(word) for word in order]
    assert places == sorted(places)


def test_r57_save_keeps_everything_and_redirects(panel: Panel) -> None:
    """A saved form is in force, and a reload of the answer saves nothing again."""
    response = panel.save(encryption="tls", from_policy="default_from", own_domains="a.de, b.de")
    assert response.status_code == 303
    settings = panel.in_force().settings
    assert (settings.smtp_server, settings.smtp_port) == ("mail.firm.example", 587)
    assert (settings.encryption, settings.from_policy) == ("tls", "default_from")
    assert settings.own_domains == ("a.de", "b.de")
    assert "Saved." in panel.get().text


def test_r57_one_wrong_field_saves_nothing_and_keeps_what_was_typed(panel: Panel) -> None:
    """All errors stand at their fields, all typed values stay, no revision is made."""
    response = panel.save(smtp_port="0", default_to="", company_domain="not a domain")
    page = soup(response)
    assert response.status_code == 400
    assert "1 to 65535" in error_at(page, "smtp_port")
    assert error_at(page, "default_to")
    assert error_at(page, "company_domain")
    assert page.select_one("#im-smtp_server")["value"] == "mail.firm.example"  # type: ignore[index]
    assert page.select_one("#im-smtp_port")["value"] == "0"  # type: ignore[index]
    assert {link["href"] for link in page.select(".im-alert-bad a")} == {
        "#im-smtp_port",
        "#im-default_to",
        "#im-company_domain",
    }
    assert panel.in_force().revision == 0


@pytest.mark.parametrize(
    ("field", "raw"),
    [
        ("smtp_server", "mail server"),
        ("smtp_server", "http://mail.example.com/"),
        ("smtp_server", "mail.example.com:25"),
        ("smtp_port", "65536"),
        ("smtp_port", "-1"),
        ("smtp_port", "smtp"),
        ("smtp_port", "25.0"),
        ("encryption", "rot13"),
        ("from_policy", "anybody"),
        ("default_to", "a@b@c"),
        ("default_from", "Ada <ada@x.example>"),
        ("company_domain", "-.-"),
        ("ca_certificate", "no certificate"),
        ("helo_name", "a b"),
        ("divert_to", "@"),
        ("own_domains", "good.example, bad domain!"),
        ("login", "a\x00b"),
    ],
)
def test_r57_a_wrong_value_is_refused_at_its_field(panel: Panel, field: str, raw: str) -> None:
    """Whatever is wrong in a field is said there, and nothing is saved."""
    page = soup(panel.save(**{field: raw}))
    assert error_at(page, field)
    assert panel.in_force().revision == 0


def test_r16_an_empty_port_is_25_and_shown_as_25(panel: Panel) -> None:
    """A blank port is saved as 25, and the page never shows an empty one."""
    assert panel.save(smtp_port="  ").status_code == 303
    assert panel.in_force().settings.smtp_port == 25
    assert panel.fields()["smtp_port"] == "25"
    refused = soup(panel.save(smtp_port="", default_to=""))
    assert refused.select_one("#im-smtp_port")["value"] == "25"  # type: ignore[index]


def test_r17_authentication_is_off_at_first_and_needs_nothing(panel: Panel) -> None:
    """The check box is empty, and without it no login or password is asked for (R18)."""
    assert "use_authentication" not in panel.fields()
    assert panel.save().status_code == 303
    assert panel.in_force().settings.use_authentication is False


def test_r20_with_authentication_login_and_password_are_needed(panel: Panel) -> None:
    """Each missing one is said at its field."""
    page = soup(panel.save(use_authentication="y"))
    assert error_at(page, "login")
    assert error_at(page, "password")
    assert panel.in_force().revision == 0


def test_r20_two_different_passwords_save_nothing(panel: Panel) -> None:
    """The confirmation's field says that they differ, and that they are to be typed again."""
    response = panel.save(**AUTH | {"password_confirm": PASSWORD + "x"})
    page = soup(response)
    assert "differ" in error_at(page, "password_confirm")
    assert "Type the password again" in page.text
    assert PASSWORD not in response.text
    assert panel.in_force().revision == 0


def test_r56_a_password_is_never_rendered(panel: Panel) -> None:
    """Neither after a good save nor after a bad one is the password part of a page."""
    assert panel.save(**AUTH).status_code == 303
    page = panel.get()
    assert PASSWORD not in str(page)
    assert page.select_one("#im-password")["autocomplete"] == "new-password"  # type: ignore[index]
    assert "A password is stored" in page.text
    assert PASSWORD not in panel.save(**AUTH | {"smtp_port": "x"}).text


def test_r57_an_empty_password_keeps_the_stored_one(panel: Panel) -> None:
    """On an unchanged server a save with an empty password leaves it as it is."""
    panel.save(**AUTH)
    assert panel.post(default_to="other-desk").status_code == 303
    present = panel.in_force()
    assert present.password is PasswordState.USABLE
    assert present.settings.password.reveal() == PASSWORD
    assert present.settings.default_to == "other-desk"


@pytest.mark.parametrize(
    ("field", "value"),
    [("smtp_server", "evil.example"), ("smtp_port", "2525"), ("encryption", "tls"), ("login", "b")],
)
def test_another_connection_asks_for_the_password_at_its_field(
    panel: Panel, field: str, value: str
) -> None:
    """A stored password does not follow to another server: the save is refused (T1)."""
    panel.save(**AUTH)
    page = soup(panel.post(**{field: value}))
    assert "Password needed for this server" in error_at(page, "password")
    assert panel.in_force().revision == 1


def test_r23_an_overridden_field_is_read_only_with_its_origin(tmp_path: Path) -> None:
    """What this process overrides is shown, cannot be typed over, and is ignored if sent."""
    overrides = {"smtp_server": "fixed.example", "encryption": "tls", "paused": True}
    with opened_panel(tmp_path, INTERACTION_MAIL_OVERRIDES=overrides) as panel:
        page = panel.get()
        server = page.select_one("#im-smtp_server")
        assert server is not None
        assert server.has_attr("readonly")
        assert server["value"] == "fixed.example"
        assert "Set by this deployment" in page.find(id="im-smtp_server-origin").text  # type: ignore[union-attr]
        for field in ("encryption", "paused"):
            assert page.select_one(f"#im-{field}").has_attr("disabled")  # type: ignore[union-attr]
        assert panel.save(smtp_server="other.example", encryption="none").status_code == 303
        present = panel.in_force()
        assert present.settings.smtp_server == "fixed.example"
        assert present.settings.encryption == "tls"
        assert present.origins["smtp_server"] is Origin.OVERRIDE
        refused = soup(panel.save(smtp_server="other.example", default_to=""))
        assert refused.select_one("#im-smtp_server")["value"] == "fixed.example"  # type: ignore[index]


def test_an_override_names_the_place_where_it_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key of the configuration, or the environment variable; MAIL_ keys by their own name."""
    monkeypatch.setenv("FLASK_INTERACTION_MAIL_OVERRIDES__helo_name", "crm.firm.example")
    with opened_panel(
        tmp_path,
        INTERACTION_MAIL_OVERRIDES={"smtp_port": 587, "helo_name": "crm.firm.example"},
        MAIL_SERVER="mail.firm.example",
    ) as panel:
        page = panel.get()
    said = {
        name: page.find(id=f"im-{name}-origin").text
        for name in ("smtp_port", "helo_name", "smtp_server")
    }  # type: ignore[union-attr]
    assert "INTERACTION_MAIL_OVERRIDES, key “smtp_port”" in said["smtp_port"]
    assert "variable FLASK_INTERACTION_MAIL_OVERRIDES__helo_name" in said["helo_name"]
    assert "MAIL_SERVER" in said["smtp_server"]


def test_an_overridden_password_has_no_field(tmp_path: Path) -> None:
    """A password of the deployment is named, and nobody is asked for one."""
    overrides = {
        "smtp_server": "fixed.example",
        "login": "crm",
        "password": PASSWORD,
        "encryption": "starttls",
    }
    with opened_panel(tmp_path, INTERACTION_MAIL_OVERRIDES=overrides) as panel:
        page = panel.get()
        assert page.select("input[type=password][name^=password]") == []
        assert "Set by this deployment" in page.find(id="im-password-origin").text  # type: ignore[union-attr]
        assert PASSWORD not in str(page)
        panel.save(smtp_server="fixed.example", login="crm", use_authentication="y")
        assert "Leave empty" not in panel.get().text


def test_missing_choices_stay_what_they_are(panel: Panel) -> None:
    """A POST without the select and radio fields does not reset them."""
    panel.save(encryption="tls", from_policy="default_from", on_ambiguous="hold")
    response = panel.post(
        without=("encryption", "from_policy", "on_ambiguous", "foreign_sender"), default_to="x"
    )
    assert response.status_code == 303
    settings = panel.in_force().settings
    assert (settings.encryption, settings.from_policy) == ("tls", "default_from")
    assert settings.on_ambiguous == "hold"
    assert settings.default_to == "x"


def test_the_second_of_two_savers_gets_a_conflict(panel: Panel) -> None:
    """Nothing is overwritten, typed values stay, and the new settings can be loaded."""
    stale = panel.fields()["revision"]
    panel.save(default_to="first")
    response = panel.save(default_to="second", revision=stale)
    page = soup(response)
    assert response.status_code == 409
    assert "Somebody else has saved" in page.text
    assert page.select_one(".im-alert-bad a")["href"] == HOME  # type: ignore[index]
    assert page.select_one("#im-default_to")["value"] == "second"  # type: ignore[index]
    assert panel.in_force().settings.default_to == "first"
    again = panel.save(default_to="second", revision=page.select_one("#im-revision")["value"])  # type: ignore[index]
    assert again.status_code == 409


def conflicting(panel: Panel, **typed: str) -> BeautifulSoup:
    """The page after Bob has saved another server and default To, and Ada ``typed``."""
    panel.save(default_to="before", login="crm")
    stale = panel.fields()
    panel.host.people.user = Party("Bob", "bob", id=2)
    panel.save(default_to="theirs", login="crm", smtp_server="theirs.firm.example")
    panel.host.people.user = ADA
    response = panel.client.post(HOME, data=stale | typed)
    assert response.status_code == 409
    return soup(response)


def test_a_conflict_names_who_and_which_fields(panel: Panel) -> None:
    """Three values of what both changed; what they alone changed stands in the form."""
    page = conflicting(panel, default_to="mine", login="mine", password=PASSWORD)
    alert = page.select_one(".im-alert-bad")
    assert alert is not None
    assert "Saved by Bob" in alert.text
    (asked,) = alert.select("fieldset")
    for text in ("Default To", "Keep mine: mine", "Take theirs: theirs", "before"):
        assert text in asked.text
    assert "SMTP server" in alert.text
    kept = form_values(page)
    assert (kept["smtp_server"], kept["login"]) == ("theirs.firm.example", "mine")
    assert PASSWORD not in str(page)
    assert panel.in_force().settings.default_to == "theirs"


@pytest.mark.parametrize("choice", ["mine", "theirs"])
def test_a_conflict_is_settled_field_by_field(panel: Panel, choice: str) -> None:
    """What was chosen is saved, and the rest of both."""
    page = conflicting(panel, default_to="mine", login="mine")
    data = form_values(page) | {"keep_default_to": choice}
    assert panel.client.post(HOME, data=data).status_code == 303
    settings = panel.in_force().settings
    assert (settings.default_to, settings.login) == (choice, "mine")
    assert settings.smtp_server == "theirs.firm.example"


def test_a_conflict_is_not_settled_by_a_choice_that_somebody_did_not_see(panel: Panel) -> None:
    """A third save in between asks again; so does a Save without a choice."""
    page = conflicting(panel, default_to="mine")
    data = form_values(page)
    assert panel.client.post(HOME, data=data).status_code == 409
    panel.save(default_to="third", smtp_server="theirs.firm.example")
    again = panel.client.post(HOME, data=data | {"keep_default_to": "mine"})
    assert again.status_code == 409
    assert "Take theirs: third" in soup(again).text
    assert panel.in_force().settings.default_to == "third"


def test_a_conflict_about_nothing_is_saved_at_the_second_press(panel: Panel) -> None:
    """They changed one field, the visitor another: both hold."""
    page = conflicting(panel, helo_name="crm.firm.example")
    assert page.select(".im-alert-bad fieldset") == []
    assert panel.client.post(HOME, data=form_values(page)).status_code == 303
    settings = panel.in_force().settings
    assert (settings.helo_name, settings.default_to) == ("crm.firm.example", "theirs")


@pytest.mark.parametrize("revision", [None, "", "x", "-1", "9" * 30])
def test_a_form_without_a_revision_is_of_the_present_one(
    panel: Panel, revision: str | None
) -> None:
    """A script that knows no revision can save."""
    panel.save()
    assert panel.save(default_to="scripted", revision=revision).status_code == 303
    assert panel.in_force().settings.default_to == "scripted"


def test_the_history_says_who_saved(panel: Panel) -> None:
    """The current user's name stands at the revision; without one 'administrator'."""
    panel.save()
    panel.host.people.user = None
    panel.save(default_to="x")
    with panel.host.app.app_context():
        names = [revision.by for revision in panel.host.state.settings.history()]
    assert names == ["administrator", "Ada Byron"]


def test_a_fresh_form_proposes_a_pair_that_fits(panel: Panel) -> None:
    """STARTTLS with 587; once a port has been saved it is that one."""
    fresh = panel.fields()
    assert (fresh["encryption"], fresh["smtp_port"]) == ("starttls", "587")
    panel.save(smtp_port="25")
    assert panel.fields()["smtp_port"] == "25"


@pytest.mark.parametrize(("encryption", "port"), [("tls", "465"), ("none", "25")])
def test_a_fresh_form_fits_an_encryption_from_outside(
    tmp_path: Path, encryption: str, port: str
) -> None:
    """Where a deployment has decided on the encryption."""
    overrides = {"encryption": encryption}
    with opened_panel(tmp_path, INTERACTION_MAIL_OVERRIDES=overrides) as panel:
        assert panel.fields()["smtp_port"] == port


def test_who_may_only_look_sees_values_and_no_controls(tmp_path: Path) -> None:
    """No field, no button, no password; what comes from outside says from where."""
    overrides = {"helo_name": "crm.firm.example"}
    with opened_panel(
        tmp_path, access=lambda right: right in granted, INTERACTION_MAIL_OVERRIDES=overrides
    ) as panel:
        granted = {"view", "edit"}
        panel.save(**AUTH)
        granted.discard("edit")
        page = panel.get()
    shown = page.select_one("main")
    assert shown is not None
    assert shown.select("input, select, textarea, button, iframe") == []
    for text in ("mail.firm.example", "STARTTLS (usual)", "merge-desk", "never shown"):
        assert text in shown.text
    assert "INTERACTION_MAIL_OVERRIDES" in shown.text
    assert PASSWORD not in str(page)


def test_a_server_without_a_default_to_shows_the_checklist(tmp_path: Path) -> None:
    """What has no other recipient would not be sent: the page says so and leads to the field."""
    config = {"MAIL_SERVER": "mail.firm.example", "MAIL_DEFAULT_SENDER": "crm@firm.example"}
    with opened_panel(tmp_path, **config) as panel:
        page = panel.get()
        assert "not fully set up" in page.text
        (missing,) = [line for line in page.select(".im-checklist a") if "default To" in line.text]
        assert missing["href"] == HOME + "#im-default_to"
        panel.save()
        assert page.select(".im-checklist") != [] == panel.get().select(".im-checklist")


def test_advanced_opens_only_for_a_reason(panel: Panel) -> None:
    """It is folded with usual values, open with an unusual one or an error."""
    assert not panel.get().select_one("#im-advanced").has_attr("open")  # type: ignore[union-attr]
    wrong = soup(panel.save(helo_name="a b"))
    assert wrong.select_one("#im-advanced").has_attr("open")  # type: ignore[union-attr]
    panel.save(on_ambiguous="hold")
    assert panel.get().select_one("#im-advanced").has_attr("open")  # type: ignore[union-attr]


def preset(panel: Panel, key: str, **typed: str) -> BeautifulSoup:
    """The page after *Fill in*, in a browser without JavaScript."""
    answer = panel.post(HOME + "preset", **(TYPED | {"preset": key} | typed))
    assert answer.status_code == 200
    return soup(answer)


def test_a_preset_fills_in_its_fields_and_says_what_else_is_wanted(panel: Panel) -> None:
    """Nothing is saved, and what was typed elsewhere stays."""
    page = preset(panel, "fastmail", default_to="desk")
    values = form_values(page)
    filled = {name: values[name] for name in ("smtp_server", "smtp_port", "encryption", "login")}
    assert filled == {
        "smtp_server": "smtp.fastmail.com",
        "smtp_port": "465",
        "encryption": "tls",
        "login": "",
    }
    assert values["use_authentication"] == "y"
    assert values["default_to"] == "desk"
    assert "app password" in page.select_one("#im-preset-note").text  # type: ignore[union-attr]
    assert page.select_one("[data-im-changed]") is not None  # asks before it is left
    assert not page.select(".im-error")
    assert panel.in_force().revision == 0


def test_a_preset_empties_what_another_has_filled_in(panel: Panel) -> None:
    """But that of a server of one's own leaves what was typed."""
    typed = {"smtp_server": "smtp.sendgrid.net", "login": "apikey"}
    assert form_values(preset(panel, "amazon_ses", **typed))["smtp_server"] == ""
    values = form_values(preset(panel, "own", **typed))
    assert (values["smtp_server"], values["login"]) == ("smtp.sendgrid.net", "apikey")


def test_a_preset_that_lacks_a_way_to_log_in_says_so(panel: Panel) -> None:
    """Before anybody tries."""
    page = preset(panel, "microsoft365_password", password=PASSWORD)
    warnings = page.select(".im-note-warn")
    assert "Microsoft wants OAuth" in warnings[0].text
    assert "Type the password again" in warnings[1].text
    assert PASSWORD not in str(page)


def test_an_unknown_preset_fills_in_nothing(panel: Panel) -> None:
    """What was typed stays."""
    assert form_values(preset(panel, "x"))["smtp_server"] == TYPED["smtp_server"]


def test_a_preset_leaves_what_the_deployment_sets(tmp_path: Path) -> None:
    """The field cannot be changed here."""
    overrides = {"smtp_server": "fixed.example"}
    with opened_panel(tmp_path, INTERACTION_MAIL_OVERRIDES=overrides) as panel:
        page = preset(panel, "postmark")
        assert page.select_one("#im-smtp_server")["value"] == "fixed.example"  # type: ignore[index]


def test_r3_the_banner_says_that_nothing_is_sent_until_configured(panel: Panel) -> None:
    """A checklist is there at first and gone when the settings are."""
    assert "nothing is sent" in panel.get().text
    panel.save()
    assert "nothing is sent" not in panel.get().text


def test_pause_and_divert_show_on_every_page(panel: Panel) -> None:
    """Nobody can overlook that mail does not go where it should."""
    panel.save(paused="y", divert_to="trap@firm.example")
    for url in (HOME, OUTBOX):
        text = panel.get(url).text
        assert "Sending is paused" in text
        assert "trap@firm.example" in text


@pytest.mark.parametrize("switch", ["paused", "divert_to"])
def test_a_button_ends_pause_and_divert_from_any_page(panel: Panel, switch: str) -> None:
    """And leads back to the tab that it was pressed on."""
    panel.save(paused="y", divert_to="trap@firm.example")
    form = panel.get(OUTBOX).select_one(f"form[action$='end/{switch}']")
    assert form is not None
    sent = {field["name"]: field["value"] for field in form.select("input")}
    answer = panel.client.post(form["action"], data=sent)
    assert (answer.status_code, answer.location) == (303, OUTBOX)
    assert getattr(panel.in_force().settings, switch) == getattr(MessagingSettings(), switch)
    page = panel.get(OUTBOX)
    assert page.select_one(".alert-success") is not None
    assert not page.select(f"form[action$='end/{switch}']")
    assert len(page.select("form[action*='/end/']")) == 1  # the other one


def test_what_a_deployment_sets_has_no_button(tmp_path: Path) -> None:
    """It could not be ended there."""
    with opened_panel(tmp_path, INTERACTION_MAIL_OVERRIDES={"paused": True}) as panel:
        page = panel.get()
        assert "Sending is paused" in page.text
        assert not page.select("form[action*='/end/']")


def test_r4_suppressed_sending_shows_on_every_page(tmp_path: Path) -> None:
    """An application that sends nothing says so."""
    with opened_panel(tmp_path, MAIL_SUPPRESS_SEND=True) as panel:
        assert "suppresses sending" in panel.get().text


def test_r45_equal_to_and_from_can_be_saved(panel: Panel) -> None:
    """Default To and default From may be one mailbox."""
    assert panel.save(default_to="crm", default_from="crm").status_code == 303


def test_r44_default_to_and_from_are_needed(panel: Panel) -> None:
    """Without one of them nothing is saved."""
    page = soup(panel.save(default_to="", default_from=" "))
    assert error_at(page, "default_to")
    assert error_at(page, "default_from")


def test_r12_a_short_address_without_a_domain_is_named(panel: Panel) -> None:
    """The error quotes the address that cannot be completed."""
    page = soup(panel.save(company_domain=""))
    assert "merge-desk" in error_at(page, "default_to")


def test_naughty_texts_stay_text(panel: Panel) -> None:
    """What is typed comes back escaped, in fields and in errors (T5)."""
    naughty = '"><script>alert(1)</script>'
    response = panel.save(smtp_server=naughty, login=naughty, default_to=naughty)
    assert "<script>alert" not in response.text


def test_without_tables_the_page_says_how_to_make_them(tmp_path: Path) -> None:
    """A deployment that forgot its migration gets advice, no stack trace."""
    with opened_panel(tmp_path) as panel:
        with panel.host.app.app_context():
            panel.host.db.drop_all()
        assert "flask db upgrade" in panel.get(status=503).text


def test_the_secret_of_the_webhook_is_kept_and_never_shown(panel: Panel) -> None:
    """Stored with a URL, kept while that stays, wanted again with another one."""
    url, other = "https://hooks.example/a", "https://hooks.example/b"
    assert panel.save(alert_url=url).status_code == 400
    assert panel.save(alert_url=url, alert_secret=PASSWORD).status_code == 303
    page = panel.get()
    assert page.find("details", id="im-alerts").has_attr("open")  # type: ignore[union-attr]
    assert PASSWORD not in str(page)
    assert "A secret is stored. Leave empty to keep it." in page.text
    assert panel.save(alert_waiting="30").status_code == 303
    assert panel.in_force().settings.alert_secret.reveal() == PASSWORD
    assert panel.in_force().settings.alert_waiting == 30
    refused = panel.save(alert_url=other)
    assert refused.status_code == 400
    assert "Enter the secret" in refused.text
    assert panel.in_force().settings.alert_url == url


def test_where_the_webhook_is_set_is_named(tmp_path: Path) -> None:
    """By the key of the configuration, and nobody is asked for a secret."""
    keys = {"ALERT_URL": "https://hooks.example/", "ALERT_SECRET": PASSWORD}
    config = {f"INTERACTION_MAIL_{key}": value for key, value in keys.items()}
    with opened_panel(tmp_path, **config) as panel:
        page = panel.get()
        assert page.select("input[name=alert_secret]") == []
        note = page.find(id="im-alert_url-origin")
        assert note is not None
        assert "INTERACTION_MAIL_ALERT_URL" in note.text
        assert PASSWORD not in str(page)
