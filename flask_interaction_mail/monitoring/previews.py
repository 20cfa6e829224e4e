"""How a message of each template looks, with sample data; nothing is stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import jinja2

from .. import language, operations
from ..errors import TemplateMissing
from ..language import mark
from ..messages import compose, samples, templates
from ..messages.compose import Identity, RoutingContext
from ..messages.intent import Intent, Texts
from ..messages.letterhead import letterhead_of
from ..messages.samples import Sample
from ..messages.templates import FOLDER, SUBJECT
from ..settings.model import MessagingSettings
from ..state import State
from ..values import Party

if TYPE_CHECKING:
    from ..diagnosis.results import Diagnosis

_SHIPPED: Final = Path(__file__).parents[1]
_SAMPLE: Final = ".sample.json"
_NOT_ROUTED: Final = "settings_test"  # says itself where it goes


class Listed(NamedTuple):
    """A template; ``own`` says that a file of it is the host's, ``ships`` that we have one."""

    name: str
    own: bool
    ships: bool


class Preview(NamedTuple):
    """A message with sample data, as a server would get it.

    ``headers`` are decoded. ``html`` is None where the message has none.
    """

    template: Listed
    subject: str
    text: str
    html: str | None
    headers: tuple[tuple[str, str], ...]
    content: bytes


class _Shown(jinja2.ChainableUndefined):
    """A name without a value, shown as the template has it."""

    def __str__(self) -> str:
        return f"{{{{ {self._undefined_name} }}}}"


def listed(state: State) -> list[Listed]:
    """The templates that ship, and those of the host in the same folder, in order."""
    start, end, env = f"{FOLDER}/", SUBJECT, state.app.jinja_env
    names = [
        path[len(start) : -len(end)]
        for path in _paths(env)
        if path.startswith(start) and path.endswith(end)
    ]
    return [
        Listed(name, own=_is_own(env, name), ships=name in samples.SHIPPED)
        for name in sorted(names)
    ]


def _paths(env: jinja2.Environment) -> list[str]:
    try:
        return env.list_templates()
    except TypeError:  # a loader of the host makes templates by name, and has no list
        return [f"{FOLDER}/{name}{SUBJECT}" for name in samples.SHIPPED]


def find(state: State, name: str) -> Listed | None:
    """The template ``name``, None if there is none."""
    return next((template for template in listed(state) if template.name == name), None)


def preview(state: State, template: Listed, *, locale: str | None = None) -> Preview:
    """Render ``template`` as with the settings in force, and compose its message.

    A name that has no sample value appears as in the template. The host can give values for its
    own templates, as a JSON object in ``<name>.sample.json`` beside them.

    Raises:
        TemplateMissing: it cannot be rendered.
        HeaderError, ContentError, AddressError: its message cannot be composed.
    """
    settings = samples.complete(state.settings.current().settings)
    texts, sample, context = _written(state, template.name, settings, locale)
    intent = Intent.of(texts, sample.whom)._replace(user=sample.user)
    content = compose.compose_message(intent, Identity.fresh(), context).content or b""
    message = message_from_bytes(content, policy=policy.default)
    return Preview(
        template=template,
        subject=texts.subject,
        text=_part(message, "plain") or "",
        html=_part(message, "html"),
        headers=tuple((field, str(value)) for field, value in message.items()),
        content=content,
    )


def languages(state: State) -> dict[str, str]:
    """The names of the languages in which there are messages, by their tags."""
    folders = state.translations
    return {tag: language.name_of(tag, *folders) for tag in language.available(*folders)}


def send(state: State, template: Listed, to: Party, *, locale: str | None = None) -> Diagnosis:
    """Send the message of ``template`` with sample data to ``to`` alone, as a test is sent.

    It comes from the default From, whoever the sample names.

    Raises:
        TemplateMissing: it cannot be rendered.
    """
    from . import test_history  # late: it brings what a test needs

    settings = state.settings.current().settings
    texts, *_ = _written(state, template.name, samples.complete(settings), locale)
    return test_history.send_copy(state, settings, texts, to)


def _written(
    state: State, name: str, settings: MessagingSettings, locale: str | None
) -> tuple[Texts, Sample, RoutingContext]:
    """The texts of the template ``name``, with the sample and for the route that are in them."""
    env = state.app.jinja_env.overlay(undefined=_Shown)
    context = operations.routing_context(state, settings, ())
    with templates.speaking(state.app, locale, *context.translations):
        context = context._replace(candidates=samples.candidates())
        sample = samples.sample_of(name, settings)
        given = {
            "letterhead": letterhead_of(settings, state.organisation),
            **sample.names,
            **_own_sample(env, name),
        }
        if name != _NOT_ROUTED:
            routing = compose.route(sample.whom, context)
            given = {"why": compose.why(sample.whom, routing, settings), **given}
        return templates.render_with(env, name, given), sample, context


def _part(message: EmailMessage, kind: Literal["plain", "html"]) -> str | None:
    part = message.get_body((kind,))
    return str(part.get_content()).replace("\r\n", "\n") if part is not None else None


def _own_sample(env: jinja2.Environment, name: str) -> Mapping[str, Any]:
    path, loader = f"{FOLDER}/{name}{_SAMPLE}", env.loader or jinja2.DictLoader({})
    try:
        source, *_ = loader.get_source(env, path)
        given = json.loads(source)
    except jinja2.TemplateNotFound:
        return {}
    except ValueError as error:
        text = mark("%(path)s is not JSON: %(why)s", path=path, why=str(error))
        raise TemplateMissing(text) from error
    if not isinstance(given, dict):
        example = '{"count": 412}'
        text = mark(
            "%(path)s must hold an object, such as %(example)s.", path=path, example=example
        )
        raise TemplateMissing(text)
    return given


def _is_own(env: jinja2.Environment, name: str) -> bool:
    files = (_file_of(env, f"{FOLDER}/{name}{ending}") for ending in (SUBJECT, ".txt", ".html"))
    return any(not Path(file).is_relative_to(_SHIPPED) for file in files if file is not None)


def _file_of(env: jinja2.Environment, path: str) -> str | None:
    """Where the template ``path`` comes from; "" if that is no file, None if it is missing."""
    try:
        _, file, _ = (env.loader or jinja2.DictLoader({})).get_source(env, path)
    except jinja2.TemplateNotFound:
        return None
    except UnicodeError:  # it is in another encoding than ours are
        return ""
    return file or ""
