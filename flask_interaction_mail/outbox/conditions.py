"""When mail is in trouble: which alerts hold, from how mail is doing and the settings."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ..settings.model import MessagingSettings
from ..text import cut, one_line

MOST: Final = 10_000  # messages up to which are counted, unless more decides something
_WARN: Final = (3, 14, 30)  # days before a secret ends
_PATIENCE: Final = timedelta(minutes=20)  # with a mailbox that cannot be read
_SOON: Final = timedelta(minutes=1)  # in which a worker that is being replaced comes back
# As servers write them, quoted ones and literals included (RFC 5321 §4.1.2, §4.1.3).
_ADDRESS: Final = re.compile(
    r"""(?:"[^"]*"|[^\s<>()\[\],;:"]*)[@\uff20\ufe6b](?:\[[^\]]*\]|[^\s<>()\[\],;:"']*)"""
)
_LONGEST: Final = 1000


class AlertName(enum.StrEnum):
    """What an alert is about."""

    SERVER = "server"  # the breaker is open, or the last probe failed
    WAITING = "waiting"  # a message could have left long ago
    FAILURES = "failures"  # a share of what ended within an hour
    NOBODY = "nobody"  # mail waits, and no process delivers
    EXPIRY = "expiry"  # of a certificate
    RELAY = "relay"  # no relay may carry some of the mail
    LOST = "lost"  # requests have reached nobody, nor can they go to the default To
    SECRET = "secret"  # noqa: S105 - the name of an alert: the secret of the sign-in ends
    RETURNED = "returned"  # the mailbox with returned mail cannot be read


TITLES: Final[Mapping[AlertName, str]] = {
    AlertName.SERVER: "The mail server is in trouble",
    AlertName.WAITING: "Messages wait too long",
    AlertName.FAILURES: "Many messages fail",
    AlertName.NOBODY: "Nobody delivers",
    AlertName.EXPIRY: "A certificate ends soon",
    AlertName.RELAY: "No relay may carry some of the mail",
    AlertName.LOST: "Requests have reached nobody",
    AlertName.SECRET: "The secret of the sign-in ends soon",
    AlertName.RETURNED: "Returned mail cannot be read",
}
OVER: Final[Mapping[AlertName, str]] = {
    AlertName.SERVER: "The mail server works again",
    AlertName.WAITING: "No message waits too long any more",
    AlertName.FAILURES: "Few messages fail now",
    AlertName.NOBODY: "Mail is delivered again",
    AlertName.EXPIRY: "The certificates are valid for long enough again",
    AlertName.RELAY: "A relay may carry each message again",
    AlertName.LOST: "No request was lost for a day, or somebody has dealt with them",
    AlertName.SECRET: "The secret of the sign-in lasts long enough again",
    AlertName.RETURNED: "Returned mail is read again",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """How mail is doing at ``now``, the database's time; moments are naive UTC.

    - ``oldest`` is since when the longest waiting message could have left. What waits for its
      ``send_at``, or for its next attempt, is not late.
    - ``waiting`` are counted up to ``MOST``; ``sent`` up to that or as far as it decides whether
      the ``failed`` ones are many. Both ended within the last hour.
    - ``trouble`` is why breakers are open, ``probe_failed`` why the last probes failed, if no
      mail has gone since. ``expires`` is when the first certificate of a server ends.
    - ``relays`` are the names of all relays, ``troubled`` those that one of these is about.
    - ``uncarried`` are waiting messages that no relay may carry, counted up to ``MOST``.
    - ``unread`` is why the mailbox with returned mail cannot be read, and since ``unread_since``.
    - ``lost`` are requests that have reached nobody within a day, nor could go to the default To.
    - ``here`` is how many processes deliver.
    """

    now: datetime
    oldest: datetime | None = None
    waiting: int = 0
    sent: int = 0
    failed: int = 0
    trouble: str | None = None
    probe_failed: str | None = None
    expires: datetime | None = None
    here: int = 0
    uncarried: int = 0
    lost: int = 0
    relays: tuple[str, ...] = ()
    troubled: tuple[str, ...] = ()
    unread: str | None = None
    unread_since: datetime | None = None

    @property
    def late(self) -> timedelta:
        """How long the longest waiting message waits."""
        return self.now - self.oldest if self.oldest else timedelta(0)


def holding(
    vitals: Vitals,
    settings: MessagingSettings,
    *,
    ends: Iterable[tuple[str, datetime]] = (),
    secret_ends: datetime | None = None,
    watched: bool = True,
) -> dict[AlertName, str]:
    """The alerts that hold, each with a sentence about it.

    ``ends`` are what ends when, beside the server's certificate; ``secret_ends`` is when the secret
    of the sign-in does. ``watched`` is whether the
    processes that deliver leave signs of life.
    """
    if not settings.configured:
        return {}
    found = {
        AlertName.SERVER: vitals.trouble or vitals.probe_failed or "",
        AlertName.WAITING: _waiting(vitals, settings),
        AlertName.FAILURES: _failures(vitals, settings),
        AlertName.NOBODY: _nobody(vitals) if watched else "",
        AlertName.EXPIRY: _expiry(vitals, settings, ends),
        AlertName.RELAY: _uncarried(vitals),
        AlertName.LOST: _lost(vitals),
        AlertName.SECRET: _secret(vitals.now, secret_ends),
        AlertName.RETURNED: _unread(vitals),
    }
    return {name: tellable(text) for name, text in found.items() if text}


def _waiting(vitals: Vitals, settings: MessagingSettings) -> str:
    minutes = vitals.late // timedelta(minutes=1)
    if not settings.alert_waiting or minutes < settings.alert_waiting:
        return ""
    why = " Sending is paused in the settings." if settings.paused else ""
    return f"A message that could have left has waited for {minutes} minutes.{why}"


def _failures(vitals: Vitals, settings: MessagingSettings) -> str:
    ended = vitals.sent + vitals.failed
    share = 100 * vitals.failed
    if not settings.alert_failures or ended < settings.alert_failures_of:
        return ""
    if not vitals.failed or share < settings.alert_failures * ended:
        return ""
    return f"{vitals.failed} of the {ended} messages that ended within the last hour have failed."


def _nobody(vitals: Vitals) -> str:
    if vitals.here or vitals.late < _SOON:
        return ""
    return "Mail waits, and no process that delivers was heard of for some minutes."


def _uncarried(vitals: Vitals) -> str:
    if not vitals.uncarried:
        return ""
    number = f"more than {MOST:,}" if vitals.uncarried >= MOST else vitals.uncarried
    return f"No relay may carry mail from their domain: messages that wait for one: {number}."


def _lost(vitals: Vitals) -> str:
    """The same sentence for any number: it is told once, and the outbox shows each."""
    if not vitals.lost:
        return ""
    return (
        "Requests have come back or were refused, and cannot go to the default To instead: it is "
        "unreachable itself, or the text is no longer kept. Look for them in the outbox, and send "
        "them again to somebody else."
    )


def _expiry(
    vitals: Vitals, settings: MessagingSettings, ends: Iterable[tuple[str, datetime]]
) -> str:
    limit = vitals.now + timedelta(days=settings.alert_expiry)
    if not settings.alert_expiry:
        return ""
    servers = [("The certificate of the mail server", vitals.expires)] if vitals.expires else []
    soon = [(what, at) for what, at in (*servers, *ends) if at <= limit]
    return " ".join(f"{what} ends on {at:%Y-%m-%d at %H:%M} UTC." for what, at in soon)


def _secret(now: datetime, ends: datetime | None) -> str:
    """A sentence that changes when it is to be told again."""
    if ends is None or ends > now + timedelta(days=_WARN[-1]):
        return ""
    if ends <= now:
        return f"The secret of the sign-in has ended on {ends:%Y-%m-%d}."
    days = next(days for days in _WARN if ends <= now + timedelta(days=days))
    return f"The secret of the sign-in ends on {ends:%Y-%m-%d}, within {days} days."


def _unread(vitals: Vitals) -> str:
    if vitals.unread_since is None or vitals.now - vitals.unread_since < _PATIENCE:
        return ""
    return f"The mailbox with returned mail cannot be read: {vitals.unread}"


def tellable(text: str) -> str:
    """``text`` in one line without addresses, which a server may have named.

    What is told goes to other places than mail.
    """
    return cut(_ADDRESS.sub("(an address)", one_line(text)), _LONGEST)
