"""Connecting to one of the server's addresses, and what it means that none of them answers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable

from ...errors import TransportError
from ...outcome import Fault, Stage
from .resolve import Place
from .timeouts import Until


def connected(place: Place, until: Until) -> socket.socket:
    """A socket that is connected to ``place``.

    Raises:
        OSError: it is not to be had, or not in time.
    """
    connecting = socket.socket(place.family, socket.SOCK_STREAM)
    try:
        connecting.settimeout(max(until.left, 0.001))
        # That a connection has ended already is seen, and told better, at the next step.
        with contextlib.suppress(ConnectionResetError):
            connecting.connect(place.sockaddr)
        # Commands are small and wait for their answer: never hold one back (RFC 896).
        with contextlib.suppress(OSError):
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        connecting.close()
        raise
    return connecting


def unconnected(errors: Iterable[OSError], server: str, port: int) -> TransportError:
    """Why ``server`` cannot be reached, from the errors of all the addresses that were tried.

    Where one address gave an answer, or should have, that counts: a machine without IPv6 has no
    way to the server's IPv6 address, and that is not why.
    """
    found = set(map(fault_of, errors))
    if Fault.REFUSED in found:
        text, fault = f"The machine is there, but nothing answers at port {port}.", Fault.REFUSED
    elif Fault.CONNECT_TIMEOUT in found:
        text, fault = f"{server} at port {port} does not react.", Fault.CONNECT_TIMEOUT
    else:
        text, fault = f"There is no way to {server} from here.", Fault.UNREACHABLE
    return TransportError(text, stage=Stage.CONNECT, fault=fault)


def fault_of(error: OSError) -> Fault:
    """What ``error`` says about the one address that was tried."""
    if isinstance(error, ConnectionRefusedError):
        return Fault.REFUSED
    return Fault.CONNECT_TIMEOUT if isinstance(error, TimeoutError) else Fault.UNREACHABLE
