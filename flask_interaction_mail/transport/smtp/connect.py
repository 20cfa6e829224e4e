"""Finds the server's addresses, connects to one, and knows this machine's name for EHLO.

The name service has no timeout of its own, so it is asked from a thread.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import re
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ... import threads
from ...errors import TransportError
from ...language import mark
from ...outcome import Fault, Stage
from ..policy import ConnectPolicy
from .timeouts import Until

T = TypeVar("T")

_OWN_NAME_WITHIN: Final = 2.0  # s
_FULL_NAME = re.compile(
    r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]", re.I
)
_NO_NAMES: Final = ("localhost", "localdomain", "invalid", "arpa")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port of the server, allowed by the policy."""

    family: socket.AddressFamily
    sockaddr: tuple[str | int, ...]

    @property
    def address(self) -> str:
        return str(self.sockaddr[0])


def resolve(server: str, port: int, policy: ConnectPolicy, until: Until) -> tuple[Endpoint, ...]:
    """The addresses of ``server`` that the policy allows, in the order of the system.

    Raises:
        TransportError: the name is unknown, the name service fails, or all addresses are forbidden.
    """
    try:
        found = _numeric(server, port) or within(until, lambda: _lookup(server, port))
    except (socket.gaierror, UnicodeError) as error:
        raise _unknown(server, error) from error
    except OSError as error:
        raise _name_service(server) from error
    if found is None:
        raise _name_service(server)
    return _allowed(server, port, found, policy)


def connected(endpoint: Endpoint, until: Until) -> socket.socket:
    """A socket that is connected to ``endpoint``.

    Raises:
        OSError: the connection failed, or took too long.
    """
    connecting = socket.socket(endpoint.family, socket.SOCK_STREAM)
    try:
        connecting.settimeout(max(until.left, 0.001))
        # The next step notices that the connection has ended already, and says it better.
        with contextlib.suppress(ConnectionResetError):
            connecting.connect(endpoint.sockaddr)
        # Commands are small and wait for their answer: send each at once (RFC 896).
        with contextlib.suppress(OSError):
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connecting.close()
        raise
    return connecting


def unconnected(errors: Iterable[OSError], server: str, port: int) -> TransportError:
    """Why ``server`` cannot be reached, from the errors of all the addresses that were tried.

    An address that refused, or did not answer, counts more than one without a route: from a machine
    without IPv6, the server's IPv6 address can never be reached.
    """
    found = set(map(fault_of, errors))
    if Fault.REFUSED in found:
        fault = Fault.REFUSED
        text = mark("The machine was reached, but nothing answers on port %(port)s.", port=port)
    elif Fault.CONNECT_TIMEOUT in found:
        fault = Fault.CONNECT_TIMEOUT
        text = mark("%(server)s does not react on port %(port)s.", server=server, port=port)
    else:
        fault = Fault.UNREACHABLE
        text = mark("There is no way to %(server)s from here.", server=server)
    return TransportError(text, stage=Stage.CONNECT, fault=fault)


def fault_of(error: OSError) -> Fault:
    """The fault of one address, from the ``error`` of connecting to it."""
    if isinstance(error, ConnectionRefusedError):
        return Fault.REFUSED
    return Fault.CONNECT_TIMEOUT if isinstance(error, TimeoutError) else Fault.UNREACHABLE


def own_name(configured: str | None, fallback_domain: str | None, address: str) -> str:
    """The name to say in EHLO (RFC 5321 §4.1.4).

    It is the first that there is of: the ``configured`` name, the full name of this machine, the
    domain of default From, the literal of the connection's local ``address``.
    """
    return configured or machine_name() or fallback_domain or literal(address)


def literal(address: str) -> str:
    """An IP address as a domain literal (RFC 5321 §4.1.3)."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


@functools.cache
def machine_name() -> str | None:
    """This machine's full name, None if it has none that a strict server accepts."""
    if is_full_name(name := socket.gethostname()):
        return name
    try:
        name = within(Until.within(_OWN_NAME_WITHIN), socket.getfqdn) or ""
    except OSError:
        return None
    return name if is_full_name(name) else None


def is_full_name(name: str) -> bool:
    """Whether ``name`` has the form of a full host name that is known beyond this machine."""
    return bool(_FULL_NAME.fullmatch(name)) and name.lower().rsplit(".", 1)[-1] not in _NO_NAMES


def within(until: Until, function: Callable[[], T]) -> T | None:
    """What ``function`` gives or raises; None if it takes too long.

    It then goes on in its thread, and its result is ignored.
    """
    # Not a SimpleQueue, which a signal could make wait for ever: see AgentPool.
    results: queue.Queue[tuple[T | None, Exception | None]] = queue.Queue()

    def run() -> None:
        try:
            results.put((function(), None))
        except Exception as error:  # raised in the thread that waits
            results.put((None, error))

    if threads.start(run, "interaction-mail-names") is None:
        run()  # without a time limit
    try:
        result, error = results.get(timeout=min(until.left, threading.TIMEOUT_MAX))
    except queue.Empty:
        return None
    if error is not None:
        raise error
    return result


def _numeric(server: str, port: int) -> list[Endpoint]:
    try:
        return _lookup(server, port, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return []


def _lookup(server: str, port: int, flags: int = 0) -> list[Endpoint]:
    found = socket.getaddrinfo(server.strip("[]"), port, type=socket.SOCK_STREAM, flags=flags)
    return [Endpoint(family, _plain(sockaddr)) for family, _, _, _, sockaddr in found]


def _plain(sockaddr: tuple[Any, ...]) -> tuple[str | int, ...]:
    return sockaddr


def _allowed(
    server: str, port: int, found: list[Endpoint], policy: ConnectPolicy
) -> tuple[Endpoint, ...]:
    allowed = tuple(
        dict.fromkeys(endpoint for endpoint in found if policy.allows(endpoint.address, port))
    )
    if not allowed:
        raise TransportError(
            mark(
                "Connections to %(server)s on port %(port)s are not allowed: no mail server can "
                "have its address, or INTERACTION_MAIL_DENY_NETWORKS or "
                "INTERACTION_MAIL_DENY_PORTS forbids it.",
                server=server,
                port=port,
            ),
            stage=Stage.RESOLVE,
            transient=False,
            fault=Fault.ADDRESS_FORBIDDEN,
        )
    return allowed


def _unknown(server: str, error: Exception) -> TransportError:
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return _name_service(server)
    return TransportError(
        mark("The name %(server)s is not known.", server=server),
        stage=Stage.RESOLVE,
        fault=Fault.NAME_UNKNOWN,
    )


def _name_service(server: str) -> TransportError:
    return TransportError(
        mark("The name service gave no answer for %(server)s.", server=server),
        stage=Stage.RESOLVE,
        fault=Fault.NAME_SERVICE,
    )
