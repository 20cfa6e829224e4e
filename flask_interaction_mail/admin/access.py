"""Who may open which page: closed unless somebody has decided to open it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from flask import abort, request
from flask.typing import ResponseReturnValue
from flask_admin import BaseView

from ..config import AccessMode
from ..logs import log
from ..state import State
from ..text import one_line
from ..values import Right

# An access function of version 0.1 may raise for these on each page: it does so in the log once.
_NEW_RIGHTS: Final = frozenset({Right.ACTIVITY, Right.EXPLAIN, Right.HISTORY})
_TOLD: Final = "interaction_mail_told"  # in the app: what its log says already
Callback = Callable[..., ResponseReturnValue | None]


def allowed(state: State, right: Right) -> bool:
    """Whether the present visitor has ``right``; asks the host, whose errors count as "no"."""
    if (access := state.access) is not None:
        told = state.app.extensions.setdefault(_TOLD, set()) if right in _NEW_RIGHTS else None
        return _ask(lambda: access(right), f"access({right!s})", told)
    # A password-reset link sits in a body: being an administrator is not enough to see it.
    if right is Right.BODY:
        return False
    return _left_to_host(state) or (_guarded(state) and _index_open(state))


def turned_away(state: State, right: Right) -> None:
    """Write down who was refused for want of ``right``, and at which page."""
    user = state.people.current_user()
    # A login that ran out is an everyday matter; a user who tries what he may not is none.
    level = logging.INFO if user is None else logging.WARNING
    who = one_line(user.name) if user is not None else "somebody unknown"
    log.log(level, "access.refused: %s has no right '%s': %s", who, right, one_line(request.path))


def refusal(state: State, name: str, **kwargs: Any) -> ResponseReturnValue:
    """The answer to a visitor without the right: the host's own, else 403."""
    if state.access is None and not _guarded(state):
        _explain(state)
    elif state.admin is not None and not _index_open(state):
        # The index view is closed to this visitor too, so this asks for a login, not in a loop.
        callback: Callback = state.admin.index_view.inaccessible_callback
        return callback(name, **kwargs) or abort(403)
    return abort(403)


def _left_to_host(state: State) -> bool:
    return state.config.access is AccessMode.HOST


def _guarded(state: State) -> bool:
    if state.admin is None:
        return False
    return type(state.admin.index_view).is_accessible is not BaseView.is_accessible


def _index_open(state: State) -> bool:
    if state.admin is None:
        return False
    return _ask(state.admin.index_view.is_accessible, "is_accessible of the admin index view")


def _ask(question: Callable[[], object], name: str, told: set[str] | None = None) -> bool:
    """The answer, "no" if the host raises; what is in ``told`` is not logged again."""
    try:
        return bool(question())
    except Exception:
        # Flask-Admin asks for every page's menu: one that is broken must not break them all.
        if told is None or name not in told:
            log.exception("access.failed: %s raised; access is refused", name)
        if told is not None:
            told.add(name)
        return False


def _explain(state: State) -> None:
    log.error(
        "access.unprotected: the Messaging pages of %s stay closed, because the admin index view "
        "lets everybody in. Give Admin an index view that overrides is_accessible(), or pass "
        "access= to InteractionMail, or set INTERACTION_MAIL_ACCESS = 'host' if something else "
        "guards the admin's URL.",
        state.app.name,
    )
