"""The language of a page: the one that Flask-Babel chooses for its visitor, where a host uses it.

It is spoken from the first look at a request to its teardown, and once more while each piece of a
streamed page is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final

from flask import Response, request

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


def kept(response: Response, state: State) -> Response:
    """``response``, whose pieces are made in the language that is spoken now, if it is streamed."""
    if response.is_streamed:
        pieces = response.response
        response.call_on_close(getattr(pieces, "close", lambda: None))
        response.response = _spoken(pieces, language.spoken(), state.translations)
    return response


def _spoken(pieces: Iterable[Any], tag: str, translations: Sequence[str]) -> Iterator[Any]:
    # For each piece anew: between two of them the thread may serve others, and a page that is left
    # may never be read to its end.
    made = iter(pieces)
    while True:
        with language.speaking(tag, *translations):
            piece = next(made, None)
        if piece is None:
            return
        yield piece


def _chosen(state: State) -> str | None:
    if "babel" not in state.app.extensions:
        return None
    from flask_babel import get_locale  # type: ignore[import-not-found, import-untyped, unused-ignore]  # extra

    locale = get_locale()
    return str(locale) if locale else None
