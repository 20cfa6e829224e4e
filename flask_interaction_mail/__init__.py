"""E-mail messaging for Flask applications that use Flask-Admin.

An administrator sets up, tests and watches e-mail in a panel; the application says what to send
with ``send_notification`` and the signals; an outbox in the application's own database delivers
it without losing a message. Everything public is imported from here.
"""

from __future__ import annotations

from .api import CURRENT_USER, send_notification
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
    SessionOver,
    SettingsConflict,
    SettingsError,
    TablesMissing,
    TemplateMissing,
    TransportError,
)
from .extension import InteractionMail
from .merges import request_merge
from .notifications import cancel_notification, get_notification
from .settings.model import MessagingSettings
from .signals import (
    merge_completed,
    merge_denied,
    notification_cancelled,
    notification_deferred,
    notification_failed,
    notification_held,
    notification_queued,
    notification_sent,
    settings_changed,
)
from .values import (
    Contact,
    Kind,
    Merge,
    Notification,
    Party,
    Reason,
    RecipientVerdict,
    Role,
    Status,
)

__all__ = [
    "CURRENT_USER",
    "AddressError",
    "ArgumentError",
    "Contact",
    "ContentError",
    "Directory",
    "HeaderError",
    "InteractionMail",
    "InteractionMailError",
    "Kind",
    "Merge",
    "MessagingNotConfigured",
    "MessagingSettings",
    "NoRecipient",
    "Notification",
    "Party",
    "Reason",
    "RecipientVerdict",
    "Role",
    "SecretUnreadable",
    "SessionOver",
    "SettingsConflict",
    "SettingsError",
    "Status",
    "TablesMissing",
    "TemplateMissing",
    "TransportError",
    "cancel_notification",
    "get_notification",
    "merge_completed",
    "merge_denied",
    "notification_cancelled",
    "notification_deferred",
    "notification_failed",
    "notification_held",
    "notification_queued",
    "notification_sent",
    "request_merge",
    "send_notification",
    "settings_changed",
]
