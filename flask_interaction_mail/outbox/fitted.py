"""A new message in the letters that the database has.

Mail keeps all of them: its bytes are bytes, and the intent is JSON, which can escape any letter.
What only shows a letter shows its number, and what must be kept to the letter is refused.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from ..messages.message import SUBJECT_LIMIT, NewMessage
from ..storage.letters import check, spelt

_NAME: Final = 255  # characters
_DETAIL: Final = 1000


def fitted(message: NewMessage, encoding: str | None) -> NewMessage:
    """``message`` as it can be stored in ``encoding``, None for every letter.

    Raises:
        ContentError: its key or an address of its recipients has a letter that there is not.
    """
    if encoding is None:
        return message
    check("key", message.key, encoding)
    for one in message.recipients:
        check("an address", one.address, encoding)

    def shown(text: str, limit: int = _NAME) -> str:
        return spelt(text, encoding)[:limit]

    return replace(
        message,
        intent=replace(message.intent, subject=shown(message.intent.subject, SUBJECT_LIMIT)),
        stored_intent=json.dumps(json.loads(message.stored_intent), separators=(",", ":")),
        detail=message.detail and shown(message.detail, _DETAIL),
        recipients=tuple(replace(one, name=shown(one.name)) for one in message.recipients),
        actor=message.actor and shown(message.actor),
        resent_by=message.resent_by and shown(message.resent_by),
    )
