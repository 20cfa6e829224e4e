"""The fixtures ``outbox`` and ``mail_server`` for the tests of an application.

pytest imports this module in every run, also of projects that use nothing of it. So it stands
beside the package, whose import would bring Flask and SQLAlchemy, and imports that when a fixture
is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # late, see above
    from flask import Flask

    from flask_interaction_mail import Recording
    from flask_interaction_mail.testing import MailServer


@pytest.fixture
def outbox(app: Flask) -> Iterator[Recording]:
    """List what the application of the fixture ``app`` stores to be sent during the test."""
    from flask_interaction_mail import InteractionMail

    with InteractionMail().record(app) as sent:
        yield sent


@pytest.fixture
def mail_server(app: Flask) -> Iterator[MailServer]:
    """Run an SMTP server that gets the mail of the fixture ``app`` during the test."""
    from flask_interaction_mail.testing import mail_server

    with mail_server(app) as server:
        yield server
