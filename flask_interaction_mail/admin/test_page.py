"""A test of the settings as a page that grows while the test goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from flask import stream_template

from ..diagnosis.results import Diagnosis, Step
from ..monitoring import test_history
from ..settings.layers import InForce
from ..state import State
from . import formatting, marks, texts
from .forms import SettingsForm

log = logging.getLogger("flask_interaction_mail")


def page(
    state: State,
    form: SettingsForm,
    drafted: InForce,
    *,
    present: InForce,
    by: str,
    **frame: object,
) -> Iterator[str]:
    """The pieces of the page, each as soon as it is known; the test is written down.

    ``drafted`` is what ``form`` comes to, ``present`` what is in force.
    """

    def looked_at(end: Diagnosis) -> list[tuple[str, str, str]]:
        return [
            (name, texts.gettext(str(form[name].label.text)), title)
            for name, title in marks.fields_of(end)
        ]

    return stream_template(
        "interaction_mail/admin/test_result.html",
        events=_recorded(state, drafted, by),
        settings=drafted.settings,
        stands_in=state.config.transport.stands_in,
        marks=texts.MARKS,
        looked_at=looked_at,
        badge_of=lambda end: test_history.badge_after(state, drafted, present, by, end),
        time=formatting.time,
        **frame,
    )


def _recorded(state: State, drafted: InForce, by: str) -> Iterator[Step | Diagnosis]:
    for event in test_history.steps(state, drafted):
        if isinstance(event, Diagnosis):
            _record(state, drafted, by, event)
        yield event


def _record(state: State, drafted: InForce, by: str, end: Diagnosis) -> None:
    try:
        test_history.record(state, drafted, by=by, end=end)
    except Exception:
        # The result is what counts; a database that is busy must not hide it.
        log.exception("test.unrecorded: the result of a test could not be stored")
