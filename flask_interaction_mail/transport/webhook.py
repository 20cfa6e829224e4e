"""Posts a signed message to a URL: the only HTTP that the extension speaks of its own accord.

The standard library's client speaks over a socket of ours. So the connection goes where the
connect policy lets it go: the address that was checked is the one that is used, where a client
that looks the name up itself could be given another one. One POST and the status of its answer is
all that is needed; redirects are not followed, and the body of the answer is not read.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com), for which most
languages have a library.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import http.client
import socket
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from ..errors import InteractionMailError, TransportError
from ..language import mark, said_by
from ..outcome import Fault
from ..settings.secret import Secret, signing_key
from .policy import ConnectPolicy
from .smtp.connect import Endpoint, connected, resolve, unconnected, within
from .smtp.timeouts import Until
from .smtp.tls import context_for, explain

LIMIT: Final = 10.0  # s, from the name service to the status of the answer
_PORTS: Final = {"https": 443, "http": 80}


class WebhookFailed(InteractionMailError):
    """The webhook did not take the message; the text says why, for an administrator."""


def signed(secret: Secret, *, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The header fields that say who sends ``body``, and when (``timestamp``, seconds of UTC).

    HMAC-SHA256 of ``id.timestamp.body``.
    """
    content = f"{id}.{timestamp}.".encode() + body
    digest = base64.b64encode(hmac.digest(signing_key(secret), content, "sha256")).decode("ascii")
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{digest}",
    }


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    policy: ConnectPolicy,
    limit: float = LIMIT,
) -> None:
    """Post ``body``, JSON, to ``url`` once, within ``limit`` seconds.

    Raises:
        WebhookFailed: it was not answered with 2xx, or may not be connected to.
    """
    exchange = _Exchange(urlsplit(url), policy, Until.within(limit))
    about = {"host": exchange.host}
    try:
        status = within(exchange.until, lambda: exchange.run(body, headers))
    except TransportError as error:
        raise WebhookFailed(_refused(exchange.host, error)) from error
    except (OSError, http.client.HTTPException) as error:
        raise WebhookFailed(_broken(exchange.host, error)) from error
    finally:
        exchange.close()
    if status is None:
        seconds = f"{limit:.0f}"
        text = mark("%(host)s did not answer within %(seconds)s seconds.", seconds=seconds, **about)
        raise WebhookFailed(text)
    about["status"] = str(status)
    if 300 <= status < 400:
        raise WebhookFailed(
            mark(
                "%(host)s answered %(status)s, a redirect, which is not followed: "
                "enter the URL that it leads to.",
                **about,
            )
        )
    if not 200 <= status < 300:
        raise WebhookFailed(
            mark(
                "%(host)s answered %(status)s instead of 2xx: it has not taken the message. "
                "Whoever runs it can see why.",
                **about,
            )
        )


class _Exchange:
    """One request and its answer."""

    def __init__(self, url: SplitResult, policy: ConnectPolicy, until: Until) -> None:
        self.url = url
        self.host = url.hostname or ""
        self.until = until
        self._policy = policy
        self._socket: socket.socket | None = None

    def run(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Connect, send, and hear the status."""
        self._socket = opened = self._connect()
        if self.url.scheme == "https":
            opened.settimeout(max(self.until.left, 0.001))
            self._socket = opened = context_for(None).wrap_socket(opened, server_hostname=self.host)
        opened.settimeout(max(self.until.left, 0.001))
        client = http.client.HTTPConnection(self.host, self._port)  # without one it looks for it
        client.sock = opened
        path = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        fields = {"Host": self.url.netloc, "Content-Type": "application/json", **headers}
        client.request("POST", path, body, {**fields, "Connection": "close"})
        return client.getresponse().status

    def close(self) -> None:
        """Break the connection, which also ends what still waits in another thread."""
        if (opened := self._socket) is not None:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    @property
    def _port(self) -> int:
        return self.url.port or _PORTS[self.url.scheme]

    def _connect(self) -> socket.socket:
        port = self._port
        errors: list[OSError] = []
        endpoints = resolve(self.host, port, self._policy, self.until)
        for at, endpoint in enumerate(endpoints):
            if self.url.scheme == "http" and not _is_here(endpoint):
                text = mark("%(host)s is another machine, which needs https.", host=self.host)
                raise WebhookFailed(text)
            share = self.until.left / (len(endpoints) - at)
            try:
                return connected(endpoint, self.until.step(share))
            except OSError as error:
                errors.append(error)
        raise unconnected(errors, self.host, port) from errors[-1]


def _is_here(endpoint: Endpoint) -> bool:
    return ip_address(endpoint.address).is_loopback


def _refused(host: str, error: TransportError) -> str:
    if error.fault is Fault.ADDRESS_FORBIDDEN:
        return mark(
            "Connections to %(host)s are not allowed: no receiver can have its address, or "
            "INTERACTION_MAIL_DENY_NETWORKS or INTERACTION_MAIL_DENY_PORTS forbids it.",
            host=host,
        )
    return said_by(error)


def _broken(host: str, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return mark("%(host)s did not answer in time.", host=host)
    if isinstance(error, http.client.HTTPException):
        return mark("The answer of %(host)s is not that of a web server.", host=host)
    if hasattr(error, "verify_code"):
        return explain(error)[1]
    return mark("The connection to %(host)s broke.", host=host)
