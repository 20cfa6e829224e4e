"""Amazon SES in the settings: regions, endpoints and keys, and the relay that they make."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from ..language import gettext
from .relay import SES, Encryption, Relay
from .secret import Secret
from .setting import WrongValue

# eu-west-1, us-gov-east-1, and what may come (https://docs.aws.amazon.com/general/latest/gr/ses.html).
_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[1-9][0-9]?")
_WITHIN: Final = re.compile(rf"(?:^|\.)({_REGION.pattern})(?:\.|$)")  # a host name of AWS
# The name of a topic of the notification service, in any partition; FIFO ones post to no URL.
_TOPIC: Final = re.compile(
    rf"arn:aws[a-z-]{{0,20}}:sns:({_REGION.pattern}):\d{{12}}:[\w-]{{1,256}}", re.A
)
_KEY: Final = re.compile(r"[A-Z0-9]{16,128}")
_SECRET: Final = re.compile(r"[\x21-\x7e]{16,256}")


def region(text: str | None) -> str | None:
    """The region in ``text``, which may also be a host name of AWS that has it.

    Raises:
        WrongValue: it is none.
    """
    if text is None:
        return None
    text = text.lower()
    within = _WITHIN.search(text) if "amazonaws.com" in text else None
    text = within[1] if within else text
    if not _REGION.fullmatch(text):
        raise WrongValue(
            gettext("must be the code of a region, such as eu-west-1 or us-east-1, and no name")
        )
    return text


def access_key(text: str | None) -> str | None:
    """The ID of an access key; raises as ``region``."""
    if text is None or _KEY.fullmatch(text):
        return text
    raise WrongValue(
        gettext(
            "must be the ID of an access key: capital letters and digits, mostly 20, such as "
            "AKIAIOSFODNN7EXAMPLE"
        )
    )


def secret_key(secret: Secret | None) -> Secret | None:
    """The secret of an access key, without the blanks around it; raises as ``region``."""
    text = Secret(secret.reveal().strip()) if secret else None
    if text and not _SECRET.fullmatch(text.reveal()):
        raise WrongValue(gettext("must be one word, mostly of 40 characters: copy it again"))
    return text or None


def endpoint(url: str | None) -> str | None:
    """The URL of an endpoint, which has neither path nor query; raises as ``region``."""
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query:
        raise WrongValue(gettext("must end with the name of the server, or with its port"))
    return f"{parts.scheme}://{parts.netloc.lower()}"


def host(region: str | None, endpoint: str | None) -> str | None:
    """The name of the server, None without a region."""
    if region is None:
        return None
    return urlsplit(_url(region, endpoint)).hostname


def server_of_topic(arn: str) -> str:
    """The name of the notification service's server that the topic ``arn`` is at.

    Raises:
        ValueError: it is not the ARN of a topic.
    """
    found = _TOPIC.fullmatch(arn)
    if found is None:
        raise ValueError(f"{arn!r} is not the ARN of a topic")
    return f"sns.{found[1]}.{_end(found[1])}"


def relay(
    region: str | None,
    endpoint: str | None,
    *,
    ca_certificate: str | None,
    access_key: str | None,
    secret_key: Secret | None,
) -> Relay:
    """The relay that these settings make."""
    url = urlsplit(_url(region, endpoint))
    https = url.scheme == "https"
    return Relay(
        kind=SES,
        server=host(region, endpoint),
        port=url.port or (443 if https else 80),
        encryption=Encryption.TLS if https else Encryption.NONE,
        ca_certificate=ca_certificate,
        use_authentication=True,
        login=access_key,
        secret=secret_key,
        region=region,
    )


def _url(region: str | None, endpoint: str | None) -> str:
    return endpoint or f"https://email.{region}.{_end(region or '')}"


def _end(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
