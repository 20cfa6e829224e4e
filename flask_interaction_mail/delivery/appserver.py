"""The application server that runs this process, as far as delivery has to know it."""

from __future__ import annotations

import enum
import os
import signal
import sys
from typing import Final

# What only a process has loaded that one of them serves with; the first that fits is it.
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
# Those that leave SIGTERM to the system, which ends the process on the spot.
_LEAVES_SIGTERM: Final = ("waitress", "cheroot", "flask run")


def name() -> str | None:
    """What it is called, None where it is not known."""
    for module, server in _LOADED.items():
        if module in sys.modules:
            return server
    return "flask run" if "flask" in _program() and "run" in sys.argv else None


class Trouble(enum.StrEnum):
    """What is wrong with the server, for a process that delivers by thread."""

    NO_THREADS = "no_threads"  # they stand still between requests
    NO_FAREWELL = "no_farewell"  # it ends without finishing what is on its way


def trouble() -> Trouble | None:
    """What is known to be wrong with it."""
    if not runs_threads():
        return Trouble.NO_THREADS
    return Trouble.NO_FAREWELL if dies_at_sigterm() else None


def runs_threads() -> bool:
    """Whether threads run here between requests: those of uWSGI do only if it is told so."""
    uwsgi = sys.modules.get("uwsgi")
    return uwsgi is None or bool(getattr(uwsgi, "has_threads", True))


def dies_at_sigterm() -> bool:
    """Whether SIGTERM ends this process without its farewell, as far as is known."""
    server, handler = name(), signal.getsignal(signal.SIGTERM)
    if server == "uvicorn":  # which gives the signal to itself again after its own farewell
        own = getattr(handler, "__module__", "").startswith("uvicorn.")
        return own and "uvicorn" in _program()
    return server in _LEAVES_SIGTERM and handler is signal.SIG_DFL


def _program() -> str:
    """What was started: the name of a script, or of the package that ran as one."""
    path = sys.argv[0] if sys.argv else ""
    folder, script = os.path.split(path)
    return os.path.basename(folder) if script == "__main__.py" else script
