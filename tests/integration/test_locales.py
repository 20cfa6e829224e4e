"""Messages in the language of who gets them, where Flask-Babel is at work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.numbers import format_decimal

from flask_interaction_mail import Party, send_notification
from tests.host import Host, opened

pytestmark = pytest.mark.allowed_skip(
    reason="Flask-Babel that is only installed breaks Flask-Admin's pages, so the other tests "
    "run without it: test_flask_babel.py runs this file with it"
)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    flask_babel = pytest.importorskip("flask_babel")
    folder = tmp_path / "templates" / "interaction_mail" / "mail"
    folder.mkdir(parents=True)
    (folder / "price.subject.txt").write_text("{{ price | numberformat }}")
    (folder / "price.txt").write_text("{{ price | numberformat }}")
    with opened(f"sqlite:///{tmp_path}/host.sqlite") as host:
        host.configure()
        host.app.template_folder = str(tmp_path / "templates")
        flask_babel.Babel(host.app, default_locale="en")
        yield host


@pytest.mark.parametrize(
    ("locales", "subject"),
    [
        (["de"], "1.234,5"),
        (["de-CH"], format_decimal(1234.5, locale="de_CH")),
        (["de", "de"], "1.234,5"),
        (["de", "fr"], "1,234.5"),
        ([None], "1,234.5"),
        (["no such locale"], "1,234.5"),
        (["xx"], "1,234.5"),
    ],
)
def test_a_template_speaks_the_language_that_all_recipients_share(
    host: Host, locales: list[str | None], subject: str
) -> None:
    """Otherwise, and where the language is none, that of the application."""
    to = [Party(f"P{number}", f"p{number}", locale=one) for number, one in enumerate(locales)]
    with host.app.test_request_context():
        notification = send_notification(to, template="price", context={"price": 1234.5})
        assert notification.subject == subject
