"""One request for a token: client credentials, or an assertion for a service account."""

from __future__ import annotations

from functools import partial
from typing import Final
from urllib.parse import urlencode

from ... import clock
from ...errors import TransportError
from ...language import mark, said_by
from ...outcome import Fault, Stage
from ...settings.grant import Grant
from ...settings.secret import Secret
from .. import http
from ..base import AccessToken
from ..policy import ConnectPolicy
from ..smtp.timeouts import Until
from ..smtp.tls import CertificateUnreadable
from . import answers, assertions

LIMIT: Final = 10.0  # s, from the name service to the end of the answer
_MOST: Final = 64 * 1024  # bytes of an answer
_HEADERS: Final = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Accept": "application/json",
}
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 §2.2
_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"  # RFC 7523 §2.1
# What went wrong on the way, and whether it can be better in a while.
_ON_THE_WAY: Final = {
    Fault.ADDRESS_FORBIDDEN: (Fault.TOKEN_FORBIDDEN, False),
    Fault.SILENT: (Fault.TOKEN_SILENT, True),
    Fault.NONSENSE: (Fault.TOKEN_NONSENSE, True),
}


def ask(grant: Grant, *, policy: ConnectPolicy, until: Until) -> AccessToken:
    """Ask for a new token, within 10 seconds and before ``until``.

    Raises:
        TransportError: there is none. It is not transient where settings have to change.
    """
    if not grant.token_url or not grant.complete:
        raise answers.failure(
            mark(
                "The token URL, the client or its secret is missing, or the secret was entered for "
                "another token service or mail server."
            ),
            Fault.TOKEN_SETTINGS,
        )
    try:
        answer = http.post(
            grant.token_url,
            partial(_form, grant),
            _HEADERS,
            policy=policy,
            until=until.step(LIMIT),
            most=_MOST + 1,
            ca_certificate=grant.ca_certificate,
        )
    except http.PostFailed as error:
        raise _unanswered(error) from error
    except CertificateUnreadable as error:
        raise answers.failure(said_by(error), Fault.CA_UNREADABLE) from error
    if len(answer.body) > _MOST:
        raise answers.failure(
            mark("The answer of the token service does not end."),
            Fault.TOKEN_NONSENSE,
            transient=True,
        )
    hidden = (grant.client_secret, grant.account)
    return answers.read(
        answer.status,
        answer.body,
        now=clock.now(),
        for_account=grant.account is not None,
        hide=[secret for secret in hidden if secret],
    )


def _unanswered(error: http.PostFailed) -> TransportError:
    if error.fault.value.startswith("certificate_"):
        fault, transient = Fault.TOKEN_CERTIFICATE, True
    else:
        fault, transient = _ON_THE_WAY.get(error.fault, (Fault.TOKEN_UNREACHABLE, True))
    return TransportError(said_by(error), stage=Stage.TOKEN, transient=transient, fault=fault)


def _form(grant: Grant) -> bytes:
    """The body of the request. A client shows its secret in it, and in no header.

    RFC 6749 §2.3.1 prefers the header, but implementations differ about its encoding.
    """
    if grant.account is not None:
        assertion = assertions.for_account(grant, grant.account)
        return _encoded(grant_type=_JWT_BEARER, assertion=assertion)
    fields = {"grant_type": "client_credentials", "client_id": grant.client_id or ""}
    if grant.scope:
        fields["scope"] = grant.scope
    if grant.certificate is not None:
        assertion = assertions.for_client(grant, grant.certificate)
        return _encoded(**fields, client_assertion_type=_ASSERTION, client_assertion=assertion)
    return _encoded(**fields, client_secret=_text_of(grant.client_secret))


def _text_of(secret: Secret | None) -> str:
    return secret.reveal() if secret else ""


def _encoded(**fields: str) -> bytes:
    return urlencode(fields).encode("ascii")
