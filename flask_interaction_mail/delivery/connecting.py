"""Connects a mailbox: somebody agrees in a browser that mail is sent from it, once.

What is begun belongs to one session of the browser, is good for one answer, and ends after ten
minutes (RFC 9700 §2.1). No transaction is open while the provider is asked. Each function commits
transactions of its own.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from .. import clock
from ..errors import InteractionMailError
from ..language import mark
from ..logs import log
from ..outbox import breaker, consents, deeds
from ..outbox.consents import Begun, Consent, Seen
from ..settings.grant import Grant
from ..settings.keyring import Keyring
from ..settings.relay import Relay
from ..settings.secret import Secret
from ..state import State
from ..transport.oauth2 import client, consent
from ..transport.oauth2.answers import Granted
from ..transport.oauth2.client import Agreed
from ..transport.smtp.timeouts import Until
from ..unit_of_work.app_context import wake
from .consents import add_row, refresh_at

_CODE: Final = 4096  # characters of a code; providers have up to some 2,000
_STATE: Final = 200
_CHOOSE: Final = mark(
    "Choose the sign-in by the consent of a person, fill in its fields, and save them first."
)


class NotConnected(InteractionMailError):
    """The mailbox could not be connected; the text says why, for an administrator."""


def seen_at(state: State, relay: Relay) -> Seen | None:
    """What is kept for the mailbox of ``relay``; None if nothing is, or if it needs no consent."""
    if not relay.by_consent:
        return None
    with state.database.reading() as connection:
        return consents.look(connection, state.settings.keyring, consents.name_of(relay))


def begin(state: State, relay: Relay, *, session: str, redirect_url: str, by: str) -> str:
    """Note that ``by`` begins to connect; gives the URL where the person agrees.

    ``session`` is what only this session of the browser knows. The answer comes to
    ``redirect_url``.

    Raises:
        NotConnected: the settings are not complete.
        SecretUnreadable: no key is configured, so that nothing can be kept.
    """
    grant = _grant_of(relay)
    word, verifier = secrets.token_urlsafe(32), Secret(secrets.token_urlsafe(48))
    begun = Begun(consents.name_of(relay), verifier, redirect_url, by)
    keyring = state.settings.keyring
    with state.database.writing() as connection:
        consents.begin(connection, keyring, _name(keyring, session, word), begun, clock.now())
    return consent.authorization_url(
        grant, state=word, verifier=verifier, redirect_url=redirect_url
    )


def finish(
    state: State, relays: Sequence[Relay], *, session: str, answer: Mapping[str, str]
) -> tuple[Relay, Consent]:
    """Take the ``answer`` that came to the redirect URL: store what was agreed to, and for whom.

    ``relays`` are those of the settings in force now.

    Raises:
        NotConnected: the answer was not asked for in this session, or is a refusal.
        TransportError: the token service did not give the tokens.
        SecretUnreadable: no key is configured.
    """
    if not any(one.by_consent for one in relays):
        raise NotConnected(_CHOOSE)
    begun = _begun(state, session, answer.get("state", ""))
    asked = [one for one in relays if one.by_consent and consents.name_of(one) == begun.row]
    if not asked:
        raise NotConnected(
            mark("The settings have changed since the connection was begun. Connect again.")
        )
    relay = asked[0]
    grant = _grant_of(relay)
    if consent.from_elsewhere(grant, answer.get("iss")):
        log.warning("consent.issuer: an answer names another provider, so it is not used")
        raise NotConnected(
            mark("The answer comes from another provider than the one that was asked.")
        )
    if error := answer.get("error"):
        raise NotConnected(consent.refusal(error, answer.get("error_description", "")))
    code = answer.get("code", "")
    if not 0 < len(code) <= _CODE:
        raise NotConnected(mark("There is no code in the provider's answer."))
    granted = client.exchange(
        grant,
        Agreed(Secret(code), begun.verifier, begun.redirect_url),
        policy=state.connect_policy,
        until=Until.within(client.LIMIT),
    )
    return relay, _connected(state, relay, begun, granted)


def disconnect(state: State, relay: Relay, *, by: str) -> bool:
    """Forget what was agreed to, and have the provider forget it where it is known how.

    False if the provider was not told: the person may take the consent back there.
    """
    seen, name = seen_at(state, relay), consents.name_of(relay)
    with state.database.writing() as connection:
        if not consents.disconnect(connection, name):
            return True  # nothing was there
        _note(connection, deeds.What.DISCONNECTED, by, relay)
    log.info("consent.disconnected: %s", relay)
    if seen is None or seen.consent is None or relay.grant is None:
        return False
    return client.revoke(
        relay.grant,
        seen.consent.refresh_token,
        policy=state.connect_policy,
        until=Until.within(client.LIMIT),
    )


def _grant_of(relay: Relay) -> Grant:
    grant = relay.grant
    complete = grant and grant.token_url and grant.authorization_url and grant.client_id
    if not relay.by_consent or grant is None or not complete:
        raise NotConnected(_CHOOSE)
    return grant


def _begun(state: State, session: str, word: str) -> Begun:
    keyring = state.settings.keyring
    begun = None
    if 0 < len(word) <= _STATE:
        with state.database.writing() as connection:
            name = _name(keyring, session, word)
            begun = consents.take(connection, keyring, name, clock.now())
    if begun is None:
        # Somebody else's consent may be slipped in through the visitor's browser.
        log.warning("consent.state: an answer that this session did not ask for was not used")
        raise NotConnected(
            mark(
                "This answer was not asked for in this session of the browser, was used before, "
                "or came after more than ten minutes. Connect again."
            )
        )
    return begun


def _connected(state: State, relay: Relay, begun: Begun, granted: Granted) -> Consent:
    if granted.refresh_token is None:
        raise NotConnected(
            mark(
                "The provider gave no refresh token, so mail could be sent for an hour only. Ask "
                "for access that lasts: most providers want the scope offline_access, Google wants "
                "access_type=offline&prompt=consent in the authorization URL."
            )
        )
    now = clock.now()
    agreed = Consent(
        refresh_token=granted.refresh_token, account=granted.token.account, by=begun.by, at=now
    )
    add_row(state.database, begun.row, now)
    with state.database.writing() as connection:
        consents.connect(
            connection,
            state.settings.keyring,
            begun.row,
            agreed,
            granted.token,
            refresh_at(granted.token),
        )
        breaker.close(connection, relay)  # what stood in the way does so no more
        _note(connection, deeds.What.CONNECTED, begun.by, relay)
    log.info("consent.connected: %s", relay)
    wake(state)
    return agreed


def _name(keyring: Keyring, session: str, word: str) -> str:
    """The row of what was begun, which nobody can name without the session and its ``state``."""
    return keyring.digest("begun", session, word)


def _note(connection: sa.Connection, what: deeds.What, by: str, relay: Relay) -> None:
    deeds.note_mailbox(connection, what, by, relay.login or "", clock.now())
