"""A name server on loopback, by UDP and TCP, which answers from a few lines and fails on demand."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

MOST_UDP = 1232  # bytes of an answer by UDP; a longer one is cut
Wire = bytes | None  # None: no answer
Fault = Callable[[dns.message.Message], Wire]

_WAITS = 0.1  # s after which a thread looks whether the server has ended


def silent(query: dns.message.Message) -> Wire:
    """No answer at all."""
    return None


def rcode(code: dns.rcode.Rcode) -> Fault:
    """An answer that is only a code, such as SERVFAIL."""

    def fault(query: dns.message.Message) -> Wire:
        response = dns.message.make_response(query)
        response.set_rcode(code)
        return response.to_wire()

    return fault


def garbled(query: dns.message.Message) -> Wire:
    """The right header, and then bytes that are no message."""
    return dns.message.make_response(query).to_wire()[:12] + b"\xff" * 7


def slow(seconds: float) -> Fault:
    """An answer without records, after some time."""

    def fault(query: dns.message.Message) -> Wire:
        time.sleep(seconds)
        return dns.message.make_response(query).to_wire()

    return fault


SERVFAIL, REFUSED = rcode(dns.rcode.SERVFAIL), rcode(dns.rcode.REFUSED)


@dataclass
class NameServer:
    """One server. ``zone`` holds records as in a zone file, by name; ``faults`` go before it.

    A name that starts with ``*.`` answers for all names below that are not there (RFC 4592).
    """

    zone: dict[str, list[str]] = field(default_factory=dict)
    faults: dict[str, Fault] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)  # protocol, name, type
    port: int = 0

    def add(self, name: str, *records: str) -> None:
        """Add records such as ``TXT "v=spf1 -all"`` at ``name``."""
        self.zone.setdefault(name, []).extend(records)

    def answer(self, wire: bytes, protocol: str) -> Wire:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append((protocol, name, dns.rdatatype.to_text(question.rdtype)))
        if fault := self.faults.get(name):
            return fault(query)
        response = dns.message.make_response(query, recursion_available=True)
        self._fill(response, name, question.rdtype)
        answer = response.to_wire(max_size=65535)
        if protocol == "udp" and len(answer) > MOST_UDP:
            response.answer.clear()
            response.flags |= dns.flags.TC
            return response.to_wire()
        return answer

    def _fill(self, response: dns.message.Message, name: str, kind: int) -> None:
        records = self._records(name)
        if records is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
            return
        owner = dns.name.from_text(name)
        for wanted in (kind, dns.rdatatype.CNAME):
            word = dns.rdatatype.to_text(wanted)
            texts = [text for text in records if text.partition(" ")[0] == word]
            if texts:
                values = [text.partition(" ")[2] for text in texts]
                response.answer.append(dns.rrset.from_text(owner, 60, "IN", word, *values))
                break
        else:
            return
        if wanted == dns.rdatatype.CNAME and kind != wanted and len(response.answer) < 20:
            self._fill(response, values[0].rstrip(".").lower(), kind)

    def _records(self, name: str) -> list[str] | None:
        if name in self.zone:
            return self.zone[name]
        if any(known.endswith(f".{name}") for known in self.zone):
            return []  # an empty non-terminal exists (RFC 8020)
        labels = name.split(".")
        for at in range(1, len(labels)):
            if (wild := self.zone.get("*." + ".".join(labels[at:]))) is not None:
                return wild
        return None


@contextlib.contextmanager
def name_server() -> Iterator[NameServer]:
    """A running server on a port of its own."""
    server = NameServer()
    over = threading.Event()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        _bind(tcp, udp)
        server.port = udp.getsockname()[1]
        for each in (tcp, udp):
            each.settimeout(_WAITS)
        threads = [
            threading.Thread(target=serve, args=(server, each, over))
            for serve, each in ((_serve_tcp, tcp), (_serve_udp, udp))
        ]
        for thread in threads:
            thread.start()
        try:
            yield server
        finally:
            over.set()
            for thread in threads:
                thread.join()


def _bind(tcp: socket.socket, udp: socket.socket) -> None:
    """Bind both to one port, chosen by the system for TCP."""
    tcp.bind(("127.0.0.1", 0))
    udp.bind(tcp.getsockname())
    tcp.listen()


def _serve_udp(server: NameServer, udp: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        try:
            wire, client = udp.recvfrom(65535)
        except TimeoutError:
            continue
        if answer := server.answer(wire, "udp"):
            udp.sendto(answer, client)


def _serve_tcp(server: NameServer, tcp: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        try:
            connection, _ = tcp.accept()
        except TimeoutError:
            continue
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            length = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
            answer = server.answer(connection.recv(length, socket.MSG_WAITALL), "tcp")
            if answer:
                connection.sendall(struct.pack("!H", len(answer)) + answer)
