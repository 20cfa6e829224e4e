"""One connection to the server, step by step up to the point where mail can be handed over."""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from ...errors import TransportError
from ...outcome import Fault, Reply, Stage
from ...settings.model import Encryption
from ..policy import ConnectPolicy
from ..relay import Relay
from . import auth, commands, tls
from .auth import Exchange, LoggedIn
from .connect import connected, unconnected
from .replies import Capabilities, capabilities
from .resolve import Place, own_name, resolve
from .stream import Tell, Wire, WireError
from .timeouts import FOREVER, Timeouts, Until

_RESETS: Final = 9  # RSET that a connection is asked for: Exim ends it at the tenth or so


@dataclass(slots=True, kw_only=True)
class Session:
    """A connection being opened and used; every step raises TransportError.

    ``until`` bounds all steps together; ``context`` stands in for the relay's own trust.
    ``mechanism`` is the one to log in by, if the server offers it; ``try_next`` says after which
    answers of the server another one is tried.
    ``tell`` is told every line, credentials blanked. ``failed`` are the places that could not be
    connected to. ``served`` counts the messages that were
    begun; ``dirty`` is true while the server still holds an envelope that has to be reset;
    ``welcome`` is true once a recipient was accepted.
    ``resets`` are those it was asked for; ``held_back`` is true once a refusal was. Once QUIT is
    said, ``leaving`` is until when its answer is waited for.
    """

    relay: Relay
    timeouts: Timeouts = field(default_factory=Timeouts)
    policy: ConnectPolicy = field(default_factory=ConnectPolicy)
    until: Until = FOREVER
    context: ssl.SSLContext | None = None
    mechanism: str | None = None
    try_next: Callable[[Reply], bool] = auth.refuses_mechanism
    tell: Tell | None = None
    places: tuple[Place, ...] = ()
    failed: dict[Place, OSError] = field(default_factory=dict)
    offered: Capabilities = field(default_factory=Capabilities)
    greeting: Reply | None = None
    served: int = 0
    dirty: bool = False
    welcome: bool = False
    resets: int = 0
    held_back: bool = False
    leaving: Until | None = None
    _wire: Wire | None = None

    @property
    def server(self) -> str:
        return self.relay.server or ""

    @property
    def kept(self) -> bool:
        """Whether it has carried another message before this one."""
        return self.served > 1

    @property
    def wire(self) -> Wire:
        """The open connection."""
        if self._wire is None:
            raise TransportError("There is no connection.", stage=Stage.CONNECT, fault=Fault.LOST)
        return self._wire

    def steps(self) -> Iterator[tuple[Stage, Callable[[], object]]]:
        """What to do in which order before mail can be handed over."""
        yield Stage.RESOLVE, self.resolve
        yield Stage.CONNECT, self.connect
        greet_and_encrypt = [(Stage.GREETING, self.greet), (Stage.ENCRYPTION, self.encrypt)]
        if self.relay.encryption is Encryption.TLS:
            greet_and_encrypt.reverse()
        yield from greet_and_encrypt
        yield Stage.AUTHENTICATION, self.authenticate

    def open(self) -> None:
        """All steps; on failure the connection is closed."""
        try:
            for _, step in self.steps():
                step()
        except BaseException:
            self.close()
            raise

    def resolve(self) -> tuple[Place, ...]:
        """Find the server's addresses and check them against the policy."""
        if not self.server:
            raise TransportError(
                "No server is set.",
                stage=Stage.SETTINGS,
                transient=False,
                fault=Fault.SETTINGS_INCOMPLETE,
            )
        until = self.until.step(self.timeouts.connect)
        self.places = resolve(self.server, self.relay.port, self.policy, until)
        return self.places

    def connect(self) -> Place:
        """Connect to the first address that answers; gives which."""
        until = self.until.step(self.timeouts.connect)
        for at, place in enumerate(self.places):
            share = until.left / (len(self.places) - at)
            try:
                self._wire = Wire(connected(place, until.step(share)), self.tell)
                return place
            except OSError as error:
                self.failed[place] = error
        errors = tuple(self.failed.values())
        raise unconnected(errors, self.server, self.relay.port) from errors[-1]

    def greet(self) -> Reply:
        """Hear the greeting, say hello, learn what the server offers; gives the greeting."""
        self.greeting = reply = self.hear(Stage.GREETING, self.timeouts.greeting)
        if reply.code != 220:
            raise _unwelcome(reply)
        self._hello()
        return reply

    def encrypt(self) -> tls.TlsFacts | None:
        """Encrypt as the relay says; gives what was agreed, None for no encryption."""
        match self.relay.encryption:
            case Encryption.STARTTLS:
                self.handshake_only()
                self._hello()  # what was said before the encryption does not count (RFC 3207)
            case Encryption.TLS:
                self.handshake_only()
        return self.wire.facts()

    def handshake_only(self) -> None:
        """Encrypt and say nothing afterwards: for a look at the certificate."""
        if self.relay.encryption is Encryption.STARTTLS:
            self._ask_for_tls()
        self._handshake()

    def authenticate(self) -> LoggedIn | None:
        """Log in where the relay says so; gives how, None for no login (R18, R19).

        Nothing secret is sent before it is certain that it may be.
        """
        if not self.relay.use_authentication:
            return None
        refused: Reply | None = None
        for exchange in auth.exchanges(
            self.relay, self.offered.auth, first=self.mechanism, encrypted=self.wire.encrypted
        ):
            try:
                reply = self._run(exchange)
            except TransportError as error:
                if refused is None or refused.code != auth.REJECTED:
                    raise
                raise auth.refusal(refused) from error  # which is what delivery would be told
            if reply.code == auth.DONE:
                return LoggedIn(exchange.mechanism, refused)
            if refused is None or refused.code != auth.REJECTED:
                refused = reply
            if not self.try_next(reply):
                break
        assert refused is not None  # noqa: S101 - one mechanism at least was tried
        raise auth.refusal(refused)

    def _run(self, exchange: Exchange) -> Reply:
        """Say what ``exchange`` has to say for as long as the server asks; gives the last reply."""
        reply = self._ask_secretly(exchange.command, exchange.shown)
        for respond in exchange.responses:
            if reply.code != auth.GO_ON:
                break
            reply = self._ask_secretly(functools.partial(respond, reply.text), auth.STARS)
        return reply

    def _ask_secretly(self, render: Callable[[], bytes], shown: str) -> Reply:
        seconds = self.timeouts.command
        with self.at(Stage.AUTHENTICATION):
            self.wire.send_secret(render, shown, self.until.step(seconds))
        return self.hear(Stage.AUTHENTICATION, seconds)

    def speak_in_turn(self) -> None:
        """Send each command after the answer to the one before, whatever the server offers."""
        self.offered = replace(self.offered, pipelining=False)

    def send_content(self, data: bytes) -> None:
        """Send content with its dot."""
        wire = self.wire
        try:
            wire.send_content(data, self.timeouts.block, self.until)
        except WireError as error:
            raise _failed(error, Stage.CONTENT) from error

    def say(self, data: bytes, stage: Stage) -> None:
        """Send commands."""
        wire = self.wire
        try:
            wire.send(data, self.until.step(self.timeouts.command))
        except WireError as error:
            raise _failed(error, stage) from error

    def hear(self, stage: Stage, seconds: float) -> Reply:
        """The next reply, within ``seconds``."""
        wire = self.wire
        try:
            return wire.read(self.until.step(seconds))
        except WireError as error:
            raise _failed(error, stage) from error

    def ask(self, data: bytes, stage: Stage, seconds: float | None = None) -> Reply:
        """Commands and the first reply, both within ``seconds``, else what commands have."""
        wire = self.wire
        until = self.until.step(self.timeouts.command if seconds is None else seconds)
        try:
            wire.send(data, until)
            return wire.read(until)
        except WireError as error:
            raise _failed(error, stage) from error

    @contextlib.contextmanager
    def at(self, stage: Stage) -> Iterator[None]:
        """Turn what happens on the wire into an error of ``stage``."""
        try:
            yield
        except WireError as error:
            raise _failed(error, stage) from error

    def usable(self) -> bool:
        """Whether the connection looks alive, without asking the server for anything."""
        if self._wire is None or self.leaving is not None:
            return False
        return not (self.dirty and self.resets >= _RESETS) and self._wire.idle()

    def farewell(self) -> None:
        """Say goodbye without waiting for the answer. Never raises."""
        if self._wire is not None and self.leaving is None:
            self.leaving = self.until.step(self.timeouts.quit)
            with contextlib.suppress(WireError):
                self._wire.send(b"QUIT\r\n", self.leaving)

    def quit(self) -> None:
        """Say goodbye; whether the server answers changes nothing."""
        self.farewell()
        if self._wire is not None and self.leaving is not None:
            with contextlib.suppress(WireError):
                self._wire.read(self.leaving)
        self.close()

    def close(self) -> None:
        """Drop the connection. Never raises."""
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def abort(self) -> None:
        """Break the connection from another thread."""
        if (wire := self._wire) is not None:
            wire.abort()

    def _hello(self) -> None:
        name = own_name(self.relay.helo, self.relay.domain, self.wire.local_address)
        self.say(commands.hello("EHLO", name), Stage.GREETING)
        with self.at(Stage.GREETING):
            reply, lines = self.wire.read_lines(self.until.step(self.timeouts.command))
        if reply.permanent:
            reply = self.ask(commands.hello("HELO", name), Stage.GREETING)
            lines = []  # after HELO nothing is offered
        if reply.code != 250:
            raise _unwelcome(reply)
        self.offered = capabilities(lines)

    def _ask_for_tls(self) -> None:
        if not self.offered.starttls:
            raise TransportError(
                "The server does not offer STARTTLS.",
                stage=Stage.ENCRYPTION,
                fault=Fault.STARTTLS_NOT_OFFERED,
            )
        reply = self.ask(b"STARTTLS\r\n", Stage.ENCRYPTION)
        if reply.code != 220:
            raise TransportError(
                f"The server refused STARTTLS: {reply}",
                stage=Stage.ENCRYPTION,
                reply=reply,
                fault=Fault.STARTTLS_REFUSED,
            )

    def _handshake(self) -> None:
        context = self.context or _context(self.relay)
        with self.at(Stage.ENCRYPTION):
            until = self.until.step(self.timeouts.command)
            self.wire.encrypt(self.server.strip("[]").rstrip("."), context, until)


def _failed(error: WireError, stage: Stage) -> TransportError:
    return TransportError(str(error), stage=stage, fault=error.fault)


def _context(relay: Relay) -> ssl.SSLContext:
    try:
        return tls.context_for(relay.ca_certificate)
    except tls.CertificateUnreadable as error:
        raise TransportError(
            str(error), stage=Stage.ENCRYPTION, transient=False, fault=Fault.CA_UNREADABLE
        ) from error


def _unwelcome(reply: Reply) -> TransportError:
    refused = reply.permanent
    return TransportError(
        f"The server does not want to talk: {reply}",
        stage=Stage.GREETING,
        reply=reply,
        transient=not refused,
        fault=Fault.GREETING_REFUSED if refused else Fault.GREETING_TRANSIENT,
    )
