"""What Test Settings tells an administrator who does not know SMTP, as data, ready to translate.

Every code maps to a title, an explanation and advice. ``{server}``, ``{port}``, ``{login}``,
``{to}``, ``{sender}``, ``{address}`` and ``{detail}`` are filled in after translation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ..outcome import Fault, Stage
from . import token_texts


@dataclass(frozen=True, slots=True)
class Advice:
    """What happened in a few words, what it means, and what to do about it."""

    title: str
    explanation: str
    advice: str = ""

    def filled(self, values: Mapping[str, str]) -> Advice:
        """The same with the placeholders replaced, and "…" for those without a value."""
        parts = (self.title, self.explanation, self.advice)
        return Advice(*(part.format_map(_Lenient(values)) for part in parts))


class _Lenient(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "…"


# Steps that went well.
STEPS: Final[Mapping[str, Advice]] = {
    "resolved": Advice("Server found", "{server} was found at {detail}."),
    "connected": Advice("Connected", "{detail} answers on port {port}."),
    "greeted": Advice("This is a mail server", "The mail server is ready."),
    "encrypted": Advice("Encrypted", "The connection is encrypted, and the certificate is valid."),
    "expires_soon": Advice(
        "Encrypted, but the certificate expires soon",
        "The server's certificate is valid until {detail}.",
        "The server's administrator should renew it before then: after that, no mail gets through.",
    ),
    "not_encrypted": Advice(
        "Not encrypted",
        "Anybody on the network between here and the server can read and change the messages.",
        "This is fine for a server on this machine or in a closed network. Otherwise choose "
        "STARTTLS or TLS.",
    ),
    "logged_in": Advice("Logged in", "The server accepted the login {login}."),
    "logged_in_openly": Advice(
        "Logged in without encryption",
        "The server accepted the login {login}, but anybody on the network could read the "
        "password.",
        "Choose STARTTLS or TLS as soon as the server offers one of them.",
    ),
    "token": Advice("Access token received", "The token service gave an access token. {detail}"),
    "token_from_host": Advice("Access token received", "The application brought an access token."),
    "no_login": Advice("No login", "SMTP authentication is off, so the test did not log in."),
    "sender_accepted": Advice("Sender accepted", "The server accepts mail from {sender}."),
    "recipient_accepted": Advice("Recipient accepted", "The server accepts mail to {address}."),
    "kept_in_memory": Advice("Kept in memory", "The message to {address} stays in this process."),
    "content_sent": Advice("Message handed over", "The whole test message was sent."),
    "accepted": Advice(
        "Message accepted", "The server has taken responsibility for the test message."
    ),
}

# While a step runs.
RUNNING: Final[Mapping[Stage, str]] = {
    Stage.RESOLVE: "Asking for the server's address …",
    Stage.CONNECT: "Connecting …",
    Stage.GREETING: "Waiting for the server's greeting …",
    Stage.ENCRYPTION: "Encrypting the connection …",
    Stage.TOKEN: "Asking for an access token …",
    Stage.AUTHENTICATION: "Logging in …",
    Stage.SENDER: "Asking whether the sender may send …",
    Stage.RECIPIENT: "Asking whether the recipients are known …",
    Stage.CONTENT: "Handing over the message …",
    Stage.ACCEPTED: "Waiting until the server accepts it …",
}

_ASK_PROVIDER: Final = "Ask the people who run the mail server"
_RETRIED: Final = "Real messages are retried automatically."
_READ_REPLY: Final = "Read what the server said."

# Steps that failed: first those up to the login.
FAULTS: Final[Mapping[str, Advice]] = {
    Fault.SETTINGS_INCOMPLETE: Advice(
        "Something is missing",
        "A test needs a server, a default To and a default From. {detail}",
        "Fill in what is missing and test again.",
    ),
    Fault.ADDRESS_UNUSABLE: Advice(
        "An address cannot be used",
        "{detail}",
        "Correct the address. If it is only the part before the @, fill in the company domain "
        "as well.",
    ),
    Fault.NAME_UNKNOWN: Advice(
        "The server's name is not known",
        "The name service (DNS) knows no computer called {server}.",
        "Check the spelling of the server, then test again. A short name works only inside your "
        "network: try the full one, such as mail.example.com.",
    ),
    Fault.NAME_SERVICE: Advice(
        "The name service does not answer",
        "This machine asked the name service (DNS) for the address of {server} and got no answer, "
        "or the name is not known there.",
        "Check the spelling of the server. If it is right, this machine has a problem with its "
        "network or its name service: test again in a few minutes, then ask your network's "
        "administrator.",
    ),
    Fault.ADDRESS_FORBIDDEN: Advice(
        "This address is not allowed",
        "{server} has an address that cannot belong to a mail server, or that this installation "
        "forbids.",
        "Enter the name of your mail server. If it is right, ask the people who run this "
        "application which networks and ports are forbidden.",
    ),
    Fault.REFUSED: Advice(
        "Nothing answers at this port",
        "The computer {server} was reached, but no mail server answers on port {port}.",
        "Check server and port, then test again. The usual ports are 25, 587 for STARTTLS and 465 "
        "for TLS. If both are right, the mail server is not running.",
    ),
    Fault.UNREACHABLE: Advice(
        "The server cannot be reached",
        "There is no way through the network from this machine to {server}.",
        "Check the server, then test again. If it is right, ask your network's administrator: a "
        "route is missing, or a firewall blocks the way.",
    ),
    Fault.CONNECT_TIMEOUT: Advice(
        "The server does not react",
        "{server} did not react on port {port}. Usually a firewall blocks the connection.",
        "Check server and port, then test again. Many networks and cloud providers block port 25: "
        "try 587. Otherwise ask your network's administrator to let this machine through.",
    ),
    Fault.SILENT: Advice(
        "Connected, but the server stays silent",
        "{server} accepted the connection on port {port}, but did not answer in time.",
        "Check port and encryption: a server that expects TLS from the start (port 465) stays "
        "silent otherwise. If they are right, the server is overloaded or checks your machine "
        "first. Delivery waits up to five minutes at this point, so real mail may still work.",
    ),
    Fault.LOST: Advice(
        "The connection was cut",
        "The server, or a firewall in between, ended the connection. {detail}",
        "Check port and encryption, and test again. If it happens every time, the server does not "
        "accept this machine: ask its administrator.",
    ),
    Fault.NOT_SMTP: Advice(
        "This is not a mail server",
        "What answers at {server} on port {port} is not a server that takes outgoing mail. "
        "{detail}",
        "Check server and port. Ports such as 80, 443, 110, 143 and 993 belong to other services.",
    ),
    Fault.NONSENSE: Advice(
        "The server's answer makes no sense",
        "The mail server, or something in between, does not follow the rules. {detail}",
        "Test again. If it happens every time, show this to the mail server's administrator.",
    ),
    Fault.GREETING_TRANSIENT: Advice(
        "The server says: not now",
        "The mail server is too busy, or down for maintenance.",
        "Nothing is wrong with the settings, as far as the test can tell. Test again in a few "
        "minutes.",
    ),
    Fault.GREETING_REFUSED: Advice(
        "The server does not accept this machine",
        "The mail server refuses to talk to this machine, or does not accept its name.",
        f"{_READ_REPLY} Often the machine's IP address has to be allowed there, or the name in "
        "the greeting (under Advanced) has to be a full host name.",
    ),
    Fault.STARTTLS_NOT_OFFERED: Advice(
        "The server does not offer STARTTLS",
        "STARTTLS is chosen, but the server does not offer it on port {port}. Nothing was sent "
        "unencrypted.",
        "Try port 587, or TLS with port 465. Choose no encryption only for a server in your own "
        "network. If the server is known to offer it, something in between removes the offer.",
    ),
    Fault.STARTTLS_REFUSED: Advice(
        "The server refused STARTTLS",
        "The server offers encryption, but could not start it.",
        "The mail server has a problem with its certificate or its load: test again later, then "
        "ask its administrator. TLS with port 465 may work.",
    ),
    Fault.TLS_NOT_SPOKEN: Advice(
        "The server does not begin with TLS",
        "TLS from the start is chosen, but {server} begins unencrypted on port {port}.",
        "Choose STARTTLS, which is usual on ports 587 and 25, or enter the port for TLS, usually "
        "465.",
    ),
    Fault.TLS_EXPECTED: Advice(
        "The server expects TLS from the start",
        "{server} stays silent on port {port} until the encryption begins.",
        "Choose TLS as the encryption, or enter the port for STARTTLS, usually 587.",
    ),
    Fault.CERTIFICATE_UNKNOWN_CA: Advice(
        "The certificate comes from an unknown authority",
        "The server's certificate is self-signed or comes from a private certification authority "
        "(CA), so it does not prove that this is the right server.",
        "If your company has its own CA, paste its certificate under Advanced. Otherwise ask "
        "for a certificate from a public CA, installed together with its intermediate "
        "certificates.",
    ),
    Fault.CERTIFICATE_OTHER_HOST: Advice(
        "The certificate is for another name",
        "The server's certificate does not contain the name {server}.",
        "Enter the server by a name that its certificate contains (shown here if known), or ask "
        "for a certificate that contains this one.",
    ),
    Fault.CERTIFICATE_EXPIRED: Advice(
        "The certificate has expired",
        "The server's certificate is no longer valid.",
        "The mail server's administrator has to renew it. If it looks valid, check the clock of "
        "this machine.",
    ),
    Fault.CERTIFICATE_NOT_YET: Advice(
        "The certificate is not valid yet",
        "The server's certificate becomes valid at a later date.",
        "Check the clock of this machine first, then ask the mail server's administrator.",
    ),
    Fault.CERTIFICATE_ABOVE: Advice(
        "A certificate above the server's is not valid now",
        "The server's own certificate is valid, but one that vouches for it has expired or is not "
        "valid yet. It is an intermediate certificate that the server shows, or the certificate "
        "of the certification authority (CA).",
        "If it is the CA certificate under Advanced, it is shown here: paste the new one. "
        "Otherwise the mail server's administrator has to install new intermediate certificates.",
    ),
    Fault.CERTIFICATE_OTHER: Advice(
        "The certificate is not accepted",
        "The server's certificate is not valid. {detail}",
        "Show this to the mail server's administrator: the certificate has to be replaced.",
    ),
    Fault.CA_UNREADABLE: Advice(
        "The CA certificate cannot be read",
        "The text in the field for the CA certificate is not a certificate.",
        "Paste the whole text, from BEGIN CERTIFICATE to END CERTIFICATE, or empty the field.",
    ),
    Fault.TLS_TOO_OLD: Advice(
        "The server's encryption is too old",
        "The server knows only versions of TLS before 1.2, which are no longer secure.",
        "The mail server has to be updated, or configured for TLS 1.2 or newer.",
    ),
    Fault.TLS_FAILED: Advice(
        "The encryption could not be started",
        "This machine and the server did not agree on how to encrypt. {detail}",
        "Check that encryption and port belong together: STARTTLS is usually on 587 or 25, TLS on "
        "465. If they do, show this to the mail server's administrator.",
    ),
    Fault.TLS_INJECTION: Advice(
        "Somebody may be tampering with the connection",
        "Data arrived before the encryption began, which no proper server sends. Nothing was sent.",
        "Test again from another network. If it happens there too, tell the mail server's "
        "administrator.",
    ),
    Fault.AUTH_NOT_OFFERED: Advice(
        "The server does not offer a login",
        "SMTP authentication is on, but the server does not offer it on port {port}. Nothing was "
        "sent without it.",
        "Many servers offer it on port 587 and only when encrypted: choose STARTTLS. If this "
        "server needs no login, switch SMTP authentication off.",
    ),
    Fault.AUTH_MECHANISM: Advice(
        "No common way to log in",
        "{detail}",
        f"{_ASK_PROVIDER} to allow PLAIN or LOGIN over an encrypted connection, for this account.",
    ),
    Fault.AUTH_UNENCRYPTED: Advice(
        "The password would be readable on the network",
        "The connection is not encrypted, so login and password were not sent.",
        "Choose STARTTLS or TLS. Only if the server offers neither and is in your own network, "
        "allow authentication without encryption under Advanced.",
    ),
    Fault.LOGIN_MISSING: Advice(
        "The login is missing",
        "SMTP authentication is on, but there is no login.",
        "Fill in login and password, or switch SMTP authentication off.",
    ),
    Fault.PASSWORD_MISSING: Advice(
        "The password is needed for this server",
        "There is no password, or it was set for another server, port, encryption, CA certificate "
        "or login. A password is only ever sent to the server that it was entered for.",
        "Enter the password again.",
    ),
    Fault.AUTH_REJECTED: Advice(
        "Login or password is wrong",
        "The server did not accept the login {login} with this password.",
        "Check both. Some providers want the full e-mail address as the login, and an app password "
        "instead of your own. Servers lock an account after a few wrong attempts.",
    ),
    Fault.AUTH_SWITCHED_OFF: Advice(
        "The server does not allow this kind of login",
        "The login {login} exists, but the mail service does not let it log in with a password "
        "over SMTP: that is switched off for the mailbox or the organisation, or a rule forbids "
        "it.",
        f"{_READ_REPLY} In Microsoft 365 an administrator has to allow authenticated SMTP for the "
        "mailbox and for the organisation, and neither security defaults nor conditional access "
        "may forbid it.",
    ),
    Fault.AUTH_ACCOUNT_DISABLED: Advice(
        "The account is disabled",
        "The server knows the login {login}, but its account has been disabled.",
        f"{_ASK_PROVIDER} to enable the account, or use the login of another one.",
    ),
    Fault.AUTH_TOO_WEAK: Advice(
        "The server wants another password, or another way to log in",
        "The server does not take this password from a program. Usually it wants a password that "
        "was created for this program alone (an app password).",
        "Create an app password in the security settings of the account {login} and enter it here; "
        "if the server asks you to, log in with a browser first. If the server wants a stronger "
        "method than PLAIN and LOGIN, this program cannot use it.",
    ),
    Fault.AUTH_TRANSIENT: Advice(
        "The server cannot check the login now",
        "The server cannot check logins and passwords at the moment.",
        "Test again in a few minutes. Login and password may be right.",
    ),
    **{fault: Advice(*texts) for fault, texts in token_texts.FAULTS.items()},
    # Refusals after the login.
    Fault.AUTH_REQUIRED: Advice(
        "The server wants a login",
        "The server accepts mail only after a login.",
        "If SMTP authentication is off, switch it on and fill in login and password. If it is on, "
        "this login may not send from {sender}: ask the mail server's administrator.",
    ),
    Fault.ENCRYPTION_REQUIRED: Advice(
        "The server wants encryption",
        "The server accepts nothing over a connection that is not encrypted.",
        "Choose STARTTLS, usually with port 587, or TLS with port 465.",
    ),
    Fault.RELAY_DENIED: Advice(
        "The server does not pass on mail for you",
        "The server does not accept mail from this machine to {address}, because that address is "
        "not in one of the server's own domains (relaying denied).",
        "If SMTP authentication is off and the server has logins, switch it on. Otherwise the "
        "server's administrator has to allow this login, or this machine's IP address, to send "
        "to other domains.",
    ),
    Fault.CLIENT_REFUSED: Advice(
        "The server does not accept this machine",
        "The server refuses this machine because of its IP address, its name in the name service "
        "(DNS), or how much it sends.",
        f"{_READ_REPLY} If it says that there was too much mail, wait and test again. Otherwise "
        "the mail server's administrator has to allow this machine's IP address.",
    ),
    Fault.HELO_REFUSED: Advice(
        "The server does not accept this machine's name",
        "The server refuses the name that this machine gives in its greeting (EHLO).",
        "Under Advanced, enter a full host name as the name in the greeting, such as "
        "app.example.com. The name service (DNS) has to know it.",
    ),
    Fault.SENDER_REFUSED: Advice(
        "The sender was refused",
        "The server does not accept mail from {sender}.",
        "Check the default From: it has to be an existing mailbox in a domain that this server "
        "sends for, and this login has to be allowed to use it.",
    ),
    Fault.SENDER_TRANSIENT: Advice(
        "The sender is not accepted now",
        "The server does not accept mail from {sender} at the moment.",
        f"{_READ_REPLY} If it does not know the domain or the mailbox, correct the default From. "
        f"Otherwise test again in a few minutes. {_RETRIED}",
    ),
    Fault.RECIPIENT_UNKNOWN: Advice(
        "There is no such mailbox",
        "The server has no mailbox {address}.",
        "Check the address and the company domain.",
    ),
    Fault.RECIPIENT_REFUSED: Advice(
        "The recipient was refused",
        "The server does not accept mail to {address}.",
        f"{_READ_REPLY} Check the address, or ask the mail server's administrator.",
    ),
    Fault.RECIPIENT_GREYLISTED: Advice(
        "The server asks to come back later",
        "The server makes unknown senders wait (greylisting) before it accepts mail to {address}.",
        f"Nothing is wrong: test again in ten minutes. {_RETRIED}",
    ),
    Fault.RECIPIENT_TRANSIENT: Advice(
        "The recipient is not accepted now",
        "The server cannot accept mail to {address} at the moment.",
        f"Test again in a few minutes. {_RETRIED}",
    ),
    Fault.MAILBOX_FULL: Advice(
        "The mailbox is full",
        "The server has no space left for {address}.",
        "Delete mail in that mailbox, or have it enlarged.",
    ),
    Fault.CONTENT_REFUSED: Advice(
        "The message itself was refused",
        "The server refused the content of the message.",
        f"{_READ_REPLY} Often the reason is a spam or virus filter, or a rule about the sender.",
    ),
    Fault.CONTENT_TRANSIENT: Advice(
        "The message is not accepted now",
        "The server could not accept the message at the moment.",
        f"Test again in a few minutes. {_RETRIED}",
    ),
    Fault.TOO_BIG: Advice(
        "The message is too large",
        "The server does not accept messages of this size. {detail}",
        f"{_ASK_PROVIDER} to raise its limit: the test message itself is tiny.",
    ),
    Fault.SMTPUTF8_MISSING: Advice(
        "The server does not support international addresses",
        "{detail}",
        "Use an address that has only unaccented Latin letters (ASCII) before the @.",
    ),
    Fault.CONTENT_UNSAFE: Advice(
        "The message cannot be sent as it is",
        "{detail}",
        "Please report this to the people who run this application.",
    ),
    Fault.CONFIRMATION_LOST: Advice(
        "The confirmation was lost",
        "The whole message was handed over, then this happened: {detail}",
        "The test may still arrive: look into the mailboxes, then test again.",
    ),
    Fault.UNKNOWN_OUTCOME: Advice(
        "No answer after the whole message",
        "The whole message was handed over, but the server did not confirm it in time.",
        "The test may still arrive: look into the mailboxes. Delivery waits ten minutes for this "
        "answer, because some servers take long to check the content.",
    ),
}

NOT_SENT: Final = "The test message was not sent."
_WRONG_SETTINGS: Final = (
    "The test could not connect to the mail server: the SMTP settings are probably wrong."
)
# What comes before the explanation of the step that failed; NOT_SENT elsewhere.
OPENINGS: Final[Mapping[Stage, str]] = {
    Stage.SETTINGS: "Nothing was tried.",
    Stage.RESOLVE: _WRONG_SETTINGS,
    Stage.CONNECT: _WRONG_SETTINGS,
}

_AS_THE_STEP: Final = Advice("{title}", "{opening} {explanation}", "{advice}")
_LOOK: Final = "Look into {mailboxes}, including the junk folder."
_NOTHING_CAME: Final = (
    "If nothing has come after some minutes, correct default To, default From or company domain, "
    "or ask the mail server's administrator about the message {message_id}."
)

# About the test as a whole.
CONCLUSIONS: Final[Mapping[str, Advice]] = {
    "passed": Advice(
        "The mail server accepted the test message",
        f"Accepted does not yet mean arrived. {_LOOK}",
        _NOTHING_CAME,
    ),
    "partial": Advice(
        "The test message was sent, but not to everybody",
        "Refused: {refused}. Accepted, which does not yet mean arrived: {accepted}. " + _LOOK,
        "The step of the refused address says what to do about it. " + _NOTHING_CAME,
    ),
    "cannot_connect": _AS_THE_STEP,
    "failed": _AS_THE_STEP,
    "incomplete": _AS_THE_STEP,
    "suppressed": Advice(
        "Not sent: suppressed",
        "This application is configured not to send any mail (MAIL_SUPPRESS_SEND or TESTING), so "
        "nothing was tried and nothing is known about the settings.",
        "The people who run the application can change that.",
    ),
    "stays_in_memory": Advice(
        "Not sent: mail stays in memory",
        "This application is configured to keep its mail in the memory of its own process "
        "(INTERACTION_MAIL_TRANSPORT is “memory”). The test message went there. No server was "
        "asked, so nothing is known about the settings.",
        "The people who run the application can change that.",
    ),
    "no_answer": Advice(
        "No answer within {limit} seconds: the test message was not sent",
        "The test reached the server, but the server was too slow.",
        "Delivery waits longer, up to five minutes for each answer, so real messages may get "
        "through. Check port and encryption and test again; the failed step says more.",
    ),
    "no_answer_at_end": Advice(
        "No confirmation within {limit} seconds: the test may still arrive",
        "The whole message was handed over, but the server has not confirmed it. Delivery waits "
        f"longer, up to ten minutes. {_LOOK}",
        _NOTHING_CAME,
    ),
    "lost_at_end": Advice(
        "The confirmation was lost: the test may still arrive",
        "The whole message was handed over, then this happened: {detail} " + _LOOK,
        _NOTHING_CAME,
    ),
}

# Settings that a test ignores, and says so.
NOTES: Final[Mapping[str, str]] = {
    "paused": "Sending is paused, but a test is sent nevertheless.",
    "diverted": (
        "All mail is diverted to {divert_to}, but a test goes to the default To nevertheless."
    ),
}

_ALL: Final[Mapping[str, Advice]] = {**STEPS, **CONCLUSIONS, **FAULTS}


def text_of(code: str) -> Advice:
    """The texts of ``code``: a fault, a good step or a conclusion; placeholders not filled in."""
    # A code that is not there was stored by another version of this package.
    return _ALL.get(code) or Advice(code, "")
