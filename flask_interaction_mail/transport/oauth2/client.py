"""Requests for a token: client credentials, an assertion, or what a person has agreed to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlencode

from ... import clock
from ...errors import TransportError
from ...language import mark, said_by
from ...outcome import Fault, Stage
from ...settings.grant import REVOCATION, Grant
from ...settings.secret import Secret
from .. import http
from ..base import AccessToken
from ..policy import ConnectPolicy
from ..smtp.timeouts import Until
from ..smtp.tls import CertificateUnreadable
from . import answers, assertions
from .answers import Granted

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


class Agreed(NamedTuple):
    """What came back from a person who agreed, and what belongs to it (RFC 7636 §4.5)."""

    code: Secret
    verifier: Secret
    redirect_url: str


def ask(grant: Grant, *, policy: ConnectPolicy, until: Until) -> AccessToken:
    """Ask for a new token, within 10 seconds and before ``until``.

    Raises:
        TransportError: there is none. It is not transient where settings have to change.
    """
    if not grant.token_url or not grant.complete:
        raise _incomplete()
    faults = answers.FOR_ACCOUNT if grant.account is not None else MappingProxyType({})
    form = partial(_form, grant)
    return _asked(grant, form, policy=policy, until=until, faults=faults).token


def exchange(grant: Grant, agreed: Agreed, *, policy: ConnectPolicy, until: Until) -> Granted:
    """Ask for the tokens of a person who has just agreed (RFC 6749 §4.1.3); raises as ``ask``."""

    def form() -> bytes:
        return _encoded(
            grant_type="authorization_code",
            code=agreed.code.reveal(),
            redirect_uri=agreed.redirect_url,
            code_verifier=agreed.verifier.reveal(),
            **_client(grant),
        )

    hide = (agreed.code, agreed.verifier)
    return _asked(grant, form, policy=policy, until=until, hide=hide)


def renew(grant: Grant, refresh_token: Secret, *, policy: ConnectPolicy, until: Until) -> Granted:
    """Ask for a new token with the refresh token (RFC 6749 §6), for what was agreed to.

    Raises:
        TransportError: as ``ask``; ``TOKEN_CONNECT_AGAIN`` where the refresh token counts no more.
    """

    def form() -> bytes:
        fields = {"grant_type": "refresh_token", "refresh_token": refresh_token.reveal()}
        return _encoded(**fields, **_client(grant))

    return _asked(
        grant,
        form,
        policy=policy,
        until=until,
        faults=answers.FOR_CONSENT,
        hide=(refresh_token,),
    )


def revoke(grant: Grant, refresh_token: Secret, *, policy: ConnectPolicy, until: Until) -> bool:
    """Tell the provider to forget ``refresh_token`` (RFC 7009); False if that did not work.

    False also where it is not known how that is done.
    """
    url = REVOCATION.get(grant.token_url or "")
    if url is None:
        return False

    def form() -> bytes:
        hint = {"token": refresh_token.reveal(), "token_type_hint": "refresh_token"}
        return _encoded(**hint, **_client(grant))

    try:
        return _posted(url, grant, form, policy, until).status == 200
    except TransportError:
        return False


def _asked(
    grant: Grant,
    form: Callable[[], bytes],
    *,
    policy: ConnectPolicy,
    until: Until,
    faults: Mapping[Fault, Fault] = MappingProxyType({}),
    hide: Sequence[Secret] = (),
) -> Granted:
    """Post ``form`` to the token URL, and read the answer."""
    if not (grant.token_url and grant.client_id) and grant.account is None:
        raise _incomplete()
    answer = _posted(grant.token_url or "", grant, form, policy, until)
    if len(answer.body) > _MOST:
        raise answers.failure(
            mark("The answer of the token service does not end."),
            Fault.TOKEN_NONSENSE,
            transient=True,
        )
    hidden = (grant.client_secret, grant.account, *hide)
    return answers.read(
        answer.status,
        answer.body,
        now=clock.now(),
        faults=faults,
        hide=[secret for secret in hidden if secret],
    )


def _posted(
    url: str, grant: Grant, form: Callable[[], bytes], policy: ConnectPolicy, until: Until
) -> http.Answer:
    try:
        return http.post(
            url,
            form,
            _HEADERS,
            policy=policy,
            until=until.step(LIMIT),
            most=_MOST + 1,
            ca_certificate=grant.ca_certificate,
        )
    except http.RequestFailed as error:
        raise _unanswered(error) from error
    except CertificateUnreadable as error:
        raise answers.failure(said_by(error), Fault.CA_UNREADABLE) from error


def _incomplete() -> TransportError:
    return answers.failure(
        mark(
            "The token URL, the client or its secret is missing, or the secret was entered for "
            "another token service or mail server."
        ),
        Fault.TOKEN_SETTINGS,
    )


def _unanswered(error: http.RequestFailed) -> TransportError:
    if error.fault.value.startswith("certificate_"):
        fault, transient = Fault.TOKEN_CERTIFICATE, True
    else:
        fault, transient = _ON_THE_WAY.get(error.fault, (Fault.TOKEN_UNREACHABLE, True))
    return TransportError(said_by(error), stage=Stage.TOKEN, transient=transient, fault=fault)


def _form(grant: Grant) -> bytes:
    """The body of a request without a person."""
    if grant.account is not None:
        assertion = assertions.for_account(grant, grant.account)
        return _encoded(grant_type=_JWT_BEARER, assertion=assertion)
    fields = {"grant_type": "client_credentials", **_client(grant)}
    if grant.scope:
        fields["scope"] = grant.scope
    return _encoded(**fields)


def _client(grant: Grant) -> dict[str, str]:
    """Who asks. A client shows its secret in the form, and in no header.

    RFC 6749 §2.3.1 prefers the header, but implementations differ about its encoding. A public
    client has nothing to show but its id.
    """
    who = {"client_id": grant.client_id or ""}
    if grant.certificate is not None:
        assertion = assertions.for_client(grant, grant.certificate)
        return who | {"client_assertion_type": _ASSERTION, "client_assertion": assertion}
    return who | ({"client_secret": grant.client_secret.reveal()} if grant.client_secret else {})


def _encoded(**fields: str) -> bytes:
    return urlencode(fields).encode("ascii")
