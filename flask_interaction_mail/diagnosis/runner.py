"""Runs a test: the order of its steps, over a connection of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC
from typing import Final

from .. import clock
from ..errors import InteractionMailError, TransportError
from ..language import mark, said_by
from ..outcome import Fault, Reply, Result, Stage
from ..settings.model import MessagingSettings
from ..settings.relay import SES, Encryption, Relay
from ..transport.base import AccessToken, Envelope
from ..transport.oauth2 import claims
from ..transport.registry import Transports
from ..transport.smtp import commands, probe
from ..transport.smtp.auth import LoggedIn, may_refuse_mechanism
from ..transport.smtp.conclusions import out_of_reach, unable_to_carry
from ..transport.smtp.connect import Endpoint, fault_of
from ..transport.smtp.mail_transaction import send_content
from ..transport.smtp.session import Session
from ..transport.smtp.stream import StreamError
from ..transport.smtp.timeouts import Timeouts, Until
from ..transport.smtp.tls import TlsFacts
from .report import Report
from .results import Diagnosis, Step
from .sample import Sample, Stop
from .texts import text_of

DEADLINE: Final = 15.0  # s
_FOR_QUIT: Final = 0.5  # s of the deadline that are kept for QUIT
# Shares of the deadline; the rest is for a second look, and for the steps that follow.
_TO_CONNECT, _TO_GREET = 0.65, 0.8


def diagnose(
    relay: Relay,
    settings: MessagingSettings,
    make: Callable[[], Sample],
    *,
    transports: Transports | None = None,
    deadline: float = DEADLINE,
    suppressed: bool = False,
) -> Iterator[Stage | Step | Diagnosis]:
    """Send the message that ``make`` makes; yields what happens, at last a Diagnosis.

    Each step is yielded when it is done; its stage before it begins, unless it begins at once after
    the one before it. ``relay`` is the server, ``settings`` are for the words. Takes at most
    ``deadline`` seconds with any server. If the application has ``suppressed`` sending, nothing is
    tried.
    Raises nothing because of the server or the settings.
    """
    report = Report(relay=relay, limit=deadline, settings=settings)
    if suppressed:
        yield report.suppressed()
        return
    yield from _Runner(report, make, transports or Transports()).run()
    yield report.concluded()


class _Runner:
    """Runs one test, and writes its steps into ``report``."""

    def __init__(self, report: Report, make: Callable[[], Sample], transports: Transports) -> None:
        self._report = report
        self._make = make
        self._relay = report.relay
        self._transports = transports
        deadline = report.limit
        self._beyond: Mapping[str, Reply] = {}  # recipients whose address the server cannot take
        self._session = Session(
            relay=report.relay,
            timeouts=Timeouts(
                connect=deadline * _TO_CONNECT, greeting=deadline * _TO_GREET, quit=_FOR_QUIT
            ),
            policy=transports.policy,
            tokens=transports.tokens,
            try_next=may_refuse_mechanism,
            until=Until.within(max(deadline - _FOR_QUIT, deadline / 2)),
            transcribe=report.note_line,
        )

    def run(self) -> Iterator[Stage | Step]:
        """Go through the steps to the first that ends the test; disconnect in any case."""
        try:
            for step in self._steps():
                yield step if isinstance(step, Stage) else self._report.add(step)
        except Stop as stop:
            yield self._report.add(stop.step)
        finally:
            # QUIT has time of its own, beyond what the steps may use up.
            self._session.until = Until.within(_FOR_QUIT)
            self._session.quit()

    def _steps(self) -> Iterator[Stage | Step]:
        envelope = self._prepared()
        if self._relay.stands_in:
            yield from self._stand_in(envelope)
            return
        if self._relay.kind == SES:
            from . import ses  # late: brings HTTP, and few send that way

            yield from ses.steps(
                self._report, envelope, self._transports.policy, self._session.until
            )
            return
        for stage, step in self._session.steps():
            yield stage
            try:
                result = step()
            except TransportError as error:
                raise Stop(self._second_look(error)) from error
            yield self._opened(stage, result)
        self._report.offered = self._session.offered
        yield Stage.SENDER
        yield self._sender(envelope)
        yield Stage.RECIPIENT
        yield from self._recipients(envelope)
        yield Stage.CONTENT
        yield self._content(envelope)
        yield Stage.ACCEPTED
        yield self._acceptance()

    def _prepared(self) -> Envelope:
        settings = self._report.settings
        try:
            sample = self._make()
        except InteractionMailError as error:
            missing = not (settings.default_to and settings.default_from)
            fault = Fault.SETTINGS_INCOMPLETE if missing else Fault.ADDRESS_UNUSABLE
            raise Stop(self._report.failed(Stage.SETTINGS, fault, detail=said_by(error))) from error
        self._report.sample = sample
        return sample.envelope

    def _stand_in(self, envelope: Envelope) -> Iterator[Step]:
        """Deliver to what stands in for the server: there is no conversation to look at."""
        try:
            outcome = self._transports.open(self._relay).deliver(envelope)
        except TransportError as error:
            raise Stop(self._report.broken(error)) from error
        for address in envelope.recipients:
            yield self._kept(address, outcome.verdicts.get(address, outcome.reply))
        if outcome.result is Result.ACCEPTED and not self._relay.stays_here:
            yield self._report.step(Stage.ACCEPTED, "accepted", reply=outcome.reply)

    def _kept(self, address: str, reply: Reply | None) -> Step:
        if reply is None:
            return self._report.failed(Stage.RECIPIENT, Fault.UNKNOWN_OUTCOME, recipient=address)
        if not reply.positive:
            return self._report.refused(Stage.RECIPIENT, reply, address)
        code = "kept_here" if self._relay.stays_here else "recipient_accepted"
        return self._report.step(Stage.RECIPIENT, code, reply=reply, recipient=address)

    def _opened(self, stage: Stage, result: object) -> Step:
        report = self._report
        match stage, result:
            case Stage.CONNECT, Endpoint():
                return report.step(stage, "connected", detail=result.address)
            case Stage.GREETING, Reply():
                return report.step(stage, "greeted", reply=result)
            case Stage.ENCRYPTION, (TlsFacts() | None):
                return report.encryption(result)
            case Stage.TOKEN, AccessToken():
                return report.token(result)
            case Stage.AUTHENTICATION, (LoggedIn() | None):
                return report.login(result)
        addresses = ", ".join(endpoint.address for endpoint in self._session.endpoints[:5])
        return report.step(stage, "resolved", detail=addresses)

    def _second_look(self, error: TransportError) -> Step:
        """The step that failed with ``error``, made clearer by what another connection shows."""
        if error.fault is not None and error.fault.value.startswith("certificate_"):
            return self._about_certificate(error)
        if error.fault is Fault.OAUTH_REJECTED and (token := self._session.token):
            return self._about_token(error, token)
        if error.stage is Stage.CONNECT and len(failed := self._session.failed) > 1:
            facts = {
                endpoint.address: text_of(fault_of(why)).title for endpoint, why in failed.items()
            }
            return self._report.broken(error, facts=facts)
        silent = error.fault is Fault.SILENT and error.stage is Stage.GREETING
        if silent and self._relay.encryption is not Encryption.TLS:
            # Some servers serve one connection at a time: give this one up first.
            self._session.close()
            if probe.speaks_tls(self._session):
                return self._report.failed(Stage.ENCRYPTION, Fault.TLS_EXPECTED)
        return self._report.broken(error)

    def _about_certificate(self, error: TransportError) -> Step:
        found, now = probe.certificate(self._session), clock.now().replace(tzinfo=UTC)
        facts = dict(probe.facts(found)) if found else {}
        dated = error.fault in (Fault.CERTIFICATE_EXPIRED, Fault.CERTIFICATE_NOT_YET)
        if dated and found and probe.is_timely(found, now):
            if ended := probe.untimely(self._relay.ca_certificate, now):
                facts[mark("end of the CA certificate")] = ended
            error.fault = Fault.CERTIFICATE_ABOVE
        return self._report.broken(error, facts=facts)

    def _about_token(self, error: TransportError, token: AccessToken) -> Step:
        """What Microsoft wrote into the token that was refused: often the cause, and the cure.

        Where a person has agreed, it is often another one than the mailbox has.
        """
        if self._relay.by_consent:
            other = self._relay.is_not_for(token.account)
            error.fault = Fault.OAUTH_OTHER_ACCOUNT if other else Fault.OAUTH_CONSENT_REJECTED
            return self._report.broken(error, facts={mark("connected as"): token.account or ""})
        found = claims.told_by(token.secret)
        if claims.lacks_permission(found):
            error.fault = Fault.OAUTH_PERMISSION_MISSING
        return self._report.broken(error, facts=claims.facts(found))

    def _sender(self, envelope: Envelope) -> Step:
        offered = self._session.offered
        if unable := unable_to_carry(envelope, offered):
            fault = unable.fault or Fault.CONTENT_UNSAFE
            raise Stop(self._report.failed(unable.stage, fault, detail=unable.note or ""))
        self._beyond = out_of_reach(envelope, offered)
        reply = self._ask(commands.mail(envelope, offered), Stage.SENDER)
        if not reply.positive:
            raise Stop(self._report.refused(Stage.SENDER, reply))
        return self._report.step(Stage.SENDER, "sender_accepted", reply=reply)

    def _recipients(self, envelope: Envelope) -> Iterator[Step]:
        accepted = False
        for address in envelope.recipients:
            step = self._recipient(address)
            accepted = accepted or step.code == "recipient_accepted"
            if not accepted and address == envelope.recipients[-1]:
                raise Stop(step)
            yield step

    def _recipient(self, address: str) -> Step:
        if address in self._beyond:
            return self._report.failed(
                Stage.RECIPIENT,
                Fault.SMTPUTF8_MISSING,
                detail=self._beyond[address].text,
                recipient=address,
            )
        reply = self._ask(commands.rcpt(address), Stage.RECIPIENT, address)
        if reply.code == 421:  # the connection ends, so there is no asking for the others
            raise Stop(self._report.refused(Stage.RECIPIENT, reply, address))
        if not reply.positive:
            return self._report.refused(Stage.RECIPIENT, reply, address)
        return self._report.step(
            Stage.RECIPIENT, "recipient_accepted", reply=reply, recipient=address
        )

    def _content(self, envelope: Envelope) -> Step:
        reply = self._ask(b"DATA\r\n", Stage.CONTENT)
        if reply.code != 354:
            raise Stop(self._report.refused(Stage.CONTENT, reply))
        try:
            send_content(self._session, envelope.content)
        except StreamError as error:
            if error.complete:
                raise self._unconfirmed(error) from error
            raise Stop(self._report.broken(error)) from error
        return self._report.step(Stage.CONTENT, "content_sent", reply=reply)

    def _acceptance(self) -> Step:
        session = self._session
        try:
            reply = session.hear(Stage.CONTENT, session.timeouts.final)
        except TransportError as error:
            raise self._unconfirmed(error) from error
        if 300 <= reply.code < 400:  # no such reply is defined here, so the outcome is unknown
            text = mark('The server gave an answer that makes no sense ("%(reply)s").', reply=reply)
            raise Stop(self._report.failed(Stage.ACCEPTED, Fault.CONFIRMATION_LOST, detail=text))
        if not reply.positive:
            raise Stop(self._report.refused(Stage.ACCEPTED, reply))
        return self._report.step(Stage.ACCEPTED, "accepted", reply=reply)

    def _unconfirmed(self, error: TransportError) -> Stop:
        """The server may have the whole message, and did not say so (RFC 1047)."""
        silent = error.fault is Fault.SILENT
        fault = Fault.UNKNOWN_OUTCOME if silent else Fault.CONFIRMATION_LOST
        return Stop(self._report.failed(Stage.ACCEPTED, fault, detail=said_by(error)))

    def _ask(self, command: bytes, stage: Stage, recipient: str | None = None) -> Reply:
        try:
            return self._session.ask(command, stage)
        except TransportError as error:
            raise Stop(self._report.broken(error, recipient)) from error
