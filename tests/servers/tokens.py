"""Access tokens for tests: one that is given, and one after the other."""

from __future__ import annotations

from flask_interaction_mail.settings.relay import Relay
from flask_interaction_mail.settings.secret import Secret
from flask_interaction_mail.transport.base import AccessToken
from flask_interaction_mail.transport.smtp.timeouts import Until
from tests.canary import STEM

TOKEN = f"{STEM}-access-token"


class Given:
    """Gives ``texts`` one after the other, each until it is dropped, the last for ever."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts or (TOKEN,))
        self.dropped: list[AccessToken] = []

    def take(self, relay: Relay, until: Until) -> AccessToken:
        return AccessToken(Secret(self.texts[0]))

    def drop(self, relay: Relay, token: AccessToken) -> None:
        self.dropped.append(token)
        if len(self.texts) > 1:
            self.texts.pop(0)
