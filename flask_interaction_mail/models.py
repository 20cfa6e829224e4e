"""The tables as typed classes, for hosts that read them."""

from __future__ import annotations

from .storage.tables import AttemptRow, CheckRow, MessageRow, RecipientRow, SettingsRow

__all__ = ["AttemptRow", "CheckRow", "MessageRow", "RecipientRow", "SettingsRow"]
