"""The page of Test Settings, which grows while the test runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from flask import stream_template

from ..diagnosis.results import Diagnosis, Step, StepState
from ..diagnosis.texts import RUNNING
from ..logs import log
from ..monitoring import test_history
from ..outcome import Fault, Stage
from ..settings import fields
from ..settings.layers import InForce
from ..settings.model import SETTINGS, relay_of
from ..settings.relay import DEFAULT
from ..state import State
from ..values import Party
from . import texts
from .forms import SettingsForm, label_of

# Fields that an administrator should check after a failed step, by its fault or its stage.
_SERVER: Final = ("smtp_server", "smtp_port")
_BY_FAULT: Final[Mapping[str, tuple[str, ...]]] = {
    Fault.NONSENSE: (),
    Fault.SILENT: (*_SERVER, "encryption"),
    Fault.LOST: (*_SERVER, "encryption"),
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
    Fault.TOKEN_SETTINGS: ("oauth_client_secret", "oauth_service_account"),
    Fault.TOKEN_CLIENT_REFUSED: ("oauth_client_id", "oauth_client_secret"),
    Fault.TOKEN_SECRET_EXPIRED: ("oauth_client_secret", "oauth_expires"),
    Fault.TOKEN_GRANT_REFUSED: ("oauth_service_account", "oauth_mailbox"),
    Fault.TOKEN_CONSENT_MISSING: (),
    Fault.TOKEN_DELEGATION_MISSING: (),
    Fault.TOKEN_APPLICATION_UNKNOWN: ("oauth_tenant", "oauth_client_id"),
    Fault.TOKEN_TENANT_UNKNOWN: ("oauth_tenant",),
    Fault.TOKEN_SCOPE_REFUSED: ("oauth_scope",),
    Fault.TOKEN_UNAVAILABLE: (),
    Fault.TOKEN_NOT_CONNECTED: (),
    Fault.TOKEN_CONNECT_AGAIN: (),
    Fault.TOKEN_FROM_HOST: (),
    Fault.OAUTH_NOT_OFFERED: (*_SERVER, "sign_in"),
    Fault.OAUTH_REJECTED: ("oauth_mailbox",),
    Fault.OAUTH_OTHER_ACCOUNT: ("oauth_mailbox",),
    Fault.OAUTH_CONSENT_REJECTED: ("oauth_mailbox", "oauth_scope"),
    Fault.OAUTH_PERMISSION_MISSING: (),
    Fault.OAUTH_SWITCHED_OFF: ("oauth_mailbox",),
    Fault.SES_MISSING: ("kind",),
    Fault.SES_UNREACHABLE: ("region", "endpoint"),
    Fault.SES_NO_KEY: ("access_key", "secret_key"),
    Fault.SES_KEY_REFUSED: ("access_key", "secret_key", "region"),
    Fault.SES_KEY_EXPIRED: ("access_key", "secret_key"),
    Fault.SES_CLOCK: (),
    Fault.SES_FORBIDDEN: (),
    Fault.SES_PAUSED: (),
    Fault.SES_QUOTA: (),
    Fault.SES_UNAVAILABLE: (),
    Fault.SES_NONSENSE: ("endpoint",),
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
    Stage.CONNECT: _SERVER,
    Stage.GREETING: _SERVER,
    Stage.ENCRYPTION: ("encryption", "smtp_port"),
    Stage.TOKEN: ("oauth_token_url",),
    Stage.AUTHENTICATION: ("login", "password"),
    Stage.SENDER: ("default_from",),
}


def page(
    state: State,
    form: SettingsForm,
    drafted: InForce,
    *,
    present: InForce,
    by: str,
    tester: Party | None,
    **frame: object,
) -> Iterator[str]:
    """The page in pieces, each as soon as its step is done. The result goes into the history.

    ``drafted`` are the settings in ``form`` as the tested relay has them, ``present`` those in
    force; ``tester`` gets a copy of the test message.
    """
    relay = drafted.settings.relay
    before = present.of(relay if relay in present.settings.relays else DEFAULT)

    def suspects(end: Diagnosis) -> list[tuple[str, str, str]]:
        """Name and label of each suspect field, and the title of the step that points to it."""
        found = [
            (fields.of(relay, name), title)
            for name, title in _suspect_fields(end).items()
            if SETTINGS[name].fits(drafted.settings.kind)
        ]
        return [(fields.in_form(name), label_of(name), title) for name, title in found]

    return stream_template(
        "interaction_mail/admin/test_result.html",
        events=_recorded(state, drafted, by, tester),
        running=RUNNING,
        settings=drafted.settings,
        relay=relay_of(drafted.settings),
        transport=state.config.transport,
        wording=texts,
        suspects=suspects,
        several=form.several,
        badge_of=lambda end: test_history.badge_after(state, drafted, before, by, end),
        time=texts.time,
        **frame,
    )


def _recorded(
    state: State, drafted: InForce, by: str, tester: Party | None
) -> Iterator[Stage | Step | Diagnosis]:
    for event in test_history.steps(state, drafted, tester=tester):
        if isinstance(event, Diagnosis):
            _record(state, drafted, by, event)
        yield event


def _record(state: State, drafted: InForce, by: str, end: Diagnosis) -> None:
    try:
        test_history.record(state, drafted, by=by, end=end)
    except Exception:
        # A busy database must not keep the visitor from seeing the result.
        log.exception("test.unrecorded: the result of a test could not be stored")


def _suspect_fields(end: Diagnosis) -> Mapping[str, str]:
    """The fields that failed steps point to, each with the title of the first such step."""
    titles: dict[str, str] = {}
    for step in end.steps:
        if step.state is StepState.FAILED:
            for name in _fields_of(step):
                titles.setdefault(name, step.texts.title)
    return titles


def _fields_of(step: Step) -> tuple[str, ...]:
    if step.code in _BY_FAULT:
        return _BY_FAULT[step.code]
    if step.recipient is not None:
        fields = {step.values["to"]: ("default_to",), step.values["sender"]: ("default_from",)}
        return fields.get(step.recipient, ())  # the tester's address is in no field
    return _BY_STAGE.get(step.stage, ())
