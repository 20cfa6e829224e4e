"""A new message in the letters that the database has.

Mail keeps all of them: its bytes are bytes, and the intent is JSON, which can escape any letter.
What only shows a letter shows its number, and what must be kept to the letter is refused.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from ..messages.message import SUBJECT_LIMIT, NewMessage
from ..storage.limits import DatabaseLimits

_NAME: Final = 255  # characters
_DETAIL: Final = 1000


def fitted(message: NewMessage, limits: DatabaseLimits) -> NewMessage:
    """``message`` as a database with these ``limits`` can store it.

    Raises:
        ContentError: its key or the address of a recipient has a letter that the database lacks.
    """
    if limits.encoding is None:
        return message
    limits.check_letters("key", message.key)
    for recipient in message.recipients:
        limits.check_letters("an address", recipient.address)

    def shown(text: str, limit: int = _NAME) -> str:
        return limits.escape(text)[:limit]

    return replace(
        message,
        intent=replace(message.intent, subject=shown(message.intent.subject, SUBJECT_LIMIT)),
        stored_intent=json.dumps(json.loads(message.stored_intent), separators=(",", ":")),
        detail=message.detail and shown(message.detail, _DETAIL),
        recipients=tuple(
            replace(recipient, name=shown(recipient.name)) for recipient in message.recipients
        ),
        actor=message.actor and shown(message.actor),
        resent_by=message.resent_by and shown(message.resent_by),
    )
