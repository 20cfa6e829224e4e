"""The texts of messages: ``interaction_mail/mail/<name>.subject.txt``, ``.txt`` and ``.html``.

A host's own template of the same name wins. A context may hold data of strangers, so HTML is
escaped and a subject becomes one line. Texts are in the language that ``speaking`` has chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

import jinja2
from flask import Flask
from jinja2.nodes import EvalContext
from markupsafe import escape

from .. import language
from ..errors import TemplateMissing
from ..logs import log
from ..values import Party
from .intent import Texts
from .letterhead import PLAIN, Letterhead

FOLDER: Final = "interaction_mail/mail"
SUBJECT: Final = ".subject.txt"
_STYLE: Final = "<style"
_KEPT: Final = "<style data-kept>"  # of the letterhead: what no attribute can say, as dark mode


@jinja2.pass_eval_context
def gettext(page: EvalContext, text: str, **values: Any) -> str:
    """``_gettext`` of templates: in HTML all is escaped except values that are HTML already."""
    return fill(page, language.gettext(text), values)


@jinja2.pass_eval_context
def ngettext(page: EvalContext, one: str, many: str, count: int, **values: Any) -> str:
    """``_ngettext`` of templates: the form for ``count``, which ``%(count)s`` shows."""
    said = language.plural(one, many, count)
    return fill(page, said, {"count": language.number(count), **values})


def fill(page: EvalContext, text: str, values: Mapping[str, Any]) -> str:
    """``text`` with ``values`` in it, escaped where ``page`` is HTML."""
    said = escape(text) if page.autoescape else text
    return said % values if values else said


_TEXTS: Final[Mapping[str, Any]] = {"_gettext": gettext, "_ngettext": ngettext}


def render(
    app: Flask, name: str, context: Mapping[str, Any], *, letterhead: Letterhead = PLAIN
) -> Texts:
    """Render the template ``name``.

    A message with HTML alone gets a text that is made of it.

    Raises:
        TemplateMissing: there is no subject, or neither text nor HTML, or one cannot be rendered.
    """
    return render_with(app.jinja_env, name, {"letterhead": letterhead, **context})


def render_with(env: jinja2.Environment, name: str, context: Mapping[str, Any]) -> Texts:
    """Render as ``render`` does, by the rules of ``env`` for names that are missing."""
    (texts,) = render_each(env, name, [context])
    return texts


def render_each(
    env: jinja2.Environment, name: str, contexts: Iterable[Mapping[str, Any]]
) -> list[Texts]:
    """Render for each of ``contexts``, one file after the other; otherwise as ``render_with``.

    What a file needs then stays in the processor's cache for all of them.
    """
    common = {**env.globals, **_TEXTS, "locale": language.spoken()}
    names = [{**common, **context} for context in contexts]
    subjects = _render(env, f"{name}{SUBJECT}", names)
    texts = _render(env, f"{name}.txt", names)
    pages = _render(env, f"{name}.html", names)
    return [_texts(name, *parts) for parts in zip(subjects, texts, pages, strict=True)]


def _texts(name: str, subject: str | None, text: str | None, html: str | None) -> Texts:
    if subject is None:
        raise TemplateMissing(_missing(name, SUBJECT))
    if html is not None:
        html = _inlined(name, html)
        if text is None:
            from . import plain_text  # late: most templates have a text

            text = plain_text.from_html(html)
    if text is None:
        raise TemplateMissing(_missing(name, ".txt or .html"))
    return Texts(subject=" ".join(subject.split()), text=_tidy(text), html=html)


def shared_locale(parties: Sequence[Party]) -> str | None:
    """The locale that all ``parties`` have in common, if they do."""
    locales = {party.locale for party in parties}
    return locales.pop() if len(locales) == 1 else None


def _render(
    env: jinja2.Environment, file: str, names: Sequence[dict[str, Any]]
) -> Sequence[str | None]:
    """What ``file`` says with each of ``names``; None if it is missing."""
    path = f"{FOLDER}/{file}"
    try:
        template = env.get_template(path)
        return [_filled(env, template, one) for one in names]
    except jinja2.TemplateNotFound as error:
        if error.name == path:
            return [None] * len(names)
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


def _inlined(name: str, html: str) -> str:
    """``html`` with the rules of its style sheets at the elements, where css-inline is there.

    Some mail programs read no style sheet. Nothing is fetched for it.
    """
    if html.count(_STYLE) == html.count(_KEPT):
        return html
    try:
        # Late: an extra, and only for templates of the host.
        import css_inline  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return html
    try:
        return str(css_inline.inline(html, load_remote_stylesheets=False, keep_at_rules=True))
    except css_inline.InlineError as error:
        raise TemplateMissing(f"The styles of {FOLDER}/{name}.html are wrong: {error}") from error


def _tidy(text: str) -> str:
    # The tags of a template leave empty lines.
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _missing(name: str, what: str) -> str:
    return (
        f"There is no template {FOLDER}/{name}{what}: "
        "put one into a template folder of the application."
    )


def speaking(app: Flask, locale: str | None, *folders: str) -> AbstractContextManager[None]:
    """Write messages in ``locale`` meanwhile, with the catalogues of ``folders`` before ours.

    None is English. Where the host uses Flask-Babel, it has that locale in templates, too.
    """
    if locale is None or "babel" not in app.extensions:
        return language.speaking(locale, *folders)
    return _babel_speaking(locale, *folders)


@contextmanager
def _babel_speaking(locale: str, *folders: str) -> Iterator[None]:
    from babel import Locale, UnknownLocaleError  # type: ignore[import-not-found, unused-ignore]
    from flask_babel import force_locale  # type: ignore[import-not-found, import-untyped, unused-ignore]  # extra

    try:
        Locale.parse(locale.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        # A wrong language in the host's data must not lose a message.
        log.warning("template.locale: %r is not a locale; the default one is used", locale[:80])
        with language.speaking(locale, *folders):
            yield
        return
    with language.speaking(locale, *folders), force_locale(locale.replace("-", "_")):
        yield
