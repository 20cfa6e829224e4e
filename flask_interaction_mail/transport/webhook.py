"""Posts a signed message to a URL; the status of the answer is all that is needed.

The signature is that of Standard Webhooks (https://www.standardwebhooks.com), for which most
languages have a library.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from ..errors import InteractionMailError
from ..language import mark, said_by
from ..settings.secret import Secret, signing_key
from . import http
from .policy import ConnectPolicy
from .smtp.timeouts import Until

LIMIT: Final = 10.0  # s, from the name service to the status of the answer


class WebhookFailed(InteractionMailError):
    """The webhook did not take the message; the text says why, for an administrator."""


def signed(secret: Secret, *, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The header fields that say who sends ``body``, and when (``timestamp``, seconds of UTC).

    HMAC-SHA256 of ``id.timestamp.body``.
    """
    content = f"{id}.{timestamp}.".encode() + body
    digest = base64.b64encode(hmac.digest(signing_key(secret), content, "sha256")).decode("ascii")
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{digest}",
    }


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    policy: ConnectPolicy,
    limit: float = LIMIT,
) -> None:
    """Post ``body``, JSON, to ``url`` once, within ``limit`` seconds.

    Raises:
        WebhookFailed: it was not answered with 2xx, or may not be connected to.
    """
    host = urlsplit(url).hostname or ""
    fields = {"Content-Type": "application/json", **headers}
    try:
        status = http.post(
            url, lambda: body, fields, policy=policy, until=Until.within(limit)
        ).status
    except http.RequestFailed as error:
        raise WebhookFailed(said_by(error)) from error
    if 300 <= status < 400:
        raise WebhookFailed(
            mark(
                "%(host)s answered %(status)s, a redirect, which is not followed: "
                "enter the URL that it leads to.",
                host=host,
                status=status,
            )
        )
    if not 200 <= status < 300:
        raise WebhookFailed(
            mark(
                "%(host)s answered %(status)s instead of 2xx: it has not taken the message. "
                "Whoever runs it can see why.",
                host=host,
                status=status,
            )
        )
