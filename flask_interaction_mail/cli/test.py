"""``test`` and ``explain``: what would happen, before it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from .. import operations
from ..diagnosis.results import Diagnosis, Step
from ..messages import explain as explaining
from ..messages.explain import Explanation
from ..monitoring import test_history
from ..settings.layers import InForce
from ..settings.relay import DEFAULT
from ..state import State, state_of
from ..values import Party
from .fields import changes_of, need_relay, refuse_overridden, setting_options
from .output import as_json, dump, fail, main, operator, say

_MARKS = {"ok": "ok", "warning": "note", "skipped": "-", "failed": "FAILED"}


@main.command()
@click.option("--relay", default=DEFAULT, help="The relay to test; by default that of this name.")
@setting_options
@as_json
def test(as_json: bool, relay: str, **options: Any) -> None:
    """Send the test message with the settings in force, and show each step.

    Options change settings for this test only; nothing is saved.
    """
    run_test(relay, changes_of(options, relay), as_json=as_json)


def run_test(relay: str, changes: dict[str, object], *, as_json: bool) -> None:
    """Test ``relay`` as it would be with ``changes``; ends the command unless it passes."""
    state = state_of()
    present = state.settings.current()
    need_relay(present, relay)
    refuse_overridden(changes, present)
    tried = state.settings.draft(changes).of(relay)
    found = _examine(state, tried, quiet=as_json)
    test_history.record(state, tried, by=operator(), end=found)
    if as_json:
        dump(found.to_json())
    else:
        _show_end(found)
    if not found.passed:
        fail(f"the test did not pass: {found.texts.title}.")


def _examine(state: State, tried: InForce, *, quiet: bool) -> Diagnosis:
    for found in test_history.steps(state, tried):
        if isinstance(found, Diagnosis):
            return found
        if isinstance(found, Step) and not quiet:
            _show_step(found)
    raise RuntimeError("a test ended without a diagnosis")


def _show_step(step: Step) -> None:
    said = f" ({step.reply})" if step.reply else ""
    whom = f" {step.recipient}:" if step.recipient else ""
    say(f"[{_MARKS[step.state]:>6}] {step.stage}:{whom} {step.texts.title}{said}")


def _show_end(found: Diagnosis) -> None:
    texts = found.texts
    say("")
    for text in (texts.title, texts.explanation, texts.advice, *found.note_texts):
        if text:
            say(text)


@main.command()
@click.option("--location", "locations", multiple=True, required=True, help="Of a contact.")
@click.option("--requester", help="The id or address of a user; by default nobody.")
@as_json
def explain(locations: Sequence[str], requester: str | None, as_json: bool) -> None:
    """Show who would get a merge request, as whom, and why. Nothing is sent.

    Give --location once for each of the contacts, if they differ.
    """
    state = state_of()
    party = _party(state, requester) if requester is not None else None
    settings, places = state.settings.current().settings, tuple(dict.fromkeys(locations))
    found = explaining.explain(operations.routing_context(state, settings, places), party)
    told = _told(places, found)
    if as_json:
        dump(told)
    else:
        for sentence in told["route"]:
            say(sentence)
        say("")
        for name in ("to", "from", "sender", "reply_to", "envelope_sender"):
            if told[name]:
                say(f"{name.replace('_', ' ').capitalize() + ':':<17} {_joined(told[name])}")
    if told["error"]:
        fail(told["error"])


def _joined(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _party(state: State, wanted: str) -> Party:
    parties = state.people.parties()
    found = next((party for party in parties if wanted in (str(party.id), party.email)), None)
    return found or fail(f"Directory.parties() has nobody with the id or address {wanted!r}.")


def _told(locations: tuple[str, ...], found: Explanation) -> dict[str, Any]:
    headers = found.sender
    return {
        "locations": locations,
        "to": found.to,
        "route": found.route,
        "error": found.error,
        "from": str(headers.from_),
        "sender": str(headers.sender) if headers.sender else None,
        "reply_to": tuple(map(str, headers.reply_to)),
        "envelope_sender": headers.envelope_sender,
    }
