"""The order of the steps of a test, over a connection of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Final

from .. import clock
from ..errors import InteractionMailError, TransportError
from ..outcome import Fault, Reply, Stage
from ..settings.model import Encryption, MessagingSettings
from ..transport.base import Envelope
from ..transport.registry import Transports
from ..transport.relay import Relay
from ..transport.smtp import commands, probe
from ..transport.smtp.auth import LoggedIn, may_refuse_mechanism
from ..transport.smtp.conclusions import out_of_reach, unable_to_carry
from ..transport.smtp.connect import fault_of
from ..transport.smtp.mail_transaction import send_content
from ..transport.smtp.resolve import Place
from ..transport.smtp.session import Session
from ..transport.smtp.timeouts import Timeouts, Until
from ..transport.smtp.tls import TlsFacts
from .report import Report
from .results import Diagnosis, Finding
from .sample_message import sample
from .texts import text_of

DEADLINE: Final = 15.0  # s
_FAREWELL: Final = 0.5  # s of the deadline that are kept for QUIT
# Shares of the deadline: what is left is for a second look, and for the steps that follow.
_TO_CONNECT, _TO_GREET = 0.65, 0.8


def diagnose(
    relay: Relay,
    settings: MessagingSettings,
    *,
    transports: Transports | None = None,
    deadline: float = DEADLINE,
    suppressed: bool = False,
) -> Iterator[Finding | Diagnosis]:
    """Send a test message (R48 to R50), yielding every step as it happens; a Diagnosis is last.

    ``settings`` say from whom and to whom, ``relay`` who takes it. Takes at most ``deadline``
    seconds against any server. Where sending is ``suppressed`` by the application nothing is
    tried. Raises nothing because of the server or the settings.
    """
    report = Report(relay=relay, limit=deadline, settings=settings)
    course = _Course(report, transports or Transports())
    if not suppressed:
        yield from course.conducted(course.mailing(settings))
    yield course.report.suppressed() if suppressed else course.report.mailed()


def run(steps: Iterator[Finding | Diagnosis]) -> Diagnosis:
    """Go through all ``steps`` of a test; gives what they come to."""
    *_, last = steps
    if not isinstance(last, Diagnosis):
        raise TypeError("these are not the steps of a test")
    return last


def _why(error: OSError) -> str:
    return text_of(fault_of(error)).title


class _Stop(Exception):
    """A step failed, and nothing after it makes sense."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.code)
        self.finding = finding


class _Course:
    """One test on its way; ``report`` is what is known so far."""

    def __init__(self, report: Report, transports: Transports) -> None:
        self.report = report
        self._relay = report.relay
        self._transports = transports
        deadline = report.limit
        self._beyond: Mapping[str, Reply] = {}  # recipients whom this server cannot be asked for
        self._session = Session(
            relay=report.relay,
            timeouts=Timeouts(
                connect=deadline * _TO_CONNECT, greeting=deadline * _TO_GREET, quit=_FAREWELL
            ),
            policy=transports.policy,
            try_next=may_refuse_mechanism,
            until=Until.within(max(deadline - _FAREWELL, deadline / 2)),
            tell=report.note,
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

    def mailing(self, settings: MessagingSettings) -> Iterator[Finding]:
        """The whole way of the test message."""
        envelope = self._prepared(settings)
        if self._relay.kind.stands_in:
            yield from self._standing_in(envelope)
            return
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

    def _prepared(self, settings: MessagingSettings) -> Envelope:
        try:
            found = sample(settings, id=uuid.uuid4(), now=clock.now().replace(tzinfo=UTC))
        except InteractionMailError as error:
            missing = not (settings.default_to and settings.default_from)
            fault = Fault.SETTINGS_INCOMPLETE if missing else Fault.ADDRESS_UNUSABLE
            raise _Stop(self.report.bad(Stage.SETTINGS, fault, detail=str(error))) from error
        self.report.sample = found
        return found.envelope

    def _standing_in(self, envelope: Envelope) -> Iterator[Finding]:
        """The answer of what stands in for the server: there is no conversation."""
        try:
            delivery = self._transports.open(self._relay).deliver(envelope)
        except TransportError as error:
            raise _Stop(self.report.broken(error)) from error
        for address in envelope.recipients:
            yield self._kept(address, delivery.verdicts.get(address, delivery.reply))

    def _kept(self, address: str, reply: Reply | None) -> Finding:
        if reply is None:
            return self.report.bad(Stage.RECIPIENT, Fault.UNKNOWN_OUTCOME, recipient=address)
        if not reply.positive:
            return self.report.refused(Stage.RECIPIENT, reply, address)
        return self.report.good(Stage.RECIPIENT, "kept_in_memory", reply=reply, recipient=address)

    def _opened(self, stage: Stage, result: object) -> Finding:
        report = self.report
        match stage, result:
            case Stage.CONNECT, Place():
                return report.good(stage, "connected", detail=result.address)
            case Stage.GREETING, Reply():
                return report.good(stage, "greeted", reply=result)
            case Stage.ENCRYPTION, (TlsFacts() | None):
                return report.encryption(result)
            case Stage.AUTHENTICATION, (LoggedIn() | None):
                return report.login(result)
        found = ", ".join(place.address for place in self._session.places[:5])
        return report.good(stage, "resolved", detail=found)

    def _second_look(self, error: TransportError) -> Finding:
        """The finding for ``error``, made clearer by what another connection shows."""
        if error.fault is not None and error.fault.value.startswith("certificate_"):
            return self._about_certificate(error)
        if error.stage is Stage.CONNECT and len(failed := self._session.failed) > 1:
            said = {place.address: _why(one) for place, one in failed.items()}
            return self.report.broken(error, facts=said)
        silent = error.fault is Fault.SILENT and error.stage is Stage.GREETING
        if silent and self._relay.encryption is not Encryption.TLS:
            # Some servers serve one connection at a time: give this one up first.
            self._session.close()
            if probe.speaks_tls(self._session):
                return self.report.bad(Stage.ENCRYPTION, Fault.TLS_EXPECTED)
        return self.report.broken(error)

    def _about_certificate(self, error: TransportError) -> Finding:
        found, now = probe.certificate(self._session), clock.now().replace(tzinfo=UTC)
        facts = dict(probe.facts(found)) if found else {}
        dated = error.fault in (Fault.CERTIFICATE_EXPIRED, Fault.CERTIFICATE_NOT_YET)
        if dated and found and probe.is_timely(found, now):
            if ended := probe.untimely(self._relay.ca_certificate, now):
                facts["end of the CA certificate"] = ended
            error.fault = Fault.CERTIFICATE_ABOVE
        return self.report.broken(error, facts=facts)

    def _sender(self, envelope: Envelope) -> Finding:
        if unable := unable_to_carry(envelope, self._session.offered):
            fault = unable.fault or Fault.CONTENT_UNSAFE
            raise _Stop(self.report.bad(unable.stage, fault, detail=unable.note or ""))
        self._beyond = out_of_reach(envelope, self._session.offered)
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
        if address in self._beyond:
            return self.report.bad(
                Stage.RECIPIENT,
                Fault.SMTPUTF8_MISSING,
                detail=self._beyond[address].text,
                recipient=address,
            )
        reply = self._ask(commands.rcpt(address), Stage.RECIPIENT, address)
        if reply.code == 421:  # the connection ends, so nobody else can be asked for
            raise _Stop(self.report.refused(Stage.RECIPIENT, reply, address))
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
            if getattr(error.__cause__, "complete", False):
                raise self._unconfirmed(error) from error
            raise _Stop(self.report.broken(error)) from error
        return self.report.good(Stage.CONTENT, "content_sent", reply=reply)

    def _acceptance(self) -> Finding:
        session = self._session
        try:
            reply = session.hear(Stage.CONTENT, session.timeouts.final)
        except TransportError as error:
            raise self._unconfirmed(error) from error
        if 300 <= reply.code < 400:  # an answer that fits nothing says nothing
            detail = f'The server gave an answer that is none ("{reply}").'
            raise _Stop(self.report.bad(Stage.ACCEPTED, Fault.CONFIRMATION_LOST, detail=detail))
        if not reply.positive:
            raise _Stop(self.report.refused(Stage.ACCEPTED, reply))
        return self.report.good(Stage.ACCEPTED, "accepted", reply=reply)

    def _unconfirmed(self, error: TransportError) -> _Stop:
        """The whole message may be there, and nobody said so (RFC 1047)."""
        silent = error.fault is Fault.SILENT
        fault = Fault.UNKNOWN_OUTCOME if silent else Fault.CONFIRMATION_LOST
        return _Stop(self.report.bad(Stage.ACCEPTED, fault, detail=str(error)))

    def _ask(self, command: bytes, stage: Stage, recipient: str | None = None) -> Reply:
        try:
            return self._session.ask(command, stage)
        except TransportError as error:
            raise _Stop(self.report.broken(error, recipient)) from error

    def _leave(self) -> None:
        # The farewell has time of its own, outside of what the steps may use up.
        self._session.until = Until.within(_FAREWELL)
        self._session.quit()
