"""The parts of a dry run that an administrator sees: facts in words, and the message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from .. import clock
from ..language import gettext, mark, translated
from ..messages.explain import DryRun
from ..outbox import breaker
from ..outbox.choice import Relays, Trouble, Verdict, from_domain, why
from ..settings.model import MessagingSettings, relays_of
from ..settings.relay import SES, Encryption
from ..state import State
from .message_view import body_of, headers_of

_ENCRYPTED: Final = {
    Encryption.STARTTLS: mark("encrypted with STARTTLS"),
    Encryption.TLS: mark("encrypted from the start (TLS)"),
    Encryption.NONE: mark("not encrypted"),
}
_CARRIED: Final = {
    Verdict.FIRST: mark("“%(relay)s”, the first that may carry it"),
    Verdict.NEXT: mark("“%(relay)s”, because those before it are in trouble"),
}
# Header fields that say nothing about who gets it and as whom.
_OMITTED: Final = frozenset({"date", "message-id", "mime-version"})


class Line(NamedTuple):
    """A fact under each of the settings, and whether it is not the same under all."""

    label: str
    values: tuple[Sequence[str], ...]

    @property
    def differs(self) -> bool:
        return len({tuple(value) for value in self.values}) > 1


class Parts(NamedTuple):
    """The message as it would look."""

    headers: tuple[tuple[str, str], ...]
    text: str | None
    html: str | None
    framed: str


def lines(state: State, runs: Sequence[DryRun]) -> list[Line]:
    """What would happen under each of the settings; what none of them has is left out."""
    facts = [_facts(state, run, _carriers(state, run)) for run in runs]
    return [
        Line(label, tuple(each[label] for each in facts))
        for label in (facts[0] if facts else ())
        if any(each[label] for each in facts)
    ]


class _Carriers(NamedTuple):
    """Which relay would carry a request, and why in words; without a name none would."""

    name: str | None
    why: str


def _carriers(state: State, run: DryRun) -> _Carriers:
    relays = relays_of(run.settings, state.config.transport)
    rule = Relays(relays)
    if run.sender is None or (len(relays) == 1 and rule.alike):
        return _Carriers(relays[0].name, "")
    with state.database.reading() as connection:
        broken = breaker.read_all(connection, relays)
    trouble = {name: Trouble(met.since, met.why) for name, met in broken.items()}
    domain = from_domain(str(run.sender.from_), None)
    choice = rule.choose(domain, None, trouble, clock.now())
    if choice.verdict in _CARRIED:
        return _Carriers(choice.relay, gettext(_CARRIED[choice.verdict], relay=choice.relay))
    return _Carriers(choice.relay, translated(why(choice, domain, trouble)))


def _facts(state: State, run: DryRun, carriers: _Carriers) -> dict[str, Sequence[str]]:
    """Each fact by its label; several values where there are several addresses."""
    sender, settings = run.sender, run.settings
    if carriers.name in settings.relays:
        settings = settings.with_relay(carriers.name)
    goes = run.error is None
    return {
        gettext("Goes to"): run.to if goes else [gettext("nobody")],
        gettext("From"): [str(sender.from_)] if sender else [],
        gettext("Sent by (Sender)"): [str(sender.sender)] if sender and sender.sender else [],
        gettext("Answers go to"): [*map(str, sender.reply_to or [sender.from_])] if sender else [],
        gettext("Returned mail goes to"): [sender.envelope_sender] if sender else [],
        gettext("Goes by"): [carriers.why] if carriers.why else [],
        gettext("Mail server"): [_server(settings)] if settings.server else [],
        gettext("What then becomes of it"): _fate(state, settings) if goes else [],
    }


def _server(settings: MessagingSettings) -> str:
    if settings.kind is SES:
        return gettext("Amazon SES by HTTPS, region %(region)s", region=settings.region)
    authenticated = settings.by_token or (settings.by_password and settings.login)
    return gettext(
        "%(server)s, port %(port)s, %(encryption)s, %(login)s",
        server=settings.smtp_server,
        port=settings.smtp_port,
        encryption=gettext(_ENCRYPTED[settings.encryption]),
        login=gettext("with a login") if authenticated else gettext("without a login"),
    )


def _fate(state: State, settings: MessagingSettings) -> list[str]:
    """What keeps it from its recipients, else that it is sent."""
    if state.suppressed:
        return [gettext("It is recorded and not sent: this application suppresses sending.")]
    found = []
    if settings.paused:
        found.append(gettext("It waits: sending is paused."))
    if settings.divert_to:
        to = settings.divert_to
        found.append(gettext("It is diverted to %(to)s: the recipients get nothing.", to=to))
    if state.config.transport.stays_here:
        found.append(gettext("It stays here: something stands in for the mail server."))
    return found or [gettext("It is sent at once.")]


def parts(run: DryRun) -> Parts | None:
    """The message of ``run``; None if there would be none."""
    if run.content is None:
        return None
    body = body_of(run.content, "")
    headers = tuple(
        (name, value)
        for name, value in headers_of(run.content)
        if name.lower() not in _OMITTED and not name.lower().startswith("content-")
    )
    return Parts(headers, body.text, body.html, body.framed)
