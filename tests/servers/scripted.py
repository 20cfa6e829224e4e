"""A mail server that does what its script says, above all what no server should do."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

EHLO = b"250-scripted.test\r\n250-PIPELINING\r\n250 SIZE 1000000\r\n"
LOCK_STEP = b"250 scripted.test\r\n"
PIPELINING = b"250-scripted.test\r\n250 PIPELINING\r\n"
OK = b"250 2.0.0 ok\r\n"


class Gone(Exception):
    """The client or the script ended the connection."""


@dataclass
class Received:
    """A message as it came in; ``content`` is without dot-stuffing."""

    sender: str
    recipients: list[str]
    content: bytes


class Peer:
    """One connection, seen from the server."""

    def __init__(self, server: Scripted, connection: socket.socket) -> None:
        self.server = server
        self.socket = connection
        self.buffer = b""
        self.sender = ""
        self.recipients: list[str] = []

    def say(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> bytes:
        while b"\n" not in self.buffer:
            received = self.socket.recv(65536)
            if not received:
                raise Gone
            self.server.reads += 1
            self.buffer += received
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.removesuffix(b"\r")

    def content(self) -> bytes:
        lines = []
        while (line := self.line()) != b".":
            lines.append(line.removeprefix(b".") + b"\r\n")
        return b"".join(lines)

    def act(self, action: Action) -> None:
        if isinstance(action, bytes):
            self.say(action)
        else:
            action(self)


Action = bytes | Callable[[Peer], None]


def close(peer: Peer) -> None:
    """End the connection."""
    raise Gone


def reset(peer: Peer) -> None:
    """End the connection the rude way."""
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise Gone


def silence(peer: Peer) -> None:
    """Say nothing until the client goes away."""
    with contextlib.suppress(OSError):
        while peer.socket.recv(65536):
            pass
    raise Gone


def drip(data: bytes, every: float) -> Action:
    """Say ``data`` over and over, once ``every`` seconds."""

    def act(peer: Peer) -> None:
        while not peer.server.stopping.wait(every):
            peer.say(data)
        raise Gone

    return act


def flood(data: bytes) -> Action:
    """Say ``data`` over and over, as fast as the client takes it."""

    def act(peer: Peer) -> None:
        while not peer.server.stopping.is_set():
            peer.say(data)
        raise Gone

    return act


def then(*actions: Action) -> Action:
    """One after the other."""

    def act(peer: Peer) -> None:
        for action in actions:
            peer.act(action)

    return act


def after(seconds: float, action: Action) -> Action:
    """``action``, later."""

    def act(peer: Peer) -> None:
        peer.server.stopping.wait(seconds)
        peer.act(action)

    return act


TOO_MANY = b"452 4.5.3 Error: too many recipients\r\n"


def room_for(most: int, otherwise: bytes = TOO_MANY) -> Action:
    """Accept ``most`` recipients in each transaction."""

    def act(peer: Peer) -> None:
        if len(peer.recipients) <= most:
            peer.say(b"250 2.1.5 recipient ok\r\n")
        else:
            peer.act(refusing(otherwise))

    return act


def refusing(reply: bytes) -> Action:
    """Not take this recipient."""

    def act(peer: Peer) -> None:
        peer.recipients.pop()
        peer.say(reply)

    return act


def start_tls(peer: Peer) -> None:
    """Agree, and encrypt."""
    peer.say(b"220 go on\r\n")
    encrypt(peer)


def encrypt(peer: Peer) -> None:
    """Encrypt without a word."""
    assert peer.server.tls is not None
    peer.socket = peer.server.tls.wrap_socket(peer.socket, server_side=True)
    peer.buffer = b""


def check_login(login: str, password: str) -> Action:
    """AUTH PLAIN with an initial response: right or wrong."""
    right = base64.b64encode(f"\0{login}\0{password}".encode())

    def act(peer: Peer) -> None:
        good = peer.server.lines[-1].split(b" ")[-1] == right
        peer.say(b"235 2.7.0 welcome\r\n" if good else b"535 5.7.8 wrong\r\n")

    return act


def by_login(login: str, password: str, refusal: Action) -> dict[str, Action | list[Action]]:
    """Answers of a server that offers PLAIN, gives its ``refusal`` to it, and means LOGIN."""
    encoded = [base64.b64encode(text.encode()).decode() for text in (login, password)]

    def act(peer: Peer) -> None:
        peer.act(refusal if b"PLAIN" in peer.server.lines[-1] else b"334 VXNlcm5hbWU6\r\n")

    return {
        "EHLO": b"250-scripted.test\r\n250 AUTH PLAIN LOGIN\r\n",
        "AUTH": act,
        encoded[0].upper(): b"334 UGFzc3dvcmQ6\r\n",
        encoded[1].upper(): b"235 2.7.0 welcome\r\n",
    }


DEFAULTS: dict[str, Action] = {
    "GREETING": b"220 scripted.test ESMTP\r\n",
    "EHLO": EHLO,
    "HELO": b"250 scripted.test\r\n",
    "MAIL": b"250 2.1.0 sender ok\r\n",
    "RCPT": b"250 2.1.5 recipient ok\r\n",
    "DATA": b"354 go on\r\n",
    "DOT": b"250 2.0.0 taken as 1\r\n",
    "RSET": b"250 2.0.0 forgotten\r\n",
    "QUIT": then(b"221 2.0.0 bye\r\n", close),
    "STARTTLS": start_tls,
    "AUTH": b"235 2.7.0 welcome\r\n",
}


@dataclass
class Scripted:
    """A running server. ``answers`` maps a verb to an action, or to a list of them, one a call.

    "RCPT somebody@x.test" is more specific than "RCPT"; "GREETING" comes at the beginning,
    "DOT" after the content, "" for what has no verb of its own.
    """

    answers: dict[str, Action | list[Action]] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    lines: list[bytes] = field(default_factory=list)
    messages: list[Received] = field(default_factory=list)
    connections: int = 0
    reads: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def commands(self) -> list[str]:
        """The verbs that came in, in order."""
        return [line.split(b" ")[0].decode("latin-1").upper() for line in self.lines]

    def count(self, verb: str) -> int:
        return self.commands().count(verb)

    def action(self, *keys: str) -> Action:
        for key in keys:
            wanted = self.answers.get(key)
            if isinstance(wanted, list):
                if wanted:
                    return wanted.pop(0)
            elif wanted is not None:
                return wanted
        return DEFAULTS.get(keys[-1], b"500 5.5.1 what?\r\n")

    def serve(self, connection: socket.socket) -> None:
        peer = Peer(self, connection)
        try:
            peer.act(self.action("GREETING"))
            while True:
                self.respond(peer, peer.line())
        except (Gone, OSError, ssl.SSLError):
            pass
        finally:
            with contextlib.suppress(OSError):
                peer.socket.close()

    def respond(self, peer: Peer, line: bytes) -> None:
        self.lines.append(line)
        verb = line.split(b" ")[0].decode("latin-1").upper()
        address = line.partition(b"<")[2].partition(b">")[0].decode(errors="replace")
        if verb == "MAIL":
            peer.sender, peer.recipients = address, []
        if verb == "RCPT":
            peer.recipients.append(address)
        action = self.action(f"{verb} {address}", verb)
        peer.act(action)
        if verb == "DATA" and isinstance(action, bytes) and action.startswith(b"354"):
            content = peer.content()
            self.lines.append(b".")
            self.messages.append(Received(peer.sender, list(peer.recipients), content))
            peer.act(self.action("DOT"))


@contextlib.contextmanager
def scripted(
    answers: dict[str, Action | list[Action]] | None = None,
    *,
    tls: ssl.SSLContext | None = None,
    port: int = 0,
) -> Iterator[Scripted]:
    """Run a server on loopback until the block ends."""
    listening = socket.create_server(("127.0.0.1", port))
    server = Scripted(answers or {}, tls, port=listening.getsockname()[1])
    connections: list[socket.socket] = []

    def accept() -> None:
        while not server.stopping.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            server.connections += 1
            connections.append(connection)
            threading.Thread(target=server.serve, args=(connection,), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        server.stopping.set()
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join(2)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Wait for ``condition``; whether it came true.

    It is looked at less and less often, as many of them ask a database.
    """
    end, pause = time.monotonic() + seconds, 0.002
    while not condition() and time.monotonic() < end:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.03)
    return condition()
