"""What the tests of the transport send, with which settings, and how patiently."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask

from flask_interaction_mail.diagnosis.results import Diagnosis, Step
from flask_interaction_mail.diagnosis.runner import diagnose
from flask_interaction_mail.diagnosis.sample import Sample
from flask_interaction_mail.diagnosis.sample_message import make_sample
from flask_interaction_mail.messages import templates
from flask_interaction_mail.messages.intent import Texts
from flask_interaction_mail.settings.model import MessagingSettings, relay_of
from flask_interaction_mail.transport.base import Envelope
from flask_interaction_mail.transport.smtp.timeouts import Timeouts
from flask_interaction_mail.transport.smtp.transport import SmtpTransport
from tests.canary import PASSWORD

# The real proportions do not matter here: long enough for a busy machine, and no longer.
QUICK = Timeouts(
    connect=1.5, greeting=0.4, command=0.4, auth=0.4, data=0.4, block=0.6, final=0.4, quit=0.2
)
PATIENT = Timeouts(connect=5, greeting=5, command=5, auth=5, data=5, block=5, final=5, quit=1)


def settings(port: int, **changes: Any) -> MessagingSettings:
    """Settings for a server at ``port`` of loopback, unencrypted unless changed."""
    values = {
        "smtp_server": "127.0.0.1",
        "smtp_port": port,
        "encryption": "none",
        "company_domain": "x.test",
        "default_to": "admin",
        "default_from": "crm",
        "helo_name": "client.x.test",
    }
    return MessagingSettings(**{**values, **changes})


def login_settings(port: int, **changes: Any) -> MessagingSettings:
    """The same with a login."""
    values = {"use_authentication": True, "login": "ada", "password": PASSWORD}
    return settings(port, **{**values, **changes})


_APP = Flask("clients", template_folder=str(Path(templates.__file__).parents[1] / "templates"))


def _written(names: Mapping[str, Any]) -> Texts:
    return templates.render(_APP, "settings_test", names)


def steps_of_test(settings: MessagingSettings, **options: Any) -> Iterator[Step | Diagnosis]:
    """The steps of a test of ``settings``, at the server that they name."""

    def make() -> Sample:
        return make_sample(settings, _written, id=uuid.uuid4(), now=datetime.now(UTC))

    return diagnose(relay_of(settings), settings, make, **options)


def diagnosis_of(settings: MessagingSettings, **options: Any) -> Diagnosis:
    """What a test of ``settings`` comes to."""
    *_, last = steps_of_test(settings, **options)
    assert isinstance(last, Diagnosis)
    return last


def envelope(*recipients: str, content: bytes = b"Subject: x\r\n\r\nHello\r\n") -> Envelope:
    """A small message."""
    return Envelope(sender="crm@x.test", recipients=recipients or ("a@x.test",), content=content)


def transport(port: int, timeouts: Timeouts = PATIENT, **changes: Any) -> SmtpTransport:
    """A transport to a server at ``port`` of loopback."""
    return SmtpTransport(relay_of(settings(port, **changes)), timeouts=timeouts)
