"""kill -9 while a message is on its way to Amazon SES: how many copies it gets.

``FIM_LONG=1`` kills on PostgreSQL, too.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from flask_interaction_mail import send_notification
from flask_interaction_mail.storage.tables import DELIVERY
from tests.crash import worker
from tests.crash.site import processes
from tests.databases import fresh_database
from tests.host import ADA, Host, opened
from tests.length import LONG
from tests.servers import ses as double
from tests.servers.ses import KEY, REGION, SECRET, Ses, ses_server

LEASE = 1  # s
CONFIG: dict[str, Any] = {"INTERACTION_MAIL_LEASE": LEASE}


@pytest.fixture(params=["sqlite", *(["postgresql"] if LONG else [])])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with fresh_database(request.param, tmp_path) as url:
        yield url


@pytest.fixture
def service() -> Iterator[Ses]:
    with ses_server() as running:
        yield running


def delivery(host: Host) -> Any:
    with host.state.database.reading() as connection:
        return connection.execute(DELIVERY.select()).one()


@pytest.mark.parametrize(
    ("policy", "taken", "copies", "status"),
    [
        ("retry", True, 2, "sent"),  # nobody knows: twice is better than never
        ("retry", False, 1, "sent"),
        ("hold", True, 1, "held"),
        ("hold", False, 0, "held"),
    ],
)
def test_a_worker_that_dies_in_a_request_loses_nothing(
    url: str, service: Ses, policy: str, taken: bool, copies: int, status: str
) -> None:
    """Another one goes on when its lease is over, as the setting for unknown outcomes says."""
    with opened(url, **CONFIG) as host:
        host.configure(
            kind="ses",
            region=REGION,
            endpoint=service.url,
            access_key=KEY,
            secret_key=SECRET,
            on_ambiguous=policy,
        )
        with host.app.app_context():
            send_notification(ADA, "Hello", text="Text")
            host.db.session.commit()
        victim = processes().Process(target=worker.drain, args=(url, CONFIG))

        def kill(handler: BaseHTTPRequestHandler, server: Ses) -> bool:
            if taken:
                server.taken.append(double.Taken("", (), b"", "before"))
            os.kill(victim.pid or 0, signal.SIGKILL)
            return double.lose(handler, server)

        service.behaviours = [kill]
        victim.start()
        victim.join(60)
        assert victim.exitcode == -signal.SIGKILL
        assert delivery(host).status == "sending"
        end = time.monotonic() + 30
        while delivery(host).status == "sending" and time.monotonic() < end:
            host.dispatcher().drain()
            time.sleep(0.2)
        assert (len(service.taken), delivery(host).status) == (copies, status)
