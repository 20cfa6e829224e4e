"""How far an app context is, and what it has still to store.

While a view works, what it sends shares its fate. What comes after that, when Flask has taken up
an exception or the response, reports on it: it is stored even where the view's is dropped. When
the teardown functions have begun, the end of a session is no decision of the host any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from click.exceptions import Abort, Exit
from flask import (
    Flask,
    Response,
    appcontext_tearing_down,
    g,
    got_request_exception,
    has_app_context,
    has_request_context,
    request,
    request_finished,
)
from sqlalchemy.orm import Session

from .deferred import ContextQueue, Owner, drop, store

_KEY = "interaction_mail_context"  # in flask.g
_ROUNDS = 8  # how often receivers may send again while a context ends


@dataclass(eq=False, slots=True)
class _Course:
    """How far one app context is. Requests may share it: those of Flask's test client do."""

    homes: list[ContextQueue] = field(default_factory=list)
    reporting: list[object] = field(default_factory=list)  # requests that Flask is done with
    ending: int = 0  # teardown functions under way

    def home(self, owner: Owner) -> ContextQueue:
        """Where works go now."""
        now, after = _request(), bool(self.ending) or _request() in self.reporting
        last = self.homes[-1] if self.homes else None
        if last is None or last.failed or (last.request, last.after) != (now, after):
            self.homes.append(last := ContextQueue(owner, request=now, after=after))
        return last

    def report(self) -> None:
        """The view is done, or has failed."""
        self.reporting.append(_request())

    def responded(self) -> None:
        """The response is complete; what comes now is a stream, or the end."""
        self.reporting = [one for one in self.reporting if one is not _request()]

    def fail(self, because: str) -> None:
        """Drop, at the end of the context, what the present request has sent so far."""
        for home in self.homes:
            if home.request is _request() and not home.after:
                home.failed = home.failed or because


def watch_context(owner: Owner) -> ContextQueue:
    """See to it that ``owner`` hears of the end of this app context."""
    return _course().home(owner)


def wake(owner: Owner) -> None:
    """There is something to deliver: now, or when this app context ends."""
    if has_app_context():
        watch_context(owner)
    owner.delivery.wake()


def homes_of(session: Session) -> list[ContextQueue]:
    """Where works wait for the end of this app context, which has ``session``."""
    homes = _course().homes if has_app_context() else []
    return [home for home in homes if home.owner.db.session() is session]


def is_ending() -> bool:
    """Whether the teardown functions of this app context, or of its request, have begun."""
    return has_app_context() and _course().ending > 0


def watch(app: Flask) -> None:
    """Learn when Flask takes up an exception or a response of ``app``, and when it tears down.

    Its signals tell too late: receivers and functions of the host may have run before ours.
    """
    for name, wrapper in _WRAPPERS.items():
        setattr(app, name, wrapper(getattr(app, name)))


def _course() -> _Course:
    course: _Course = g.get(_KEY) or g.setdefault(_KEY, _Course())
    return course


def _request() -> object:
    # The object itself: the proxy would be another request's a moment later.
    return request._get_current_object() if has_request_context() else None  # type: ignore[attr-defined]


# -- what Flask does -------------------------------------------------------------------


def _reporting(function: Callable[..., Any]) -> Callable[..., Any]:
    """An exception that may have a handler, or a response on its way out."""

    @wraps(function)
    def wrapper(*args: Any, **others: Any) -> Any:
        _course().report()
        return function(*args, **others)

    return wrapper


def _failing(function: Callable[..., Any]) -> Callable[..., Any]:
    """An exception without a handler; it is the last argument."""

    @wraps(function)
    def wrapper(*args: Any, **others: Any) -> Any:
        _request_failed(None, args[-1])
        return function(*args, **others)

    return wrapper


def _ending(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **others: Any) -> Any:
        course = _course()
        course.ending += 1
        try:
            return function(*args, **others)
        finally:
            course.ending -= 1
            course.responded()

    return wrapper


_WRAPPERS: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "handle_user_exception": _reporting,
    "handle_exception": _failing,
    "process_response": _reporting,
    "do_teardown_request": _ending,
    "do_teardown_appcontext": _ending,
}


@got_request_exception.connect  # again: some extensions replace handle_exception
def _request_failed(_app: Flask | None, exception: BaseException, **_: Any) -> None:
    course = _course()
    course.fail(f"the request ended with {type(exception).__name__}")
    course.report()


@request_finished.connect
def _request_finished(_app: Flask, response: Response, **_: Any) -> None:
    course = _course()
    if response.status_code >= 500:  # the teardown functions are told of no handled exception
        course.fail(f"the response was {response.status}")
    course.responded()


# -- the end ---------------------------------------------------------------------------


@appcontext_tearing_down.connect  # comes after every teardown function, whatever the order
def _context_ends(_app: Flask, exc: BaseException | None = None, **_: Any) -> None:
    failed = f"the app context ended with {type(exc).__name__}" if _is_failure(exc) else None
    course: _Course | None = g.get(_KEY)
    for _round in range(_ROUNDS):
        if course is None or not course.homes:
            return
        _end(course, failed)
        failed = None  # what receivers of our signals send now is none of the host's work


def _end(course: _Course, failed: str | None) -> None:
    owner = course.homes[0].owner
    owner.db.session.remove()  # usually done; one still open gives back here what it carries
    homes, course.homes = course.homes, []
    for home in homes:
        if because := home.failed or (None if home.after else failed):
            drop((item for item in home.items if item.joins), because)
    store(item for home in homes for item in home.items)
    owner.delivery.context_ends()
    owner.db.session.remove()  # receivers of the signals may have used it


def _is_failure(exc: BaseException | None) -> bool:
    # The reader has gone, Ctrl-C, sys.exit() and the like of a command: the work was done.
    return isinstance(exc, Exception) and not isinstance(exc, Abort | Exit)
