"""The application server that runs this process, as far as it matters for delivery."""

from __future__ import annotations

import enum
import os
import signal
import sys
from typing import Final

# A module that is loaded only in processes of that server. The first one found decides.
_LOADED: Final = {
    "uwsgi": "uWSGI",
    "mod_wsgi": "mod_wsgi",
    "gunicorn.workers.base": "gunicorn",
    "granian.wsgi": "granian",
    "hypercorn.run": "hypercorn",
    "uvicorn.server": "uvicorn",
    "waitress.server": "waitress",
    "cheroot.server": "cheroot",
}
# Servers that leave SIGTERM to the system, which ends the process at once.
_LEAVES_SIGTERM: Final = ("waitress", "cheroot", "flask run")
NO_THREADS: Final = (
    "uWSGI runs here without enable-threads, so a delivery thread would stand still between "
    "requests. Mail is delivered at the end of each request instead, as with "
    "INTERACTION_MAIL_DELIVERY = 'sync': set enable-threads = true in uWSGI's configuration"
)


def name() -> str | None:
    """The name of the server, None if it is not known."""
    for module, server in _LOADED.items():
        if module in sys.modules:
            return server
    return "flask run" if "flask" in _program() and "run" in sys.argv else None


class Trouble(enum.StrEnum):
    """Why delivery by thread does not work well in a server."""

    NO_THREADS = "no_threads"  # threads stop between requests
    NO_FAREWELL = "no_farewell"  # the process ends without finishing what is in flight


def trouble() -> Trouble | None:
    """What is known to be wrong, None if nothing is."""
    if not runs_threads():
        return Trouble.NO_THREADS
    return Trouble.NO_FAREWELL if dies_at_sigterm() else None


def runs_threads() -> bool:
    """Whether threads run between requests; in uWSGI only with ``enable-threads``."""
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is None or bool(getattr(uwsgi, "has_threads", True))


def dies_at_sigterm() -> bool:
    """Whether SIGTERM ends this process before it can finish deliveries, as far as is known."""
    server, handler = name(), signal.getsignal(signal.SIGTERM)
    if server == "uvicorn":  # which raises the signal again after its own shutdown
        own = getattr(handler, "__module__", "").startswith("uvicorn.")
        return own and "uvicorn" in _program()
    return server in _LEAVES_SIGTERM and handler is signal.SIG_DFL


def _program() -> str:
    """The name of the script that was started, or of the package run with ``-m``."""
    path = sys.argv[0] if sys.argv else ""
    folder, script = os.path.split(path)
    return os.path.basename(folder) if script == "__main__.py" else script
