"""A test of the settings as a page that grows while the test goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from flask import stream_template

from ..diagnosis import Diagnosis, Finding
from ..diagnosis.course import diagnose
from ..settings_store import InForce
from ..state import State
from ..transport.policy import ConnectPolicy
from . import checks, wording

log = logging.getLogger("flask_interaction_mail")


def page(state: State, drafted: InForce, *, by: str, **shown: object) -> Iterator[str]:
    """The pieces of the page, each as soon as it is known; the test is written down."""
    return stream_template(
        "interaction_mail/admin/test_result.html",
        events=_recorded(state, drafted, by),
        settings=drafted.settings,
        marks=wording.MARKS,
        **shown,
    )


def _recorded(state: State, drafted: InForce, by: str) -> Iterator[Finding | Diagnosis]:
    policy = ConnectPolicy.of(state.config)
    for event in diagnose(drafted.settings, policy=policy, suppressed=state.suppressed):
        if isinstance(event, Diagnosis):
            _record(state, drafted, by, event)
        yield event


def _record(state: State, drafted: InForce, by: str, end: Diagnosis) -> None:
    try:
        checks.record(state, drafted, by=by, end=end)
    except Exception:
        # The result is what counts; a database that is busy must not hide it.
        log.exception("test.unrecorded: the result of a test could not be stored")
