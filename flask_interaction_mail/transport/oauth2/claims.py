"""What stands in an access token, for a look after it was refused. Pure.

A token is the business of the two services that made and took it; nothing is decided by this but
the words of a test.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from ...language import mark
from ...settings.secret import Secret
from ..smtp.replies import safe_text

_EXCHANGE: Final = "https://outlook.office"  # .com or 365.com: who a token of Microsoft is for
_SEND: Final = "SMTP.SendAsApp"
_SHOWN: Final = 200  # characters of each


def told_by(token: Secret) -> Mapping[str, Any]:
    """The claims of ``token`` if it is a JSON web token (RFC 7519); {} if it is not."""
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return {}
    try:
        told = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def lacks_permission(told: Mapping[str, Any]) -> bool:
    """Whether Microsoft made it without the permission to send for an application."""
    return str(told.get("aud", "")).startswith(_EXCHANGE) and _SEND not in _roles(told)


def facts(told: Mapping[str, Any]) -> dict[str, str]:
    """What an administrator needs to register the application in Exchange Online."""
    if not str(told.get("aud", "")).startswith(_EXCHANGE):
        return {}
    named = {
        mark("application (client) ID"): told.get("appid"),
        mark("object ID of the enterprise application"): told.get("oid"),
        mark("tenant ID"): told.get("tid"),
        mark("permissions"): ", ".join(_roles(told)) or "none",
    }
    return {name: safe_text(str(value))[:_SHOWN] for name, value in named.items() if value}


def _roles(told: Mapping[str, Any]) -> list[str]:
    roles = told.get("roles")
    return [str(role) for role in roles] if isinstance(roles, list) else []
