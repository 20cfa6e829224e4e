"""One POST to a URL: the only HTTP that the extension speaks of its own accord.

The standard library's client speaks over a socket of ours. So the connection goes where the
connect policy lets it go: the address that was checked is the one that is used, where a client
that looks the name up itself could be given another one. Redirects are not followed, and no more
of an answer is read than was asked for.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from ..errors import InteractionMailError, TransportError
from ..language import mark, said_by
from ..outcome import Fault
from .policy import ConnectPolicy
from .smtp.connect import Endpoint, connected, resolve, unconnected, within
from .smtp.timeouts import Until
from .smtp.tls import context_for, explain

_PORTS: Final = {"https": 443, "http": 80}
_SILENT: Final = mark("%(host)s did not answer in time.")


class Answer(NamedTuple):
    """The status, and the beginning of the body: as many bytes as were asked for."""

    status: int
    body: bytes


class PostFailed(InteractionMailError):
    """There is no answer; the text says why, for an administrator, and ``fault`` in one word."""

    def __init__(self, text: str, fault: Fault) -> None:
        super().__init__(text)
        self.fault = fault


def post(
    url: str,
    render: Callable[[], bytes],
    headers: Mapping[str, str],
    *,
    policy: ConnectPolicy,
    until: Until,
    most: int = 0,
    ca_certificate: str | None = None,
) -> Answer:
    """Post what ``render`` gives to ``url`` once; reads ``most`` bytes of the answer.

    All of it ends at ``until``.

    It is rendered only when it is sent, and the errors of that have no traceback: there may be a
    secret in it.
    ``ca_certificate`` (PEM) is trusted beside the system's CAs.

    Raises:
        PostFailed: there was no answer, or the URL may not be connected to.
    """
    exchange = _Exchange(urlsplit(url), policy, until, ca_certificate)
    try:
        answer = within(until, lambda: exchange.run(render, headers, most))
    except TransportError as error:
        raise _refused(exchange.host, error) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _broken(exchange.host, error) from error.with_traceback(None)
    finally:
        exchange.close()
    if answer is None:
        raise PostFailed(mark(_SILENT, host=exchange.host), Fault.SILENT)
    return answer


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, url: SplitResult, policy: ConnectPolicy, until: Until, ca_certificate: str | None
    ) -> None:
        self.url = url
        self.host = url.hostname or ""
        self.until = until
        self._policy = policy
        self._ca_certificate = ca_certificate
        self._socket: socket.socket | None = None

    def run(self, render: Callable[[], bytes], headers: Mapping[str, str], most: int) -> Answer:
        """Connect, send, and hear the answer."""
        self._socket = opened = self._connect()
        if self.url.scheme == "https":
            opened.settimeout(max(self.until.left, 0.001))
            context = context_for(self._ca_certificate)
            self._socket = opened = context.wrap_socket(opened, server_hostname=self.host)
        opened.settimeout(max(self.until.left, 0.001))
        client = http.client.HTTPConnection(self.host, self._port)  # without one it looks for it
        client.sock = opened
        path = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        fields = {"Host": self.url.netloc, **headers, "Connection": "close"}
        client.request("POST", path, render(), fields)
        response = client.getresponse()
        return Answer(response.status, response.read(most) if most else b"")

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
                raise PostFailed(text, Fault.ADDRESS_FORBIDDEN)
            share = self.until.left / (len(endpoints) - at)
            try:
                return connected(endpoint, self.until.step(share))
            except OSError as error:
                errors.append(error)
        raise unconnected(errors, self.host, port) from errors[-1]


def _is_here(endpoint: Endpoint) -> bool:
    return ip_address(endpoint.address).is_loopback


def _refused(host: str, error: TransportError) -> PostFailed:
    text, fault = said_by(error), error.fault or Fault.UNREACHABLE
    if fault is Fault.ADDRESS_FORBIDDEN:
        text = mark(
            "Connections to %(host)s are not allowed: no receiver can have its address, or "
            "INTERACTION_MAIL_DENY_NETWORKS or INTERACTION_MAIL_DENY_PORTS forbids it.",
            host=host,
        )
    return PostFailed(text, fault)


def _broken(host: str, error: Exception) -> PostFailed:
    if isinstance(error, TimeoutError):
        return PostFailed(mark(_SILENT, host=host), Fault.SILENT)
    if isinstance(error, http.client.HTTPException):
        text = mark("The answer of %(host)s is not that of a web server.", host=host)
        return PostFailed(text, Fault.NONSENSE)
    fault, said = explain(error)
    if hasattr(error, "verify_code"):
        return PostFailed(said, fault)
    return PostFailed(mark("The connection to %(host)s broke.", host=host), Fault.LOST)
