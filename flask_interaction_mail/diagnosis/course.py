"""The order of the steps of a test, over a connection of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC
from typing import Final

from .. import clock
from ..errors import InteractionMailError, TransportError
from ..outcome import Fault, Reply, Stage
from ..settings import Encryption, MessagingSettings
from ..transport import commands, peek
from ..transport.base import Envelope
from ..transport.dialogue import hear_final, send_content, unable_to_carry
from ..transport.policy import ConnectPolicy
from ..transport.resolve import Place
from ..transport.session import Session
from ..transport.timeouts import Timeouts, Until
from ..transport.tls import TlsFacts
from .findings import Diagnosis, Finding
from .mail import sample
from .report import Report

DEADLINE: Final = 15.0  # s
_FAREWELL: Final = 0.5  # s of the deadline that are kept for QUIT
# Shares of the deadline: what is left is for a second look, and for the steps that follow.
_TO_CONNECT, _TO_GREET = 0.65, 0.8


def diagnose(
    settings: MessagingSettings,
    *,
    policy: ConnectPolicy | None = None,
    deadline: float = DEADLINE,
    suppressed: bool = False,
) -> Iterator[Finding | Diagnosis]:
    """Send a test message (R48 to R50), yielding every step as it happens; a Diagnosis is last.

    Takes at most ``deadline`` seconds against any server. Where sending is ``suppressed`` by
    the application nothing is tried. Raises nothing because of the server or the settings.
    """
    course = _Course(settings, policy, deadline)
    if not suppressed:
        yield from course.conducted(course.mailing())
    yield course.report.suppressed() if suppressed else course.report.mailed()


def probe(
    settings: MessagingSettings,
    *,
    policy: ConnectPolicy | None = None,
    deadline: float = DEADLINE,
) -> Iterator[Finding | Diagnosis]:
    """The same up to the login, without a message: for a look at regular times."""
    course = _Course(settings, policy, deadline)
    yield from course.conducted(course.opening())
    yield course.report.probed()


def run(steps: Iterator[Finding | Diagnosis]) -> Diagnosis:
    """Go through all ``steps`` of a test or probe; gives what they come to."""
    *_, last = steps
    if not isinstance(last, Diagnosis):
        raise TypeError("these are not the steps of a test")
    return last


class _Stop(Exception):
    """A step failed, and nothing after it makes sense."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.code)
        self.finding = finding


class _Course:
    """One test on its way; ``report`` is what is known so far."""

    def __init__(
        self, settings: MessagingSettings, policy: ConnectPolicy | None, deadline: float
    ) -> None:
        self.report = Report(settings=settings, limit=deadline)
        self._settings = settings
        self._session = Session(
            settings=settings,
            timeouts=Timeouts(
                connect=deadline * _TO_CONNECT, greeting=deadline * _TO_GREET, quit=_FAREWELL
            ),
            policy=policy or ConnectPolicy(),
            until=Until.within(max(deadline - _FAREWELL, deadline / 2)),
            tell=self.report.note,
        )

    def conducted(self, steps: Iterator[Finding]) -> Iterator[Finding]:
        """Go through ``steps`` to the first failure, and leave in any case."""
        try:
            for finding in steps:
                yield self.report.add(finding)
        except _Stop as stop:
            yield self.report.add(stop.finding)
        finally:
            self._leave()

    def mailing(self) -> Iterator[Finding]:
        """The whole way of the test message."""
        envelope = self._prepared()
        yield from self.opening()
        yield self._sender(envelope)
        yield from self._recipients(envelope)
        yield self._content(envelope)
        yield self._acceptance()

    def opening(self) -> Iterator[Finding]:
        """The way up to the login."""
        for stage, step in self._session.steps():
            try:
                result = step()
            except TransportError as error:
                raise _Stop(self._second_look(error)) from error
            yield self._opened(stage, result)

    def _prepared(self) -> Envelope:
        settings = self._settings
        try:
            found = sample(settings, id=uuid.uuid4(), now=clock.now().replace(tzinfo=UTC))
        except InteractionMailError as error:
            missing = not (settings.default_to and settings.default_from)
            fault = Fault.SETTINGS_INCOMPLETE if missing else Fault.ADDRESS_UNUSABLE
            raise _Stop(self.report.bad(Stage.SETTINGS, fault, detail=str(error))) from error
        self.report.sample = found
        return found.envelope

    def _opened(self, stage: Stage, result: object) -> Finding:
        report = self.report
        match stage, result:
            case Stage.CONNECT, Place():
                return report.good(stage, "connected", detail=result.address)
            case Stage.GREETING, Reply():
                return report.good(stage, "greeted", reply=result)
            case Stage.ENCRYPTION, (TlsFacts() | None):
                return report.encryption(result)
            case Stage.AUTHENTICATION, (str() | None):
                return report.login(result)
        found = ", ".join(place.address for place in self._session.places[:5])
        return report.good(stage, "resolved", detail=found)

    def _second_look(self, error: TransportError) -> Finding:
        """The finding for ``error``, made clearer by what another connection shows."""
        if error.fault is not None and error.fault.value.startswith("certificate_"):
            return self.report.broken(error, facts=peek.certificate(self._session))
        silent = error.fault is Fault.SILENT and error.stage is Stage.GREETING
        if silent and self._settings.encryption is not Encryption.TLS:
            # Some servers serve one connection at a time: give this one up first.
            self._session.close()
            if peek.speaks_tls(self._session):
                return self.report.bad(Stage.ENCRYPTION, Fault.TLS_EXPECTED)
        return self.report.broken(error)

    def _sender(self, envelope: Envelope) -> Finding:
        if unable := unable_to_carry(envelope, self._session.offered):
            fault = unable.fault or Fault.CONTENT_UNSAFE
            raise _Stop(self.report.bad(unable.stage, fault, detail=unable.note or ""))
        reply = self._ask(commands.mail(envelope, self._session.offered), Stage.SENDER)
        if not reply.positive:
            raise _Stop(self.report.refused(Stage.SENDER, reply))
        return self.report.good(Stage.SENDER, "sender_accepted", reply=reply)

    def _recipients(self, envelope: Envelope) -> Iterator[Finding]:
        accepted = False
        for address in envelope.recipients:
            finding = self._recipient(address)
            accepted = accepted or finding.code == "recipient_accepted"
            if not accepted and address == envelope.recipients[-1]:
                raise _Stop(finding)
            yield finding

    def _recipient(self, address: str) -> Finding:
        reply = self._ask(commands.rcpt(address), Stage.RECIPIENT, address)
        if not reply.positive:
            return self.report.refused(Stage.RECIPIENT, reply, address)
        return self.report.good(
            Stage.RECIPIENT, "recipient_accepted", reply=reply, recipient=address
        )

    def _content(self, envelope: Envelope) -> Finding:
        reply = self._ask(b"DATA\r\n", Stage.CONTENT)
        if reply.code != 354:
            raise _Stop(self.report.refused(Stage.CONTENT, reply))
        try:
            send_content(self._session, envelope.content)
        except TransportError as error:
            raise _Stop(self.report.broken(error)) from error
        return self.report.good(Stage.CONTENT, "content_sent", reply=reply)

    def _acceptance(self) -> Finding:
        reply = hear_final(self._session)
        if reply is None:
            raise _Stop(self.report.bad(Stage.ACCEPTED, Fault.UNKNOWN_OUTCOME))
        if not 200 <= reply.code < 300:
            raise _Stop(self.report.refused(Stage.ACCEPTED, reply))
        return self.report.good(Stage.ACCEPTED, "accepted", reply=reply)

    def _ask(self, command: bytes, stage: Stage, recipient: str | None = None) -> Reply:
        try:
            return self._session.ask(command, stage)
        except TransportError as error:
            raise _Stop(self.report.broken(error, recipient)) from error

    def _leave(self) -> None:
        # The farewell has time of its own, outside of what the steps may use up.
        self._session.until = Until.within(_FAREWELL)
        self._session.quit()
