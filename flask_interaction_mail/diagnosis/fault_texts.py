"""Every way to fail, explained to somebody who does not know SMTP; see ``advice``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..outcome import Fault
from .advice import Advice
from .refusal_texts import REFUSALS

_ASK_PROVIDER: Final = "Ask whoever runs the mail server"

FAULTS: Final[Mapping[Fault, Advice]] = {
    Fault.SETTINGS_INCOMPLETE: Advice(
        "Something is missing",
        "A test needs a server, a default To and a default From. {detail}",
        "Fill in what is missing and test again.",
    ),
    Fault.ADDRESS_UNUSABLE: Advice(
        "An address cannot be used",
        "{detail}",
        "Correct the address. Where only the part before the @ is given, the company domain "
        "has to be filled in.",
    ),
    Fault.NAME_UNKNOWN: Advice(
        "The server's name is not known",
        "No computer called {server} is known to the name service.",
        "Check the spelling of the server, then test again. A short name works only inside your "
        "network: try the full one, such as mail.example.com.",
    ),
    Fault.NAME_SERVICE: Advice(
        "The name service does not answer",
        "The question where {server} is got no answer, or the name is not known there.",
        "Check the spelling of the server. If it is right, the network or the name service (DNS) "
        "of this machine has a problem: try again in a few minutes, then ask your network's "
        "administrator.",
    ),
    Fault.ADDRESS_FORBIDDEN: Advice(
        "This address is not allowed",
        "{server} is an address at which no mail server can be, or one that this installation "
        "forbids.",
        "Enter the name of your mail server. If it is right, ask whoever runs this application "
        "which networks and ports are forbidden.",
    ),
    Fault.REFUSED: Advice(
        "Nothing answers at this port",
        "The computer {server} is there, but it has no mail server at port {port}.",
        "Check server and port, then test again. Usual ports are 25, 587 for STARTTLS and 465 for "
        "TLS. If both are right, the mail server is not running.",
    ),
    Fault.UNREACHABLE: Advice(
        "The server cannot be reached",
        "There is no way through the network from here to {server}.",
        "Check the server, then test again. If it is right, ask your network's administrator: a "
        "route is missing, or a firewall stands in the way.",
    ),
    Fault.CONNECT_TIMEOUT: Advice(
        "The server does not react",
        "{server} did not react at port {port}. Mostly a firewall swallows the connection.",
        "Check server and port, then test again. Many networks and cloud providers block port 25: "
        "try 587. Otherwise ask your network's administrator to let this machine through.",
    ),
    Fault.SILENT: Advice(
        "Connected, but the server stays silent",
        "The connection to {server} at port {port} stands, but no answer came in time.",
        "Check port and encryption: a server that expects TLS from the start (port 465) stays "
        "silent otherwise. If they are right, the server is overloaded or checks your machine "
        "first. Delivery waits up to five minutes at this point, so real mail may still work.",
    ),
    Fault.LOST: Advice(
        "The connection was cut",
        "The server, or a firewall on the way, ended the connection. {detail}",
        "Check port and encryption, and test again. If it happens each time, the server does not "
        "accept this machine: ask its administrator.",
    ),
    Fault.NOT_SMTP: Advice(
        "This is not a mail server",
        "What answers at {server}, port {port}, does not speak the language of mail servers. "
        "{detail}",
        "Check server and port. Ports such as 80, 443, 110, 143 and 993 are other services.",
    ),
    Fault.NONSENSE: Advice(
        "The server gave an answer that is none",
        "The mail server, or something in between, does not keep to the rules. {detail}",
        "Test again. If it happens each time, show this to the mail server's administrator.",
    ),
    Fault.GREETING_TRANSIENT: Advice(
        "The server says: not now",
        "The mail server is too busy or being serviced.",
        "Nothing is wrong with the settings as far as one can see. Test again in a few minutes.",
    ),
    Fault.GREETING_REFUSED: Advice(
        "The server does not accept this machine",
        "The mail server refuses to talk to this machine, or does not accept its name.",
        "Read what the server said. Often the machine's IP address has to be allowed there, or the "
        "name for EHLO (under Advanced) has to be a full host name.",
    ),
    Fault.STARTTLS_NOT_OFFERED: Advice(
        "The server offers no STARTTLS",
        "STARTTLS is chosen, but the server does not offer it at port {port}. Nothing was sent "
        "unencrypted.",
        "Try port 587, or TLS with port 465. Choose no encryption only for a server in your own "
        "network. If the server is known to offer it, something on the way removes the offer.",
    ),
    Fault.STARTTLS_REFUSED: Advice(
        "The server refused STARTTLS",
        "The server offers encryption, but could not start it.",
        "The mail server has a problem with its certificate or its load: test again later, then "
        "ask its administrator. TLS with port 465 may work.",
    ),
    Fault.TLS_NOT_SPOKEN: Advice(
        "The server does not begin with TLS",
        "TLS from the start is chosen, but {server} speaks unencrypted at port {port}.",
        "Choose STARTTLS, which is usual at ports 587 and 25, or the port for TLS, usually 465.",
    ),
    Fault.TLS_EXPECTED: Advice(
        "The server expects TLS from the start",
        "{server} at port {port} stays silent until the encryption begins.",
        "Choose TLS as the encryption, or the port for STARTTLS, usually 587.",
    ),
    Fault.CERTIFICATE_UNKNOWN_CA: Advice(
        "The certificate is from somebody unknown",
        "The server's certificate is self-signed or from a private certification authority (CA), "
        "so nobody can tell whether this is the right server.",
        "If your company has a CA of its own, paste its certificate under Advanced. Otherwise ask "
        "for a certificate from a public CA, with its intermediate certificates installed.",
    ),
    Fault.CERTIFICATE_OTHER_HOST: Advice(
        "The certificate is for another name",
        "The server's certificate does not hold the name {server}.",
        "Enter the server by a name that stands in its certificate (shown here if known), or ask "
        "for a certificate that holds this one.",
    ),
    Fault.CERTIFICATE_EXPIRED: Advice(
        "The certificate has expired",
        "The time of the server's certificate is over.",
        "The mail server's administrator has to renew it. If it looks valid, check the clock of "
        "this machine.",
    ),
    Fault.CERTIFICATE_NOT_YET: Advice(
        "The certificate is not valid yet",
        "The time of the server's certificate has not begun.",
        "Check the clock of this machine first, then ask the mail server's administrator.",
    ),
    Fault.CERTIFICATE_ABOVE: Advice(
        "A certificate above the server's is not valid now",
        "The server's own certificate is good for now, but the time of a certificate that vouches "
        "for it is over or has not begun: of an intermediate one that the server shows, or of the "
        "certification authority (CA).",
        "If it is the CA certificate under Advanced, shown here then, paste the new one. Otherwise "
        "the mail server's administrator has to install the new intermediate certificates.",
    ),
    Fault.CERTIFICATE_OTHER: Advice(
        "The certificate is not accepted",
        "The server's certificate is not good. {detail}",
        "Show this to the mail server's administrator: the certificate has to be replaced.",
    ),
    Fault.CA_UNREADABLE: Advice(
        "The CA certificate cannot be read",
        "What stands in the field for the CA certificate is no certificate.",
        "Paste the whole text, from BEGIN CERTIFICATE to END CERTIFICATE, or empty the field.",
    ),
    Fault.TLS_TOO_OLD: Advice(
        "The server's encryption is too old",
        "The server knows only versions of TLS before 1.2, which are broken.",
        "The mail server has to be updated, or set up for TLS 1.2 or newer.",
    ),
    Fault.TLS_FAILED: Advice(
        "The encryption could not be started",
        "Server and client did not agree on how to encrypt. {detail}",
        "Check that encryption and port belong together: STARTTLS mostly 587 or 25, TLS mostly "
        "465. Then show this to the mail server's administrator.",
    ),
    Fault.TLS_INJECTION: Advice(
        "Somebody may be tampering with the connection",
        "Data came ahead of the encryption, which no proper server sends. Nothing was sent.",
        "Test again from another network. If it stays, tell the mail server's administrator.",
    ),
    Fault.AUTH_NOT_OFFERED: Advice(
        "The server offers no login",
        "SMTP authentication is on, but the server does not offer it at port {port}. Nothing was "
        "sent without it.",
        "Many servers offer it at port 587 and only when encrypted: choose STARTTLS. If this "
        "server needs no login, switch SMTP authentication off.",
    ),
    Fault.AUTH_MECHANISM: Advice(
        "No common way to log in",
        "{detail}",
        f"{_ASK_PROVIDER} to allow PLAIN or LOGIN over an encrypted connection, for this account.",
    ),
    Fault.AUTH_UNENCRYPTED: Advice(
        "The password would be readable on the way",
        "The connection is not encrypted, so login and password were not sent.",
        "Choose STARTTLS or TLS. Only where the server offers neither, and stands in your own "
        "network, allow it under Advanced.",
    ),
    Fault.LOGIN_MISSING: Advice(
        "The login is missing",
        "SMTP authentication is on, but no login is given.",
        "Fill in login and password, or switch SMTP authentication off.",
    ),
    Fault.PASSWORD_MISSING: Advice(
        "The password is needed for this server",
        "There is no password, or it was set for another server, port, encryption, CA certificate "
        "or login. A password is only ever sent to the place it was typed for.",
        "Type the password again.",
    ),
    Fault.AUTH_REJECTED: Advice(
        "Login or password is wrong",
        "The server did not accept login {login} with this password.",
        "Check both. Some providers want the full e-mail address as login, and a password for "
        "applications instead of your own. Servers lock accounts after some wrong attempts.",
    ),
    Fault.AUTH_SWITCHED_OFF: Advice(
        "The server does not allow this kind of login",
        "Login {login} exists, but the mail service does not let it log in with a password over "
        "SMTP: that is switched off for the mailbox or the organisation, or a rule forbids it.",
        "Read what the server said. In Microsoft 365 an administrator has to allow authenticated "
        "SMTP for the mailbox and for the organisation, and neither security defaults nor "
        "conditional access may forbid it.",
    ),
    Fault.AUTH_ACCOUNT_DISABLED: Advice(
        "The account is disabled",
        "The server knows login {login}, and the account has been disabled.",
        f"{_ASK_PROVIDER} to enable the account, or use the login of another one.",
    ),
    Fault.AUTH_TOO_WEAK: Advice(
        "The server wants another password, or another way to log in",
        "The server does not take this password from a program. Most of the time it wants one that "
        "was made for this program alone (an app password).",
        "Create an app password in the security settings of the account {login} and enter it here; "
        "if the server asks for that, log in with a browser first. If the server wants a stronger "
        "way than PLAIN and LOGIN, this program cannot use it.",
    ),
    Fault.AUTH_TRANSIENT: Advice(
        "The server cannot check the login now",
        "The server's check of logins and passwords has a problem at the moment.",
        "Test again in a few minutes. Login and password may be right.",
    ),
    **REFUSALS,
}
