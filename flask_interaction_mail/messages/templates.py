"""The texts of messages: ``interaction_mail/mail/<name>.subject.txt``, ``.txt`` and ``.html``.

A host's own template of the same name wins. A context may hold data of strangers, so HTML is
escaped and a subject becomes one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import jinja2
from flask import Flask

from ..errors import TemplateMissing
from ..logs import log
from ..values import Party

_FOLDER = "interaction_mail/mail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """A rendered message: a subject in one line, and text, HTML or both."""

    subject: str
    text: str | None
    html: str | None


def render(app: Flask, name: str, context: Mapping[str, Any], *, locale: str | None) -> Texts:
    """Render the template ``name``, in ``locale`` if the host uses Flask-Babel.

    Raises:
        TemplateMissing: there is no subject, or neither text nor HTML, or one cannot be rendered.
    """
    env = app.jinja_env
    names = {**env.globals, **context}
    with nullcontext() if locale is None else _speaking(app, locale):
        subject = _render(env, f"{name}.subject.txt", names)
        text = _render(env, f"{name}.txt", names)
        html = _render(env, f"{name}.html", names)
    if subject is None:
        raise TemplateMissing(_missing(name, ".subject.txt"))
    if text is None and html is None:
        raise TemplateMissing(_missing(name, ".txt or .html"))
    return Texts(subject=" ".join(subject.split()), text=_tidy(text), html=html)


def shared_locale(parties: Sequence[Party]) -> str | None:
    """The locale that all ``parties`` have in common, if they do."""
    locales = {party.locale for party in parties}
    return locales.pop() if len(locales) == 1 else None


def _render(env: jinja2.Environment, file: str, names: dict[str, Any]) -> str | None:
    path = f"{_FOLDER}/{file}"
    try:
        return _filled(env, env.get_template(path), names)
    except jinja2.TemplateNotFound as error:
        if error.name == path:
            return None
        raise TemplateMissing(
            f"The template {path} needs {error.name}, which is missing."
        ) from error
    except Exception as error:
        raise TemplateMissing(f"The template {path} cannot be rendered: {error}") from error


def _filled(env: jinja2.Environment, template: jinja2.Template, names: dict[str, Any]) -> str:
    """The result of ``template.render``, which would look up all globals again for each file."""
    if env.is_async:
        return template.render(names)
    try:
        return env.concat(template.root_render_func(template.new_context(names, shared=True)))
    except Exception:
        env.handle_exception()  # raises it with the template's line


def _tidy(text: str | None) -> str | None:
    # The tags of a template leave empty lines.
    return None if text is None else re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _missing(name: str, what: str) -> str:
    return (
        f"There is no template {_FOLDER}/{name}{what}: "
        "put one into a template folder of the application."
    )


@contextmanager
def _speaking(app: Flask, locale: str) -> Iterator[None]:
    if "babel" not in app.extensions:
        yield
        return
    from babel import Locale, UnknownLocaleError  # type: ignore[import-not-found, unused-ignore]
    from flask_babel import force_locale  # type: ignore[import-not-found, import-untyped, unused-ignore]  # extra

    try:
        Locale.parse(locale.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        # A wrong language in the host's data must not lose a message.
        log.warning("template.locale: %r is not a locale; the default one is used", locale)
        yield
        return
    with force_locale(locale.replace("-", "_")):
        yield
