"""Explain and Coverage with a real browser: with a mouse, with keys, without JavaScript, narrow."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flask_interaction_mail import operations
from tests.browser.conftest import WIDTHS, Site, fits_the_width
from tests.servers.names import name_server, slow

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
SETTINGS = {
    "company_domain": "example.com",
    "smtp_server": "127.0.0.1",
    "encryption": "none",
    "default_to": "mailadmin",
    "default_from": "crm",
}


@pytest.fixture
def ready(site: Site) -> Site:
    """The example application with mail set up."""
    with site.app.app_context():
        state = site.app.extensions["interaction_mail"]
        operations.save_settings(state, SETTINGS, base=None, changed_by="test")
    return site


@pytest.fixture(params=[True, False], ids=["JavaScript", "no JavaScript"])
def visitor(request: pytest.FixtureRequest, chromium: Any, ready: Site) -> Iterator[Any]:
    """A page of an administrator's browser."""
    context = chromium.new_context(java_script_enabled=request.param)
    page = context.new_page()
    page.set_default_timeout(15_000)
    ready.log_in(page, "amoreau")
    yield page
    context.close()


def fits(page: Any) -> None:
    """Neither at a desk nor on a phone has anything to be moved sideways."""
    for width in (*WIDTHS, 320, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        fits_the_width(page)
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def test_a_request_is_explained_for_two_contacts(visitor: Any, ready: Site) -> None:
    """A name that can mean two people is chosen from a list; nothing needs a script."""
    page = visitor
    page.goto(ready.panel)
    page.get_by_role("link", name="Explain", exact=True).click()
    page.get_by_label("User who asks").fill("lindt")
    page.get_by_label("First contact").fill("acme")
    page.get_by_label("Second contact", exact=True).fill("Northwind GmbH")
    page.get_by_role("button", name="Explain").click()
    page.get_by_label("First contact").select_option(label="ACME Limited (in Client List)")
    page.get_by_role("button", name="Explain").click()
    result = page.locator(".im-compare").inner_text()
    assert "Data Stewards <datastewards@example.com>" in result
    assert "Oscar Lindt <olindt@example.com>" in result
    assert "ACME Limited" in page.locator("pre.im-text").inner_text()
    page.get_by_text("Formatted text").click()
    assert "Northwind GmbH" in page.frame_locator("iframe.im-html").locator("body").inner_text()
    fits(page)


def test_what_is_in_the_form_is_explained_beside_what_is_in_force(
    visitor: Any, ready: Site
) -> None:
    """In a tab of its own; what was typed stays in the form, and comes along to each question."""
    page = visitor
    page.goto(ready.panel)
    page.locator("#im-company_domain").fill("new.example")
    page.get_by_label("always the default From address").check()
    with page.expect_popup() as opened:
        page.get_by_role("button", name="Explain with these").click()
    tab = opened.value
    tab.get_by_label("User who asks").fill("emroberts")
    tab.get_by_label("Location", exact=True).fill("Firm List")
    tab.get_by_role("button", name="Explain").click()
    tab.locator(".im-compare").wait_for()
    marked = tab.locator(".im-differs th").all_inner_texts()
    assert [text.partition(" differs")[0] for text in marked] == [
        "Goes to",
        "From",
        "Sent by (Sender)",
        "Answers go to",
        "Returned mail goes to",
    ]
    assert "mailadmin@new.example" in tab.locator(".im-compare").inner_text()
    fits(tab)
    assert page.locator("#im-company_domain").input_value() == "new.example"
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Which addresses would another domain change?").click()
    opened.value.get_by_label("New company domain").wait_for()
    opened.value.close()
    tab.close()


def test_coverage_with_keys_alone(visitor: Any, ready: Site) -> None:
    """The domain is typed, Enter previews it, and the file has those who move."""
    page = visitor
    page.goto(ready.panel + "coverage/")
    page.get_by_label("New company domain").focus()
    page.keyboard.type("new.example")
    page.keyboard.press("Enter")
    page.get_by_text("7 users and 1 group would get another address.").wait_for()
    page.wait_for_load_state()  # which moves the focus to the fragment
    assert page.url.endswith("#im-domain")
    with page.expect_download() as download:
        page.get_by_role("link", name="All of them as CSV").press("Enter")
    text = download.value.path().read_text("utf-8-sig")
    assert text.count("\n") == 9
    assert "datastewards@new.example" in text
    fits(page)


def test_dns_in_words_with_the_record_to_add(visitor: Any, ready: Site) -> None:
    """By the button alone, and back at the place where it is asked for."""
    page = visitor
    with name_server() as server:
        state = ready.app.extensions["interaction_mail"]
        state.config = state.config._replace(name_servers=(("127.0.0.1", server.port),))
        server.add("example.com", "MX 10 mail.example.com.", 'TXT "v=spf1 +all"')
        server.add("mail.example.com", "A 192.0.2.1")
        page.goto(ready.panel + "coverage/")
        assert page.locator(".im-finding").count() == 0
        page.get_by_label("Names of DKIM keys").fill("s1")
        page.get_by_role("button", name="Check DNS").click()
        page.locator(".im-finding").first.wait_for()
    found = page.locator(".im-findings").first.inner_text()
    assert "allows every server in the world" in found
    assert "_dmarc.example.com" in found
    fits(page)


# What is said while the next page is made, and how many ms after the click; Playwright waits for
# that page before it looks.
_WATCH = """() => {
  const said = document.getElementById("im-slow");
  let clicked;
  window.addEventListener("click", () => { clicked = performance.now(); }, true);
  new MutationObserver(() => {
    const seen = [said.textContent, performance.now() - clicked, said.offsetHeight];
    if (said.textContent) { sessionStorage.setItem("seen", JSON.stringify(seen)); }
  }).observe(said, {childList: true});
}"""


@pytest.fixture
def waiting(page: Any, ready: Site) -> Any:
    """A page of an administrator's browser with JavaScript."""
    ready.log_in(page, "amoreau")
    return page


def says_that_it_takes_long(page: Any, press: Any, result: str) -> None:
    """Not at once, but after a second; the page that comes says nothing of it."""
    page.evaluate(_WATCH)
    press.click()
    page.locator(result).first.wait_for()
    text, after, height = json.loads(page.evaluate("sessionStorage.getItem('seen')") or "[0, 0, 0]")
    assert text == "The page is being made. This takes longer than usual …"
    assert after >= 1000
    assert height > 20
    assert page.locator("#im-slow").inner_text() == ""


def test_a_slow_name_server_is_waited_for_visibly(waiting: Any, ready: Site) -> None:
    """Its answers take a while: the page says so, and then shows what is known."""
    with name_server() as server:
        state = ready.app.extensions["interaction_mail"]
        state.config = state.config._replace(name_servers=(("127.0.0.1", server.port),))
        server.faults["example.com"] = slow(2.5)
        waiting.goto(ready.panel + "coverage/")
        press = waiting.get_by_role("button", name="Check DNS")
        says_that_it_takes_long(waiting, press, ".im-finding")


@pytest.mark.parametrize("place", ["explain", "coverage"])
def test_a_slow_directory_is_waited_for_visibly(
    waiting: Any, ready: Site, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Who may merge is asked of the application, which may ask somebody else."""
    directory = ready.app.extensions["interaction_mail"].people._directory
    asked = directory.merge_recipients

    def slowly(location: str) -> Any:
        if not pauses:
            pauses.append(time.sleep(2.5))
        return asked(location)

    pauses: list[None] = [None]
    monkeypatch.setattr(directory, "merge_recipients", slowly)
    waiting.goto(ready.panel + "explain")
    pauses.clear()
    if place == "explain":
        waiting.get_by_label("Location", exact=True).fill("Firm List")
        press = waiting.get_by_role("button", name="Explain")
        says_that_it_takes_long(waiting, press, ".im-compare")
    else:
        press = waiting.get_by_role("link", name="Coverage", exact=True)
        says_that_it_takes_long(waiting, press, "#im-h-places")
