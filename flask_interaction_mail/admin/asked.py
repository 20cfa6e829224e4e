"""What a request to the Outbox asks for in its URL."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from flask import request

from .texts import reader_zone

if TYPE_CHECKING:
    from ..outbox.filters import Filters


def filters_asked() -> Filters:
    """The filters; where they name no time zone, days are those of the reader."""
    from ..outbox.filters import Filters  # late: loaded with the first page that is opened

    filters = Filters.of(request.args)
    if filters.zone and (filters.since or filters.until):
        return filters
    return replace(filters, zone=str(reader_zone()))


def id_from(text: str) -> uuid.UUID | None:
    """The id that ``text`` is, None for anything else."""
    with suppress(ValueError):
        return uuid.UUID(text)
    return None
