"""The HTML text of a message in a real browser, under what hosts set for every answer."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Response, request

from example_app.extensions import db
from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.state import state_of
from tests.browser.conftest import Site

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)
HOSTS = {
    "none": {},
    "weak": {"Content-Security-Policy": "default-src * data: 'unsafe-inline' 'unsafe-eval'"},
    "X-Frame-Options": {"X-Frame-Options": "DENY"},
    "frame-ancestors": {
        "Content-Security-Policy": "default-src 'self'; frame-src 'none'; frame-ancestors 'none'"
    },
}


@pytest.mark.parametrize("headers", HOSTS.values(), ids=HOSTS)
def test_a_text_is_shown_and_neither_runs_nor_loads_anything(
    page: Any, site: Site, headers: dict[str, str]
) -> None:
    """In the page, whatever the host says of frames, and in a tab of its own (T5)."""
    site.app.extensions["interaction_mail"].access = lambda _right: True

    @site.app.after_request
    def as_talisman(response: Response) -> Response:
        response.headers.update(headers)
        return response

    html = (
        "<p>Good day</p><script>document.querySelector('p').textContent = 'it ran'</script>"
        f"<img src='{site.url}canary.png' onerror='document.body.textContent = 1'>"
        f"<link rel=stylesheet href='{site.url}canary.css'>"
    )
    server = {"smtp_server": site.catcher.host, "smtp_port": site.catcher.port}
    people = {"default_to": "mail@example.com", "default_from": "crm@example.com"}
    with site.app.app_context():
        operations.save_settings(
            state_of(), server | people | {"encryption": "none"}, base=None, changed_by=""
        )
        sent = send_notification("ada@example.com", "Hello", text="Good day", html=html)
        db.session.commit()
    asked: list[str] = []
    site.app.before_request(lambda: asked.append(request.path))
    site.log_in(page, "amoreau")
    page.goto(f"{site.outbox}{sent.id}/")
    within = page.frame_locator("iframe.im-html").locator("p")
    assert within.inner_text() == "Good day"
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open it in a tab of its own").click()
    assert opened.value.locator("p").inner_text() == "Good day"
    assert f"/admin/messaging/outbox/{sent.id}/html" in asked
    assert [path for path in asked if "canary" in path] == []
