"""E-mail messaging for Flask applications that use Flask-Admin.

An administrator sets up, tests and watches e-mail in a panel; the application says what to send
with ``send_notification`` and the signals; an outbox in the application's own database delivers
it without losing a message. Everything public is imported from here.

PYTEST_DONT_REWRITE: there is nothing to rewrite here, and a command of a host that runs its tests
has imported this module before pytest.
"""

from __future__ import annotations

from .api.mailing import Sent, send_each
from .api.notifications import cancel_notification, get_notification
from .api.outbox import Outbox, OutboxFilter
from .api.sending import CURRENT_USER, Sender, send_notification
from .directory import Directory
from .errors import (
    AddressError,
    ArgumentError,
    ContentError,
    HeaderError,
    InteractionMailError,
    MessagingNotConfigured,
    NoRecipient,
    SecretUnreadable,
    SentAgain,
    SessionOver,
    SettingsConflict,
    SettingsError,
    StillWaiting,
    TablesMissing,
    TemplateMissing,
    TransportError,
)
from .extension import InteractionMail
from .merges import request_merge
from .messages.attachments import AttachmentLike
from .messages.recorded import RecordedMessage, Recording
from .outcome import Fault, Reply, Result, Stage
from .settings.mailbox import ReturnsSignIn
from .settings.model import ForeignSender, FromPolicy, MessagingSettings, OnAmbiguous
from .settings.relay import Destination, Encryption, RelayKind, SignIn
from .settings.secret import Secret
from .signals import (
    merge_completed,
    merge_denied,
    messaging_alert,
    notification_bounced,
    notification_cancelled,
    notification_deferred,
    notification_delayed,
    notification_delivered,
    notification_failed,
    notification_held,
    notification_queued,
    notification_sent,
    settings_changed,
)
from .transport.base import Envelope, Transport, TransportResult
from .transport.memory import MemoryTransport
from .values import (
    Alert,
    Contact,
    Kind,
    Merge,
    Notification,
    Party,
    Priority,
    Reason,
    RecipientVerdict,
    Right,
    Role,
    Status,
)

__all__ = [
    "CURRENT_USER",
    "AddressError",
    "Alert",
    "ArgumentError",
    "AttachmentLike",
    "Contact",
    "ContentError",
    "Destination",
    "Directory",
    "Encryption",
    "Envelope",
    "Fault",
    "ForeignSender",
    "FromPolicy",
    "HeaderError",
    "InteractionMail",
    "InteractionMailError",
    "Kind",
    "MemoryTransport",
    "Merge",
    "MessagingNotConfigured",
    "MessagingSettings",
    "NoRecipient",
    "Notification",
    "OnAmbiguous",
    "Outbox",
    "OutboxFilter",
    "Party",
    "Priority",
    "Reason",
    "RecipientVerdict",
    "RecordedMessage",
    "Recording",
    "RelayKind",
    "Reply",
    "Result",
    "ReturnsSignIn",
    "Right",
    "Role",
    "Secret",
    "SecretUnreadable",
    "Sender",
    "Sent",
    "SentAgain",
    "SessionOver",
    "SettingsConflict",
    "SettingsError",
    "SignIn",
    "Stage",
    "Status",
    "StillWaiting",
    "TablesMissing",
    "TemplateMissing",
    "Transport",
    "TransportError",
    "TransportResult",
    "cancel_notification",
    "get_notification",
    "merge_completed",
    "merge_denied",
    "messaging_alert",
    "notification_bounced",
    "notification_cancelled",
    "notification_deferred",
    "notification_delayed",
    "notification_delivered",
    "notification_failed",
    "notification_held",
    "notification_queued",
    "notification_sent",
    "request_merge",
    "send_each",
    "send_notification",
    "settings_changed",
]
