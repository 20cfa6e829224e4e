"""From what happened at a step to a finding, and from the findings to a diagnosis."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..errors import TransportError
from ..outcome import Fault, Reply, Stage
from ..settings.model import Encryption, MessagingSettings
from ..transport.relay import Relay
from ..transport.smtp.auth import LoggedIn
from ..transport.smtp.faults import fault_of
from ..transport.smtp.tls import TlsFacts
from .results import Diagnosis, Finding, State, Verdict
from .sample_message import Sample

_LINES, _LINE = 200, 300  # of the transcript, and characters of each
_SOON: Final = 14 * 24 * 3600  # s before a certificate's end from which on that is remarked
_BEFORE_A_CONNECTION: Final = (Stage.RESOLVE, Stage.CONNECT, Stage.GREETING, Stage.ENCRYPTION)
_BEFORE_A_GREETING: Final = (Stage.RESOLVE, Stage.CONNECT, Stage.GREETING)


@dataclass(slots=True, kw_only=True)
class Report:
    """What is known so far about one test; ``limit`` is how many seconds it may take.

    Of the ``settings`` it tells the addresses, and what the test message does not obey.
    """

    relay: Relay
    limit: float
    settings: MessagingSettings = field(default_factory=MessagingSettings)
    sample: Sample | None = None
    steps: list[Finding] = field(default_factory=list)
    transcript: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    _lap: float = field(default_factory=time.monotonic)

    def note(self, who: str, line: str) -> None:
        """Add a line to the transcript, which is bounded."""
        if len(self.transcript) < _LINES:
            self.transcript.append(f"{who}: {line[:_LINE]}")

    def add(self, finding: Finding) -> Finding:
        """Keep ``finding`` and give it back."""
        self.steps.append(finding)
        return finding

    # -- findings -----------------------------------------------------------------------

    def good(
        self,
        stage: Stage,
        code: str,
        *,
        state: State = State.OK,
        detail: str = "",
        facts: Mapping[str, str] | None = None,
        recipient: str | None = None,
        reply: Reply | None = None,
    ) -> Finding:
        """A step that went well, or that somebody should know something about."""
        return Finding(
            stage=stage,
            state=state,
            code=code,
            seconds=self._seconds(),
            values=self._values(detail, recipient),
            facts=facts or {},
            recipient=recipient,
            reply=reply,
        )

    def bad(
        self,
        stage: Stage,
        fault: Fault,
        *,
        detail: str = "",
        facts: Mapping[str, str] | None = None,
        recipient: str | None = None,
        reply: Reply | None = None,
    ) -> Finding:
        """A step that failed."""
        if fault is Fault.NOT_SMTP and stage not in _BEFORE_A_GREETING:
            fault = Fault.NONSENSE  # that it is a mail server was seen before
        return self.good(
            stage,
            fault.value,
            state=State.FAILED,
            detail=detail,
            facts=facts,
            recipient=recipient,
            reply=reply,
        )

    def refused(self, stage: Stage, reply: Reply, recipient: str | None = None) -> Finding:
        """A step that the server refused with ``reply``."""
        about = Stage.CONTENT if stage is Stage.ACCEPTED else stage
        fault = fault_of(
            about,
            reply,
            sender=self.sample.sender if self.sample else "",
            recipient=recipient or "",
            login=(self.relay.login or "") if self.relay.use_authentication else "",
        )
        # A positive answer here is one that fits nothing.
        return self.bad(
            stage, Fault.NOT_SMTP if reply.positive else fault, recipient=recipient, reply=reply
        )

    def broken(
        self,
        error: TransportError,
        recipient: str | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> Finding:
        """A step at which server or network failed."""
        return self.bad(
            error.stage,
            error.fault or Fault.LOST,
            detail=str(error),
            facts=facts,
            recipient=recipient,
            reply=error.reply,
        )

    def encryption(self, facts: TlsFacts | None) -> Finding:
        """What was agreed on encryption."""
        if facts is None:
            return self.good(Stage.ENCRYPTION, "not_encrypted", state=State.WARNING)
        table = {
            "protocol": facts.protocol,
            "cipher": facts.cipher,
            "certificate": ", ".join(facts.names),
            "issuer": facts.issuer,
            "expires": facts.expires,
        }
        if facts.expires and ssl.cert_time_to_seconds(facts.expires) - time.time() < _SOON:
            return self.good(
                Stage.ENCRYPTION,
                "expires_soon",
                state=State.WARNING,
                detail=facts.expires,
                facts=table,
            )
        return self.good(Stage.ENCRYPTION, "encrypted", facts=table)

    def login(self, how: LoggedIn | None) -> Finding:
        """How the login went."""
        if how is None:
            return self.good(Stage.AUTHENTICATION, "no_login", state=State.SKIPPED)
        openly = self.relay.encryption is Encryption.NONE
        facts = {"mechanism": how.mechanism}
        if how.instead_of is not None:
            facts["refused before"] = str(how.instead_of)
        return self.good(
            Stage.AUTHENTICATION,
            "logged_in_openly" if openly else "logged_in",
            state=State.WARNING if openly else State.OK,
            facts=facts,
        )

    # -- the end ------------------------------------------------------------------------

    def suppressed(self) -> Diagnosis:
        """Nothing was tried."""
        return self._concluded(Verdict.SUPPRESSED, "suppressed")

    def mailed(self) -> Diagnosis:
        """The test came to this."""
        failed = self._failure()
        if self.sample is not None and self.relay.kind.stands_in:
            return self._concluded(Verdict.SUPPRESSED, "stays_in_memory")
        if failed is None:
            return self._concluded(Verdict.PASSED, "passed")
        if self.steps[-1].code == "accepted":
            return self._concluded(Verdict.PARTIAL, "partial")
        if failed.code == Fault.UNKNOWN_OUTCOME:
            return self._concluded(Verdict.NO_ANSWER, "no_answer_at_end")
        if failed.code == Fault.CONFIRMATION_LOST:
            detail = failed.values["detail"]
            return self._concluded(Verdict.NO_ANSWER, "lost_at_end", detail=detail)
        if failed.code == Fault.SILENT:
            return self._concluded(Verdict.NO_ANSWER, "no_answer")
        return self._concluded(Verdict.FAILED, _ending(failed))

    def _failure(self) -> Finding | None:
        failed = [step for step in self.steps if step.state is State.FAILED]
        return failed[-1] if failed else None

    def _concluded(self, verdict: Verdict, code: str, *, detail: str = "") -> Diagnosis:
        notes = []
        if self.sample is not None and verdict is not Verdict.SUPPRESSED:
            notes += ["paused"] if self.settings.paused else []
            notes += ["diverted"] if self.settings.divert_to else []
        return Diagnosis(
            verdict=verdict,
            code=code,
            seconds=time.monotonic() - self.started,
            steps=tuple(self.steps),
            values=self._values(detail, None) | self._about_recipients(),
            notes=tuple(notes),
            transcript=tuple(self.transcript),
        )

    def _about_recipients(self) -> dict[str, str]:
        about = [step for step in self.steps if step.recipient]
        accepted = [step.recipient or "" for step in about if step.state is State.OK]
        refused = [step.recipient or "" for step in about if step.state is State.FAILED]
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
        seconds, self._lap = now - self._lap, now
        return seconds


def _ending(failed: Finding) -> str:
    if failed.stage is Stage.SETTINGS:
        return "incomplete"
    return "cannot_connect" if failed.stage in _BEFORE_A_CONNECTION else "failed"


def _listed(addresses: list[str]) -> str:
    return " and ".join(f"the mailbox {address}" for address in addresses)
