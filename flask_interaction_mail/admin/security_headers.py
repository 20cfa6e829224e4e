"""The security header fields of every response of the panel, whatever the host sets.

Hosts set fields for all responses, in ``after_request`` or through Flask-Talisman, and so replace
those of a page. Ours are therefore applied once more after all of that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Response, request, request_finished
from werkzeug.datastructures import Headers

_POLICY: Final = "Content-Security-Policy"
_PAGES: Final = "frame-ancestors 'self'"  # a policy beside the host's: browsers obey both
_KEY: Final = "interaction_mail.policy"  # in the WSGI environment

# Field -> our value, and whether a value of the host is at least as strict.
_FIELDS: Final[dict[str, tuple[str, Callable[[str], bool]]]] = {
    "X-Content-Type-Options": ("nosniff", lambda value: value.strip().lower() == "nosniff"),
    "X-Frame-Options": (
        "SAMEORIGIN",
        lambda value: value.strip().upper() in {"SAMEORIGIN", "DENY"},
    ),
    "Referrer-Policy": (
        "same-origin",
        lambda value: value.strip() in {"same-origin", "no-referrer"},
    ),
    "Cache-Control": ("no-store", lambda value: "no-store" in value.lower()),
}


def mark(response: Response) -> Response:
    """Note that ``response`` is the panel's, with the content security policy of its page."""
    request.environ[_KEY] = response.headers.get(_POLICY, _PAGES)
    return response


@request_finished.connect  # after every after_request of the host
def _apply(_app: Any, response: Response, **_: Any) -> None:
    policy = request.environ.pop(_KEY, None)
    if policy is None:
        return
    if policy not in response.headers.getlist(_POLICY):
        response.headers.add(_POLICY, policy)
    for name in _FIELDS:
        if name != "Cache-Control" or not str(request.endpoint).endswith(".static"):
            _require(response.headers, name)


def _require(headers: Headers, name: str) -> None:
    ours, is_strict = _FIELDS[name]
    values = headers.getlist(name)
    if not values or not all(map(is_strict, values)):
        headers.set(name, ours)
