"""Wake-ups through a broker: one task for all commits of a moment, sent off the host's path.

The host's request only rings a bell. A thread, started by the first ring and gone after half a
minute of silence, publishes the task. A broker that is down keeps that thread busy and nobody
else; it tries again until the broker is back.
"""

from __future__ import annotations

import atexit
import concurrent.futures.thread  # noqa: F401 - redis needs it, and it cannot be imported at exit
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

from kombu.utils.url import maybe_sanitize_url

from ..errors import InteractionMailError
from ..logs import log

DELIVER: Final = "flask_interaction_mail.deliver"  # the task's name, for routing and monitoring

_GATHER = 0.1  # s after a task during which further commits wait for the next one
_IDLE = 30.0  # s without a wake-up, after which the thread ends
_LONGEST_PAUSE = 60.0  # s between two tries while the broker is down
_GOODBYE = 2.0  # s that a process waits at its end for its last wake-up
_PATIENCE = 5.0  # s for one step of the conversation with the broker

_NO_SWEEP: Final = (
    "by Celery, but its beat schedule has no entry for the sweep, which deferred mail waits for: "
    "call flask_interaction_mail.contrib.celery.install_beat(celery), unless the schedule is kept "
    "elsewhere."
)

# Celery itself would try for ever; what it calls these timeouts depends on the broker.
_ONCE: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
_OPTIONS: Final[dict[str, dict[str, object]]] = {
    # Confirmed: RabbitMQ has the task, it is not only in a socket's buffer.
    "amqp": {"confirm_publish": True, "read_timeout": _PATIENCE, "write_timeout": _PATIENCE},
    "redis": {"socket_timeout": _PATIENCE, "socket_connect_timeout": _PATIENCE},
}


class Line:
    """A connection to the broker of ``celery``, opened by the first task and kept."""

    def __init__(self, celery: Any) -> None:
        self.celery = celery
        self._connection: Any = None

    def send(self) -> None:
        """Publish one task within seconds; raises whatever the broker's client raises."""
        kept = self._connection is not None
        try:
            self._send()
        except Exception:
            self.close()
            if not kept:
                raise
            self._send()  # the broker may have closed a kept connection long ago

    def _send(self) -> None:
        if self._connection is None:
            self._connection = self._open()
        self.celery.send_task(
            DELIVER,
            connection=self._connection,
            retry=False,
            confirm_timeout=_PATIENCE,
            ignore_result=True,
        )

    def _open(self) -> Any:
        driver = self.celery.connection_for_write().transport.driver_type
        connection = self.celery.connection_for_write(
            connect_timeout=_PATIENCE,
            transport_options={**_ONCE, **_OPTIONS.get(driver, {})},
        )
        try:
            return connection.ensure_connection(timeout=_PATIENCE, max_retries=1, interval_start=0)
        except Exception:
            connection.release()
            raise

    def close(self) -> None:
        """Give the connection back, whatever state it is in. Never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.release()
            except Exception as error:
                log.debug("celery.close_failed: %s", type(error).__name__)


class CeleryDelivery:
    """Delivery by Celery workers: this process stores, and says so to the broker."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find  # the Celery application; it may be made after us, or not at all
        self._begin_anew()
        _living.add(self)

    def _begin_anew(self) -> None:
        # After a fork, too: the parent's thread is not here, and its lock may be held for ever.
        self._bell = threading.Condition()
        self._due = False
        self._ending = False
        self._complained = False
        self._thread: threading.Thread | None = None

    def ensure_running(self) -> None:
        """Only see to it that there is a Celery: workers run elsewhere, and beat sweeps.

        Raises:
            InteractionMailError: there is none.
        """
        self._find()

    def wake(self) -> None:
        """There is something to deliver; returns at once, whatever the broker does."""
        try:
            self._find()
        except InteractionMailError as error:
            log.error("celery.missing: what was stored waits in the outbox. %s", error)
            return
        with self._bell:
            self._due = True
            if self._thread is None:
                self._ending = False
                self._thread = self._start()
            self._bell.notify_all()

    def _start(self) -> threading.Thread | None:
        thread = threading.Thread(
            target=self._publish, name="interaction-mail-wakeups", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # at a limit of the system; the next commit tries it again
            if not self._complained:
                log.error("celery.no_thread: %s; the sweep delivers what is stored", error)
            self._complained = True
            return None
        self._complained = False
        return thread

    def context_ends(self) -> None:
        """Nothing: the thread does not wait for contexts."""

    def advice(self) -> str | None:
        """What to do where the sweep is not in the beat schedule.

        Raises:
            InteractionMailError: there is no Celery.
        """
        entries = (self._find().conf.beat_schedule or {}).values()
        return None if any(entry.get("task") == DELIVER for entry in entries) else _NO_SWEEP

    def stop(self, timeout: float = _GOODBYE) -> None:
        """Publish what is due, for ``timeout`` seconds at most, and end the thread."""
        with self._bell:
            thread, self._ending = self._thread, True
            self._bell.notify_all()
        if thread is not None:
            thread.join(timeout)

    def _publish(self) -> None:
        line = Line(self._find())
        pause = _GATHER
        try:
            while self._is_due():
                pause = self._try(line, pause)
                with self._bell:
                    self._bell.wait_for(lambda: self._ending, pause)
        finally:
            line.close()
            with self._bell:
                if self._thread is threading.current_thread():  # an error that nobody foresaw
                    self._thread = None

    def _is_due(self) -> bool:
        """Wait for a wake-up; False when none came, and then this thread is at its end."""
        with self._bell:
            self._bell.wait_for(lambda: self._due or self._ending, _IDLE)
            if not self._due:
                self._thread = None
            due, self._due = self._due, False
            return due

    def _try(self, line: Line, pause: float) -> float:
        """Publish once; gives the seconds to wait before the next time."""
        try:
            line.send()
        except Exception as error:
            with self._bell:
                self._due = not self._ending
            longer = min(max(1.0, pause * 2), _LONGEST_PAUSE)
            _warn(line.celery, error, longer)
            return longer
        return _GATHER


def hand_over(celery: Any) -> None:
    """Publish one more task from a worker. Never raises: the sweep would do it, too."""
    line = Line(celery)
    try:
        line.send()
    except Exception as error:
        _warn(celery, error, None)
    finally:
        line.close()


def _warn(celery: Any, error: Exception, pause: float | None) -> None:
    again = "" if pause is None else f" The next try is in {pause:.0f} s."
    log.warning(
        "celery.unreachable: the broker %s did not take the task (%s: %s). Nothing is lost: what "
        "was stored is delivered when it is back, at the latest by the sweep of celery beat. "
        "Look whether it runs, broker_url names it, and its client library is installed.%s",
        _broker(celery),
        type(error).__name__,
        error,
        again,
    )


def _broker(celery: Any) -> str:
    """Its addresses without passwords; no connection is made of them, which may be what failed."""
    urls = celery.conf.broker_write_url or "amqp://"
    several = urls.split(";") if isinstance(urls, str) else urls
    return ", ".join(maybe_sanitize_url(str(url)) for url in several)


_living: weakref.WeakSet[CeleryDelivery] = weakref.WeakSet()


@atexit.register
def goodbye(**_: object) -> None:
    """A process ends: let its last wake-up out."""
    for delivery in list(_living):
        delivery.stop()


def _forget_in_child() -> None:
    for delivery in list(_living):
        delivery._begin_anew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_in_child)
