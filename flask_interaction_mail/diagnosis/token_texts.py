"""What Test Settings tells about access tokens: a title, an explanation and advice for each fault.

They are part of ``texts``, where the placeholders are explained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..language import mark
from ..outcome import Fault

FAULTS: Final[Mapping[str, tuple[str, str, str]]] = {
    Fault.TOKEN_SETTINGS: (
        mark("Something is missing to ask for an access token"),
        mark("{detail}"),
        mark(
            "Fill in what is missing under “Authentication”. A secret is used only with the token "
            "service and the mail server that it was entered for: enter it again if one of them "
            "has changed."
        ),
    ),
    Fault.TOKEN_UNREACHABLE: (
        mark("The token service cannot be reached"),
        mark("{detail}"),
        mark(
            "Check the token URL. If it is right, ask your network's administrator to let this "
            "machine connect there. Mail waits, and is tried again by itself."
        ),
    ),
    Fault.TOKEN_FORBIDDEN: (
        mark("This token service is not allowed"),
        mark("{detail}"),
        mark(
            "Enter the https URL of your provider's token service. If it is right, ask the people "
            "who run this application which networks and ports are forbidden."
        ),
    ),
    Fault.TOKEN_CERTIFICATE: (
        mark("The certificate of the token service is not accepted"),
        mark("{detail} The secret was not sent."),
        mark(
            "Check the token URL and the clock of this machine. If the service has a certificate "
            "of your own authority, paste the authority's certificate under Advanced."
        ),
    ),
    Fault.TOKEN_SILENT: (
        mark("The token service does not answer"),
        mark("{detail}"),
        mark("Check the token URL, and test again in a few minutes. Mail waits meanwhile."),
    ),
    Fault.TOKEN_REDIRECT: (
        mark("The token URL leads elsewhere"),
        mark("{detail} The secret is sent to no other address than the one that was entered."),
        mark("Enter the address that it leads to as the token URL, if you trust it."),
    ),
    Fault.TOKEN_NONSENSE: (
        mark("This is not the answer of a token service"),
        mark("{detail}"),
        mark(
            "Check the token URL: it has to be that of the token service itself, and not that of "
            "a page where people log in. Behind a proxy, an error page of the proxy can come "
            "instead. Mail waits, and is tried again by itself."
        ),
    ),
    Fault.TOKEN_UNAVAILABLE: (
        mark("The token service says: not now"),
        mark("{detail}"),
        mark("Nothing is wrong with the settings, as far as the test can tell. Mail waits."),
    ),
    Fault.TOKEN_CLIENT_REFUSED: (
        mark("Client ID, secret or certificate is wrong"),
        mark("{detail}"),
        mark(
            "Copy both again. In Microsoft Entra (App registrations, Certificates & secrets) the "
            "secret is what stands under “Value”, which is shown once, and not the “Secret ID”. A "
            "certificate has to be uploaded there first."
        ),
    ),
    Fault.TOKEN_SECRET_EXPIRED: (
        mark("The client secret has expired"),
        mark("{detail}"),
        mark(
            "Create a new secret at your provider (Microsoft Entra: App registrations, "
            "Certificates & secrets), enter it here with the day on which it ends, and test again."
        ),
    ),
    Fault.TOKEN_GRANT_REFUSED: (
        mark("The token service does not accept the key or the mailbox"),
        mark("{detail}"),
        mark(
            "Check that the mailbox exists at your provider, that the key was not deleted there, "
            "and that the clock of this machine is right."
        ),
    ),
    Fault.TOKEN_CONSENT_MISSING: (
        mark("An administrator has not agreed yet"),
        mark("{detail}"),
        mark(
            "Give the application the permission to send mail at your provider, and agree to it as "
            "an administrator. Microsoft Entra: App registrations, API permissions, Office 365 "
            "Exchange Online, application permission SMTP.SendAsApp, then “Grant admin consent”."
        ),
    ),
    Fault.TOKEN_DELEGATION_MISSING: (
        mark("The service account may not act for the mailbox"),
        mark("{detail}"),
        mark(
            "In the Google Admin console, open Security, Access and data control, API controls, "
            "Manage domain-wide delegation. Add the client ID of the service account, a long "
            "number, with the scope https://mail.google.com/ and nothing else. It can take a day "
            "until Google knows of it, mostly it takes minutes."
        ),
    ),
    Fault.TOKEN_APPLICATION_UNKNOWN: (
        mark("The tenant does not know this application"),
        mark("{detail}"),
        mark(
            "Check that client ID and tenant belong together. Microsoft Entra shows both on the "
            "overview of the app registration: “Application (client) ID” and “Directory (tenant) "
            "ID”."
        ),
    ),
    Fault.TOKEN_TENANT_UNKNOWN: (
        mark("There is no such tenant"),
        mark("{detail}"),
        mark("Copy the “Directory (tenant) ID” again from the overview of the app registration."),
    ),
    Fault.TOKEN_SCOPE_REFUSED: (
        mark("The scope is wrong"),
        mark("{detail}"),
        mark(
            "For Microsoft 365 it is https://outlook.office365.com/.default, for Google "
            "https://mail.google.com/. Empty the field to use what belongs to the provider."
        ),
    ),
    Fault.TOKEN_REFUSED: (
        mark("The token service refused"),
        mark("{detail}"),
        mark("Check the fields of the sign-in, and show this to whoever runs the token service."),
    ),
    Fault.TOKEN_NOT_CONNECTED: (
        mark("The mailbox is not connected"),
        mark("{detail}"),
        mark(
            "Save the settings, press “Connect mailbox” under “Authentication”, and log in as "
            "{login}. What was connected before counts only for the same mailbox, server, client "
            "ID, scope and token URL."
        ),
    ),
    Fault.TOKEN_CONNECT_AGAIN: (
        mark("The mailbox has to be connected again"),
        mark("{detail}"),
        mark(
            "Press “Connect again” under “Authentication”, and log in as {login}. A consent ends "
            "when it is taken back, often when the password changes or nobody has used it for "
            "months, and it can be lost when this machine stops in the middle of a request."
        ),
    ),
    Fault.TOKEN_FROM_HOST: (
        mark("The application brought no access token"),
        mark("{detail}"),
        mark(
            "The people who run this application find the reason in its log. They give "
            "InteractionMail a function that brings the token."
        ),
    ),
    Fault.OAUTH_NOT_OFFERED: (
        mark("The server does not take access tokens"),
        mark("{detail}"),
        mark(
            "Check server and port. Servers offer it mostly on port 587, and only when encrypted. "
            "If this server has no OAuth 2, choose the sign-in by login and password."
        ),
    ),
    Fault.OAUTH_REJECTED: (
        mark("The mail server does not accept the access token"),
        mark("The token service gave a token, and the mail server refused it for {login}."),
        mark(
            "Microsoft 365: the application must be registered in Exchange Online "
            "(New-ServicePrincipal) with the object ID of the Enterprise application, which is "
            "not that of the app registration, and needs FullAccess to the mailbox "
            "(Add-MailboxPermission). Google: the mailbox must exist, and Gmail must be switched "
            "on for it. Otherwise check mailbox and scope."
        ),
    ),
    Fault.OAUTH_OTHER_ACCOUNT: (
        mark("Another account was connected"),
        mark(
            "The mail server refused the access token for {login}. Somebody else than {login} has "
            "logged in and agreed."
        ),
        mark(
            "Press “Connect again” under “Authentication”, and log in as {login}. Or give the "
            "account that is connected the right to send as that mailbox, or enter its address as "
            "mailbox."
        ),
    ),
    Fault.OAUTH_CONSENT_REJECTED: (
        mark("The mail server does not accept what was agreed to"),
        mark("The token service gave a token, and the mail server refused it for {login}."),
        mark(
            "Check that {login} has a mailbox at this server, and that the scope lets mail be "
            "sent: for Microsoft 365 it is https://outlook.office.com/SMTP.Send with "
            "offline_access, for Google https://mail.google.com/. Then press “Connect again”, and "
            "log in as {login}."
        ),
    ),
    Fault.OAUTH_PERMISSION_MISSING: (
        mark("The access token does not allow to send mail"),
        mark("The mail server refused the token for {login}, and the permission is not in it."),
        mark(
            "In Microsoft Entra open the app registration, API permissions, add Office 365 "
            "Exchange Online, application permission SMTP.SendAsApp, and press “Grant admin "
            "consent”. A delegated permission, or one of Microsoft Graph, is another one."
        ),
    ),
    Fault.OAUTH_SWITCHED_OFF: (
        mark("Authenticated SMTP is switched off"),
        mark("The mail service does not let {login} log in over SMTP, not even with OAuth 2."),
        mark(
            "Microsoft 365: switch it on for the mailbox (Microsoft 365 admin center, Users, "
            "Active users, Mail, Manage email apps, Authenticated SMTP), or for all mailboxes "
            "without a setting of their own (Exchange admin center, Settings, Mail flow, “Turn off "
            "SMTP AUTH protocol” not ticked). It takes effect within an hour."
        ),
    ),
}
