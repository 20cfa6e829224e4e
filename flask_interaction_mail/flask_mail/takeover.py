"""Flask-Mail's place in an application, ``app.extensions["mail"]``: what stands there is ours.

Flask-Mail looks its state up there at every send, and in it whether to open a connection. A state
of ours says that it is not to; Flask-Mail still checks the message and sends ``email_dispatched``,
and a receiver of that signal hands the message over. So a host's code stays as it is, and
``record_messages`` works. A host may make its ``Mail`` object when it likes: the state that this
puts into the place becomes one of ours at that moment.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

import flask_mail
import sqlalchemy as sa
from flask import Flask, appcontext_pushed, current_app, request_started

from ..errors import InteractionMailError
from ..messages.sender import default_from

log = logging.getLogger("flask_interaction_mail")

OnMessage = Callable[[flask_mail.Message], None]

_SLOT: Final = "mail"
_SET_IN_PANEL: Final = frozenset(
    {"server", "port", "username", "password", "use_tls", "use_ssl", "debug", "max_emails"}
)


class DefaultSender(str):
    """The sender of a message whose author named none; also true when no default From is set.

    Flask-Mail refuses a message without a sender before anybody could say what is missing.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return True


class MailState(flask_mail._Mail):
    """Flask-Mail's state of an application, which opens no connection, whatever is set in it.

    Made of a state of Flask-Mail's own by ``_made_ours``, so that ``Mail.state`` stays the object
    in ``app.extensions["mail"]``.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name in _SET_IN_PANEL:
            log.warning(
                "flask_mail.%s: set without effect; Configuration → Messaging says how mail leaves",
                name,
            )
        super().__setattr__(name, value)

    @property
    def suppress(self) -> bool:
        """Always true, which tells Flask-Mail's connection to open none to a server."""
        return True

    @suppress.setter
    def suppress(self, value: bool) -> None:
        """Suppress the mail of the application, or no longer: ``MAIL_SUPPRESS_SEND``."""
        for app, place in tuple(_PLACES.items()):
            if place.state is self:
                app.config["MAIL_SUPPRESS_SEND"] = bool(value)
                log.info("flask_mail.suppress: MAIL_SUPPRESS_SEND is now %s", bool(value))

    @property
    def default_sender(self) -> Any:
        """The sender of messages that name none: what was set here, else the default From."""
        if "_sender_is_set" in self.__dict__:
            return self.__dict__["default_sender"]
        state: Any = current_app.extensions.get("interaction_mail")
        try:
            return DefaultSender(default_from(state.settings.current().settings).address)
        except (InteractionMailError, sa.exc.SQLAlchemyError, AttributeError):
            # Whoever sends the message is told; building one is no reason to fail.
            return DefaultSender()

    @default_sender.setter
    def default_sender(self, value: Any) -> None:
        self.__dict__.update(default_sender=value, _sender_is_set=True)


class _Place:
    """Flask-Mail's place in one application."""

    def __init__(self, on_message: OnMessage, state: MailState) -> None:
        self.on_message = on_message
        self.state = state
        self.replaced = False  # whether somebody else has put something there
        self.said: set[str] = set()  # what was said of messages that cannot stay as they are

    def put(self, value: object) -> MailState:
        """What shall stand there instead of ``value``."""
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
    """``app.extensions``, where Flask-Mail's place is kept."""

    def __init__(self, former: Mapping[str, Any], place: _Place) -> None:
        super().__init__(former)
        self._place = place
        super().__setitem__(_SLOT, place.state)

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, self._place.put(value) if name == _SLOT else value)


_PLACES: WeakKeyDictionary[Flask, _Place] = WeakKeyDictionary()


def install(app: Flask, on_message: OnMessage) -> None:
    """Take over Flask-Mail's callers of ``app``; each of their messages goes to ``on_message``.

    What ``on_message`` raises reaches the caller of ``mail.send``.
    """
    place = _Place(on_message, _made_ours(app.extensions.get(_SLOT)) or _new_state(app))
    _PLACES[app] = place
    app.extensions = _Extensions(app.extensions, place)


def is_foreign(app: Flask) -> bool:
    """Whether another object than ours stands in for Flask-Mail in ``app`` right now."""
    place = _PLACES.get(app)
    return place is None or app.extensions.get(_SLOT) is not place.state


def was_replaced(app: Flask) -> bool:
    """Whether somebody else has ever put something in the place of ours."""
    return is_foreign(app) or _PLACES[app].replaced


def say_once(app: Flask, what: str) -> None:
    """Warn, once for ``app``, of ``what`` stays different for Flask-Mail's callers."""
    said = _PLACES[app].said
    if what not in said:
        said.add(what)
        log.warning("flask_mail.different: %s; docs/flask-mail.md says what stays different", what)


def _new_state(app: Flask) -> MailState:
    ascii_names = bool(app.config.get("MAIL_ASCII_ATTACHMENTS", False))
    state = flask_mail._Mail(
        "", None, None, None, False, False, None, 0, None, True, ascii_attachments=ascii_names
    )
    state.__class__ = MailState
    assert isinstance(state, MailState)  # noqa: S101 - for mypy, which does not see the above
    return state


def _made_ours(former: object) -> MailState | None:
    """``former``, if it is a state of Flask-Mail, as one of ours."""
    if type(former) is flask_mail._Mail:
        former.__class__ = MailState  # whoever holds on to it connects nowhere either
    elif isinstance(former, flask_mail._Mail) and not isinstance(former, MailState):
        former.suppress = True
    return former if isinstance(former, MailState) else None


def _put_back(sender: Any, **_: object) -> None:
    """Take the place again where ``app.extensions`` was changed past ``_Extensions``."""
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


# One receiver each for all apps: a bound method of a forgotten object would be collected.
flask_mail.email_dispatched.connect(_dispatched)
appcontext_pushed.connect(_put_back)
request_started.connect(_put_back)  # a request may run in a context that was there before
