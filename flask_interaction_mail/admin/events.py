"""``messaging/events/…``: where mail providers post what became of messages.

No visitor has a login or a token here. What stands in their place is the signature of each request,
so that a form of another site, which a token keeps out elsewhere, gets nowhere.
"""

from __future__ import annotations

from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from flask import abort, current_app
from flask.typing import ResponseReturnValue
from flask_admin import expose

from ..state import KEY
from .panel_view import PanelView, state

if TYPE_CHECKING:
    from ..transport.sns import SnsServers


class EventsView(PanelView):
    """A URL for each provider that is configured; the others are 404."""

    def __init__(self, *, endpoint: str, url: str) -> None:
        self._default_view = "amazon_view"  # Flask-Admin wants one; there is no page at "/"
        super().__init__(endpoint=endpoint, url=url)

    @cached_property
    def _servers(self) -> SnsServers:
        """Those of Amazon's notification service, with what they have told this process."""
        from ..transport.sns import SnsServers  # late, as below

        return SnsServers(state().connect_policy)

    def is_accessible(self) -> bool:
        """For no visitor."""
        return False

    def _handle_view(self, name: str, **kwargs: Any) -> ResponseReturnValue | None:  # noqa: ARG002
        if KEY not in current_app.extensions:
            return abort(404)
        config = state().config
        wanted = {"amazon_view": config.sns_topics, "sendgrid_view": config.sendgrid_keys}
        return None if wanted[name] else abort(404)

    @expose("/amazon-ses", methods=("POST",))
    def amazon_view(self) -> ResponseReturnValue:
        """Notices of SNS about mail of SES, and about the subscription itself."""
        from . import posted_events  # late: few have a provider that posts any

        return posted_events.answered(partial(posted_events.from_amazon, self._servers))

    @expose("/sendgrid", methods=("POST",))
    def sendgrid_view(self) -> ResponseReturnValue:
        """Lists of events of SendGrid."""
        from . import posted_events

        return posted_events.answered(posted_events.from_sendgrid)
