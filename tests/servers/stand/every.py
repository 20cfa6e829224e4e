"""The servers of the stand, by name."""

from __future__ import annotations

from .debian import DEBIAN
from .node import haraka, maildev, smtp_server
from .postfix import postfix
from .pypi import aiosmtpd
from .running import Start

EVERY: dict[str, Start] = {
    "postfix": postfix,
    "haraka": haraka,
    "smtp-server": smtp_server,
    "aiosmtpd": aiosmtpd,
    "maildev": maildev,
    **DEBIAN,
}
