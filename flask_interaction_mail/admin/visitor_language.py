"""The language of a page: the one that Flask-Babel chooses for its visitor, where a host uses it.

It is spoken from the first look at a request to its teardown, which is after the last piece of a
streamed page.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from flask import request

from .. import language
from ..state import State

_KEY: Final = "interaction_mail.language"  # in the WSGI environment


def begin(state: State) -> None:
    """Speak the visitor's language; asked again in the same request, do nothing."""
    if _KEY not in request.environ:
        stack = request.environ[_KEY] = ExitStack()
        stack.enter_context(language.speaking(_chosen(state), *state.translations))


def end(_error: BaseException | None) -> None:
    """Speak what was spoken before."""
    request.environ.pop(_KEY, ExitStack()).close()


def _chosen(state: State) -> str | None:
    if "babel" not in state.app.extensions:
        return None
    from flask_babel import get_locale  # type: ignore[import-not-found, import-untyped, unused-ignore]  # extra

    locale = get_locale()
    return str(locale) if locale else None
