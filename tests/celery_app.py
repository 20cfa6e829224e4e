"""What ``celery -A tests.celery_app`` loads."""

from __future__ import annotations

from tests.celery_host import from_environment

host = from_environment()
app = host.app.extensions["celery"]
