"""How far an app context has come, and the queues of what it has still to store.

What a view sends is dropped if the view fails. Once Flask handles an exception or the response,
calls report on the view, so they are stored even if it failed. Once teardown functions run, the
end of a session is not a decision of the host any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from flask import (
    Flask,
    Response,
    g,
    got_request_exception,
    has_app_context,
    has_request_context,
    request,
    request_finished,
)
from sqlalchemy.orm import Session

from .pending_work import ContextQueue, Owner

_KEY = "interaction_mail_context"  # in flask.g


@dataclass(eq=False, slots=True)
class ContextProgress:
    """How far one app context has come. Flask's test client runs several requests in one."""

    queues: list[ContextQueue] = field(default_factory=list)
    after_view: list[object] = field(default_factory=list)  # requests whose view is over
    teardowns: int = 0  # teardown functions under way

    def queue(self, owner: Owner) -> ContextQueue:
        """The queue for calls that are made now."""
        current = _request()
        after = bool(self.teardowns) or current in self.after_view
        last = self.queues[-1] if self.queues else None
        if last is None or last.failed or (last.request, last.after) != (current, after):
            self.queues.append(last := ContextQueue(owner, request=current, after=after))
        return last

    def view_over(self) -> None:
        """The view has returned or raised."""
        self.after_view.append(_request())

    def response_over(self) -> None:
        """The response is complete; a stream or the end of the context comes next."""
        current = _request()
        self.after_view = [over for over in self.after_view if over is not current]

    def fail(self, because: str) -> None:
        """Drop, at the end of the context, what the view of the current request has sent."""
        for queue in self.queues:
            if queue.request is _request() and not queue.after:
                queue.failed = queue.failed or because

    def take_queues(self) -> list[ContextQueue]:
        """The queues, which are new ones from now on."""
        queues, self.queues = self.queues, []
        return queues


def watch_context(owner: Owner) -> ContextQueue:
    """The queue for calls that are made now; its ``owner`` hears of the end of this app context."""
    return _progress().queue(owner)


def wake(owner: Owner) -> None:
    """Tell delivery that there is something to deliver: now, and when this app context ends."""
    if has_app_context():
        watch_context(owner)
    owner.delivery.wake()


def queues_of(session: Session) -> list[ContextQueue]:
    """The queues of this app context that belong to ``session``."""
    queues = _progress().queues if has_app_context() else []
    return [queue for queue in queues if queue.owner.db.session() is session]


def is_ending() -> bool:
    """Whether the teardown functions of this app context, or of its request, have begun."""
    return has_app_context() and _progress().teardowns > 0


def current_progress() -> ContextProgress | None:
    """How far this app context has come; None if nobody has asked for it yet."""
    progress: ContextProgress | None = g.get(_KEY)
    return progress


def instrument(app: Flask) -> None:
    """Learn when Flask handles an exception or a response of ``app``, and when it tears down.

    Flask's signals come too late: receivers and functions of the host may have run before ours.
    """
    for name in ("handle_user_exception", "process_response"):
        _call_before(app, name, lambda *_: _progress().view_over())
    _call_before(app, "handle_exception", lambda *args: _request_failed(None, args[-1]))
    for name in ("do_teardown_request", "do_teardown_appcontext"):
        _count_teardown(app, name)


def _progress() -> ContextProgress:
    progress: ContextProgress = g.get(_KEY) or g.setdefault(_KEY, ContextProgress())
    return progress


def _request() -> object:
    # The object itself: the proxy would be another request's a moment later.
    return request._get_current_object() if has_request_context() else None  # type: ignore[attr-defined]


# -- what Flask does -------------------------------------------------------------------


def _call_before(app: Flask, name: str, action: Callable[..., object]) -> None:
    method = getattr(app, name)

    @wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        action(*args)
        return method(*args, **kwargs)

    setattr(app, name, wrapper)


def _count_teardown(app: Flask, name: str) -> None:
    method = getattr(app, name)

    @wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        progress = _progress()
        progress.teardowns += 1
        try:
            return method(*args, **kwargs)
        finally:
            progress.teardowns -= 1
            progress.response_over()

    setattr(app, name, wrapper)


@got_request_exception.connect  # as well, because some extensions replace handle_exception
def _request_failed(_app: Flask | None, exception: BaseException, **_: Any) -> None:
    progress = _progress()
    progress.fail(f"the request ended with {type(exception).__name__}")
    progress.view_over()


@request_finished.connect
def _request_finished(_app: Flask, response: Response, **_: Any) -> None:
    progress = _progress()
    if response.status_code >= 500:  # teardown functions do not hear of a handled exception
        progress.fail(f"the response was {response.status}")
    progress.response_over()
