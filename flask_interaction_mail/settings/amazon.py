"""Amazon SES in the settings: regions, endpoints and keys, and the relay that they make."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from ..language import gettext
from . import cleaners
from .relay import SES, Encryption, Relay
from .secret import Secret
from .setting import WrongValue

# eu-west-1, us-gov-east-1, and what may come (https://docs.aws.amazon.com/general/latest/gr/ses.html).
_REGION: Final = re.compile(r"[a-z]{2,4}(?:-[a-z]{2,12}){1,3}-[1-9][0-9]?")
_WITHIN: Final = re.compile(rf"(?:^|\.)({_REGION.pattern})(?:\.|$)")  # a host name of AWS
_KEY: Final = re.compile(r"[A-Z0-9]{16,128}")
_SECRET: Final = re.compile(r"[\x21-\x7e]{16,256}")


def region(raw: object) -> str | None:
    """The cleaner of a region; takes a host name of AWS, too, which has it."""
    text = (cleaners.line(raw) or "").lower()
    if not text:
        return None
    within = _WITHIN.search(text) if "amazonaws.com" in text else None
    text = within[1] if within else text
    if not _REGION.fullmatch(text):
        raise WrongValue(
            gettext("must be the code of a region, such as eu-west-1 or us-east-1, and no name")
        )
    return text


def access_key(raw: object) -> str | None:
    """The cleaner of an access key's ID."""
    text = cleaners.line(raw)
    if text is None or _KEY.fullmatch(text):
        return text
    raise WrongValue(
        gettext(
            "must be the ID of an access key: capital letters and digits, mostly 20, such as "
            "AKIAIOSFODNN7EXAMPLE"
        )
    )


def secret_key(raw: object) -> Secret | None:
    """The cleaner of an access key's secret, without the blanks around it."""
    if raw is None:
        return None
    if not isinstance(raw, Secret):
        raise WrongValue(cleaners.not_text(raw, "…"))
    secret = Secret(raw.reveal().strip())
    if secret and not _SECRET.fullmatch(secret.reveal()):
        raise WrongValue(gettext("must be one word, mostly of 40 characters: copy it again"))
    return secret or None


def endpoint(raw: object) -> str | None:
    """The cleaner of an endpoint's URL, which has neither path nor query."""
    text = cleaners.web_address(raw)
    if text is None:
        return None
    parts = urlsplit(text)
    if parts.path.strip("/") or parts.query:
        raise WrongValue(gettext("must end with the name of the server, or with its port"))
    return f"{parts.scheme}://{parts.netloc.lower()}"


def host(region: str | None, endpoint: str | None) -> str | None:
    """The name of the server, None without a region."""
    if region is None:
        return None
    return urlsplit(_url(region, endpoint)).hostname


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
    end = "amazonaws.com.cn" if (region or "").startswith("cn-") else "amazonaws.com"
    return endpoint or f"https://email.{region}.{end}"
