"""One connection to the server, step by step until mail can be handed over."""

from __future__ import annotations

import contextlib
import functools
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from ...errors import TransportError
from ...language import mark, said_by
from ...outcome import Fault, Reply, Stage
from ...settings.relay import Encryption, Relay
from ..base import AccessToken
from ..policy import ConnectPolicy
from ..tokens import Tokens
from . import auth, commands, tls
from .auth import Exchange, LoggedIn
from .connect import Endpoint, connected, own_name, resolve, unconnected
from .replies import Capabilities, capabilities
from .stream import Stream, StreamError, Transcribe
from .timeouts import FOREVER, Timeouts, Until

_RESETS: Final = 9  # RSET on one connection: Exim closes it at about the tenth


@dataclass(slots=True, kw_only=True)
class Session:
    """A connection that is opened and used; every step raises TransportError.

    - ``until`` limits all steps together. ``context`` replaces the TLS settings of the relay.
    - ``mechanism`` is the one to log in by first, if the server offers it. ``try_next`` says after
      which answers of the server another one is tried.
    - ``tokens`` is where the token of a relay that wants one comes from, ``token`` that token.
    - ``transcribe`` gets every line, credentials blanked.
    - ``failed`` are the endpoints that could not be connected to.
    - ``served`` counts the messages that were begun, ``resets`` the RSET commands.
    - ``dirty`` is true while the server still holds an envelope, which has to be reset.
    - ``welcome`` is true once a recipient was accepted, ``tarpits`` once a refusal was delayed.
    - ``quit_until`` is until when the answer to QUIT is waited for, once that is said.
    """

    relay: Relay
    timeouts: Timeouts = field(default_factory=Timeouts)
    policy: ConnectPolicy = field(default_factory=ConnectPolicy)
    until: Until = FOREVER
    context: ssl.SSLContext | None = None
    mechanism: str | None = None
    try_next: Callable[[Reply], bool] = auth.refuses_mechanism
    tokens: Tokens | None = None
    token: AccessToken | None = None
    transcribe: Transcribe | None = None
    endpoints: tuple[Endpoint, ...] = ()
    failed: dict[Endpoint, OSError] = field(default_factory=dict)
    offered: Capabilities = field(default_factory=Capabilities)
    greeting: Reply | None = None
    served: int = 0
    dirty: bool = False
    welcome: bool = False
    resets: int = 0
    tarpits: bool = False
    quit_until: Until | None = None
    _stream: Stream | None = None

    @property
    def server(self) -> str:
        return self.relay.server or ""

    @property
    def kept(self) -> bool:
        """Whether it has carried another message before this one."""
        return self.served > 1

    @property
    def stream(self) -> Stream:
        """The open connection."""
        if self._stream is None:
            raise TransportError(
                mark("There is no connection."), stage=Stage.CONNECT, fault=Fault.LOST
            )
        return self._stream

    def steps(self) -> Iterator[tuple[Stage, Callable[[], object]]]:
        """The steps before mail can be handed over, in their order."""
        yield Stage.RESOLVE, self.resolve
        yield Stage.CONNECT, self.connect
        greet_and_encrypt = [(Stage.GREETING, self.greet), (Stage.ENCRYPTION, self.encrypt)]
        if self.relay.encryption is Encryption.TLS:
            greet_and_encrypt.reverse()
        yield from greet_and_encrypt
        if self.relay.by_token:
            yield Stage.TOKEN, self.take_token
        yield Stage.AUTHENTICATION, self.authenticate

    def open(self) -> None:
        """Go through all steps; on failure the connection is closed."""
        try:
            for _, step in self.steps():
                step()
        except BaseException:
            self.close()
            raise

    def resolve(self) -> tuple[Endpoint, ...]:
        """Find the server's addresses that the policy allows."""
        if not self.server:
            raise TransportError(
                mark("No server is set."),
                stage=Stage.SETTINGS,
                transient=False,
                fault=Fault.SETTINGS_INCOMPLETE,
            )
        until = self.until.step(self.timeouts.connect)
        self.endpoints = resolve(self.server, self.relay.port, self.policy, until)
        return self.endpoints

    def connect(self) -> Endpoint:
        """Connect to the first endpoint that answers; gives it."""
        until = self.until.step(self.timeouts.connect)
        for at, endpoint in enumerate(self.endpoints):
            share = until.left / (len(self.endpoints) - at)
            try:
                self._stream = Stream(connected(endpoint, until.step(share)), self.transcribe)
                return endpoint
            except OSError as error:
                self.failed[endpoint] = error
        errors = tuple(self.failed.values())
        raise unconnected(errors, self.server, self.relay.port) from errors[-1]

    def greet(self) -> Reply:
        """Hear the greeting, say EHLO, note what the server offers; gives the greeting."""
        self.greeting = reply = self.hear(Stage.GREETING, self.timeouts.greeting)
        if reply.code != 220:
            raise _unwelcome(reply)
        self._hello()
        return reply

    def encrypt(self) -> tls.TlsFacts | None:
        """Encrypt as the relay says; gives the facts, None for no encryption."""
        match self.relay.encryption:
            case Encryption.STARTTLS:
                self.handshake_only()
                self._hello()  # what was said before the encryption does not count (RFC 3207)
            case Encryption.TLS:
                self.handshake_only()
        return self.stream.facts()

    def handshake_only(self) -> None:
        """Encrypt and send nothing afterwards: for a look at the certificate."""
        if self.relay.encryption is Encryption.STARTTLS:
            self._ask_for_tls()
        self._handshake()

    def authenticate(self) -> LoggedIn | None:
        """Log in where the relay says so; gives how, None for no login (R18, R19).

        Nothing secret is sent before it is clear that it may be.
        """
        if not self.relay.use_authentication:
            return None
        return self._by_token() if self.relay.by_token else self._by_password()

    def take_token(self) -> AccessToken:
        """Get the access token for this relay; gives it."""
        if self.tokens is None:
            raise TransportError(
                mark("There is nothing here that gives an access token."),
                stage=Stage.TOKEN,
                transient=False,
                fault=Fault.TOKEN_FROM_HOST,
            )
        self.token = self.tokens.take(self.relay, self.until)
        return self.token

    def _by_token(self) -> LoggedIn:
        """Log in with the token; if it is refused, once more with a fresh one, if there is one.

        A refusal is no proof that the token is bad: a server that cannot check it may say the same.
        """
        token = self.token or self.take_token()
        mechanism, reply, reason = self._show(token)
        if reply.code == auth.REJECTED and self.tokens is not None:
            self.tokens.drop(self.relay, token)
            if (fresh := self.take_token()).secret != token.secret:
                try:
                    mechanism, reply, reason = self._show(fresh)
                except StreamError as error:  # some servers hang up after a refusal, which counts
                    raise auth.token_refusal(reply, reason) from error
        if reply.code != auth.DONE:
            raise auth.token_refusal(reply, reason)
        return LoggedIn(mechanism)

    def _show(self, token: AccessToken) -> tuple[str, Reply, str]:
        """Log in with ``token``: the mechanism, the last reply, and what the server says of it."""
        exchange = auth.bearer_exchange(
            self.relay, token.secret, self.offered.auth, encrypted=self.stream.encrypted
        )
        challenges: list[str] = []
        reply = self._run(exchange, challenges)
        reason = auth.reason_in(challenges[-1]) if challenges else ""
        return exchange.mechanism, reply, "" if token.secret.reveal() in reason else reason

    def _by_password(self) -> LoggedIn:
        refused: Reply | None = None
        for exchange in auth.exchanges(
            self.relay, self.offered.auth, first=self.mechanism, encrypted=self.stream.encrypted
        ):
            try:
                reply = self._run(exchange)
            except TransportError as error:
                if refused is None or refused.code != auth.REJECTED:
                    raise
                raise auth.refusal(refused) from error  # as delivery would report it
            if reply.code == auth.DONE:
                return LoggedIn(exchange.mechanism, refused)
            if refused is None or refused.code != auth.REJECTED:
                refused = reply
            if not self.try_next(reply):
                break
        assert refused is not None  # noqa: S101 - at least one mechanism was tried
        raise auth.refusal(refused)

    def _run(self, exchange: Exchange, challenges: list[str] | None = None) -> Reply:
        """Answer as ``exchange`` says for as long as the server asks; gives the last reply.

        ``challenges`` gets what the server has asked.
        """
        reply = self._ask_secretly(exchange.command, exchange.shown)
        for respond in exchange.responses:
            if reply.code != auth.GO_ON:
                break
            if challenges is not None:
                challenges.append(reply.text)
            reply = self._ask_secretly(functools.partial(respond, reply.text), auth.STARS)
        return reply

    def _ask_secretly(self, render: Callable[[], bytes], shown: str) -> Reply:
        seconds = self.timeouts.auth
        self.stream.send_secret(render, shown, self.until.step(seconds))
        return self.hear(Stage.AUTHENTICATION, seconds)

    def disable_pipelining(self) -> None:
        """Send each command after the answer to the one before, whatever the server offers."""
        self.offered = replace(self.offered, pipelining=False)

    def speak_plainly(self) -> None:
        """Do so, and ask for no reports either, for as long as the connection lasts."""
        self.offered = replace(self.offered, pipelining=False, dsn=False)

    def send_content(self, data: bytes) -> None:
        """Send content with its final dot."""
        self.stream.send_content(data, self.timeouts.block, self.until)

    def say(self, data: bytes, stage: Stage) -> None:
        """Send commands."""
        self.stream.send(data, stage, self.until.step(self.timeouts.command))

    def hear(self, stage: Stage, seconds: float) -> Reply:
        """The next reply, within ``seconds``."""
        return self.stream.read(stage, self.until.step(seconds))

    def ask(self, data: bytes, stage: Stage, seconds: float | None = None) -> Reply:
        """Send commands; gives the first reply. Both take ``seconds``, by default a command's."""
        stream = self.stream
        until = self.until.step(self.timeouts.command if seconds is None else seconds)
        stream.send(data, stage, until)
        return stream.read(stage, until)

    def usable(self) -> bool:
        """Whether the connection looks alive, without asking the server."""
        if self._stream is None or self.quit_until is not None:
            return False
        return not (self.dirty and self.resets >= _RESETS) and self._stream.idle()

    def send_quit(self) -> None:
        """Say QUIT without waiting for the answer. Never raises."""
        if self._stream is not None and self.quit_until is None:
            self.quit_until = self.until.step(self.timeouts.quit)
            with contextlib.suppress(StreamError):
                self._stream.send(b"QUIT\r\n", Stage.ACCEPTED, self.quit_until)

    def quit(self) -> None:
        """Say QUIT, wait for the answer for a while, and close. Never raises."""
        self.send_quit()
        if self._stream is not None and self.quit_until is not None:
            with contextlib.suppress(StreamError):
                self._stream.read(Stage.ACCEPTED, self.quit_until)
        self.close()

    def close(self) -> None:
        """Drop the connection. Never raises."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def abort(self) -> None:
        """Break the connection from another thread."""
        if (stream := self._stream) is not None:
            stream.abort()

    def _hello(self) -> None:
        name = own_name(self.relay.helo, self.relay.domain, self.stream.local_address)
        self.say(commands.hello("EHLO", name), Stage.GREETING)
        until = self.until.step(self.timeouts.command)
        reply, lines = self.stream.read_lines(Stage.GREETING, until)
        if reply.permanent:
            reply = self.ask(commands.hello("HELO", name), Stage.GREETING)
            lines = []  # after HELO nothing is offered
        if reply.code != 250:
            raise _unwelcome(reply)
        self.offered = capabilities(lines)

    def _ask_for_tls(self) -> None:
        if not self.offered.starttls:
            raise TransportError(
                mark("The server does not offer STARTTLS."),
                stage=Stage.ENCRYPTION,
                fault=Fault.STARTTLS_NOT_OFFERED,
            )
        reply = self.ask(b"STARTTLS\r\n", Stage.ENCRYPTION)
        if reply.code != 220:
            raise TransportError(
                mark("The server refused STARTTLS: %(reply)s", reply=str(reply)),
                stage=Stage.ENCRYPTION,
                reply=reply,
                fault=Fault.STARTTLS_REFUSED,
            )

    def _handshake(self) -> None:
        context = self.context or _context(self.relay)
        until = self.until.step(self.timeouts.command)
        self.stream.encrypt(self.server.strip("[]").rstrip("."), context, until)


def _context(relay: Relay) -> ssl.SSLContext:
    try:
        return tls.context_for(relay.ca_certificate)
    except tls.CertificateUnreadable as error:
        raise TransportError(
            said_by(error), stage=Stage.ENCRYPTION, transient=False, fault=Fault.CA_UNREADABLE
        ) from error


def _unwelcome(reply: Reply) -> TransportError:
    refused = reply.permanent
    return TransportError(
        mark("The server does not accept the connection: %(reply)s", reply=str(reply)),
        stage=Stage.GREETING,
        reply=reply,
        transient=not refused,
        fault=Fault.GREETING_REFUSED if refused else Fault.GREETING_TRANSIENT,
    )
