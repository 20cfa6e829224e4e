"""What Test Settings finds: steps, and what they come to. Values without behaviour of their own."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..outcome import Reply, Stage
from .advice import Advice
from .texts import NOT_SENT, NOTES, OPENINGS, text_of


class State(enum.StrEnum):
    """How one step went."""

    OK = "ok"
    WARNING = "warning"  # it works, and somebody should know something
    SKIPPED = "skipped"  # the settings do not ask for it
    FAILED = "failed"


class Verdict(enum.StrEnum):
    """What a test came to."""

    PASSED = "passed"  # accepted for every recipient, which is not arrived
    PARTIAL = "partial"  # some recipient was refused
    FAILED = "failed"
    SUPPRESSED = "suppressed"  # the application sends nothing, so nothing is known
    NO_ANSWER = "no_answer"  # connected, and the server was too slow; delivery waits longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One step: how it went, how long it took (seconds), what the server said.

    ``code`` is a fault or the name of a good step; texts come from it and ``values``.
    ``recipient`` is set for the steps about one. ``facts`` are for a table beside the text.
    """

    stage: Stage
    state: State
    code: str
    seconds: float
    values: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    recipient: str | None = None
    reply: Reply | None = None

    @property
    def texts(self) -> Advice:
        """Title, explanation and advice, in English."""
        return text_of(self.code).filled(self.values)

    def to_json(self) -> dict[str, object]:
        """All of it as JSON values."""
        return {
            "stage": self.stage.value,
            "state": self.state.value,
            "code": self.code,
            "seconds": round(self.seconds, 3),
            "values": dict(self.values),
            "facts": dict(self.facts),
            "recipient": self.recipient,
            "reply": str(self.reply) if self.reply else None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a test came to, with all its steps.

    ``notes`` are codes of ``texts.NOTES``; ``transcript`` are lines "C: …" and
    "S: …" with credentials blanked and control characters escaped.
    """

    verdict: Verdict
    code: str
    seconds: float
    steps: tuple[Finding, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    transcript: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True only where the server accepted the message for every recipient."""
        return self.verdict is Verdict.PASSED

    @property
    def recipients(self) -> tuple[Finding, ...]:
        """The steps about recipients: one each."""
        return tuple(step for step in self.steps if step.recipient is not None)

    @property
    def mechanism(self) -> str | None:
        """By which SASL mechanism the login passed, None if there was none or it failed."""
        passed = (step for step in self.steps if step.state is not State.FAILED)
        found = (one.facts.get("mechanism") for one in passed if one.stage is Stage.AUTHENTICATION)
        return next(found, None)

    @property
    def failure(self) -> Finding | None:
        """The step at which it failed, None if none did."""
        failed = [step for step in self.steps if step.state is State.FAILED]
        return failed[-1] if failed else None

    @property
    def texts(self) -> Advice:
        """Title, explanation and advice about the whole, in English.

        Of a test that failed they are those of the step that failed.
        """
        values = dict(self.values)
        if (failed := self.failure) is not None:
            own, opening = failed.texts, OPENINGS.get(failed.stage, NOT_SENT)
            values |= {"title": own.title, "explanation": own.explanation, "advice": own.advice}
            values["opening"] = opening
        return text_of(self.code).filled(values)

    @property
    def note_texts(self) -> tuple[str, ...]:
        """What this test did not obey, in English."""
        return tuple(NOTES[note].format_map(self.values) for note in self.notes)

    def to_json(self) -> dict[str, object]:
        """All but the transcript as JSON values, fit to be stored."""
        return {
            "verdict": self.verdict.value,
            "code": self.code,
            "seconds": round(self.seconds, 3),
            "values": dict(self.values),
            "notes": list(self.notes),
            "steps": [step.to_json() for step in self.steps],
        }
