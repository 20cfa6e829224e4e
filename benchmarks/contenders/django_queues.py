"""django-post_office and django-mailer, each in a small Django project of its own."""

from __future__ import annotations

import os
import statistics
import time
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings as django_settings

from .. import messages


def _set_up(app: str, url: str, port: int = 25, **options: Any) -> None:
    django_settings.configure(
        SECRET_KEY="k" * 32,
        INSTALLED_APPS=["django.contrib.contenttypes", app],
        DATABASES={"default": _database(url)},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        USE_TZ=True,
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        LOGGING_CONFIG=None,
        MAILER_LOCK_PATH=f"{_scratch(url)}/mailer-{os.getpid()}",
        **options,
    )
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    if not connection.introspection.table_names():
        call_command("migrate", verbosity=0)


def _database(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url.removeprefix("sqlite:///"),
            "OPTIONS": {"timeout": 20},
        }
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": parts.username,
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname,
        "PORT": parts.port or 5432,
    }


def _scratch(url: str) -> str:
    return os.path.dirname(url.removeprefix("sqlite:///")) if "sqlite" in url else "/tmp"


def _post_office(url: str, port: int = 25, **options: Any) -> None:
    _set_up("post_office", url, port, POST_OFFICE=options)


# -- draining --------------------------------------------------------------------------


def post_office_fill(url: str, count: int) -> dict[str, float]:
    """Empty the queue, then put ``count`` messages into it."""
    _post_office(url)
    from post_office import mail
    from post_office.models import Email, Log

    Log.objects.all()._raw_delete("default")
    Email.objects.all()._raw_delete("default")
    one = {
        "recipients": [messages.RECIPIENT],
        "sender": messages.SENDER,
        "subject": messages.SUBJECT,
        "message": messages.TEXT,
    }
    for start in range(0, count, 1000):
        mail.send_many([one] * min(1000, count - start))
    return {}


def post_office_drain(
    url: str, port: int, count: int, processes: int = 1, options: dict[str, Any] | None = None
) -> dict[str, float]:
    """Deliver everything, as its management command does; messages a second."""
    _post_office(url, port, **(options or {}))
    from post_office.mail import send_queued_mail_until_done
    from post_office.models import STATUS, Email

    lock = f"{_scratch(url)}/post_office-{os.getpid()}"
    start = time.perf_counter()
    send_queued_mail_until_done(lock, processes=processes)
    seconds = time.perf_counter() - start
    sent = Email.objects.filter(status=STATUS.sent).count()
    if sent != count:
        raise SystemExit(f"post_office sent {sent} of {count}")
    return {"rate": count / seconds}


def mailer_fill(url: str, count: int) -> dict[str, float]:
    """Empty the queue, then put ``count`` messages into it."""
    _set_up("mailer", url)

    from mailer.models import PRIORITY_MEDIUM, Message, MessageLog, make_message

    MessageLog.objects.all()._raw_delete("default")
    Message.objects.all()._raw_delete("default")
    for start in range(0, count, 1000):
        Message.objects.bulk_create(
            make_message(
                subject=messages.SUBJECT,
                body=messages.TEXT,
                from_email=messages.SENDER,
                to=[messages.RECIPIENT],
                priority=PRIORITY_MEDIUM,
            )
            for _ in range(min(1000, count - start))
        )
    return {}


def mailer_drain(url: str, port: int, count: int) -> dict[str, float]:
    """Deliver everything; messages a second."""
    _set_up("mailer", url, port)
    from mailer.engine import send_all
    from mailer.models import Message

    start = time.perf_counter()
    send_all()
    seconds = time.perf_counter() - start
    if left := Message.objects.count():
        raise SystemExit(f"mailer left {left} of {count}")
    return {"rate": count / seconds}


# -- choosing what to send from a long queue -------------------------------------------


def post_office_choose(url: str, batch: int, times: int) -> dict[str, float]:
    """ms to find the next ``batch`` messages."""
    _post_office(url, BATCH_SIZE=batch)
    from post_office.mail import get_queued

    return {"claim": _timed(lambda: len(list(get_queued())), batch, times)}


def mailer_choose(url: str, batch: int, times: int) -> dict[str, float]:
    """ms to find the next ``batch`` messages."""
    _set_up("mailer", url)
    from mailer.engine import get_messages_for_sending

    return {
        "claim": _timed(lambda: len(list(islice(get_messages_for_sending(), batch))), batch, times)
    }


def _timed(choose: Any, batch: int, times: int) -> float:
    choose()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        found = choose()
        taken.append(time.perf_counter() - start)
        if found != batch:
            raise SystemExit(f"found {found}, not {batch}")
    return statistics.median(taken) * 1e3


# -- putting into the queue ------------------------------------------------------------


def post_office_enqueue(url: str, texts: dict[str, str], count: int) -> dict[str, float]:
    """µs a message: send() in a host's transaction, send() again and again, and send_many()."""
    _post_office(url)
    from django.db import connection, transaction
    from post_office import mail

    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS thing (name VARCHAR(50))")
    one = {
        "recipients": ["stewards@firm.example"],
        "sender": f"Bob Stone via CRM <{messages.SENDER}>",
        "subject": texts["subject"],
        "message": texts["text"],
        "html_message": texts["html"],
    }

    def of_the_host() -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO thing (name) VALUES (%s)", ["Acme"])

    def alone() -> None:
        with transaction.atomic():
            of_the_host()

    def with_mail() -> None:
        with transaction.atomic():
            of_the_host()
            mail.send(**one)

    def loop() -> None:
        with transaction.atomic():
            for _ in range(count):
                mail.send(**one)

    def many() -> None:
        with transaction.atomic():
            mail.send_many([one] * count)

    return _enqueue(alone, with_mail, loop, many, count)


def _enqueue(alone: Any, with_mail: Any, loop: Any, many: Any, count: int) -> dict[str, float]:
    from ..clockwork import beside, median_seconds

    return {
        "one": beside(alone, with_mail, times=max(100, count // 4)) * 1e6,
        "loop": median_seconds(loop, times=3) / count * 1e6,
        "many": median_seconds(many, times=3) / count * 1e6,
    }
