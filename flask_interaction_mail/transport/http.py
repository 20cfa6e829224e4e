"""Requests to a URL: the only HTTP that the extension speaks of its own accord.

``post`` and ``get`` make one request over a connection of its own, a ``Connection`` takes several.
The standard library's client speaks over a socket of ours. So the connection goes where the
connect policy lets it go: the address that was checked is the one that is used, where a client
that looks the name up itself could be given another one. Redirects are not followed, and no more
of an answer is read than was asked for.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from email.message import Message
from ipaddress import ip_address
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from ..errors import InteractionMailError, TransportError
from ..language import mark, said_by
from ..outcome import Fault
from .policy import ConnectPolicy
from .smtp.connect import Endpoint, connected, resolve, unconnected, within
from .smtp.stream import readable
from .smtp.timeouts import Until
from .smtp.tls import context_for, explain

_PORTS: Final = {"https": 443, "http": 80}
SILENT: Final = mark("%(host)s did not answer in time.")
LOST: Final = mark("The connection to %(host)s broke.")


class Answer(NamedTuple):
    """Status, header fields, and the beginning of the body: as many bytes as were asked for."""

    status: int
    headers: Message
    body: bytes


class RequestFailed(InteractionMailError):
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
        RequestFailed: there was no answer, or the URL may not be connected to.
    """
    exchange = Connection(url, policy, ca_certificate)

    def run() -> Answer:
        exchange.open(until)
        fields = {**headers, "Connection": "close"}
        return exchange.ask("POST", exchange.target, render(), fields, until=until, most=most)

    return _once(exchange, run, until)


def get(url: str, *, policy: ConnectPolicy, until: Until, most: int) -> Answer:
    """Get what is at ``url``, ``most`` bytes of it, before ``until``; raises as ``post``."""
    exchange = Connection(url, policy, None)

    def run() -> Answer:
        exchange.open(until)
        fields = {"Connection": "close"}
        return exchange.ask("GET", exchange.target, None, fields, until=until, most=most)

    return _once(exchange, run, until)


def _once(exchange: Connection, run: Callable[[], Answer], until: Until) -> Answer:
    try:
        answer = within(until, run)
    except TransportError as error:
        raise _refused(exchange.host, error) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _broken(exchange.host, error) from error.with_traceback(None)
    finally:
        exchange.close()
    if answer is None:
        raise RequestFailed(mark(SILENT, host=exchange.host), Fault.SILENT)
    return answer


class Connection:
    """A connection to the host of ``url`` for one request after the other, in one thread.

    ``asked`` is whether the last request has left completely, so that only its answer is missing.
    ``ca_certificate`` (PEM) is trusted beside the system's CAs.
    """

    def __init__(self, url: str, policy: ConnectPolicy, ca_certificate: str | None) -> None:
        self.url: SplitResult = urlsplit(url)
        self.host: str = self.url.hostname or ""
        self.asked: bool = False
        self._policy = policy
        self._ca_certificate = ca_certificate
        self._socket: socket.socket | None = None
        self._client: http.client.HTTPConnection | None = None

    @property
    def target(self) -> str:
        """Path and query of the URL."""
        return (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")

    @property
    def usable(self) -> bool:
        """Whether it is open, and the other side has not ended it since the last answer."""
        client, opened = self._client, self._socket
        if opened is None or client is None or client.sock is None or opened.fileno() < 0:
            return False
        return not readable(opened)  # nothing is to come but an end

    @property
    def encrypted(self) -> ssl.SSLSocket | None:
        """The socket, where it is encrypted."""
        return self._socket if isinstance(self._socket, ssl.SSLSocket) else None

    @property
    def address(self) -> str:
        """The numeric address of the host; "" while nothing is open."""
        return str(self._socket.getpeername()[0]) if self._socket else ""

    def open(self, until: Until) -> None:
        """Connect and encrypt, before ``until``.

        Raises:
            TransportError: the name is not known, or there is no way to the host.
            RequestFailed: the URL may not be connected to.
            OSError: the encryption failed.
        """
        self._socket = opened = self._connect(until)
        if self.url.scheme == "https":
            opened.settimeout(max(until.left, 0.001))
            context = context_for(self._ca_certificate)
            self._socket = opened = context.wrap_socket(opened, server_hostname=self.host)
        self._client = http.client.HTTPConnection(self.host, self._port)
        self._client.auto_open = 0  # it would ask nobody where it may connect to
        self._client.sock = opened

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None,
        headers: Mapping[str, str],
        *,
        until: Until,
        most: int,
    ) -> Answer:
        """Send one request, and read ``most`` bytes of its answer, before ``until``.

        Raises:
            OSError: the connection broke, or took too long.
            HTTPException: what came is no answer.
        """
        client, opened = self._client, self._socket
        assert client is not None  # noqa: S101 - it was opened
        assert opened is not None  # noqa: S101
        self.asked = False
        opened.settimeout(max(until.left, 0.001))
        client.request(method, target, body, {"Host": self.url.netloc, **headers})
        self.asked = True
        opened.settimeout(max(until.left, 0.001))
        response = client.getresponse()
        answer = response.read(most) if most else b""
        if not response.isclosed():
            client.close()  # the rest of it would be taken for the next answer
        return Answer(response.status, response.headers, answer)

    def close(self) -> None:
        """Break the connection, which also ends what still waits in another thread."""
        if (opened := self._socket) is not None:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    @property
    def _port(self) -> int:
        return self.url.port or _PORTS[self.url.scheme]

    def _connect(self, until: Until) -> socket.socket:
        port = self._port
        errors: list[OSError] = []
        endpoints = resolve(self.host, port, self._policy, until)
        for at, endpoint in enumerate(endpoints):
            if self.url.scheme == "http" and not _is_here(endpoint):
                text = mark("%(host)s is another machine, which needs https.", host=self.host)
                raise RequestFailed(text, Fault.ADDRESS_FORBIDDEN)
            share = until.left / (len(endpoints) - at)
            try:
                return connected(endpoint, until.step(share))
            except OSError as error:
                errors.append(error)
        raise unconnected(errors, self.host, port) from errors[-1]


def _is_here(endpoint: Endpoint) -> bool:
    return ip_address(endpoint.address).is_loopback


def _refused(host: str, error: TransportError) -> RequestFailed:
    text, fault = said_by(error), error.fault or Fault.UNREACHABLE
    if fault is Fault.ADDRESS_FORBIDDEN:
        text = mark(
            "Connections to %(host)s are not allowed: no receiver can have its address, or "
            "INTERACTION_MAIL_DENY_NETWORKS or INTERACTION_MAIL_DENY_PORTS forbids it.",
            host=host,
        )
    return RequestFailed(text, fault)


def _broken(host: str, error: Exception) -> RequestFailed:
    if isinstance(error, TimeoutError):
        return RequestFailed(mark(SILENT, host=host), Fault.SILENT)
    if isinstance(error, http.client.HTTPException):
        text = mark("The answer of %(host)s is not that of a web server.", host=host)
        return RequestFailed(text, Fault.NONSENSE)
    fault, said = explain(error)
    if hasattr(error, "verify_code"):
        return RequestFailed(said, fault)
    return RequestFailed(mark(LOST, host=host), Fault.LOST)
