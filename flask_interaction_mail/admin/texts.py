"""The texts of the panel that are neither in its templates nor in the table of settings.

They are for people who do not know SMTP.
"""

from __future__ import annotations

from typing import Any, Final

from flask import current_app

from ..settings.model import PasswordState

PASSWORD_HINTS: Final = {
    PasswordState.USABLE: "A password is stored. Leave empty to keep it.",
    PasswordState.UNBOUND: (
        "The stored password was entered for another connection and is not used with this one: "
        "enter the password of this server."
    ),
    PasswordState.UNREADABLE: (
        "The stored password cannot be read with the secret key of this application: "
        "enter it again."
    ),
}
MISMATCH: Final = "The two passwords differ: type the same one twice."
CONFLICT: Final = (
    "Somebody else has saved other settings since you opened this page. "
    "Nothing of yours was saved, nothing of theirs was overwritten."
)
# A sign for the eye and a word for the ear, for each step of a test.
MARKS: Final = {
    "ok": ("✓", "done:"),
    "warning": ("!", "with a warning:"),
    "skipped": ("–", "left out:"),
    "failed": ("✗", "failed:"),
}
STATUS: Final = {
    "queued": "waits to be sent",
    "sending": "is being sent",
    "sent": "taken by the server",
    "deferred": "will be tried again",
    "failed": "not sent",
    "held": "kept back for now",
    "suppressed": "deliberately not sent",
    "cancelled": "called back",
}
# Why it is kept back: above its rate, or for any other reason.
GATHERED: Final = "leaves by itself, together with others"
UNDECIDED: Final = "waits for you"
REASON: Final = {
    "ambiguous": "The connection broke at the very end: nobody knows whether the server took it.",
    "rate": "Too many messages within a minute: one message for all of them.",
    "poison": "It stopped those who tried to send it.",
    "ineligible": "No recipient uses the desktop client.",
    "testing": "This application suppresses sending (MAIL_SUPPRESS_SEND).",
    "refused": "The server refused it.",
    "expired": "It was tried as often as any message is, or its own time was over.",
    "not_configured": "E-mail was not configured: no server or no default From.",
    "unaddressed": "No recipient has an address, and there is no default To.",
    "merged": "The contacts were merged meanwhile.",
    "withdrawn": "Somebody called it back.",
}


def sentence(label: str, text: str) -> str:
    """An error as a sentence: a rule that begins with a verb gets the field's name."""
    if text[:1].islower():
        text = f"{label} {text}"
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def gettext(text: str, **values: Any) -> str:
    """``text`` in the visitor's language where the host uses Flask-Babel, else as it is.

    Flask-Admin's own function breaks where Flask-Babel is installed but not in use.
    """
    if "babel" in current_app.extensions:
        from flask_admin.babel import gettext as translate

        return str(translate(text, **values))
    return text % values if values else text
