"""Reads what Amazon SES answers, and says whose fault an error is. Pure.

The errors are those of SendEmail and GetAccount in version 2 of the API, and those that all
services of AWS have (https://docs.aws.amazon.com/ses/latest/APIReference-V2/CommonErrors.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from email.message import Message
from typing import Any, Final, NamedTuple

from ...errors import TransportError
from ...language import mark
from ...outcome import Fault, Reply, Stage
from ..smtp.replies import safe_text

_SHOWN: Final = 600  # characters of what the service says
_CODE: Final = re.compile(r"(?:.*#)?([A-Za-z]+)")  # in `com.amazonaws.ses#Code:http://…`
_ID: Final = re.compile(r"[\x21-\x7e]{1,255}")
_FAILED: Final = re.compile(r"identities failed the check in region [\w-]+:\s*(.*)", re.DOTALL)
_ADDRESS: Final = re.compile(r"[^\s<>,;]+@[^\s<>,;]+")
_WRONG_CLOCK: Final = re.compile(r"signature (?:expired|not yet current)|request time", re.I)
_DAILY: Final = re.compile(r"daily|24.?hour|quota", re.I)
_OF_THE_ACCOUNT: Final = {
    "UnrecognizedClientException": Fault.SES_KEY_REFUSED,
    "InvalidClientTokenId": Fault.SES_KEY_REFUSED,
    "InvalidSignatureException": Fault.SES_KEY_REFUSED,
    "SignatureDoesNotMatch": Fault.SES_KEY_REFUSED,
    "IncompleteSignature": Fault.SES_KEY_REFUSED,
    "IncompleteSignatureException": Fault.SES_KEY_REFUSED,
    "MissingAuthenticationToken": Fault.SES_KEY_REFUSED,
    "MissingAuthenticationTokenException": Fault.SES_KEY_REFUSED,
    "NotAuthorized": Fault.SES_KEY_REFUSED,
    "OptInRequired": Fault.SES_KEY_REFUSED,
    "ExpiredToken": Fault.SES_KEY_EXPIRED,
    "ExpiredTokenException": Fault.SES_KEY_EXPIRED,
    "RequestExpired": Fault.SES_CLOCK,
    "RequestTimeTooSkewed": Fault.SES_CLOCK,
    "AccessDenied": Fault.SES_FORBIDDEN,
    "AccessDeniedException": Fault.SES_FORBIDDEN,
    "AccountSuspendedException": Fault.SES_PAUSED,
    "SendingPausedException": Fault.SES_PAUSED,
    "LimitExceededException": Fault.SES_QUOTA,
}
_BUSY: Final = ("TooManyRequestsException", "ThrottlingException", "Throttling")
# In these cases a gateway answers for the service, and does not know what that has done.
_UNKNOWN: Final = (502, 504)
_REFUSED: Final = {
    Fault.SES_KEY_REFUSED: mark("Amazon SES does not accept the access key: %(answer)s"),
    Fault.SES_KEY_EXPIRED: mark("The credentials for Amazon SES have expired: %(answer)s"),
    Fault.SES_CLOCK: mark("The clock of this machine is wrong, says Amazon SES: %(answer)s"),
    Fault.SES_FORBIDDEN: mark("The access key may not do this at Amazon SES: %(answer)s"),
    Fault.SES_PAUSED: mark("Amazon SES has stopped sending for this account: %(answer)s"),
    Fault.SES_QUOTA: mark("A quota of Amazon SES is used up: %(answer)s"),
}


class Refusal(NamedTuple):
    """An error that the service answered: HTTP status, its name, what it says.

    ``retry_after`` is how many seconds to wait, if it said so.
    """

    status: int
    code: str
    said: str
    retry_after: float | None = None

    def __str__(self) -> str:
        return " ".join(filter(None, (f"HTTP {self.status}", f"{self.code}:", self.said)))

    @property
    def busy(self) -> bool:
        """Whether more was sent in a second than the account may send."""
        return (self.status == 429 or self.code in _BUSY) and not self.exhausted

    @property
    def exhausted(self) -> bool:
        """Whether what the account may send in a day is used up."""
        throttled = self.status == 429 or self.code in _BUSY
        return throttled and bool(_DAILY.search(self.said))

    @property
    def unknown(self) -> bool:
        """Whether the service may have done what it was asked for."""
        return self.status in _UNKNOWN

    @property
    def not_verified(self) -> bool:
        """Whether an address or a domain is not verified."""
        found = self.code == "MessageRejected" and "not verified" in self.said.lower()
        return found or self.code == "MailFromDomainNotVerifiedException"

    def failed(self, addresses: Collection[str]) -> tuple[str, ...]:
        """Those of ``addresses`` that it names as not verified."""
        found = _FAILED.search(self.said)
        named = {one.lower() for one in _ADDRESS.findall(found[1])} if found else set()
        return tuple(address for address in addresses if address.lower() in named)

    def reply(self) -> Reply:
        """The same as the reply of a mail server: for now, or for good."""
        # 421 is what a server with too many messages says, which delivery takes as that.
        code = 421 if self.busy else 554
        return Reply(code, None, str(self))

    def trouble(self) -> TransportError | None:
        """What it says of the account or the service; None where it is about the message."""
        if 300 <= self.status < 400:
            return _failure(
                mark(
                    "The endpoint of Amazon SES answered %(status)s, a redirect, which is not "
                    "followed.",
                    status=self.status,
                ),
                Fault.SES_NONSENSE,
            )
        if _WRONG_CLOCK.search(self.said) and self.code in _OF_THE_ACCOUNT:
            return self._of_account(Fault.SES_CLOCK)
        if self.exhausted:
            return self._of_account(Fault.SES_QUOTA)
        if self.code in _OF_THE_ACCOUNT:
            return self._of_account(_OF_THE_ACCOUNT[self.code])
        if self.status in (401, 403):
            return self._of_account(Fault.SES_KEY_REFUSED)
        if self.busy or self.status >= 500 or self.status == 408:
            return _failure(
                mark("Amazon SES cannot answer now: %(answer)s", answer=str(self)),
                Fault.SES_UNAVAILABLE,
                transient=True,
                retry_after=self.retry_after,
            )
        if not self.code:  # no error of the API is without its name
            return _failure(
                mark(
                    "The endpoint of Amazon SES answered %(status)s, and not as the service does: "
                    "something stands in between.",
                    status=self.status,
                ),
                Fault.SES_NONSENSE,
                transient=True,
            )
        return None

    def _of_account(self, fault: Fault) -> TransportError:
        return _failure(
            mark(_REFUSED[fault], answer=str(self)),
            fault,
            transient=fault is Fault.SES_QUOTA,
            retry_after=self.retry_after,
        )


class Account(NamedTuple):
    """What GetAccount tells; None is not known."""

    sandbox: bool | None = None
    sending: bool = True
    standing: str = ""  # HEALTHY, PROBATION or SHUTDOWN
    a_day: float | None = None
    a_second: float | None = None
    sent: float | None = None  # in the last 24 hours


def read(status: int, headers: Message, body: bytes) -> dict[str, Any] | Refusal | None:
    """The object in an answer, or the error; None for a success that says nothing readable."""
    told = _object(body)
    if 200 <= status < 300:
        return told
    named = str(headers.get("x-amzn-errortype") or (told or {}).get("__type") or "")
    code = _CODE.match(named)
    said = (told or {}).get("message") or (told or {}).get("Message") or ""
    return Refusal(
        status,
        code[1] if code else "",
        safe_text(said if isinstance(said, str) else "")[:_SHOWN],
        _seconds(headers.get("retry-after")),
    )


def message_id(told: Mapping[str, Any]) -> str | None:
    """What the service calls the message that it has taken; None if it does not say."""
    found = told.get("MessageId")
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def account(told: Mapping[str, Any]) -> Account:
    """What an answer to GetAccount tells, as far as it makes sense."""
    quota = told.get("SendQuota")
    quota = quota if isinstance(quota, dict) else {}
    access, standing = told.get("ProductionAccessEnabled"), told.get("EnforcementStatus")
    return Account(
        sandbox=not access if isinstance(access, bool) else None,
        sending=told.get("SendingEnabled") is not False,
        standing=safe_text(standing)[:40] if isinstance(standing, str) else "",
        a_day=_number(quota.get("Max24HourSend")),
        a_second=_number(quota.get("MaxSendRate")),
        sent=_number(quota.get("SentLast24Hours")),
    )


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return told if isinstance(told, dict) else None


def _number(found: object) -> float | None:
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _seconds(text: str | None) -> float | None:
    """The seconds of Retry-After (RFC 9110 §10.2.3); a date is not read."""
    return float(text) if text and text.isascii() and text.isdigit() and len(text) < 7 else None


def _failure(
    text: str, fault: Fault, *, transient: bool = False, retry_after: float | None = None
) -> TransportError:
    # At the stage of the login: nothing is wrong with any message, and all of them wait.
    return TransportError(
        text,
        stage=Stage.AUTHENTICATION,
        transient=transient,
        fault=fault,
        retry_after=retry_after,
    )
