"""The texts of the panel that are not in its templates, for people who do not know SMTP."""

from __future__ import annotations

from typing import Any, Final

from flask import current_app

from ..settings.model import Encryption, ForeignSender, FromPolicy, OnAmbiguous, PasswordState

ENCRYPTION: Final = {
    Encryption.STARTTLS.value: "STARTTLS (usual)",
    Encryption.TLS.value: "TLS from the start",
    Encryption.NONE.value: "None: readable on its way",
}
FROM_POLICY: Final = {
    FromPolicy.CURRENT_USER.value: "the user who caused the message",
    FromPolicy.DEFAULT_FROM.value: "always the default From address",
}
FOREIGN_SENDER: Final = {
    ForeignSender.VIA.value: "send via the default From address; answers go to the user",
    ForeignSender.AS.value: "send as the user; the server must be allowed to do so",
}
ON_AMBIGUOUS: Final = {
    OnAmbiguous.RETRY.value: "send it again: rather twice than never",
    OnAmbiguous.HOLD.value: "hold it until an administrator decides",
}
HELP: Final = {
    "company_domain": (
        "The part after @. With it the part before is enough for people and groups: "
        "ada becomes ada@example.com when a message is sent."
    ),
    "smtp_server": (
        "The server that takes your mail: a name or an IP address. "
        "Your mail provider or your IT department knows it."
    ),
    "encryption": "Once chosen, nothing less is accepted.",
    "smtp_port": (
        "From 1 to 65535; 25 if left empty. "
        "Usual are 587 with STARTTLS, 465 with TLS, and 25 without."
    ),
    "use_authentication": "Tick it if the server asks for a login before it takes mail.",
    "login": "Often the whole e-mail address of the mailbox.",
    "default_to": (
        "Gets every message whose recipient has no address, and the test message. "
        "Somebody who can act should read it."
    ),
    "default_from": (
        "The address that your mail is sent with. Somebody must read that mailbox: "
        "messages that cannot be delivered (bounces) go there."
    ),
    "default_from_name": (
        "Shown with that address where a message comes from no user, such as “Acme Support”. "
        "Leave it empty to show the address alone."
    ),
    "from_policy": "Who is named as the author of a message.",
    "ca_certificate": (
        "Only for a server with a certificate of your own authority: paste the authority's "
        "certificate, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----."
    ),
    "allow_unencrypted_auth": (
        "Careful: without encryption the password can be read by everybody on the way."
    ),
    "helo_name": (
        "How this machine introduces itself to the server. Leave it empty unless the server "
        "complains about HELO or EHLO."
    ),
    "sender_name": "Stands after “via” when a message is sent on behalf of a user.",
    "own_domains": (
        "Domains for which your server may send, with commas between them. "
        "The company domain and that of the default From address count anyway."
    ),
    "foreign_sender": "What to do when the user's address is in none of your own domains.",
    "on_ambiguous": (
        "The connection broke after the whole message was handed over, before the server "
        "said that it took it."
    ),
    "divert_to": (
        "For trying things out: every message goes to this address instead of its recipients."
    ),
    "paused": "Messages are kept, and leave when you switch this off.",
}
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
