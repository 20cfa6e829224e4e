"""The Activity tab: how much mail left, how fast, and what was in the way."""

from __future__ import annotations

from typing import ClassVar

from flask import request
from flask.typing import ResponseReturnValue
from flask_admin import expose

from ..language import mark
from ..values import Right
from .panel_view import PanelView, state


class ActivityView(PanelView):
    """Counts of an hour, a day, a week or a month, as a chart and as tables."""

    right = Right.ACTIVITY
    tab: ClassVar[str] = mark("Activity")

    @expose("/")
    def index(self) -> ResponseReturnValue:
        """The page for the period that the URL names."""
        from ..monitoring import activity  # late: loaded with the first page that is opened

        found = activity.activity(state(), request.args.get("last", ""))
        return self.page("activity.html", activity=found, periods=tuple(activity.PERIODS))
