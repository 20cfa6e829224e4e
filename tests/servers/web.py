"""The application that real application servers serve, on the database of a test.

``OPTIONS`` are keys of its configuration, ``MORE`` is what its module holds beside it.
"""

from __future__ import annotations

import json
import logging
import os
import signal  # noqa: F401 - as below, for what MORE says
import sys  # noqa: F401

from flask import request

from flask_interaction_mail import send_notification
from tests.host import Host

logging.basicConfig(level=logging.WARNING)
_OPTIONS = {"INTERACTION_MAIL_DELIVERY": "thread"} | json.loads(os.environ.get("OPTIONS", "{}"))
host = Host(os.environ["DATABASE"], **_OPTIONS)
app, messaging = host.app, host.messaging
exec(os.environ.get("MORE", ""))  # noqa: S102 - lines of the documentation


@app.get("/")
def index() -> str:
    return "here"


@app.get("/send")
def send() -> str:
    """Commit ``n`` notifications."""
    for number in range(int(request.args.get("n", "1"))):
        send_notification(f"p{number}", "Hello", text="Hello")
    host.db.session.commit()
    return "sent"
