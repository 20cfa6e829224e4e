"""What a conversation with a server came to: replies, stages, faults, results."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass


class Stage(enum.StrEnum):
    """The steps of a conversation, in order (RFC 5321 §4.1.4)."""

    SETTINGS = "settings"  # before any network: is there enough to begin with?
    RESOLVE = "resolve"
    CONNECT = "connect"
    GREETING = "greeting"
    ENCRYPTION = "encryption"
    TOKEN = "token"  # the name of a step, which asks for an access token (RFC 6749)
    AUTHENTICATION = "authentication"
    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"
    ACCEPTED = "accepted"  # the server has taken responsibility for the message


class Fault(enum.StrEnum):
    """Every way to fail that is told apart, because something else is to be done about it."""

    # before and while connecting
    SETTINGS_INCOMPLETE = "settings_incomplete"  # no server, no default To or default From
    ADDRESS_UNUSABLE = "address_unusable"  # a default address is not valid
    NAME_UNKNOWN = "name_unknown"  # the name service knows no such server
    NAME_SERVICE = "name_service"  # the name service itself fails, or does not answer
    ADDRESS_FORBIDDEN = "address_forbidden"  # the address policy forbids to connect there
    REFUSED = "refused"  # the machine is there, nothing listens at that port
    UNREACHABLE = "unreachable"  # no route to that address
    CONNECT_TIMEOUT = "connect_timeout"  # nothing comes back from that address
    # talking at all
    SILENT = "silent"  # connected, and the server does not answer
    LOST = "lost"  # the server, or something in between, ended the connection
    NOT_SMTP = "not_smtp"  # what answers is no mail server, or a broken one
    NONSENSE = "nonsense"  # a mail server it is, and this answer is none
    GREETING_TRANSIENT = "greeting_transient"  # "not now", to whatever is asked
    GREETING_REFUSED = "greeting_refused"  # this machine is not welcome
    # encryption
    STARTTLS_NOT_OFFERED = "starttls_not_offered"
    STARTTLS_REFUSED = "starttls_refused"
    TLS_NOT_SPOKEN = "tls_not_spoken"  # TLS from the first byte, and the server speaks plainly
    TLS_EXPECTED = "tls_expected"  # the server waits for TLS from the first byte
    CERTIFICATE_UNKNOWN_CA = "certificate_unknown_ca"  # self-signed, or a private CA
    CERTIFICATE_OTHER_HOST = "certificate_other_host"
    CERTIFICATE_EXPIRED = "certificate_expired"
    CERTIFICATE_NOT_YET = "certificate_not_yet"  # its time begins in the future
    CERTIFICATE_ABOVE = "certificate_above"  # its own time is right, that of one above it is not
    CERTIFICATE_OTHER = "certificate_other"  # bad in another way
    CA_UNREADABLE = "ca_unreadable"  # the setting `ca_certificate` holds no certificate
    TLS_TOO_OLD = "tls_too_old"  # nothing newer than TLS 1.1
    TLS_FAILED = "tls_failed"
    TLS_INJECTION = "tls_injection"  # bytes smuggled in ahead of the encryption
    # authentication
    AUTH_NOT_OFFERED = "auth_not_offered"
    AUTH_MECHANISM = "auth_mechanism"  # none that both sides speak, or that the server takes
    AUTH_UNENCRYPTED = "auth_unencrypted"  # we do not show a password to everybody on the way
    LOGIN_MISSING = "login_missing"
    PASSWORD_MISSING = "password_missing"  # the name of a fault
    AUTH_REJECTED = "auth_rejected"
    AUTH_SWITCHED_OFF = "auth_switched_off"  # the account, or its organisation, may not log in so
    AUTH_ACCOUNT_DISABLED = "auth_account_disabled"
    AUTH_TOO_WEAK = "auth_too_weak"  # another password is wanted, or another way to show it
    AUTH_TRANSIENT = "auth_transient"
    TOKEN_SETTINGS = "token_settings"  # something to ask with is missing
    TOKEN_UNREACHABLE = "token_unreachable"  # the token service, or the way to it
    TOKEN_FORBIDDEN = "token_forbidden"  # the address policy forbids it
    TOKEN_CERTIFICATE = "token_certificate"  # the token service's is not accepted
    TOKEN_SILENT = "token_silent"  # no answer in time
    TOKEN_REDIRECT = "token_redirect"  # which is not followed
    TOKEN_NONSENSE = "token_nonsense"  # HTML, or a flood
    TOKEN_UNAVAILABLE = "token_unavailable"  # "not now"
    TOKEN_CLIENT_REFUSED = "token_client_refused"  # client id or secret
    TOKEN_SECRET_EXPIRED = "token_secret_expired"
    TOKEN_GRANT_REFUSED = "token_grant_refused"  # key, mailbox or consent
    TOKEN_CONSENT_MISSING = "token_consent_missing"  # an administrator's
    TOKEN_DELEGATION_MISSING = "token_delegation_missing"  # domain-wide
    TOKEN_APPLICATION_UNKNOWN = "token_application_unknown"  # in that tenant
    TOKEN_TENANT_UNKNOWN = "token_tenant_unknown"
    TOKEN_SCOPE_REFUSED = "token_scope_refused"
    TOKEN_REFUSED = "token_refused"  # for another reason
    TOKEN_NOT_CONNECTED = "token_not_connected"  # nobody has agreed yet
    TOKEN_CONNECT_AGAIN = "token_connect_again"  # what somebody agreed to counts no more
    TOKEN_FROM_HOST = "token_from_host"  # the application should bring one
    OAUTH_NOT_OFFERED = "oauth_not_offered"  # no mechanism that takes a token
    OAUTH_REJECTED = "oauth_rejected"  # the mail server does not take the token
    OAUTH_CONSENT_REJECTED = "oauth_consent_rejected"  # nor what the person has agreed to
    OAUTH_OTHER_ACCOUNT = "oauth_other_account"  # nor can it: somebody else has agreed
    OAUTH_PERMISSION_MISSING = "oauth_permission_missing"  # nor can it: the right is not in it
    OAUTH_SWITCHED_OFF = "oauth_switched_off"  # for the mailbox, or its organisation
    # Amazon SES over HTTPS
    SES_MISSING = "ses_missing"  # the package that signs requests
    SES_UNREACHABLE = "ses_unreachable"  # the service, or the way to it
    SES_NO_KEY = "ses_no_key"  # none was entered, and the machine has none
    SES_KEY_REFUSED = "ses_key_refused"
    SES_KEY_EXPIRED = "ses_key_expired"  # those of a role do
    SES_CLOCK = "ses_clock"  # this machine's is wrong
    SES_FORBIDDEN = "ses_forbidden"  # the key has no such permission
    SES_PAUSED = "ses_paused"  # sending is, or the account is closed
    SES_QUOTA = "ses_quota"  # of a day, or of a second
    SES_NOT_VERIFIED = "ses_not_verified"  # an address or a domain
    SES_UNAVAILABLE = "ses_unavailable"  # "not now"
    SES_NONSENSE = "ses_nonsense"  # another web page
    # the mailbox with returned mail
    NOT_IMAP = "not_imap"  # what answers is no IMAP server, or a broken one
    FOLDER_MISSING = "folder_missing"  # or it may not be opened
    # one message
    AUTH_REQUIRED = "auth_required"  # refused for want of authentication (R24)
    ENCRYPTION_REQUIRED = "encryption_required"  # refused because the connection is readable
    RELAY_DENIED = "relay_denied"  # the server does not take mail for that domain from us (R24)
    CLIENT_REFUSED = "client_refused"  # this machine's address, its name, or how much it sends
    HELO_REFUSED = "helo_refused"  # the name that it gives in EHLO
    SENDER_REFUSED = "sender_refused"
    SENDER_TRANSIENT = "sender_transient"
    RECIPIENT_UNKNOWN = "recipient_unknown"
    RECIPIENT_REFUSED = "recipient_refused"
    RECIPIENT_GREYLISTED = "recipient_greylisted"
    RECIPIENT_TRANSIENT = "recipient_transient"
    MAILBOX_FULL = "mailbox_full"
    CONTENT_REFUSED = "content_refused"
    CONTENT_TRANSIENT = "content_transient"
    TOO_BIG = "too_big"  # larger than the server announced to take
    SMTPUTF8_MISSING = "smtputf8_missing"  # an international address, and the server knows none
    CONTENT_UNSAFE = "content_unsafe"  # bytes that must not go out as they are
    UNKNOWN_OUTCOME = "unknown_outcome"  # silence or loss after the final dot (RFC 1047)
    CONFIRMATION_LOST = "confirmation_lost"  # of these, where it is known not to be silence


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's reply: code (RFC 5321 §4.2), enhanced code (RFC 3463) or None, text.

    ``text`` is already safe to store and to show: control characters are escaped, and it is
    cut at 1,000 characters.
    """

    code: int
    enhanced: str | None
    text: str

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 400

    @property
    def transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def permanent(self) -> bool:
        return 500 <= self.code < 600

    def __str__(self) -> str:
        return " ".join(filter(None, (str(self.code), self.enhanced, self.text)))


class Result(enum.StrEnum):
    """What one attempt came to, for the message as a whole."""

    ACCEPTED = "accepted"  # the server took it for at least one recipient
    TRANSIENT = "transient"  # nobody got it; trying again can help
    PERMANENT = "permanent"  # nobody got it; trying again cannot help
    AMBIGUOUS = "ambiguous"  # the link died after the final dot: nobody knows (RFC 1047)


def result_of(replies: Iterable[Reply]) -> Result:
    """What final ``replies``, one a recipient, come to for the message as a whole.

    One recipient who may still be reached makes a message worth another attempt.
    """
    replies = tuple(replies)
    if any(reply.positive for reply in replies):
        return Result.ACCEPTED
    if any(reply.transient for reply in replies):
        return Result.TRANSIENT
    return Result.PERMANENT
