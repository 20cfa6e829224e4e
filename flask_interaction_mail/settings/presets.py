"""Presets for common mail providers: what each wants in the fields, and what else it wants.

Beside each entry stands the provider's own page and when it was compared. What no page of the
provider's could confirm is marked *from memory*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from ..language import gettext, mark
from ..outcome import Fault
from .grant import GOOGLE, GOOGLE_CONSENT
from .relay import BY_TOKEN, SES, SMTP, Encryption, RelayKind, SignIn

_OF_TOKENS: Final = ("oauth_authorization_url", "oauth_token_url")
_FIELDS: Final = (
    *("kind", "smtp_server", "smtp_port", "encryption", "use_authentication", "sign_in", "login"),
    *_OF_TOKENS,
)
_MAILBOX: Final = mark("The full e-mail address of the mailbox.")
_ONE_MAILBOX: Final = mark(
    "Mail leaves only from addresses of that mailbox: enter one as default From, and choose that "
    "messages always come from it."
)


class Todo(NamedTuple):
    """Something to do at the provider, and the fault that a test finds where it was forgotten."""

    text: str
    forgotten: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One provider: values for the form, and sentences for whoever fills in the rest.

    A value that is None is left to the administrator; its hint says what to enter. Sentences are
    English here, and ``note`` and ``hints`` in the reader's language.
    """

    key: str
    name: str
    kind: RelayKind = SMTP
    smtp_server: str | None = None
    server_hint: str = ""
    smtp_port: int = 587
    encryption: Encryption = Encryption.STARTTLS
    use_authentication: bool | None = True
    sign_in: SignIn = SignIn.PASSWORD
    login: str | None = None
    login_hint: str = ""
    region_hint: str = ""
    key_hint: str = ""
    oauth_authorization_url: str | None = None
    oauth_token_url: str | None = None
    wants: tuple[str, ...]  # what else has to be done before mail leaves
    steps: tuple[Todo, ...] = ()  # at the provider, in this order
    missing: str = ""  # why another preset of the same provider is better

    @property
    def values(self) -> dict[str, object]:
        """What is filled in: name of a setting to its value."""
        if self.kind is not SMTP:
            return {"kind": self.kind}  # nothing else that is fixed belongs to it
        given = {name: value for name in _FIELDS if (value := getattr(self, name)) is not None}
        if not self.use_authentication:
            given.pop("sign_in")  # it would say that there is one
        return given

    @property
    def entered(self) -> dict[str, object]:
        """The same for a form, where what another preset has filled in is emptied."""
        emptied = dict.fromkeys(self.hints, "") if self.use_authentication is not None else {}
        if self.sign_in in BY_TOKEN:
            emptied |= dict.fromkeys(_OF_TOKENS, "")
        return emptied | self.values

    @property
    def hints(self) -> dict[str, str]:
        """What to enter in the fields that stay empty."""
        hints = {
            "smtp_server": self.server_hint,
            "login": self.login_hint,
            "region": self.region_hint,
            "access_key": self.key_hint,
        }
        return {name: gettext(hint) for name, hint in hints.items() if hint}

    @property
    def note(self) -> str:
        """What else has to be done before mail leaves."""
        return " ".join(map(gettext, self.wants))


_SENDGRID: Final = mark(
    "The password is an API key with the permission to send mail. "
    "Mail leaves only from verified senders: authenticate your domain at SendGrid, or verify the "
    "default From address and choose that messages always come from it."
)
_MAILGUN: Final = mark(
    "Each sending domain has SMTP credentials of its own (Sending, Domain settings, "
    "SMTP credentials); an API key or the password of your account does not work. "
    "Verify the domain first: a sandbox domain reaches only recipients who agreed beforehand."
)
_ZOHO: Final = mark(
    "With two-factor authentication, create an application-specific password and enter that one."
)

# 2026-11-29: https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
_MICROSOFT: Final = (
    Todo(
        mark(
            "Microsoft Entra admin center, App registrations, New registration: any name, this "
            "organisation only, no redirect address. Copy “Application (client) ID” and “Directory "
            "(tenant) ID” from its overview into the fields below."
        ),
        Fault.TOKEN_APPLICATION_UNKNOWN,
    ),
    Todo(
        mark(
            "There, API permissions, Add a permission, APIs my organization uses, Office 365 "
            "Exchange Online, Application permissions: SMTP.SendAsApp. Then “Grant admin consent”."
        ),
        Fault.OAUTH_PERMISSION_MISSING,
    ),
    Todo(
        mark(
            "There, Certificates & secrets: create a client secret and enter its value and the day "
            "on which it ends, or upload a certificate and paste it with its key below."
        ),
        Fault.TOKEN_CLIENT_REFUSED,
    ),
    Todo(
        mark(
            "Exchange Online PowerShell: New-ServicePrincipal -AppId CLIENT-ID -ObjectId "
            "OBJECT-ID. The object ID is the one that Enterprise applications shows for it, and "
            "not that of App registrations."
        ),
        Fault.OAUTH_REJECTED,
    ),
    Todo(
        mark(
            "There, let it use the mailbox: Add-MailboxPermission -Identity MAILBOX -User "
            "OBJECT-ID -AccessRights FullAccess."
        ),
        Fault.OAUTH_REJECTED,
    ),
    Todo(
        mark(
            "Switch SMTP AUTH on for the mailbox: Set-CASMailbox MAILBOX "
            "-SmtpClientAuthenticationDisabled $false. This overrides the setting of the tenant."
        ),
        Fault.OAUTH_SWITCHED_OFF,
    ),
)
# 2026-11-29: as above, and
# https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
_REDIRECT: Final = mark(
    "Enter the redirect URL that this page shows under “Connection of the mailbox”, exactly as it "
    "is there."
)
_MICROSOFT_CONSENT: Final = (
    Todo(
        mark(
            "Microsoft Entra admin center, App registrations, New registration: any name, this "
            "organisation only. As redirect URI choose “Web”. Copy “Application (client) ID” and "
            "“Directory (tenant) ID” from its overview into the fields below."
        ),
    ),
    Todo(_REDIRECT),
    Todo(
        mark(
            "There, API permissions, Add a permission, Microsoft Graph, Delegated permissions: "
            "SMTP.Send and offline_access. If people may not agree by themselves, an administrator "
            "presses “Grant admin consent”."
        ),
        Fault.OAUTH_CONSENT_REJECTED,
    ),
    Todo(
        mark(
            "There, Certificates & secrets: create a client secret and enter its value and the day "
            "on which it ends."
        ),
        Fault.TOKEN_CLIENT_REFUSED,
    ),
    Todo(
        mark(
            "Switch SMTP AUTH on for the mailbox: Set-CASMailbox MAILBOX "
            "-SmtpClientAuthenticationDisabled $false. This overrides the setting of the tenant."
        ),
        Fault.OAUTH_SWITCHED_OFF,
    ),
    Todo(
        mark("Save here, press “Connect mailbox”, and log in as the mailbox."),
        Fault.TOKEN_NOT_CONNECTED,
    ),
)
# 2026-11-29: https://developers.google.com/identity/protocols/oauth2/web-server
_GOOGLE_CONSENT: Final = (
    Todo(
        mark(
            "Google Cloud console: choose or create a project, then Google Auth Platform. Fill in "
            "Branding and Audience: “Internal” for a Workspace. With “External”, publish the app: "
            "while it is in testing, a consent ends after seven days."
        ),
        Fault.TOKEN_CONNECT_AGAIN,
    ),
    Todo(
        mark(
            "There, Clients, Create client, Web application. Copy client ID and client secret into "
            "the fields below."
        ),
        Fault.TOKEN_CLIENT_REFUSED,
    ),
    Todo(_REDIRECT),
    Todo(
        mark("There, Data access, Add or remove scopes: https://mail.google.com/."),
        Fault.OAUTH_CONSENT_REJECTED,
    ),
    Todo(
        mark("Save here, press “Connect mailbox”, and log in as the mailbox."),
        Fault.TOKEN_NOT_CONNECTED,
    ),
)
_GOOGLE: Final = (
    Todo(
        mark(
            "Google Cloud console: choose or create a project, then IAM & Admin, Service accounts, "
            "Create service account. It needs no role."
        ),
    ),
    Todo(
        mark(
            "Open the service account, Keys, Add key, Create new key, JSON. Paste the whole file "
            "below. If an organisation policy forbids keys, an administrator has to allow one."
        ),
        Fault.TOKEN_GRANT_REFUSED,
    ),
    Todo(
        mark(
            "Copy the service account's “Unique ID”, a long number. Google Admin console, "
            "Security, Access and data control, API controls, Manage domain-wide delegation, Add "
            "new: that number, and the scope https://mail.google.com/."
        ),
        Fault.TOKEN_DELEGATION_MISSING,
    ),
    Todo(
        mark(
            "Enter the mailbox that mail is sent from: a user of the Workspace with Gmail, no "
            "group and no alias."
        ),
        Fault.TOKEN_GRANT_REFUSED,
    ),
)

_AMAZON: Final = (
    Todo(
        mark(
            "SES console, Identities, Create identity: your domain, in the region that you enter "
            "below. Publish the DNS records that it shows, and wait until it says “Verified”."
        ),
        Fault.SES_NOT_VERIFIED,
    ),
    Todo(
        mark(
            "IAM console: create a user without access to the console, or a role for this machine, "
            "with a policy that allows ses:SendEmail, ses:SendRawEmail and ses:GetAccount."
        ),
        Fault.SES_FORBIDDEN,
    ),
    Todo(
        mark(
            "For a user, Security credentials, Create access key, “Application running outside "
            "AWS”: enter its ID and its secret below. The SMTP credentials of the SES console are "
            "something else and do not work here."
        ),
        Fault.SES_KEY_REFUSED,
    ),
    Todo(
        mark(
            "SES console, Account dashboard, Request production access. It takes up to a day; in "
            "the sandbox until then, only verified addresses get mail."
        ),
        Fault.SES_NOT_VERIFIED,
    ),
)

_PRESETS: Final = (
    # 2026-11-29, the first two as of July 2021:
    # https://learn.microsoft.com/exchange/mail-flow-best-practices/how-to-set-up-a-multifunction-device-or-application-to-send-email-using-microsoft-365-or-office-365
    # https://learn.microsoft.com/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission
    # https://techcommunity.microsoft.com/blog/exchange/updated-exchange-online-smtp-auth-basic-authentication-deprecation-timeline/4489835
    Preset(
        key="microsoft365",
        name=mark("Microsoft 365 (OAuth 2)"),
        smtp_server="smtp.office365.com",
        sign_in=SignIn.OAUTH_APPLICATION,
        wants=(
            mark(
                "Tenant, client ID and a client secret or a certificate come from an app "
                "registration in Microsoft Entra. An administrator does this once, in this order."
            ),
        ),
        steps=_MICROSOFT,
    ),
    Preset(
        key="microsoft365_consent",
        name=mark("Microsoft 365 (OAuth 2, consent of a person)"),
        smtp_server="smtp.office365.com",
        sign_in=SignIn.OAUTH_MAILBOX,
        wants=(
            mark(
                "For one mailbox, whose person agrees once in a browser. It needs no rights in "
                "Exchange Online."
            ),
            _ONE_MAILBOX,
        ),
        steps=_MICROSOFT_CONSENT,
    ),
    Preset(
        key="microsoft365_password",
        name=mark("Microsoft 365 (password)"),
        smtp_server="smtp.office365.com",
        login_hint=_MAILBOX,
        wants=(
            mark(
                "An administrator has to tick Authenticated SMTP for the mailbox (Users, Active "
                "users, Mail, Manage email apps), and neither security defaults nor multi-factor "
                "authentication may forbid the login."
            ),
            _ONE_MAILBOX,
        ),
        missing=mark(
            "From the end of December 2026, logins with a password are off by default; an "
            "administrator can switch them on again. Microsoft wants OAuth instead: choose "
            "“Microsoft 365 (OAuth 2)”."
        ),
    ),
    # 2026-11-29: https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
    # https://developers.google.com/identity/protocols/oauth2/service-account
    # https://support.google.com/a/answer/162106
    Preset(
        key="google_workspace",
        name=mark("Google Workspace (OAuth 2)"),
        smtp_server="smtp.gmail.com",
        sign_in=SignIn.OAUTH_SERVICE_ACCOUNT,
        wants=(
            mark(
                "A service account of Google Cloud sends for a mailbox of your Workspace. An "
                "administrator does this once, in this order."
            ),
            _ONE_MAILBOX,
        ),
        steps=_GOOGLE,
    ),
    Preset(
        key="google_consent",
        name=mark("Google Workspace or Gmail (OAuth 2, consent of a person)"),
        smtp_server="smtp.gmail.com",
        sign_in=SignIn.OAUTH_MAILBOX,
        oauth_authorization_url=GOOGLE_CONSENT,
        oauth_token_url=GOOGLE,
        wants=(
            mark("For one mailbox, whose person agrees once in a browser. It needs no key."),
            _ONE_MAILBOX,
        ),
        steps=_GOOGLE_CONSENT,
    ),
    # 2026-11-29: https://support.google.com/a/answer/2956491
    Preset(
        key="google_relay",
        name=mark("Google Workspace (SMTP relay)"),
        smtp_server="smtp-relay.gmail.com",
        use_authentication=False,
        wants=(
            mark(
                "An administrator has to set up the SMTP relay service (Apps, Google Workspace, "
                "Gmail, Routing), and allow it for addresses in your domains and for the public IP "
                "address of this machine. It needs no password then, and mail can come from each "
                "user."
            ),
        ),
    ),
    # 2026-11-29: https://knowledge.workspace.google.com/kb/how-to-generate-an-app-passwords-000009237
    # From memory: server and port (https://support.google.com/a/answer/176600), that passwords of
    # accounts are refused (https://support.google.com/a/answer/6260879), and that From becomes the
    # account's address (https://support.google.com/mail/answer/22370).
    Preset(
        key="google",
        name=mark("Google Workspace or Gmail (app password)"),
        smtp_server="smtp.gmail.com",
        login_hint=_MAILBOX,
        wants=(
            mark(
                "Switch 2-Step Verification on for the account, create an app password and enter "
                "that one; an administrator may have to allow it."
            ),
            _ONE_MAILBOX,
        ),
        missing=mark(
            "Google does not take the account's own password. For a Workspace Google recommends "
            "OAuth: choose “Google Workspace (OAuth 2)”."
        ),
    ),
    # 2026-11-29: https://docs.aws.amazon.com/ses/latest/dg/smtp-connect.html
    # https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html
    # https://docs.aws.amazon.com/ses/latest/dg/request-production-access.html
    # The server has no value: a login of another region is refused like a wrong password.
    Preset(
        key="amazon_ses",
        name=mark("Amazon SES (SMTP)"),
        server_hint=mark(
            "The SMTP endpoint of your region, such as "
            "email-smtp.eu-west-1.amazonaws.com; the SES console shows it under SMTP settings."
        ),
        login_hint=mark("The SMTP user name from the SES console."),
        wants=(
            mark(
                "Create SMTP credentials in the SES console; they work in one region only, and AWS "
                "access keys do not work. Verify the domain that mail comes from, and request "
                "production access: in the sandbox only verified addresses get mail."
            ),
        ),
    ),
    # 2026-11-29: https://docs.aws.amazon.com/ses/latest/dg/control-user-access.html
    # https://docs.aws.amazon.com/general/latest/gr/ses.html
    Preset(
        key="amazon_ses_https",
        name=mark("Amazon SES (HTTPS)"),
        kind=SES,
        use_authentication=None,
        region_hint=mark("The region in which your domain is verified, such as eu-west-1."),
        key_hint=mark(
            "Of an IAM user with these permissions. On a machine of AWS with a role that has them, "
            "leave both fields empty."
        ),
        wants=(
            mark(
                "No SMTP port has to be open, and the outbox keeps the name that SES gives each "
                "message. An administrator of AWS does this once, in this order."
            ),
        ),
        steps=_AMAZON,
    ),
    # 2026-11-29: https://www.twilio.com/docs/sendgrid/for-developers/sending-email/integrating-with-the-smtp-api
    # https://www.twilio.com/docs/sendgrid/api-reference/senders
    Preset(
        key="sendgrid",
        name=mark("SendGrid"),
        smtp_server="smtp.sendgrid.net",
        login="apikey",
        wants=(_SENDGRID,),
    ),
    # 2026-11-29: https://www.twilio.com/docs/sendgrid/data-residency/migrate-subusers
    # From memory: the name of the server.
    Preset(
        key="sendgrid_eu",
        name=mark("SendGrid (EU)"),
        smtp_server="smtp.eu.sendgrid.net",
        login="apikey",
        wants=(_SENDGRID, mark("Key and domain have to belong to an EU subuser.")),
    ),
    # 2026-11-29: https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/send-smtp
    # https://documentation.mailgun.com/docs/mailgun/user-manual/smtp-protocol/smtp-relay
    Preset(
        key="mailgun",
        name=mark("Mailgun (US)"),
        smtp_server="smtp.mailgun.org",
        login_hint=mark("The SMTP user of the sending domain, such as postmaster@mg.example.com."),
        wants=(_MAILGUN,),
    ),
    # 2026-11-29: https://documentation.mailgun.com/docs/mailgun/api-reference (regions)
    # https://cloud.google.com/compute/docs/tutorials/sending-mail/using-mailgun (the server)
    Preset(
        key="mailgun_eu",
        name=mark("Mailgun (EU)"),
        smtp_server="smtp.eu.mailgun.org",
        login_hint=mark("The SMTP user of the sending domain, such as postmaster@mg.example.com."),
        wants=(_MAILGUN,),
    ),
    # 2026-11-29: https://postmarkapp.com/support/article/811-what-are-the-smtp-details-api-tokens-i-should-be-using
    # https://postmarkapp.com/support/article/1084-how-does-the-account-approval-process-work
    # https://postmarkapp.com/developer/user-guide/managing-your-account/managing-sender-signatures
    Preset(
        key="postmark",
        name=mark("Postmark"),
        smtp_server="smtp.postmarkapp.com",
        login_hint=mark("The API token of your Postmark server."),
        wants=(
            mark(
                "The password is the same API token again. Verify the domain that mail comes from, "
                "and request approval: until then mail reaches only your own verified domains."
            ),
        ),
    ),
    # 2026-11-29: https://www.zoho.com/mail/help/zoho-smtp.html (an older state of it)
    # From memory: smtppro for paid plans, and the servers of the regions.
    Preset(
        key="zoho",
        name=mark("Zoho Mail"),
        smtp_server="smtppro.zoho.com",
        smtp_port=465,
        encryption=Encryption.TLS,
        login_hint=_MAILBOX,
        wants=(
            _ZOHO,
            _ONE_MAILBOX,
            mark(
                "Without a paid plan, the server is smtp.zoho.com. In other regions it ends "
                "like the address at which you log in to Zoho, such as smtppro.zoho.in."
            ),
        ),
    ),
    # 2026-11-29: as above
    Preset(
        key="zoho_eu",
        name=mark("Zoho Mail (EU)"),
        smtp_server="smtppro.zoho.eu",
        smtp_port=465,
        encryption=Encryption.TLS,
        login_hint=_MAILBOX,
        wants=(_ZOHO, _ONE_MAILBOX, mark("Without a paid plan, the server is smtp.zoho.eu.")),
    ),
    # 2026-11-29: https://www.fastmail.com/help/technical/servernamesandports.html
    # https://www.fastmail.help/hc/en-us/articles/1500000280401
    # TLS only: that page has no STARTTLS.
    Preset(
        key="fastmail",
        name=mark("Fastmail"),
        smtp_server="smtp.fastmail.com",
        smtp_port=465,
        encryption=Encryption.TLS,
        login_hint=_MAILBOX,
        wants=(
            mark(
                "Create an app password in the settings of Fastmail and enter that one; your own "
                "password does not work."
            ),
            _ONE_MAILBOX,
        ),
    ),
    Preset(
        key="own",
        name=mark("A mail server of your own"),
        server_hint=mark("Its name or IP address, such as mail.example.com."),
        use_authentication=None,
        login_hint=mark("Often the full e-mail address of the mailbox."),
        wants=(
            mark(
                "Your IT department knows the server and whether it wants a login. A server that "
                "takes mail from your own network without one often listens on port 25."
            ),
        ),
    ),
)

# In the order in which they are offered.
PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({preset.key: preset for preset in _PRESETS})
