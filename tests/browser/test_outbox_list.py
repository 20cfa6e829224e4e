"""The list of the outbox in a real browser."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from example_app.extensions import db
from flask_interaction_mail import operations, send_notification
from flask_interaction_mail.models import DeliveryRow
from flask_interaction_mail.state import state_of
from tests.browser.conftest import Site, fits_the_width

pytestmark = pytest.mark.filterwarnings(
    "ignore:Passing SelectField choices as tuples:DeprecationWarning",
    "ignore:Yielding raw tuples:DeprecationWarning",
)


def test_a_long_reason_leaves_room_for_subject_and_address(page: Any, site: Site) -> None:
    """No word is broken in two beside it, not even those of the heading."""
    server = {"smtp_server": "mail.example.com", "paused": True}
    people = {"default_to": "mail@example.com", "default_from": "crm@example.com"}
    with site.app.app_context():
        operations.save_settings(state_of(), server | people, base=None, changed_by="")
        send_notification("ada.lovelace@firm.example", "Quarterly figures", text="Good day")
        db.session.commit()
        db.session.execute(sa.update(DeliveryRow).values(status="held", reason="ambiguous"))
        db.session.commit()
    site.log_in(page, "amoreau")
    page.goto(site.outbox)
    line = page.evaluate("parseFloat(getComputedStyle(document.querySelector('td a')).lineHeight)")
    for part in ("td a", "td .im-address", "thead tr"):
        padding = 20 if part == "thead tr" else 0
        assert page.locator(part).first.bounding_box()["height"] <= 1.2 * line + padding, part
    fits_the_width(page)
