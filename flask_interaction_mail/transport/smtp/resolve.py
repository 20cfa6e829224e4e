"""Names: of the server, to addresses; of this machine, for EHLO. The name service has no
timeout of its own, so it is asked from a thread."""

from __future__ import annotations

import functools
import queue
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ... import threads
from ...errors import TransportError
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
class Place:
    """One address of the server, checked against the policy."""

    family: socket.AddressFamily
    sockaddr: tuple[str | int, ...]

    @property
    def address(self) -> str:
        return str(self.sockaddr[0])


def resolve(server: str, port: int, policy: ConnectPolicy, until: Until) -> tuple[Place, ...]:
    """The addresses of ``server`` that may be connected to, in the order of the system.

    Raises:
        TransportError: no such name, no answer, or only forbidden addresses.
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


def own_name(configured: str | None, fallback_domain: str | None, address: str) -> str:
    """The name to say in EHLO (RFC 5321 §4.1.4), best first.

    What is configured, a full name of this machine, the domain of default From, and at last
    the literal of the local ``address`` of the connection.
    """
    if configured:
        return configured
    if name := machine_name():
        return name
    return fallback_domain or literal(address)


def literal(address: str) -> str:
    """An address as a domain literal (RFC 5321 §4.1.3)."""
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"


@functools.cache
def machine_name() -> str | None:
    """This machine's full name, None where it has none that a strict server would take."""
    if is_full_name(name := socket.gethostname()):
        return name
    try:
        name = within(Until.within(_OWN_NAME_WITHIN), socket.getfqdn) or ""
    except OSError:
        return None
    return name if is_full_name(name) else None


def is_full_name(name: str) -> bool:
    """Whether ``name`` has the form of a full host name that can mean something elsewhere."""
    return bool(_FULL_NAME.fullmatch(name)) and name.lower().rsplit(".", 1)[-1] not in _NO_NAMES


def within(until: Until, function: Callable[[], T]) -> T | None:
    """What ``function`` gives, or raises; None where it takes too long.

    It then goes on alone in its thread, and nobody waits for it.
    """
    results: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            results.put((function(), None))
        except Exception as error:  # handed over, and raised by who waits
            results.put((None, error))

    if threads.start(run, "interaction-mail-names") is None:
        run()  # late is better than never
    try:
        result, error = results.get(timeout=min(until.left, threading.TIMEOUT_MAX))
    except queue.Empty:
        return None
    if error is not None:
        raise error
    return result


def _numeric(server: str, port: int) -> list[Place]:
    try:
        return _lookup(server, port, socket.AI_NUMERICHOST)
    except (socket.gaierror, UnicodeError):
        return []


def _lookup(server: str, port: int, flags: int = 0) -> list[Place]:
    found = socket.getaddrinfo(server.strip("[]"), port, type=socket.SOCK_STREAM, flags=flags)
    return [Place(family, _plain(sockaddr)) for family, _, _, _, sockaddr in found]


def _plain(sockaddr: tuple[Any, ...]) -> tuple[str | int, ...]:
    return sockaddr


def _allowed(
    server: str, port: int, found: list[Place], policy: ConnectPolicy
) -> tuple[Place, ...]:
    allowed = tuple(dict.fromkeys(one for one in found if policy.allows(one.address, port)))
    if not allowed:
        raise TransportError(
            f"{server} at port {port} may not be connected to: no mail server can be there, or "
            "INTERACTION_MAIL_DENY_NETWORKS or INTERACTION_MAIL_DENY_PORTS forbids it.",
            stage=Stage.RESOLVE,
            transient=False,
            fault=Fault.ADDRESS_FORBIDDEN,
        )
    return allowed


def _unknown(server: str, error: Exception) -> TransportError:
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN:
        return _name_service(server)
    return TransportError(
        f"The name {server} is not known.", stage=Stage.RESOLVE, fault=Fault.NAME_UNKNOWN
    )


def _name_service(server: str) -> TransportError:
    return TransportError(
        f"The name service does not answer the question where {server} is.",
        stage=Stage.RESOLVE,
        fault=Fault.NAME_SERVICE,
    )
