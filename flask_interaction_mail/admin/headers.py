"""The header fields that guard every answer of the panel, whatever the host sets beside them.

Hosts set fields of their own for all answers, in ``after_request`` or through Flask-Talisman,
and so replace what a page said. Ours are therefore seen to once more when all of that is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flask import Response, request, request_finished
from werkzeug.datastructures import Headers

_POLICY: Final = "Content-Security-Policy"
_PAGES: Final = "frame-ancestors 'self'"  # a policy beside the host's: browsers obey both
_PROMISE: Final = "interaction_mail.policy"

# Field -> what ours says, and which values of a host say at least as much.
_FIELDS: Final[dict[str, tuple[str, Callable[[str], bool]]]] = {
    "X-Content-Type-Options": ("nosniff", lambda said: said.strip().lower() == "nosniff"),
    "X-Frame-Options": ("SAMEORIGIN", lambda said: said.strip().upper() in {"SAMEORIGIN", "DENY"}),
    "Referrer-Policy": ("same-origin", lambda said: said.strip() in {"same-origin", "no-referrer"}),
    "Cache-Control": ("no-store", lambda said: "no-store" in said.lower()),
}


def promise(response: Response) -> Response:
    """Note that ``response`` is ours, with the policy that its page has chosen."""
    request.environ[_PROMISE] = response.headers.get(_POLICY, _PAGES)
    return response


@request_finished.connect  # after every after_request of the host
def _keep(_app: Any, response: Response, **_: Any) -> None:
    policy = request.environ.pop(_PROMISE, None)
    if policy is None:
        return
    if policy not in response.headers.getlist(_POLICY):
        response.headers.add(_POLICY, policy)
    for name in _FIELDS:
        if name != "Cache-Control" or not str(request.endpoint).endswith(".static"):
            _insist(response.headers, name)


def _insist(headers: Headers, name: str) -> None:
    ours, enough = _FIELDS[name]
    said = headers.getlist(name)
    if not said or not all(map(enough, said)):
        headers.set(name, ours)
