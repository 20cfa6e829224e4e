"""One server's turn: start it, drain an outbox into it, compare."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from . import letters
from .account import Account, account, settled
from .drain import Drained, drain, fill
from .every import EVERY
from .returned import WayBack, way_back
from .running import Running, Unavailable
from .tempo import Tempo, tempo


@dataclass(frozen=True)
class Trial:
    """What came out for ``server``; without ``account`` it could not be had, and ``why`` tells."""

    server: str
    version: str = ""
    offers: tuple[str, ...] = ()
    drained: Drained | None = None
    account: Account | None = None
    tempo: Tempo | None = None  # where it offers PIPELINING
    returned: WayBack | None = None  # where it writes reports
    why: str = ""

    @property
    def right(self) -> bool:
        """Whether nothing that was tried went wrong."""
        there = [one for one in (self.account, self.returned) if one is not None]
        return all(one.right for one in there)


def trial(name: str, *, mixed: int, small: int) -> Trial:
    """Deliver the messages to the server ``name``, which runs for so long in a new folder."""
    folder = Path(tempfile.mkdtemp(prefix=f"stand-{name}-"))
    folder.chmod(0o755)  # daemons read there under names of their own
    try:
        with EVERY[name](folder) as running:
            return _tried(name, running, folder, mixed, small)
    except Unavailable as error:
        return Trial(name, why=str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _tried(name: str, running: Running, folder: Path, mixed: int, small: int) -> Trial:
    offers = tuple(running.offers())
    url = f"sqlite:///{folder}/outbox.sqlite"
    settings = {"smtp_port": running.port, **running.settings}
    fill(url, settings, chain(letters.mixed(mixed), letters.small(small)))
    drained = drain(url, folder)
    found = settled(running.stored, drained.said)
    judged = account(drained.said, found, refusing=running.refusing)
    took = tempo(running) if "PIPELINING" in offers else None
    back = way_back(name, running, running.returned, folder) if running.returned else None
    return Trial(name, running.version, offers, drained, judged, took, back)
