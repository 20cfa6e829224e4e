"""What Test Settings tells about Amazon SES over HTTPS: steps, and a text for each fault.

They are part of ``texts``, where the placeholders are explained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ..language import mark
from ..outcome import Fault

STEPS: Final[Mapping[str, tuple[str, str, str]]] = {
    "ses_signed_in": (
        mark("Signed in"),
        mark("Amazon SES accepts the key, and the account may send to everybody."),
        "",
    ),
    "ses_sandbox": (
        mark("Signed in, but the account is in the sandbox"),
        mark(
            "Amazon SES accepts the key, but only addresses and domains that are verified in this "
            "region get mail, and few a day."
        ),
        mark(
            "In the SES console, open Account dashboard and request production access for this "
            "region. Until then verify the default To and the default From, so that the test can "
            "pass."
        ),
    ),
    "ses_account_unknown": (
        mark("Signed in"),
        mark(
            "Amazon SES accepts the key. The key may not read what the account may send "
            "(ses:GetAccount), so nothing is known of a sandbox and of quotas. {detail}"
        ),
        mark("This is fine. Allow ses:GetAccount if the test is to tell more."),
    ),
    "ses_warned": (
        mark("Signed in, but the account is under review"),
        mark("Amazon SES accepts the key, and says of the account: {detail}."),
        mark(
            "Open the SES console, Account dashboard: it says what is wrong, mostly too many "
            "bounces or complaints. If nothing is done, AWS stops sending."
        ),
    ),
}

FAULTS: Final[Mapping[str, tuple[str, str, str]]] = {
    Fault.SES_MISSING: (
        mark("A Python package is missing"),
        "{detail}",
        mark("Until then choose the SMTP server of Amazon SES as the way of sending."),
    ),
    Fault.SES_UNREACHABLE: (
        mark("Amazon SES cannot be reached"),
        mark("{server}, port {port}: {detail}"),
        mark(
            "Check the region: not every region has Amazon SES. If it is right, ask your network's "
            "administrator to let this machine connect there. Mail waits, and is tried again by "
            "itself."
        ),
    ),
    Fault.SES_NO_KEY: (
        mark("There is no key to sign in with"),
        "{detail}",
        mark(
            "Enter an access key ID and its secret, or give this machine a role of IAM that may "
            "send. A secret is used only with the region, the endpoint and the key that it was "
            "entered for: enter it again if one of them has changed."
        ),
    ),
    Fault.SES_KEY_REFUSED: (
        mark("Amazon SES does not accept the key"),
        "{detail}",
        mark(
            "Copy access key ID and secret again. It has to be an access key of an IAM user: the "
            "SMTP user name and password of the SES console do not work here. In IAM, see whether "
            "the key is active and the region is switched on for the account."
        ),
    ),
    Fault.SES_KEY_EXPIRED: (
        mark("The credentials have expired"),
        "{detail}",
        mark(
            "Those of a role are renewed by themselves: look at the role of this machine. If a key "
            "was entered, create a new one, enter it here, and test again."
        ),
    ),
    Fault.SES_CLOCK: (
        mark("The clock of this machine is wrong"),
        mark("Amazon SES takes requests for five minutes. {detail}"),
        mark("Set the clock of this machine, and let it follow a time server (NTP)."),
    ),
    Fault.SES_FORBIDDEN: (
        mark("The key may not send"),
        "{detail}",
        mark(
            "In IAM, allow the user or role ses:SendEmail and ses:SendRawEmail for the identity "
            "that mail comes from; ses:GetAccount tells this test more."
        ),
    ),
    Fault.SES_PAUSED: (
        mark("Sending is stopped for this account"),
        "{detail}",
        mark(
            "Open the SES console, Account dashboard: it says why AWS, or somebody of yours, has "
            "paused sending. Mail waits meanwhile."
        ),
    ),
    Fault.SES_QUOTA: (
        mark("A quota of Amazon SES is used up"),
        "{detail}",
        mark(
            "Mail waits until the quota allows more. In the SES console, Account dashboard, you "
            "can ask for a higher one."
        ),
    ),
    Fault.SES_NOT_VERIFIED: (
        mark("An address or a domain is not verified"),
        mark("Amazon SES sends only for addresses and domains that are verified in this region."),
        mark(
            "In the SES console, choose the same region, open Identities and verify the domain of "
            "the default From. In the sandbox each recipient has to be verified as well."
        ),
    ),
    Fault.SES_UNAVAILABLE: (
        mark("Amazon SES says: not now"),
        "{detail}",
        mark("Nothing is wrong with the settings, as far as the test can tell. Mail waits."),
    ),
    Fault.SES_NONSENSE: (
        mark("This is not the answer of Amazon SES"),
        "{detail}",
        mark(
            "Check the endpoint under Advanced; empty it unless you have one of your own. Behind a "
            "proxy, a page of the proxy can come instead."
        ),
    ),
}
