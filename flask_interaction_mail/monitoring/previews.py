"""How a message of each template looks, with sample data; nothing is stored or sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any, Final

import jinja2

from .. import operations
from ..errors import TemplateMissing
from ..messages import compose, samples, templates
from ..messages.compose import Identity
from ..messages.intent import Intent
from ..messages.letterhead import letterhead_of
from ..messages.templates import FOLDER, SUBJECT
from ..state import State

_SHIPPED: Final = str(Path(__file__).parents[1])
_SAMPLE: Final = ".sample.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A message with sample data.

    ``own`` says that a file of it is the host's. ``headers`` are decoded; ``content`` is what a
    server would get, with the Message-ID and the date of this preview.
    """

    name: str
    own: bool
    subject: str
    text: str
    html: str | None
    headers: tuple[tuple[str, str], ...]
    content: bytes


class _Shown(jinja2.ChainableUndefined):
    """A name without a value, shown as the template has it."""

    def __str__(self) -> str:
        return f"{{{{ {self._undefined_name} }}}}"


def names(state: State) -> list[str]:
    """The templates that ship, and those of the host in the same folder, in order."""
    start, end = f"{FOLDER}/", SUBJECT
    return sorted(
        path[len(start) : -len(end)]
        for path in state.app.jinja_env.list_templates()
        if path.startswith(start) and path.endswith(end)
    )


def preview(state: State, name: str, *, locale: str | None = None) -> Preview:
    """Render the template ``name`` as with the settings in force, and compose its message.

    A name that has no sample value appears as in the template. The host can give values for its
    own templates, as a JSON object in ``<name>.sample.json`` beside them.

    Raises:
        TemplateMissing: there is no such template, or it cannot be rendered.
        HeaderError, ContentError, AddressError: its message cannot be composed.
    """
    env = state.app.jinja_env.overlay(undefined=_Shown)
    settings = samples.complete(state.settings.current().settings)
    sample = samples.sample_of(name, settings)
    context = replace(
        operations.routing_context(state, settings, ()), candidates=samples.CANDIDATES
    )
    routing = compose.route(sample.whom, context)
    given = {
        "letterhead": letterhead_of(settings, state.organisation),
        **sample.names,
        **_own_sample(env, name),
    }
    if name != "settings_test":  # which is not routed, and says itself where it goes
        given = {"why": compose.why(sample.whom, routing, settings), **given}
    texts = templates.render_with(state.app, env, name, given, locale)
    intent = Intent(
        kind=sample.whom.kind,
        source=sample.whom.source,
        subject=texts.subject,
        text=texts.text,
        html=texts.html,
        to=sample.whom.to,
        locations=sample.whom.locations,
        user=sample.user,
    )
    content = compose.compose_message(intent, Identity.fresh(), context).content or b""
    headers = message_from_bytes(content, policy=policy.default).items()
    return Preview(
        name=name,
        own=_is_own(env, name),
        subject=texts.subject,
        text=texts.text or "",
        html=texts.html,
        headers=tuple((field, str(value)) for field, value in headers),
        content=content,
    )


def _own_sample(env: jinja2.Environment, name: str) -> Mapping[str, Any]:
    path, loader = f"{FOLDER}/{name}{_SAMPLE}", env.loader or jinja2.DictLoader({})
    try:
        source, *_ = loader.get_source(env, path)
        given = json.loads(source)
    except jinja2.TemplateNotFound:
        return {}
    except ValueError as error:
        raise TemplateMissing(f"{path} is no JSON: {error}") from error
    if not isinstance(given, dict):
        raise TemplateMissing(f'{path} must hold an object, such as {{"count": 412}}.')
    return given


def _is_own(env: jinja2.Environment, name: str) -> bool:
    return any(
        not file.startswith(_SHIPPED)
        for ending in (SUBJECT, ".txt", ".html")
        if (file := _file_of(env, f"{FOLDER}/{name}{ending}")) is not None
    )


def _file_of(env: jinja2.Environment, path: str) -> str | None:
    """Where the template ``path`` comes from; "" if that is no file, None if it is missing."""
    try:
        return env.get_template(path).filename or ""
    except jinja2.TemplateNotFound:
        return None
