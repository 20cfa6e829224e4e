"""The steps of a test of Amazon SES over HTTPS: reach it, sign in, send one message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ..errors import TransportError
from ..language import mark
from ..outcome import Fault, Result, Stage
from ..transport.base import Envelope, TransportResult
from ..transport.policy import ConnectPolicy
from ..transport.ses.answers import Account, Refusal
from ..transport.ses.transport import SesTransport
from ..transport.smtp.timeouts import Until
from ..transport.smtp.tls import facts
from .report import Report
from .results import Step, StepState
from .sample import Stop

_HEALTHY: Final = ("", "HEALTHY")


def steps(
    report: Report, envelope: Envelope, policy: ConnectPolicy, until: Until
) -> Iterator[Stage | Step]:
    """Test the relay of ``report`` with ``envelope``, before ``until``.

    Raises:
        Stop: a step failed, and nothing after it makes sense.
    """
    transport = SesTransport(report.relay, policy, until=until)
    try:
        yield from _steps(report, envelope, transport, until)
    except TransportError as error:
        raise Stop(report.broken(error)) from error
    finally:
        transport.close()


def _steps(
    report: Report, envelope: Envelope, transport: SesTransport, until: Until
) -> Iterator[Stage | Step]:
    yield Stage.CONNECT
    connection = transport.open(until)
    yield report.step(Stage.CONNECT, "connected", detail=connection.address)
    encrypted = connection.encrypted
    yield report.encryption(facts(encrypted) if encrypted else None)
    yield Stage.AUTHENTICATION
    yield _signed_in(report, transport.account(until))
    yield Stage.CONTENT
    yield from _sent(report, envelope, transport.deliver(envelope))


def _signed_in(report: Report, found: Account | Refusal) -> Step:
    stage = Stage.AUTHENTICATION
    if isinstance(found, Refusal):
        return report.step(stage, "ses_account_unknown", detail=found.said)
    told = {
        mark("messages a day"): _number(found.a_day),
        mark("sent in the last 24 hours"): _number(found.sent),
        mark("messages a second"): _number(found.a_second),
    }
    if not found.sending:
        detail = mark("The account exists, and sending is switched off for it.")
        raise Stop(report.failed(stage, Fault.SES_PAUSED, detail=detail, facts=told))
    if found.standing not in _HEALTHY:
        warned = StepState.WARNING
        return report.step(stage, "ses_warned", state=warned, detail=found.standing, facts=told)
    if found.sandbox:
        return report.step(stage, "ses_sandbox", state=StepState.WARNING, facts=told)
    return report.step(stage, "ses_signed_in", facts=told)


def _number(found: float | None) -> str:
    # -1 is how the service writes "no limit".
    if found is None:
        return ""
    return mark("no limit") if found < 0 else f"{found:g}"


def _sent(report: Report, envelope: Envelope, outcome: TransportResult) -> Iterator[Step]:
    if outcome.result is Result.AMBIGUOUS:
        note = outcome.note or ""
        raise Stop(report.failed(Stage.ACCEPTED, Fault.CONFIRMATION_LOST, detail=note))
    if outcome.result is not Result.ACCEPTED and outcome.stage is not Stage.RECIPIENT:
        fault = outcome.fault or Fault.CONTENT_REFUSED
        if outcome.result is Result.TRANSIENT:
            fault = Fault.SES_UNAVAILABLE
        detail = outcome.note or str(outcome.reply or "")
        raise Stop(report.failed(outcome.stage, fault, detail=detail, reply=outcome.reply))
    for address in envelope.recipients:
        yield _recipient(report, address, outcome)
    if outcome.result is Result.ACCEPTED:
        told = {mark("name of the message at the provider"): outcome.provider_id or ""}
        yield report.step(Stage.ACCEPTED, "accepted", reply=outcome.reply, facts=told)


def _recipient(report: Report, address: str, outcome: TransportResult) -> Step:
    reply = outcome.verdicts.get(address, outcome.reply)
    if reply is not None and reply.positive:
        return report.step(Stage.RECIPIENT, "recipient_accepted", reply=reply, recipient=address)
    fault = Fault.SES_NOT_VERIFIED
    if outcome.fault is Fault.SMTPUTF8_MISSING or not address.isascii():
        fault = Fault.SMTPUTF8_MISSING
    said = reply.text if reply else ""
    return report.failed(Stage.RECIPIENT, fault, detail=said, recipient=address, reply=reply)
