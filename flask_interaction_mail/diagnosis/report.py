"""Turns what happened at a step into a ``Step``, and the steps into a ``Diagnosis``."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from .. import clock
from ..errors import TransportError
from ..language import mark, said_by
from ..outcome import Fault, Reply, Stage
from ..settings.model import MessagingSettings
from ..settings.relay import Encryption, Relay
from ..transport.base import AccessToken
from ..transport.smtp.auth import LoggedIn
from ..transport.smtp.faults import fault_of
from ..transport.smtp.replies import Capabilities
from ..transport.smtp.tls import TlsFacts
from .results import Diagnosis, Outcome, Step, StepState, last_failure
from .sample import Sample

_LINES, _LINE = 200, 300  # of the transcript, and characters of each
_SOON: Final = 14 * 24 * 3600  # s before its expiry from which on a certificate is remarked on
_BEFORE_THE_GREETING: Final = (Stage.RESOLVE, Stage.CONNECT, Stage.GREETING)
_BEFORE_THE_LOGIN: Final = (*_BEFORE_THE_GREETING, Stage.ENCRYPTION)


@dataclass(slots=True, kw_only=True)
class Report:
    """What one test has found so far; it may take ``limit`` seconds.

    ``sample`` is the test message as soon as there is one, ``offered`` what the server has said
    that it can do.
    """

    relay: Relay
    limit: float
    settings: MessagingSettings
    sample: Sample | None = None
    offered: Capabilities | None = None
    steps: list[Step] = field(default_factory=list)
    transcript: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    _step_started: float = field(default_factory=time.monotonic)

    def note_line(self, speaker: str, line: str) -> None:
        """Add a line to the transcript, which keeps 200 lines of 300 characters."""
        if len(self.transcript) < _LINES:
            self.transcript.append(f"{speaker}: {line[:_LINE]}")
            self.times.append(time.monotonic() - self.started)

    def add(self, step: Step) -> Step:
        """Keep ``step``; gives it back."""
        self.steps.append(step)
        return step

    # -- steps --------------------------------------------------------------------------

    def step(
        self,
        stage: Stage,
        code: str,
        *,
        state: StepState = StepState.OK,
        detail: str = "",
        facts: Mapping[str, str] | None = None,
        recipient: str | None = None,
        reply: Reply | None = None,
    ) -> Step:
        """The step that ends now; good unless ``state`` says otherwise."""
        return Step(
            stage=stage,
            state=state,
            code=code,
            seconds=self._seconds(),
            values=self._values(detail, recipient),
            facts=facts or {},
            recipient=recipient,
            reply=reply,
        )

    def failed(
        self,
        stage: Stage,
        fault: Fault,
        *,
        detail: str = "",
        facts: Mapping[str, str] | None = None,
        recipient: str | None = None,
        reply: Reply | None = None,
    ) -> Step:
        """A step that failed because of ``fault``."""
        if fault is Fault.NOT_SMTP and stage not in _BEFORE_THE_GREETING:
            fault = Fault.NONSENSE  # the greeting has shown that it is a mail server
        return self.step(
            stage,
            fault.value,
            state=StepState.FAILED,
            detail=detail,
            facts=facts,
            recipient=recipient,
            reply=reply,
        )

    def refused(self, stage: Stage, reply: Reply, recipient: str | None = None) -> Step:
        """A step that the server refused with ``reply``."""
        fault = fault_of(
            Stage.CONTENT if stage is Stage.ACCEPTED else stage,
            reply,
            sender=self.sample.sender if self.sample else "",
            recipient=recipient or "",
            login=(self.relay.login or "") if self.relay.use_authentication else "",
        )
        # A reply that is positive here, such as 250 to DATA, breaks the rules.
        return self.failed(
            stage, Fault.NOT_SMTP if reply.positive else fault, recipient=recipient, reply=reply
        )

    def broken(
        self,
        error: TransportError,
        recipient: str | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> Step:
        """A step at which server or network failed."""
        return self.failed(
            error.stage,
            error.fault or Fault.LOST,
            detail=said_by(error),
            facts=facts,
            recipient=recipient,
            reply=error.reply,
        )

    def encryption(self, found: TlsFacts | None) -> Step:
        """The step that encrypts, None for no encryption."""
        if found is None:
            return self.step(Stage.ENCRYPTION, "not_encrypted", state=StepState.WARNING)
        ends = ssl.cert_time_to_seconds(found.expires) if found.expires else None
        expires = f"{datetime.fromtimestamp(ends, UTC):%Y-%m-%d %H:%M} UTC" if ends else ""
        facts = {
            mark("protocol"): found.protocol,
            mark("cipher"): found.cipher,
            mark("certificate"): ", ".join(found.names),
            mark("issuer"): found.issuer,
            mark("expires"): expires,
        }
        if ends is not None and ends - time.time() < _SOON:
            return self.step(
                Stage.ENCRYPTION,
                "expires_soon",
                state=StepState.WARNING,
                detail=expires,
                facts=facts,
            )
        return self.step(Stage.ENCRYPTION, "encrypted", facts=facts)

    def token(self, token: AccessToken) -> Step:
        """The step that gets an access token."""
        if token.ends is None:
            return self.step(Stage.TOKEN, "token_from_host")
        minutes = round((token.ends - clock.now()).total_seconds() / 60)
        until = format(token.ends, "%Y-%m-%d %H:%M UTC")
        facts = {mark("valid until"): until, mark("scope"): token.scope or ""}
        facts |= {mark("connected as"): token.account} if token.account else {}
        lasts = mark("It is valid for %(minutes)s min.", minutes=minutes)
        return self.step(Stage.TOKEN, "token", detail=lasts, facts=facts)

    def login(self, logged_in: LoggedIn | None) -> Step:
        """The step that logs in, None for no login."""
        if logged_in is None:
            return self.step(Stage.AUTHENTICATION, "no_login", state=StepState.SKIPPED)
        openly = self.relay.encryption is Encryption.NONE
        facts = {mark("mechanism"): logged_in.mechanism}
        if logged_in.instead_of is not None:
            facts[mark("refused before")] = str(logged_in.instead_of)
        return self.step(
            Stage.AUTHENTICATION,
            "logged_in_openly" if openly else "logged_in",
            state=StepState.WARNING if openly else StepState.OK,
            facts=facts,
        )

    # -- the end ------------------------------------------------------------------------

    def suppressed(self) -> Diagnosis:
        """The application sends nothing, so nothing was tried."""
        return self._diagnosis(Outcome.SUPPRESSED, "suppressed")

    def concluded(self) -> Diagnosis:
        """What the steps come to."""
        failed = last_failure(self.steps)
        if self.sample is not None and self.relay.stays_here:
            return self._diagnosis(Outcome.SUPPRESSED, "stays_here")
        if failed is None:
            return self._diagnosis(Outcome.PASSED, "passed")
        if self.steps[-1].code == "accepted":
            return self._diagnosis(Outcome.PARTIAL, "partial")
        if failed.code == Fault.UNKNOWN_OUTCOME:
            return self._diagnosis(Outcome.NO_ANSWER, "no_answer_at_end")
        if failed.code == Fault.CONFIRMATION_LOST:
            return self._diagnosis(Outcome.NO_ANSWER, "lost_at_end", detail=failed.values["detail"])
        if failed.code == Fault.SILENT:
            return self._diagnosis(Outcome.NO_ANSWER, "no_answer")
        return self._diagnosis(Outcome.FAILED, _code_of(failed))

    def _diagnosis(self, outcome: Outcome, code: str, *, detail: str = "") -> Diagnosis:
        notes = []
        if self.sample is not None and outcome is not Outcome.SUPPRESSED:
            notes += ["paused"] if self.settings.paused else []
            notes += ["diverted"] if self.settings.divert_to else []
        return Diagnosis(
            outcome=outcome,
            code=code,
            seconds=time.monotonic() - self.started,
            steps=tuple(self.steps),
            values=self._values(detail, None) | self._about_recipients(),
            notes=tuple(notes),
            offers=_in_words(self.offered) if self.offered else {},
            transcript=tuple(self.transcript),
            times=tuple(self.times),
        )

    def _about_recipients(self) -> dict[str, str]:
        by_state: dict[StepState, list[str]] = {StepState.OK: [], StepState.FAILED: []}
        for step in self.steps:
            if step.recipient:
                by_state[step.state].append(step.recipient)
        accepted, refused = by_state[StepState.OK], by_state[StepState.FAILED]
        return {
            "accepted": ", ".join(accepted),
            "refused": ", ".join(refused),
            "mailboxes": _listed(accepted),
        }

    def _values(self, detail: str, recipient: str | None) -> dict[str, str]:
        relay, settings, sample = self.relay, self.settings, self.sample
        return {
            "server": relay.server or "",
            "port": str(relay.port),
            "login": relay.login or "",
            "to": sample.to if sample else settings.default_to or "",
            "sender": sample.sender if sample else settings.default_from or "",
            "message_id": sample.message_id if sample else "",
            "divert_to": settings.divert_to or "",
            "limit": f"{self.limit:g}",
            "address": recipient or (sample.to if sample else ""),
            "detail": detail,
        }

    def _seconds(self) -> float:
        now = time.monotonic()
        seconds, self._step_started = now - self._step_started, now
        return seconds


def _listed(addresses: Sequence[str]) -> str:
    """The mailboxes of ``addresses``; "" if there are none."""
    said = ""
    for address in addresses:
        mailbox = mark("the mailbox %(address)s", address=address)
        said = mark("%(others)s and %(last)s", others=said, last=mailbox) if said else mailbox
    return said


def _in_words(offered: Capabilities) -> dict[str, str]:
    size = offered.size
    return {
        mark("largest message"): mark("no limit announced") if size is None else _megabytes(size),
        mark("encryption on request (STARTTLS)"): _yes(offered.starttls),
        mark("ways to log in (AUTH)"): ", ".join(offered.auth) or mark("none"),
        mark("addresses with letters beyond ASCII (SMTPUTF8)"): _yes(offered.smtputf8),
        mark("text as it is (8BITMIME)"): _yes(offered.eight_bit),
        mark("several commands at once (PIPELINING)"): _yes(offered.pipelining),
    }


def _megabytes(size: int) -> str:
    return mark("%(number)s MB", number=round(size / 1e6, 1))


def _yes(offered: bool) -> str:
    return mark("yes") if offered else mark("no")


def _code_of(failed: Step) -> str:
    if failed.stage is Stage.SETTINGS:
        return "incomplete"
    return "cannot_connect" if failed.stage in _BEFORE_THE_LOGIN else "failed"
