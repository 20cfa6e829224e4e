"""The signals between a host and the extension (blinker; the sender is the app object)."""

from __future__ import annotations

from typing import Final

from blinker import NamedSignal, Namespace

from .values import Status

_signals = Namespace()

# Host to extension: send(app, merge=Merge(...)).
merge_denied: Final[NamedSignal] = _signals.signal("merge-denied")
merge_completed: Final[NamedSignal] = _signals.signal("merge-completed")

# Extension to host, after commit: send(app, notification=Notification).
notification_queued: Final[NamedSignal] = _signals.signal("notification-queued")
notification_sent: Final[NamedSignal] = _signals.signal("notification-sent")
notification_deferred: Final[NamedSignal] = _signals.signal("notification-deferred")
notification_held: Final[NamedSignal] = _signals.signal("notification-held")
notification_failed: Final[NamedSignal] = _signals.signal("notification-failed")
notification_cancelled: Final[NamedSignal] = _signals.signal("notification-cancelled")
# Of a recipient; the notification itself stays *sent*.
notification_bounced: Final[NamedSignal] = _signals.signal("notification-bounced")
notification_delivered: Final[NamedSignal] = _signals.signal("notification-delivered")
notification_delayed: Final[NamedSignal] = _signals.signal("notification-delayed")
BY_REPORT: Final[dict[Status, NamedSignal]] = {
    Status.BOUNCED: notification_bounced,
    Status.DELIVERED: notification_delivered,
    Status.DELAYED: notification_delayed,
}
BY_STATUS: Final[dict[Status, NamedSignal]] = {
    Status.QUEUED: notification_queued,
    Status.SENT: notification_sent,
    Status.DEFERRED: notification_deferred,
    Status.HELD: notification_held,
    Status.FAILED: notification_failed,
    Status.CANCELLED: notification_cancelled,
    Status.SUPPRESSED: notification_queued,  # sent for every message that was stored
}

# Extension to host: send(app, alert=Alert), by one of all processes.
messaging_alert: Final[NamedSignal] = _signals.signal("messaging-alert")

# Extension to host, after commit: send(app, previous=…, settings=…, changed_by=…).
settings_changed: Final[NamedSignal] = _signals.signal("settings-changed")
