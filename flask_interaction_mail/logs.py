"""The log of the package: the logger ``flask_interaction_mail``.

Each text begins with the name of its event, as ``message.poison: …`` does. A record has that name
as its attribute ``event``, and ``notification`` is the id if it is about one message, so that a
host's formatters and filters need not parse texts.
"""

from __future__ import annotations

import logging
import uuid
from typing import Final

log: Final = logging.getLogger("flask_interaction_mail")


def _name_event(record: logging.LogRecord) -> bool:
    """Give ``record`` its attribute ``event``, and keep it."""
    record.event = str(record.msg).partition(":")[0]
    return True


log.addFilter(_name_event)


def about(id: uuid.UUID) -> dict[str, str]:
    """``extra`` of a record about the message ``id``."""
    return {"notification": str(id)}
