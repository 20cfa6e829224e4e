"""Take over Flask-Mail's place in an application, ``app.extensions["mail"]``.

At every send, Flask-Mail looks there for its state, which says whether to open a connection. Our
state says no. Flask-Mail still checks the message and sends ``email_dispatched``, and a receiver of
that signal hands the message over. So the host's code needs no change, and ``record_messages``
works. The host may create its ``Mail`` object at any time: the state that it puts there becomes one
of ours at that moment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import flask_mail
import sqlalchemy as sa
from flask import Flask, appcontext_pushed, current_app, request_started

from ..errors import InteractionMailError
from ..logs import log
from ..messages.sender import default_from

OnMessage = Callable[[flask_mail.Message], None]

_SLOT: Final = "mail"
_SET_IN_PANEL: Final = frozenset(
    {"server", "port", "username", "password", "use_tls", "use_ssl", "debug", "max_emails"}
)


class DefaultSender(str):
    """The sender of a message that has none; true even when it is empty.

    Flask-Mail refuses a message whose sender is false, before we could say what is missing.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


class MailState(flask_mail._Mail):
    """Flask-Mail's state of an application; it never opens a connection, whatever is set in it.

    ``_made_ours`` changes Flask-Mail's own object, so that ``Mail.state`` stays the object in
    ``app.extensions["mail"]``.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in _SET_IN_PANEL:
            log.warning(
                f"flask_mail.{name}: set without effect; "
                "Configuration → Messaging says how mail leaves"
            )
        super().__setattr__(name, value)

    @property
    def suppress(self) -> bool:
        """Always true, so that Flask-Mail opens no connection to a server."""
        return True

    @suppress.setter
    def suppress(self, value: bool) -> None:
        """Switch ``MAIL_SUPPRESS_SEND`` of the application on or off."""
        for app, place in tuple(_PLACES.items()):
            if place.state is self:
                app.config["MAIL_SUPPRESS_SEND"] = bool(value)
                log.info("flask_mail.suppress: MAIL_SUPPRESS_SEND is now %s", bool(value))

    @property
    def default_sender(self) -> Any:
        """The sender of messages without one: the value set here, else the default From."""
        if "_sender_is_set" in self.__dict__:
            return self.__dict__["default_sender"]
        state: Any = current_app.extensions.get("interaction_mail")
        try:
            return DefaultSender(default_from(state.settings.current().settings).address)
        except (InteractionMailError, sa.exc.SQLAlchemyError, AttributeError):
            # Sending the message will raise it; building one should not fail.
            return DefaultSender()

    @default_sender.setter
    def default_sender(self, value: Any) -> None:
        self.__dict__.update(default_sender=value, _sender_is_set=True)


class _Place:
    """Flask-Mail's place in one application."""

    def __init__(self, on_message: OnMessage, state: MailState) -> None:
        self.on_message = on_message
        self.state = state
        self.replaced = False  # whether another object was ever put there
        self.said: set[str] = set()  # warnings that were logged already

    def put(self, value: object) -> MailState:
        """The state to put there instead of ``value``."""
        if value is not self.state:
            self._warn()
            self.state = _made_ours(value) or self.state
        return self.state

    def _warn(self) -> None:
        if not self.replaced:
            log.warning(
                "flask_mail.replaced: Mail.init_app was called after InteractionMail.init_app; "
                "its messages go through the panel's settings all the same"
            )
        self.replaced = True


class _Extensions(dict[str, Any]):
    """``app.extensions`` with our state in Flask-Mail's place, whatever is put there."""

    def __init__(self, former: Mapping[str, Any], place: _Place) -> None:
        super().__init__(former)
        self._place = place
        super().__setitem__(_SLOT, place.state)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, self._place.put(value) if name == _SLOT else value)


_PLACES: WeakKeyDictionary[Flask, _Place] = WeakKeyDictionary()


def install(app: Flask, on_message: OnMessage) -> None:
    """Hand each message that ``app`` sends with Flask-Mail to ``on_message``.

    An error of ``on_message`` reaches the caller of ``mail.send``.
    """
    place = _Place(on_message, _made_ours(app.extensions.get(_SLOT)) or _new_state(app))
    _PLACES[app] = place
    app.extensions = _Extensions(app.extensions, place)


def is_foreign(app: Flask) -> bool:
    """Whether another object than ours is in Flask-Mail's place in ``app`` now."""
    place = _PLACES.get(app)
    return place is None or app.extensions.get(_SLOT) is not place.state


def was_replaced(app: Flask) -> bool:
    """Whether another object was ever put in the place of ours."""
    return is_foreign(app) or _PLACES[app].replaced


def say_once(app: Flask, what: str) -> None:
    """Log once for ``app`` that ``what`` is different from Flask-Mail."""
    said = _PLACES[app].said
    if what not in said:
        said.add(what)
        log.warning("flask_mail.different: %s; docs/flask-mail.md lists the differences", what)


def _new_state(app: Flask) -> MailState:
    ascii_names = bool(app.config.get("MAIL_ASCII_ATTACHMENTS", False))
    state = flask_mail._Mail(
        "", None, None, None, False, False, None, 0, None, True, ascii_attachments=ascii_names
    )
    state.__class__ = MailState
    assert isinstance(state, MailState)  # noqa: S101 - for mypy, which does not see the above
    return state


def _made_ours(former: object) -> MailState | None:
    """``former`` turned into one of ours if it is a state of Flask-Mail, else None."""
    if type(former) is flask_mail._Mail:
        former.__class__ = MailState  # so that nobody who has kept it opens a connection
    elif isinstance(former, flask_mail._Mail) and not isinstance(former, MailState):
        former.suppress = True
    return former if isinstance(former, MailState) else None


def _put_back(sender: Any, **_: object) -> None:
    """Take the place again if ``app.extensions`` was changed without ``_Extensions``."""
    app = _app_of(sender)
    if app is None or not is_foreign(app):
        return
    place = _PLACES[app]
    place.put(app.extensions.get(_SLOT))
    app.extensions = _Extensions(app.extensions, place)


def _dispatched(sender: Any, message: flask_mail.Message, **_: object) -> None:
    app = _app_of(sender)
    if app is not None:
        _PLACES[app].on_message(message)


def _app_of(sender: Any) -> Flask | None:
    app = sender._get_current_object() if hasattr(sender, "_get_current_object") else sender
    return app if isinstance(app, Flask) and app in _PLACES else None


# One receiver for all apps: a bound method would be collected together with its object.
flask_mail.email_dispatched.connect(_dispatched)
appcontext_pushed.connect(_put_back)
request_started.connect(_put_back)  # a request may run in a context that was there before
