"""What Test Settings finds: the steps of a test, and what it came to."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..language import gettext
from ..outcome import Reply, Stage
from .texts import NOT_SENT, NOTES, OPENINGS, Advice, text_of


class StepState(enum.StrEnum):
    """How one step went."""

    OK = "ok"
    WARNING = "warning"  # it works, and the administrator should know something about it
    SKIPPED = "skipped"  # the settings do not ask for it
    FAILED = "failed"


class Outcome(enum.StrEnum):
    """What a test came to."""

    PASSED = "passed"  # accepted for every recipient, which is not arrived
    PARTIAL = "partial"  # some recipient was refused
    FAILED = "failed"
    SUPPRESSED = "suppressed"  # the application sends nothing, so nothing is known
    NO_ANSWER = "no_answer"  # connected, and the server was too slow; delivery waits longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step: how it went, how long it took (seconds), what the server said.

    ``code`` is a fault or the name of a good step; texts come from it and ``values``.
    ``recipient`` is set for the steps about one. ``facts`` are for a table beside the text.
    """

    stage: Stage
    state: StepState
    code: str
    seconds: float
    values: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    recipient: str | None = None
    reply: Reply | None = None

    @property
    def texts(self) -> Advice:
        """Title, explanation and advice, in the reader's language."""
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


def last_failure(steps: Sequence[Step]) -> Step | None:
    """The last of ``steps`` that failed, None if none did."""
    return next((step for step in reversed(steps) if step.state is StepState.FAILED), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a test came to, with all its steps.

    ``notes`` are codes of ``texts.NOTES``; ``offers`` is what the server offers, in words.
    ``transcript`` are lines "C: …" and "S: …" with credentials blanked and control characters
    escaped; ``times`` has the second of each, from the beginning of the test.
    """

    outcome: Outcome
    code: str
    seconds: float
    steps: tuple[Step, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    offers: Mapping[str, str] = field(default_factory=dict)
    transcript: tuple[str, ...] = ()
    times: tuple[float, ...] = ()

    @property
    def passed(self) -> bool:
        """True only if the server accepted the message for every recipient."""
        return self.outcome is Outcome.PASSED

    @property
    def recipients(self) -> tuple[Step, ...]:
        """The steps about recipients: one each."""
        return tuple(step for step in self.steps if step.recipient is not None)

    @property
    def mechanism(self) -> str | None:
        """The SASL mechanism that logged in, None if there was no login or it failed."""
        logins = (step for step in self.steps if step.stage is Stage.AUTHENTICATION)
        passed = (step for step in logins if step.state is not StepState.FAILED)
        return next((step.facts.get("mechanism") for step in passed), None)

    @property
    def failure(self) -> Step | None:
        """The step at which it failed, None if none did."""
        return last_failure(self.steps)

    @property
    def texts(self) -> Advice:
        """Title, explanation and advice about the whole, in the reader's language.

        If the test failed, they come from the step that failed.
        """
        values = dict(self.values)
        if (failed := self.failure) is not None:
            own, opening = failed.texts, OPENINGS.get(failed.stage, NOT_SENT)
            values |= {"title": own.title, "explanation": own.explanation, "advice": own.advice}
            values["opening"] = opening
        return text_of(self.code).filled(values)

    @property
    def note_texts(self) -> tuple[str, ...]:
        """The settings that this test ignored, in the reader's language."""
        return tuple(gettext(NOTES[note]).format_map(self.values) for note in self.notes)

    def to_json(self) -> dict[str, object]:
        """All but the transcript as JSON values, fit to be stored."""
        return {
            "verdict": self.outcome.value,
            "code": self.code,
            "seconds": round(self.seconds, 3),
            "values": dict(self.values),
            "notes": list(self.notes),
            "offers": dict(self.offers),
            "steps": [step.to_json() for step in self.steps],
        }
