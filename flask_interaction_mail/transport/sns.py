"""The servers of Amazon's notification service (SNS): its certificates, and subscriptions.

Which URL is asked for is never decided here: whoever calls has compared it with our own topics.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlencode

from ..errors import InteractionMailError
from ..language import said_by
from ..logs import log
from . import http
from .policy import ConnectPolicy
from .smtp.timeouts import Until

_LIMIT: Final = 5.0  # s for one request; SNS itself waits for 15 s
_MOST: Final = 16 * 1024  # bytes of a certificate
_KEPT: Final = 8  # certificates: each region has one, and a new one each year
_ASKED: Final = 20  # requests a minute: a stranger who knows a topic's name can cause some


class SnsUnavailable(InteractionMailError):
    """The server did not give what it was asked for; SNS posts again later."""


class SnsServers:
    """Asks them, with what they have told already. One object is for all threads."""

    def __init__(self, policy: ConnectPolicy) -> None:
        self._policy = policy
        self._certificates: dict[str, bytes] = {}
        self._asking = threading.Lock()
        self._asked: list[float] = []  # when, by the monotonic clock

    def certificate(self, url: str) -> bytes:
        """The certificate (PEM) at ``url``; asks the server only once.

        Raises:
            SnsUnavailable: it was not given, or too many were asked for.
        """
        if (known := self._certificates.get(url)) is not None:
            return known
        with self._turn():
            if (known := self._certificates.get(url)) is not None:
                return known  # another thread has asked meanwhile
            pem = self._get(url)
            while len(self._certificates) >= _KEPT:
                del self._certificates[next(iter(self._certificates))]
            self._certificates[url] = pem
            return pem

    def confirm(self, host: str, topic: str, token: str) -> None:
        """Confirm a subscription of ``topic``, which is at ``host``.

        Raises:
            SnsUnavailable: it was not confirmed.
        """
        query = {"Action": "ConfirmSubscription", "TopicArn": topic, "Token": token}
        with self._turn():
            self._get(f"https://{host}/?{urlencode(query)}")
        log.info("events.subscribed: %s", topic)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One after the other: several threads would ask for the same certificate at once."""
        if not self._asking.acquire(timeout=_LIMIT):
            raise SnsUnavailable("The server of SNS is being asked already.")
        try:
            yield
        finally:
            self._asking.release()

    def _get(self, url: str) -> bytes:
        self._count()
        until = Until.within(_LIMIT)
        try:
            answer = http.get(url, policy=self._policy, until=until, most=_MOST)
        except http.RequestFailed as error:
            raise SnsUnavailable(said_by(error)) from error
        if answer.status != 200:
            raise SnsUnavailable(f"The server of SNS answered {answer.status}.")
        return answer.body

    def _count(self) -> None:
        now = time.monotonic()
        self._asked = [moment for moment in self._asked if moment > now - 60]
        if len(self._asked) >= _ASKED:
            raise SnsUnavailable("The server of SNS was asked too often in this minute.")
        self._asked.append(now)
