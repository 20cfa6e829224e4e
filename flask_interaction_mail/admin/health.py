"""``messaging/health``: for monitors, which have a token and no login."""

from __future__ import annotations

import hmac
from typing import Any

import sqlalchemy as sa
from flask import Response, abort, current_app, jsonify, request
from flask.typing import ResponseReturnValue
from flask_admin import expose

from ..errors import InteractionMailError
from ..logs import log
from ..state import KEY
from ..storage.database import in_short
from .panel_view import PanelView, state

_JSON, _TEXT = "application/json", "text/plain"


class HealthView(PanelView):
    """How mail is doing, as JSON or for Prometheus. Without a token in the configuration: 404."""

    def is_accessible(self) -> bool:
        """Whether the request carries the token."""
        return KEY in current_app.extensions and _has_token()

    def _handle_view(self, name: str, **kwargs: Any) -> ResponseReturnValue | None:  # noqa: ARG002
        if KEY not in current_app.extensions or state().config.health_token is None:
            return abort(404)
        if _has_token():
            return None
        refused = Response("The token is missing or wrong.\n", 401, mimetype=_TEXT)
        refused.headers["WWW-Authenticate"] = 'Bearer realm="messaging"'
        return refused

    @expose("")  # what monitors are given
    @expose("/")  # Flask-Admin wants one
    def index(self) -> ResponseReturnValue:
        """JSON with status 503 while an alert holds; for Prometheus always 200.

        Prometheus would throw the figures of a 503 away, when they are needed.
        """
        from ..monitoring import alerts, exposition  # late: loaded with the first look

        try:
            found = alerts.health(state())
        except (InteractionMailError, sa.exc.SQLAlchemyError) as error:
            short = in_short(error) if isinstance(error, sa.exc.SQLAlchemyError) else str(error)
            log.error("health.unknown: %s", short)
            return jsonify(status="unknown"), 503
        if _wants_text():
            return Response(exposition.as_text(found), content_type=exposition.CONTENT_TYPE)
        return jsonify(exposition.as_json(found)), 200 if found.fine else 503


def _has_token() -> bool:
    token = state().config.health_token
    authorization = request.authorization
    if token is None or authorization is None or authorization.type != "bearer":
        return False
    given = (authorization.token or "").encode("utf-8", "surrogateescape")
    return hmac.compare_digest(given, token.reveal().encode())


def _wants_text() -> bool:
    if "format" in request.args:
        return request.args["format"] == "prometheus"
    accepted = request.accept_mimetypes
    # Prometheus names versions of the format, which Werkzeug takes for other types.
    named = [quality for kind, quality in accepted if kind.partition(";")[0].strip() == _TEXT]
    return max(named, default=0) > accepted[_JSON]
