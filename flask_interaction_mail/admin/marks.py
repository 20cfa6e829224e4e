"""Which fields of the form somebody should look at after a test that failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ..diagnosis.results import Diagnosis, Step, StepState
from ..outcome import Fault, Stage

_PLACE: Final = ("smtp_server", "smtp_port")
_BY_FAULT: Final[Mapping[str, tuple[str, ...]]] = {
    Fault.NONSENSE: (),
    Fault.SILENT: (*_PLACE, "encryption"),
    Fault.LOST: (*_PLACE, "encryption"),
    Fault.GREETING_TRANSIENT: (),
    Fault.GREETING_REFUSED: ("helo_name",),
    Fault.CERTIFICATE_UNKNOWN_CA: ("ca_certificate",),
    Fault.CERTIFICATE_OTHER_HOST: ("smtp_server",),
    Fault.CERTIFICATE_EXPIRED: (),
    Fault.CERTIFICATE_NOT_YET: (),
    Fault.CERTIFICATE_ABOVE: ("ca_certificate",),
    Fault.CERTIFICATE_OTHER: (),
    Fault.CA_UNREADABLE: ("ca_certificate",),
    Fault.AUTH_NOT_OFFERED: ("use_authentication", "encryption"),
    Fault.AUTH_UNENCRYPTED: ("encryption",),
    Fault.AUTH_SWITCHED_OFF: ("login",),
    Fault.AUTH_ACCOUNT_DISABLED: ("login",),
    Fault.AUTH_TOO_WEAK: ("password",),
    Fault.AUTH_TRANSIENT: (),
    Fault.AUTH_REQUIRED: ("use_authentication",),
    Fault.ENCRYPTION_REQUIRED: ("encryption",),
    Fault.RELAY_DENIED: ("use_authentication", "default_to"),
    Fault.CLIENT_REFUSED: (),
    Fault.HELO_REFUSED: ("helo_name",),
    Fault.SENDER_REFUSED: ("default_from",),
    Fault.SENDER_TRANSIENT: ("default_from",),
    Fault.RECIPIENT_GREYLISTED: (),
    Fault.RECIPIENT_TRANSIENT: (),
}
_BY_STAGE: Final[Mapping[Stage, tuple[str, ...]]] = {
    Stage.SETTINGS: ("default_to", "default_from", "company_domain"),
    Stage.RESOLVE: ("smtp_server",),
    Stage.CONNECT: _PLACE,
    Stage.GREETING: _PLACE,
    Stage.ENCRYPTION: ("encryption", "smtp_port"),
    Stage.AUTHENTICATION: ("login", "password"),
    Stage.SENDER: ("default_from",),
}


def fields_of(end: Diagnosis) -> Iterator[tuple[str, str]]:
    """Each field that a failed step points to, once, with the title of that step."""
    seen: set[str] = set()
    for step in end.steps:
        if step.state is StepState.FAILED:
            for name in _fields(step):
                if name not in seen:
                    seen.add(name)
                    yield name, step.texts.title


def _fields(step: Step) -> tuple[str, ...]:
    if step.code in _BY_FAULT:
        return _BY_FAULT[step.code]
    if step.recipient is not None:
        return ("default_to",) if step.recipient == step.values["to"] else ("default_from",)
    return _BY_STAGE.get(step.stage, ())
