"""What Test Settings tells an administrator who does not know SMTP, as data, to be translated.

Every code maps to a title, an explanation and advice. ``{server}``, ``{port}``, ``{login}``,
``{to}``, ``{sender}``, ``{address}`` and ``{detail}`` are filled in after translation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from ..language import mark, translated
from ..outcome import Fault, Stage
from . import ses_texts, token_texts


@dataclass(frozen=True, slots=True)
class Advice:
    """What happened in a few words, what it means, and what to do about it."""

    title: str
    explanation: str
    advice: str = ""

    def filled(self, values: Mapping[str, str]) -> Advice:
        """The same in the reader's language, with "…" for placeholders without a value."""
        said = _Lenient({name: translated(value) for name, value in values.items()})
        parts = (self.title, self.explanation, self.advice)
        return Advice(*(translated(part).format_map(said) for part in parts))


class _Lenient(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "…"


_PORTS_OF_IMAP: Final = mark(
    "Check server, port and encryption: 993 is usual with TLS, 143 with STARTTLS."
)

# Steps that went well.
STEPS: Final[Mapping[str, Advice]] = {
    "resolved": Advice(mark("Server found"), mark("{server} was found at {detail}.")),
    "connected": Advice(mark("Connected"), mark("{detail} answers on port {port}.")),
    "greeted": Advice(mark("This is a mail server"), mark("The mail server is ready.")),
    "encrypted": Advice(
        mark("Encrypted"), mark("The connection is encrypted, and the certificate is valid.")
    ),
    "expires_soon": Advice(
        mark("Encrypted, but the certificate expires soon"),
        mark("The server's certificate is valid until {detail}."),
        mark(
            "The server's administrator should renew it before then: after that, no mail gets "
            "through."
        ),
    ),
    "not_encrypted": Advice(
        mark("Not encrypted"),
        mark(
            "Anybody on the network between here and the server can read and change the messages."
        ),
        mark(
            "This is fine for a server on this machine or in a closed network. Otherwise choose "
            "STARTTLS or TLS."
        ),
    ),
    "logged_in": Advice(mark("Logged in"), mark("The server accepted the login {login}.")),
    "logged_in_openly": Advice(
        mark("Logged in without encryption"),
        mark(
            "The server accepted the login {login}, but anybody on the network could read the "
            "password."
        ),
        mark("Choose STARTTLS or TLS as soon as the server offers one of them."),
    ),
    "token": Advice(
        mark("Access token received"), mark("The token service gave an access token. {detail}")
    ),
    "token_from_host": Advice(
        mark("Access token received"), mark("The application brought an access token.")
    ),
    **{step: Advice(*texts) for step, texts in ses_texts.STEPS.items()},
    "no_login": Advice(
        mark("No login"), mark("SMTP authentication is off, so the test did not log in.")
    ),
    "sender_accepted": Advice(
        mark("Sender accepted"), mark("The server accepts mail from {sender}.")
    ),
    "recipient_accepted": Advice(
        mark("Recipient accepted"), mark("The server accepts mail to {address}.")
    ),
    "kept_here": Advice(mark("Kept here"), mark("The message to {address} stays on this machine.")),
    "content_sent": Advice(mark("Message handed over"), mark("The whole test message was sent.")),
    "accepted": Advice(
        mark("Message accepted"), mark("The server has taken responsibility for the test message.")
    ),
}

# While a step runs.
RUNNING: Final[Mapping[Stage, str]] = {
    Stage.RESOLVE: mark("Asking for the server's address …"),
    Stage.CONNECT: mark("Connecting …"),
    Stage.GREETING: mark("Waiting for the server's greeting …"),
    Stage.ENCRYPTION: mark("Encrypting the connection …"),
    Stage.TOKEN: mark("Asking for an access token …"),
    Stage.AUTHENTICATION: mark("Logging in …"),
    Stage.SENDER: mark("Asking whether the sender may send …"),
    Stage.RECIPIENT: mark("Asking whether the recipients are known …"),
    Stage.CONTENT: mark("Handing over the message …"),
    Stage.ACCEPTED: mark("Waiting until the server accepts it …"),
}

# Steps that failed: first those up to the login.
FAULTS: Final[Mapping[str, Advice]] = {
    Fault.SETTINGS_INCOMPLETE: Advice(
        mark("Something is missing"),
        mark("A test needs a server, a default To and a default From. {detail}"),
        mark("Fill in what is missing and test again."),
    ),
    Fault.ADDRESS_UNUSABLE: Advice(
        mark("An address cannot be used"),
        "{detail}",
        mark(
            "Correct the address. If it is only the part before the @, fill in the company domain "
            "as well."
        ),
    ),
    Fault.NAME_UNKNOWN: Advice(
        mark("The server's name is not known"),
        mark("The name service (DNS) knows no computer called {server}."),
        mark(
            "Check the spelling of the server, then test again. A short name works only inside "
            "your network: try the full one, such as mail.example.com."
        ),
    ),
    Fault.NAME_SERVICE: Advice(
        mark("The name service does not answer"),
        mark(
            "This machine asked the name service (DNS) for the address of {server} and got no "
            "answer, or the name is not known there."
        ),
        mark(
            "Check the spelling of the server. If it is right, this machine has a problem with its "
            "network or its name service: test again in a few minutes, then ask your network's "
            "administrator."
        ),
    ),
    Fault.ADDRESS_FORBIDDEN: Advice(
        mark("This address is not allowed"),
        mark(
            "{server} has an address that cannot belong to a mail server, or that this "
            "installation forbids."
        ),
        mark(
            "Enter the name of your mail server. If it is right, ask the people who run this "
            "application which networks and ports are forbidden."
        ),
    ),
    Fault.REFUSED: Advice(
        mark("Nothing answers at this port"),
        mark("The computer {server} was reached, but no mail server answers on port {port}."),
        mark(
            "Check server and port, then test again. The usual ports are 25, 587 for STARTTLS and "
            "465 for TLS. If both are right, the mail server is not running."
        ),
    ),
    Fault.UNREACHABLE: Advice(
        mark("The server cannot be reached"),
        mark("There is no way through the network from this machine to {server}."),
        mark(
            "Check the server, then test again. If it is right, ask your network's administrator: "
            "a route is missing, or a firewall blocks the way."
        ),
    ),
    Fault.CONNECT_TIMEOUT: Advice(
        mark("The server does not react"),
        mark("{server} did not react on port {port}. Usually a firewall blocks the connection."),
        mark(
            "Check server and port, then test again. Many networks and cloud providers block port "
            "25: try 587. Otherwise ask your network's administrator to let this machine through."
        ),
    ),
    Fault.SILENT: Advice(
        mark("Connected, but the server stays silent"),
        mark("{server} accepted the connection on port {port}, but did not answer in time."),
        mark(
            "Check port and encryption: a server that expects TLS from the start (port 465) stays "
            "silent otherwise. If they are right, the server is overloaded or checks your machine "
            "first. Delivery waits up to five minutes at this point, so real mail may still work."
        ),
    ),
    Fault.LOST: Advice(
        mark("The connection was cut"),
        mark("The server, or a firewall in between, ended the connection. {detail}"),
        mark(
            "Check port and encryption, and test again. If it happens every time, the server does "
            "not accept this machine: ask its administrator."
        ),
    ),
    Fault.NOT_SMTP: Advice(
        mark("This is not a mail server"),
        mark(
            "What answers at {server} on port {port} is not a server that takes outgoing mail. "
            "{detail}"
        ),
        mark(
            "Check server and port. Ports such as 80, 443, 110, 143 and 993 belong to other "
            "services."
        ),
    ),
    Fault.NOT_IMAP: Advice(
        mark("This is not an IMAP server"),
        mark("What answers at {server} on port {port} is not a server of mailboxes. {detail}"),
        _PORTS_OF_IMAP,
    ),
    Fault.FOLDER_MISSING: Advice(
        mark("The folder cannot be opened"),
        mark("The login works, but the folder does not exist, or may not be read. {detail}"),
        mark("Check the name of the folder: INBOX is always there."),
    ),
    Fault.NONSENSE: Advice(
        mark("The server's answer makes no sense"),
        mark("The mail server, or something in between, does not follow the rules. {detail}"),
        mark("Test again. If it happens every time, show this to the mail server's administrator."),
    ),
    Fault.GREETING_TRANSIENT: Advice(
        mark("The server says: not now"),
        mark("The mail server is too busy, or down for maintenance."),
        mark(
            "Nothing is wrong with the settings, as far as the test can tell. Test again in a few "
            "minutes."
        ),
    ),
    Fault.GREETING_REFUSED: Advice(
        mark("The server does not accept this machine"),
        mark("The mail server refuses to talk to this machine, or does not accept its name."),
        mark(
            "Read what the server said. Often the machine's IP address has to be allowed there, or "
            "“Name of this machine” (under Advanced) has to be a full host name."
        ),
    ),
    Fault.STARTTLS_NOT_OFFERED: Advice(
        mark("The server does not offer STARTTLS"),
        mark(
            "STARTTLS is chosen, but the server does not offer it on port {port}. Nothing was sent "
            "unencrypted."
        ),
        mark(
            "Try port 587, or TLS with port 465. Choose no encryption only for a server in your "
            "own network. If the server is known to offer it, something in between removes the "
            "offer."
        ),
    ),
    Fault.STARTTLS_REFUSED: Advice(
        mark("The server refused STARTTLS"),
        mark("The server offers encryption, but could not start it."),
        mark(
            "The mail server has a problem with its certificate or its load: test again later, "
            "then ask its administrator. TLS with port 465 may work."
        ),
    ),
    Fault.TLS_NOT_SPOKEN: Advice(
        mark("The server does not begin with TLS"),
        mark("TLS from the start is chosen, but {server} begins unencrypted on port {port}."),
        mark(
            "Choose STARTTLS, which is usual on ports 587 and 25, or enter the port for TLS, "
            "usually 465."
        ),
    ),
    Fault.TLS_EXPECTED: Advice(
        mark("The server expects TLS from the start"),
        mark("{server} stays silent on port {port} until the encryption begins."),
        mark("Choose TLS as the encryption, or enter the port for STARTTLS, usually 587."),
    ),
    Fault.CERTIFICATE_UNKNOWN_CA: Advice(
        mark("The certificate comes from an unknown authority"),
        mark(
            "The server's certificate is self-signed or comes from a private certification "
            "authority (CA), so it does not prove that this is the right server."
        ),
        mark(
            "If your company has its own CA, paste its certificate under Advanced. Otherwise ask "
            "for a certificate from a public CA, installed together with its intermediate "
            "certificates."
        ),
    ),
    Fault.CERTIFICATE_OTHER_HOST: Advice(
        mark("The certificate is for another name"),
        mark("The server's certificate does not contain the name {server}."),
        mark(
            "Enter the server by a name that its certificate contains (shown here if known), or "
            "ask for a certificate that contains this one."
        ),
    ),
    Fault.CERTIFICATE_EXPIRED: Advice(
        mark("The certificate has expired"),
        mark("The server's certificate is no longer valid."),
        mark(
            "The mail server's administrator has to renew it. If it looks valid, check the clock "
            "of this machine."
        ),
    ),
    Fault.CERTIFICATE_NOT_YET: Advice(
        mark("The certificate is not valid yet"),
        mark("The server's certificate becomes valid at a later date."),
        mark("Check the clock of this machine first, then ask the mail server's administrator."),
    ),
    Fault.CERTIFICATE_ABOVE: Advice(
        mark("A certificate above the server's is not valid now"),
        mark(
            "The server's own certificate is valid, but one that vouches for it has expired or is "
            "not valid yet. It is an intermediate certificate that the server shows, or the "
            "certificate of the certification authority (CA)."
        ),
        mark(
            "If it is the CA certificate under Advanced, it is shown here: paste the new one. "
            "Otherwise the mail server's administrator has to install new intermediate "
            "certificates."
        ),
    ),
    Fault.CERTIFICATE_OTHER: Advice(
        mark("The certificate is not accepted"),
        mark("The server's certificate is not valid. {detail}"),
        mark("Show this to the mail server's administrator: the certificate has to be replaced."),
    ),
    Fault.CA_UNREADABLE: Advice(
        mark("The CA certificate cannot be read"),
        mark("The text in the field for the CA certificate is not a certificate."),
        mark(
            "Paste the whole text, from BEGIN CERTIFICATE to END CERTIFICATE, or empty the field."
        ),
    ),
    Fault.TLS_TOO_OLD: Advice(
        mark("The server's encryption is too old"),
        mark("The server knows only versions of TLS before 1.2, which are no longer secure."),
        mark("The mail server has to be updated, or configured for TLS 1.2 or newer."),
    ),
    Fault.TLS_FAILED: Advice(
        mark("The encryption could not be started"),
        mark("This machine and the server did not agree on how to encrypt. {detail}"),
        mark(
            "Check that encryption and port belong together: STARTTLS is usually on 587 or 25, TLS "
            "on 465. If they do, show this to the mail server's administrator."
        ),
    ),
    Fault.TLS_INJECTION: Advice(
        mark("Somebody may be tampering with the connection"),
        mark(
            "Data arrived before the encryption began, which no proper server sends. Nothing was "
            "sent."
        ),
        mark(
            "Test again from another network. If it happens there too, tell the mail server's "
            "administrator."
        ),
    ),
    Fault.AUTH_NOT_OFFERED: Advice(
        mark("The server does not offer a login"),
        mark(
            "SMTP authentication is on, but the server does not offer it on port {port}. Nothing "
            "was sent without it."
        ),
        mark(
            "Many servers offer it on port 587 and only when encrypted: choose STARTTLS. If this "
            "server needs no login, switch SMTP authentication off."
        ),
    ),
    Fault.AUTH_MECHANISM: Advice(
        mark("No common way to log in"),
        "{detail}",
        mark(
            "Ask the people who run the mail server to allow PLAIN or LOGIN over an encrypted "
            "connection, for this account."
        ),
    ),
    Fault.AUTH_UNENCRYPTED: Advice(
        mark("The password would be readable on the network"),
        mark("The connection is not encrypted, so login and password were not sent."),
        mark(
            "Choose STARTTLS or TLS. Only if the server offers neither and is in your own network, "
            "allow authentication without encryption under Advanced."
        ),
    ),
    Fault.LOGIN_MISSING: Advice(
        mark("The login is missing"),
        mark("SMTP authentication is on, but there is no login."),
        mark("Fill in login and password, or switch SMTP authentication off."),
    ),
    Fault.PASSWORD_MISSING: Advice(
        mark("The password is needed for this server"),
        mark(
            "There is no password, or it was set for another server, port, encryption, CA "
            "certificate or login. A password is only ever sent to the server that it was entered "
            "for."
        ),
        mark("Enter the password again."),
    ),
    Fault.AUTH_REJECTED: Advice(
        mark("Login or password is wrong"),
        mark("The server did not accept the login {login} with this password."),
        mark(
            "Check both. Some providers want the full e-mail address as the login, and an app "
            "password instead of your own. Servers lock an account after a few wrong attempts."
        ),
    ),
    Fault.AUTH_SWITCHED_OFF: Advice(
        mark("The server does not allow this kind of login"),
        mark(
            "The login {login} exists, but the mail service does not let it log in with a password "
            "over SMTP: that is switched off for the mailbox or the organisation, or a rule "
            "forbids it."
        ),
        mark(
            "Read what the server said. In Microsoft 365 an administrator has to allow "
            "authenticated SMTP for the mailbox and for the organisation, and neither security "
            "defaults nor conditional access may forbid it."
        ),
    ),
    Fault.AUTH_ACCOUNT_DISABLED: Advice(
        mark("The account is disabled"),
        mark("The server knows the login {login}, but its account has been disabled."),
        mark(
            "Ask the people who run the mail server to enable the account, or use the login of "
            "another one."
        ),
    ),
    Fault.AUTH_TOO_WEAK: Advice(
        mark("The server wants another password, or another way to log in"),
        mark(
            "The server does not take this password from a program. Usually it wants a password "
            "that was created for this program alone (an app password)."
        ),
        mark(
            "Create an app password in the security settings of the account {login} and enter it "
            "here; if the server asks you to, log in with a browser first. If the server wants a "
            "stronger method than PLAIN and LOGIN, this program cannot use it."
        ),
    ),
    Fault.AUTH_TRANSIENT: Advice(
        mark("The server cannot check the login now"),
        mark("The server cannot check logins and passwords at the moment."),
        mark("Test again in a few minutes. Login and password may be right."),
    ),
    **{fault: Advice(*texts) for fault, texts in token_texts.FAULTS.items()},
    **{fault: Advice(*texts) for fault, texts in ses_texts.FAULTS.items()},
    # Refusals after the login.
    Fault.AUTH_REQUIRED: Advice(
        mark("The server wants a login"),
        mark("The server accepts mail only after a login."),
        mark(
            "If SMTP authentication is off, switch it on and fill in login and password. If it is "
            "on, this login may not send from {sender}: ask the mail server's administrator."
        ),
    ),
    Fault.ENCRYPTION_REQUIRED: Advice(
        mark("The server wants encryption"),
        mark("The server accepts nothing over a connection that is not encrypted."),
        mark("Choose STARTTLS, usually with port 587, or TLS with port 465."),
    ),
    Fault.RELAY_DENIED: Advice(
        mark("The server does not pass on mail for you"),
        mark(
            "The server does not accept mail from this machine to {address}, because that address "
            "is not in one of the server's own domains (relaying denied)."
        ),
        mark(
            "If SMTP authentication is off and the server has logins, switch it on. Otherwise the "
            "server's administrator has to allow this login, or this machine's IP address, to send "
            "to other domains."
        ),
    ),
    Fault.CLIENT_REFUSED: Advice(
        mark("The server does not accept this machine"),
        mark(
            "The server refuses this machine because of its IP address, its name in the name "
            "service (DNS), or how much it sends."
        ),
        mark(
            "Read what the server said. If it says that there was too much mail, wait and test "
            "again. Otherwise the mail server's administrator has to allow this machine's IP "
            "address."
        ),
    ),
    Fault.HELO_REFUSED: Advice(
        mark("The server does not accept this machine's name"),
        mark("The server refuses the name that this machine gives in its greeting (EHLO)."),
        mark(
            "Under Advanced, enter a full host name as the “Name of this machine”, such as "
            "app.example.com. The name service (DNS) has to know it."
        ),
    ),
    Fault.SENDER_REFUSED: Advice(
        mark("The sender was refused"),
        mark("The server does not accept mail from {sender}."),
        mark(
            "Check the default From: it has to be an existing mailbox in a domain that this server "
            "sends for, and this login has to be allowed to use it."
        ),
    ),
    Fault.SENDER_TRANSIENT: Advice(
        mark("The sender is not accepted now"),
        mark("The server does not accept mail from {sender} at the moment."),
        mark(
            "Read what the server said. If it does not know the domain or the mailbox, correct the "
            "default From. Otherwise test again in a few minutes. Real messages are retried "
            "automatically."
        ),
    ),
    Fault.RECIPIENT_UNKNOWN: Advice(
        mark("There is no such mailbox"),
        mark("The server has no mailbox {address}."),
        mark("Check the address and the company domain."),
    ),
    Fault.RECIPIENT_REFUSED: Advice(
        mark("The recipient was refused"),
        mark("The server does not accept mail to {address}."),
        mark(
            "Read what the server said. Check the address, or ask the mail server's administrator."
        ),
    ),
    Fault.RECIPIENT_GREYLISTED: Advice(
        mark("The server asks to come back later"),
        mark(
            "The server makes unknown senders wait (greylisting) before it accepts mail to "
            "{address}."
        ),
        mark(
            "Nothing is wrong: test again in ten minutes. Real messages are retried automatically."
        ),
    ),
    Fault.RECIPIENT_TRANSIENT: Advice(
        mark("The recipient is not accepted now"),
        mark("The server cannot accept mail to {address} at the moment."),
        mark("Test again in a few minutes. Real messages are retried automatically."),
    ),
    Fault.MAILBOX_FULL: Advice(
        mark("The mailbox is full"),
        mark("The server has no space left for {address}."),
        mark("Delete mail in that mailbox, or have it enlarged."),
    ),
    Fault.CONTENT_REFUSED: Advice(
        mark("The message itself was refused"),
        mark("The server refused the content of the message."),
        mark(
            "Read what the server said. Often the reason is a spam or virus filter, or a rule "
            "about the sender."
        ),
    ),
    Fault.CONTENT_TRANSIENT: Advice(
        mark("The message is not accepted now"),
        mark("The server could not accept the message at the moment."),
        mark("Test again in a few minutes. Real messages are retried automatically."),
    ),
    Fault.TOO_BIG: Advice(
        mark("The message is too large"),
        mark("The server does not accept messages of this size. {detail}"),
        mark(
            "Ask the people who run the mail server to raise its limit: the test message itself is "
            "tiny."
        ),
    ),
    Fault.SMTPUTF8_MISSING: Advice(
        mark("The server does not support international addresses"),
        "{detail}",
        mark("Use an address that has only unaccented Latin letters (ASCII) before the @."),
    ),
    Fault.CONTENT_UNSAFE: Advice(
        mark("The message cannot be sent as it is"),
        "{detail}",
        mark("Please report this to the people who run this application."),
    ),
    Fault.CONFIRMATION_LOST: Advice(
        mark("The confirmation was lost"),
        mark("The whole message was handed over, then this happened: {detail}"),
        mark("The test may still arrive: look into the mailboxes, then test again."),
    ),
    Fault.UNKNOWN_OUTCOME: Advice(
        mark("No answer after the whole message"),
        mark("The whole message was handed over, but the server did not confirm it in time."),
        mark(
            "The test may still arrive: look into the mailboxes. Delivery waits ten minutes for "
            "this answer, because some servers take long to check the content."
        ),
    ),
}

NOT_SENT: Final = mark("The test message was not sent.")
_WRONG_SETTINGS: Final = mark(
    "The test could not connect to the mail server: the SMTP settings are probably wrong."
)
# What comes before the explanation of the step that failed; NOT_SENT elsewhere.
OPENINGS: Final[Mapping[Stage, str]] = {
    Stage.SETTINGS: mark("Nothing was tried."),
    Stage.RESOLVE: _WRONG_SETTINGS,
    Stage.CONNECT: _WRONG_SETTINGS,
}

_AS_THE_STEP: Final = Advice("{title}", "{opening} {explanation}", "{advice}")
_NOTHING_CAME: Final = mark(
    "If nothing has come after some minutes, correct default To, default From or company domain, "
    "or ask the mail server's administrator about the message {message_id}."
)

# The same where the server is one of mailboxes: other ports, and never without a login.
MAILBOX_FAULTS: Final[Mapping[str, Advice]] = {
    **{
        fault: replace(FAULTS[fault], advice=_PORTS_OF_IMAP)
        for fault in (
            Fault.REFUSED,
            Fault.CONNECT_TIMEOUT,
            Fault.SILENT,
            Fault.STARTTLS_NOT_OFFERED,
            Fault.STARTTLS_REFUSED,
            Fault.TLS_NOT_SPOKEN,
            Fault.TLS_EXPECTED,
            Fault.TLS_FAILED,
            Fault.ENCRYPTION_REQUIRED,
            Fault.OAUTH_NOT_OFFERED,
        )
    },
    Fault.AUTH_NOT_OFFERED: Advice(
        FAULTS[Fault.AUTH_NOT_OFFERED].title, "{detail}", _PORTS_OF_IMAP
    ),
    Fault.LOGIN_MISSING: Advice(
        FAULTS[Fault.LOGIN_MISSING].title,
        "{detail}",
        mark("Enter the IMAP server, and how to log in there."),
    ),
    Fault.OAUTH_REJECTED: Advice(
        mark("The IMAP server does not accept the access token"),
        mark("The token service gave a token, and the IMAP server refused it for {login}."),
        mark(
            "It needs the permission to read the mailbox as well. Microsoft 365: for an "
            "application that is IMAP.AccessAsApp with FullAccess to the mailbox "
            "(Add-MailboxPermission), for a person's consent IMAP.AccessAsUser.All, which “Connect "
            "again” asks for; and IMAP must be switched on for the mailbox. Google: the scope is "
            "https://mail.google.com/."
        ),
    ),
}

# About the test as a whole.
CONCLUSIONS: Final[Mapping[str, Advice]] = {
    "passed": Advice(
        mark("The mail server accepted the test message"),
        mark(
            "Accepted does not yet mean arrived. Look into {mailboxes}, including the junk folder."
        ),
        _NOTHING_CAME,
    ),
    "partial": Advice(
        mark("The test message was sent, but not to everybody"),
        mark(
            "Refused: {refused}. Accepted, which does not yet mean arrived: {accepted}. "
            "Look into {mailboxes}, including the junk folder."
        ),
        mark(
            "The step of the refused address says what to do about it. "
            "If nothing has come after some minutes, correct default To, default From or company "
            "domain, or ask the mail server's administrator about the message {message_id}."
        ),
    ),
    "cannot_connect": _AS_THE_STEP,
    "failed": _AS_THE_STEP,
    "incomplete": _AS_THE_STEP,
    "suppressed": Advice(
        mark("Not sent: suppressed"),
        mark(
            "This application is configured not to send any mail (MAIL_SUPPRESS_SEND or TESTING), "
            "so nothing was tried and nothing is known about the settings."
        ),
        mark("The people who run the application can change that."),
    ),
    "stays_here": Advice(
        mark("Not sent: mail stays here"),
        mark(
            "This application is configured to keep its mail on this machine "
            "(INTERACTION_MAIL_TRANSPORT), and so it did with the test message. No server was "
            "asked, so nothing is known about the settings."
        ),
        mark("The people who run the application can change that."),
    ),
    "no_answer": Advice(
        mark("No answer within {limit} seconds: the test message was not sent"),
        mark("The test reached the server, but the server was too slow."),
        mark(
            "Delivery waits longer, up to five minutes for each answer, so real messages may get "
            "through. Check port and encryption and test again; the failed step says more."
        ),
    ),
    "no_answer_at_end": Advice(
        mark("No confirmation within {limit} seconds: the test may still arrive"),
        mark(
            "The whole message was handed over, but the server has not confirmed it. Delivery "
            "waits longer, up to ten minutes. Look into {mailboxes}, including the junk folder."
        ),
        _NOTHING_CAME,
    ),
    "lost_at_end": Advice(
        mark("The confirmation was lost: the test may still arrive"),
        mark(
            "The whole message was handed over, then this happened: {detail} "
            "Look into {mailboxes}, including the junk folder."
        ),
        _NOTHING_CAME,
    ),
}

# Settings that a test ignores, and says so.
NOTES: Final[Mapping[str, str]] = {
    "paused": mark("Sending is paused, but a test is sent nevertheless."),
    "diverted": (
        mark("All mail is diverted to {divert_to}, but a test goes to the default To nevertheless.")
    ),
}

_ALL: Final[Mapping[str, Advice]] = {**STEPS, **CONCLUSIONS, **FAULTS}


def text_of(code: str, *, of_mailbox: bool = False) -> Advice:
    """The texts of ``code``: a fault, a good step or a conclusion; placeholders not filled in.

    With ``of_mailbox`` the server is one of IMAP.
    """
    if of_mailbox and code in MAILBOX_FAULTS:
        return MAILBOX_FAULTS[code]
    # A code that is not there was stored by another version of this package.
    return _ALL.get(code) or Advice(code, "")
